//! Writing a rule, so that reading it again gives the same.

use std::fmt;

use super::{Rule, span};

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.fields();
        let mut options = Options { f, any: false };
        options.f.write_str(fields.kind.name())?;
        options.named("delay=", fields.delay.map(span::Text))?;
        options.named("", fields.place)?;
        options.named("range=", fields.range)?;
        options.named("vector=", fields.vector)?;
        options.named("probability=", fields.probability)?;
        options.named("count=", fields.count)?;
        options.named("after=", fields.after.map(span::Text))?;
        options.named("for=", fields.lasts.map(span::Text))?;
        options.named("every=", fields.every.map(span::Text))
    }
}

/// Puts a colon before the first option and commas between them.
struct Options<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    any: bool,
}

impl Options<'_, '_> {
    fn named(&mut self, name: &str, value: Option<impl fmt::Display>) -> fmt::Result {
        let Some(value) = value else { return Ok(()) };
        let before = if self.any { ',' } else { ':' };
        self.any = true;
        write!(self.f, "{before}{name}{value}")
    }
}
