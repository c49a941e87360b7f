//! Reading a rule: `kind`, or `kind:option,option,...`.

use std::str::FromStr;

use super::error::{Excerpt, RuleError};
use super::fields::{Fields, Place};
use super::{Rule, span};

/// Bytes of the longest text that is looked at.
pub(super) const MAX_TEXT: usize = 512;

const TIME: &str = "a whole number with ns, us, ms, s, m or h, e.g. 5ms";
const RANGE: &str = "FIRST-LAST or one address, e.g. 0x0-0xfff";
const BAR: &str = "0 to 5, or 6 for the ROM";
const FROM_0: &str = "a whole number from 0";
const FROM_1: &str = "a whole number from 1";
const FRACTION: &str = "a number from 0 to 1, e.g. 0.1";
/// What is said twice if two places are.
const PLACE: &str = "a place (config, bar, own)";

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Rule, RuleError> {
        if text.len() > MAX_TEXT {
            return Err(RuleError::TooLong);
        }
        let (kind, options) = match text.split_once(':') {
            Some((kind, options)) => (kind, Some(options)),
            None => (text, None),
        };
        let mut fields = Fields::of(kind.trim().parse()?);
        for option in options.into_iter().flat_map(|options| options.split(',')) {
            take(&mut fields, option.trim())?;
        }
        Rule::new(fields)
    }
}

/// Enters one option.
fn take(fields: &mut Fields, option: &str) -> Result<(), RuleError> {
    let (name, value) = match option.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim())),
        None => (option, None),
    };
    let bar = |text: &str| plain(text).map(Place::Bar);
    let own = |text: &str| plain(text).map(Place::Own);
    match name {
        "delay" => once(&mut fields.delay, "delay", read("delay", value, "delay=5ms", TIME, span::parse)?),
        "config" if value.is_some() => Err(RuleError::Form("config, without a value")),
        "config" => once(&mut fields.place, PLACE, Place::Config),
        "bar" => once(&mut fields.place, PLACE, read("bar", value, "bar=0", BAR, bar)?),
        "own" => once(&mut fields.place, PLACE, read("own", value, "own=0", FROM_0, own)?),
        "range" => {
            let range = read("range", value, "range=0x0-0xfff", RANGE, |text| text.parse().ok())?;
            once(&mut fields.range, "range", range)
        }
        "vector" => once(&mut fields.vector, "vector", read("vector", value, "vector=0", FROM_0, plain)?),
        "probability" => {
            let probability = read("probability", value, "probability=0.1", FRACTION, fraction)?;
            once(&mut fields.probability, "probability", probability)
        }
        "count" => once(&mut fields.count, "count", read("count", value, "count=1", FROM_1, plain)?),
        "after" => once(&mut fields.after, "after", read("after", value, "after=1s", TIME, span::parse)?),
        "for" => once(&mut fields.lasts, "for", read("for", value, "for=10s", TIME, span::parse)?),
        "every" => once(&mut fields.every, "every", read("every", value, "every=3s", TIME, span::parse)?),
        other => Err(RuleError::UnknownOption(Excerpt::of(other))),
    }
}

fn once<T>(field: &mut Option<T>, name: &'static str, value: T) -> Result<(), RuleError> {
    if field.is_some() {
        return Err(RuleError::Twice(name));
    }
    *field = Some(value);
    Ok(())
}

fn read<T>(
    option: &'static str,
    value: Option<&str>,
    example: &'static str,
    wants: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, RuleError> {
    let value = value.ok_or(RuleError::Form(example))?;
    parse(value).ok_or_else(|| RuleError::Value { option, value: Excerpt::of(value), wants })
}

/// A decimal number without a sign.
fn plain<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A number; which ones, [`Rule::new`] says. "inf" and "nan" are none.
fn fraction(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}
