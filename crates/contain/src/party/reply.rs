//! The answer to a call.

use crate::plan::Answer;
use std::sync::Weak;

/// Whoever made a call and waits for its answer. Called from anywhere: waits for nothing.
pub(crate) trait Hears: Send + Sync {
    /// The answer to the call with this number; `None` if there will be none. Nobody waits for it, perhaps.
    fn hear(&self, number: u64, answer: Option<Answer>);
}

/// The answer to one call, to be given once, with no lock held. Dropped without, the call counts as lost at once; whatever comes
/// when its time is over goes nowhere.
#[must_use = "dropping it unanswered loses the call"]
pub struct Reply {
    to: Weak<dyn Hears>,
    number: u64,
    answered: bool,
}

impl Reply {
    pub(crate) fn new(to: Weak<dyn Hears>, number: u64) -> Reply {
        Reply { to, number, answered: false }
    }

    /// Gives the answer.
    pub fn answer(mut self, answer: Answer) {
        self.give(Some(answer));
    }

    fn give(&mut self, answer: Option<Answer>) {
        if !std::mem::replace(&mut self.answered, true)
            && let Some(to) = self.to.upgrade()
        {
            to.hear(self.number, answer);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.give(None);
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").field("number", &self.number).finish_non_exhaustive()
    }
}
