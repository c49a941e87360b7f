//! A rule that has been checked.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::{Excerpt, RuleError};
use super::fields::{Fields, Place};
use super::kind::{Kind, Target};
use super::span;

/// How much later or longer anything may be made. Longer is no slow device, but one that hangs.
const DELAY: RangeInclusive<Duration> = Duration::from_nanos(1)..=Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// More often would be a load and not a fault.
const EVERY: RangeInclusive<Duration> = Duration::from_millis(10)..=DAY;

/// What happens, where, when, how likely and how often. Read from a text and written as one:
/// `read-slow:delay=5ms,bar=0,range=0x0-0xfff,probability=0.1,count=100,after=1s,for=10s`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule(Fields);

impl Rule {
    /// A rule out of its parts.
    ///
    /// # Errors
    /// [`RuleError`] for what makes no sense, in any part or together.
    pub fn new(fields: Fields) -> Result<Rule, RuleError> {
        check_values(&fields)?;
        check_options(&fields)?;
        // Minus nothing is nothing.
        let probability = fields.probability.map(f64::abs);
        Ok(Rule(Fields { probability, ..fields }))
    }

    /// What happens.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Its parts.
    #[must_use]
    pub const fn fields(&self) -> &Fields {
        &self.0
    }

    pub(super) const fn target(&self) -> Target {
        self.0.kind.target()
    }

    /// Whether it happens by itself, and not at an access.
    pub(super) const fn goes_by_time(&self) -> bool {
        matches!(self.target(), Target::BackEnd) && self.0.place.is_none()
    }

    /// Whether somebody must look at the clock for it.
    pub(super) const fn needs_thread(&self) -> bool {
        self.goes_by_time() || matches!(self.0.kind, Kind::IrqDelay)
    }
}

/// Each part for itself.
fn check_values(fields: &Fields) -> Result<(), RuleError> {
    let time = |option, value: Option<Duration>, range: RangeInclusive<Duration>, wants| match value {
        Some(value) if !range.contains(&value) => {
            Err(RuleError::Value { option, value: Excerpt::of(&span::Text(value).to_string()), wants })
        }
        _ => Ok(()),
    };
    time("delay", fields.delay, DELAY, "more than nothing and at most 60s")?;
    time("after", fields.after, Duration::ZERO..=DAY, "at most 24h")?;
    time("for", fields.lasts, Duration::from_nanos(1)..=DAY, "more than nothing and at most 24h")?;
    time("every", fields.every, EVERY, "10ms to 24h")?;
    if let Some(probability) = fields.probability
        && !(0.0..=1.0).contains(&probability)
    {
        let value = Excerpt::of(&probability.to_string());
        return Err(RuleError::Value { option: "probability", value, wants: "a number from 0 to 1" });
    }
    if fields.count == Some(0) {
        return Err(RuleError::Value { option: "count", value: Excerpt::of("0"), wants: "at least 1" });
    }
    if let Some(Place::Bar(bar)) = fields.place
        && bar > Place::LAST_BAR
    {
        let value = Excerpt::of(&bar.to_string());
        return Err(RuleError::Value { option: "bar", value, wants: "0 to 5, or 6 for the ROM" });
    }
    Ok(())
}

/// Whether the fault has them, and has what it needs.
fn check_options(fields: &Fields) -> Result<(), RuleError> {
    let (kind, target) = (fields.kind, fields.kind.target());
    let only = |option, is_there: bool, fits: bool, goes_with| {
        if is_there && !fits { Err(RuleError::DoesNotApply { kind, option, goes_with }) } else { Ok(()) }
    };
    let is_access = matches!(target, Target::Read | Target::Write | Target::BackEnd);
    only("delay", fields.delay.is_some(), kind.has_delay(), "irq-delay and read-slow")?;
    only("place", fields.place.is_some(), is_access, "reads, writes and faults of the back end")?;
    let has_range = is_access || target == Target::Dma;
    only("range", fields.range.is_some(), has_range, "reads, writes, dma-error and faults of the back end")?;
    only("vector", fields.vector.is_some(), target == Target::Interrupt, "faults of interrupts")?;
    only("every", fields.every.is_some(), target == Target::BackEnd, "faults of the back end")?;
    if kind.has_delay() && fields.delay.is_none() {
        return Err(RuleError::NoDelay { kind });
    }
    if is_access && fields.range.is_some() && fields.place.is_none() {
        return Err(RuleError::RangeOfNothing);
    }
    if fields.place.is_some() && fields.every.is_some() {
        return Err(RuleError::AccessOrTime { kind });
    }
    Ok(())
}
