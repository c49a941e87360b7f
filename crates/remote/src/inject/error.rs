//! Why a rule was not understood, or not taken.

use std::fmt;

use pci_core::Errno;
use thiserror::Error;

use super::Kind;
use super::parse::MAX_TEXT;

/// How many characters of what somebody wrote an error repeats.
const EXCERPT: usize = 24;

/// The beginning of what somebody wrote, fit to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt(String);

impl Excerpt {
    pub(super) fn of(text: &str) -> Excerpt {
        let mut shown: String = text.chars().take(EXCERPT).flat_map(char::escape_debug).collect();
        if text.chars().nth(EXCERPT).is_some() {
            shown.push_str("...");
        }
        Excerpt(shown)
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

struct Kinds;

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, kind) in Kind::ALL.iter().enumerate() {
            if nth > 0 {
                f.write_str(", ")?;
            }
            f.write_str(kind.name())?;
        }
        Ok(())
    }
}

/// Why something is no rule. Each says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// The text is longer than any rule.
    #[error("a rule has at most {MAX_TEXT} bytes, e.g. \"read-slow:delay=5ms,bar=0\"")]
    TooLong,
    /// The first word names no fault.
    #[error("there is no fault {0}: they are {kinds}", kinds = Kinds)]
    UnknownKind(Excerpt),
    /// An option that no fault has.
    #[error(
        "there is no option {0}: they are delay, config, bar, own, range, vector, probability, count, after, for, every"
    )]
    UnknownOption(Excerpt),
    /// The same option, or two places.
    #[error("{0} is said twice: leave one out, or make two rules")]
    Twice(&'static str),
    /// An option without its value, or one with a value that has none.
    #[error("write it as {0}")]
    Form(&'static str),
    /// A value that the option cannot have.
    #[error("{option} cannot be {value}: it is {wants}")]
    Value {
        /// The option.
        option: &'static str,
        /// What was written.
        value: Excerpt,
        /// What may be written.
        wants: &'static str,
    },
    /// The fault needs an option that is not there.
    #[error("{kind} needs a delay: add delay=5ms")]
    NoDelay {
        /// The fault.
        kind: Kind,
    },
    /// The fault does not have the option.
    #[error("{kind} has no {option}, which goes with {goes_with}: leave it out")]
    DoesNotApply {
        /// The fault.
        kind: Kind,
        /// The option.
        option: &'static str,
        /// What has it.
        goes_with: &'static str,
    },
    /// Addresses of no region in particular.
    #[error("a range counts from the start of a region: add config, bar=N or own=N")]
    RangeOfNothing,
    /// Something that happens at accesses and at times.
    #[error(
        "with a place {kind} happens at accesses there, with every= it happens by time: leave one of them out"
    )]
    AccessOrTime {
        /// The fault.
        kind: Kind,
    },
}

impl RuleError {
    /// As an operating system's interface would answer.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        Errno::EINVAL
    }
}

/// Why a rule was not added. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddError {
    /// There are as many rules as there may be.
    #[error("the function has {limit} rules, which is as many as it may have: remove some, or clear them")]
    Full {
        /// How many it may have.
        limit: usize,
    },
    /// There is no function that could have it.
    #[error("nothing is attached that could have a fault: attach a function first")]
    NotAttached,
    /// The function has been removed.
    #[error("the function is gone")]
    Gone,
    /// Somebody has the function closed.
    #[error("{kind} needs the function's gate for a moment, and something else has it: try again later")]
    Busy {
        /// The fault.
        kind: Kind,
    },
    /// The fault is one of a back end, and the function has none.
    #[error("{kind} is a fault of a back end, and the function has none: only a remote function can have it")]
    NoBackEnd {
        /// The fault.
        kind: Kind,
    },
    /// The system has no thread left, without which nothing can come later.
    #[error("{kind} needs a thread, and the system has none left: try again later")]
    NoThread {
        /// The fault.
        kind: Kind,
    },
}
