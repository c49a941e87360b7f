//! How events are shown: as lines, as JSON lines, or as one JSON array.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use super::super::exit::Failure;
use super::super::text::clock;
use crate::control::stream::{EventEntry, Gap, Severity, StreamItem};

/// Writes elements to stdout, each page in one go.
#[derive(Debug)]
pub(super) struct Printer {
    form: Form,
    /// Only some events were asked for, so what is missing need not be among them.
    some: bool,
    /// What stands before the first element is printed.
    begun: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    JsonLines,
    /// What a command with an end prints: one document on one line.
    JsonArray {
        first: bool,
    },
}

impl Printer {
    /// Prints nothing yet. `some` if only some events are asked for.
    pub(super) fn new(json: bool, follow: bool, some: bool) -> Self {
        let form = match (json, follow) {
            (false, _) => Form::Text,
            (true, true) => Form::JsonLines,
            (true, false) => Form::JsonArray { first: true },
        };
        Self { form, some, begun: false }
    }

    fn begin(&mut self, text: &mut String) {
        if !std::mem::replace(&mut self.begun, true) {
            match self.form {
                Form::Text => text.push_str(&line(["TIME (UTC)", "NUMBER", "ABOUT", "KIND", "", "EVENT"])),
                Form::JsonLines => {}
                Form::JsonArray { .. } => text.push('['),
            }
        }
    }

    pub(super) fn page(&mut self, items: &[StreamItem]) -> Result<(), Failure> {
        let mut text = String::new();
        self.begin(&mut text);
        for item in items {
            match &mut self.form {
                Form::Text => self.describe(&mut text, item),
                Form::JsonLines => {
                    text.push_str(&document(item)?);
                    text.push('\n');
                }
                Form::JsonArray { first } => {
                    if !std::mem::take(first) {
                        text.push(',');
                    }
                    text.push_str(&document(item)?);
                }
            }
        }
        print(&text)
    }

    pub(super) fn end(&mut self) -> Result<(), Failure> {
        let mut text = String::new();
        self.begin(&mut text);
        if matches!(self.form, Form::JsonArray { .. }) {
            text.push_str("]\n");
        }
        print(&text)
    }

    fn describe(&self, text: &mut String, item: &StreamItem) {
        // Writing to a string cannot fail.
        let _ = match item {
            StreamItem::Event(event) => write!(text, "{}", event_line(event)),
            StreamItem::Gap { gap: Gap { missed: Some(missed), next, .. } } => {
                let up_to = if self.some { "up to " } else { "" };
                writeln!(text, "-- {up_to}{missed} events before number {next} are not kept any more --")
            }
            StreamItem::Gap { gap: Gap { next, .. } } => {
                writeln!(text, "-- the daemon was started anew, and counts from {next} --")
            }
        };
    }
}

fn event_line(event: &EventEntry) -> String {
    let mark = if event.severity == Severity::Warning { "!" } else { "" };
    let (number, about) = (event.sequence.to_string(), harmless(&event.subject.to_string()));
    line([&clock(event.at_ms), &number, &about, &event.kind, mark, &harmless(&event.text)])
}

/// Columns that need not be known before they are printed.
fn line([time, number, about, kind, mark, text]: [&str; 6]) -> String {
    format!("{time:<23}  {number:>6}  {about:<14}  {kind:<17}  {mark:<1} {text}\n")
}

/// Part of it may come from a client: nothing in it reaches the terminal as a command.
fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    shown
}

fn document(item: &StreamItem) -> Result<String, Failure> {
    Ok(serde_json::to_string(item).map_err(io::Error::from)?)
}

fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::stream::Subject;

    #[test]
    fn a_line_is_readable_and_harmless() {
        let event = EventEntry {
            sequence: 12,
            at_ms: 0,
            subject: Subject::Slot(String::from("disk0")),
            kind: String::from("revoked"),
            severity: Severity::Warning,
            text: String::from("by \u{1b}[31mforce"),
        };
        assert_eq!(
            event_line(&event),
            "1970-01-01 00:00:00.000      12  slot disk0      revoked            ! by \\u{1b}[31mforce\n"
        );
    }

    #[test]
    fn a_gap_says_how_many_and_whether_all_of_them_were_wanted() {
        let described = |some, missed, restarted| {
            let mut text = String::new();
            let gap = Gap { missed, next: 40, restarted };
            Printer::new(false, true, some).describe(&mut text, &StreamItem::Gap { gap });
            text
        };
        assert_eq!(
            described(false, Some(12), false),
            "-- 12 events before number 40 are not kept any more --\n"
        );
        assert!(described(true, Some(12), false).starts_with("-- up to 12 events"));
        assert!(described(false, None, true).contains("started anew"));
    }
}
