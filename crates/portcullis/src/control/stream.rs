//! What the stream of events carries: events with their numbers, and markers where numbers are missing.
//!
//! As in [`super::report`], fields are added and never renamed. With `--json` each of these is a document of its own:
//!
//! ```text
//! {"sequence":7,"at_ms":1795132799999,"function":"disk0","kind":"reset","severity":"info","text":"reset: flr"}
//! {"gap":{"missed":12,"next":20}}
//! ```

use serde::{Deserialize, Serialize};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventEntry {
    /// Counts the events of a daemon from 1 on, without holes: a number that is missing is an event that is missing.
    pub sequence: u64,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// What it is about: one field, named `function`, `slot` or `vm`.
    #[serde(flatten)]
    pub subject: Subject,
    /// The kind, for programs.
    pub kind: String,
    /// Whether somebody should look at it.
    #[serde(default)]
    pub severity: Severity,
    /// The event in words.
    pub text: String,
}

/// What an event is about, by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// A function: name of its slot, or its address.
    Function(String),
    /// A slot.
    Slot(String),
    /// A virtual machine.
    Vm(String),
}

/// How much an operator should care.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// All is well.
    #[default]
    Info,
    /// Something is not as it should be.
    Warning,
}

/// An element of the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StreamItem {
    /// Something happened.
    Event(EventEntry),
    /// Something is missing here.
    Gap {
        /// What is.
        gap: Gap,
    },
}

/// Events that are not kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// How many, whatever they were about; unknown (`null`) after a restart of the daemon.
    pub missed: Option<u64>,
    /// The number with which the stream goes on.
    pub next: u64,
    /// The daemon was started anew, and counts from 1 again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restarted: bool,
}

/// A piece of the stream, the answer to `event wait`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventPage {
    /// Which stream this is; another one after each start of the daemon. To be sent with the next request.
    pub stream: String,
    /// Events and gaps in their order; none if nothing came in time.
    pub items: Vec<StreamItem>,
    /// Up to which number this has looked: `after` of the next request.
    pub next: u64,
    /// The number of the newest event. More can be had at once if `next` is less.
    pub last: u64,
    /// The daemon ends, and nothing will follow.
    pub ended: bool,
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Function(name) => f.write_str(name),
            Self::Slot(name) => write!(f, "slot {name}"),
            Self::Vm(name) => write!(f, "vm {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_written_as_documented_and_read_back() {
        let event = EventEntry {
            sequence: 7,
            at_ms: 1,
            subject: Subject::Slot(String::from("disk0")),
            kind: String::from("revoked"),
            severity: Severity::Warning,
            text: String::from("x"),
        };
        let gap = |missed, next, restarted| StreamItem::Gap { gap: Gap { missed, next, restarted } };
        for (item, text) in [
            (
                StreamItem::Event(event),
                r#"{"sequence":7,"at_ms":1,"slot":"disk0","kind":"revoked","severity":"warning","text":"x"}"#,
            ),
            (gap(Some(12), 20, false), r#"{"gap":{"missed":12,"next":20}}"#),
            (gap(None, 1, true), r#"{"gap":{"missed":null,"next":1,"restarted":true}}"#),
        ] {
            assert_eq!(serde_json::to_string(&item).unwrap(), text);
            assert_eq!(serde_json::from_str::<StreamItem>(text).unwrap(), item);
        }
    }
}
