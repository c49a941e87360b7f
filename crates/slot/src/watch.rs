//! What those who watch a slot are told.

use crate::effect::{Finished, Notice};
use crate::event::{OperationId, Request};

/// How a call of foreign code failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It did not return in time, and the slot goes on without it.
    Hung,
    /// It panicked.
    Panicked,
    /// It said so, or there was no time left for it.
    Failed(String),
}

/// Something that happened at a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// In its life.
    Notice(Notice),
    /// To an operation: it began, or ended as it says.
    Operation(OperationId, Request, Option<Finished>),
    /// Something is still in use of a card that was taken away, and keeps its memory: what, for people.
    Orphan(String),
    /// Foreign code failed.
    Callback {
        /// Whose: the name of a driver, a consumer's description, or "hardware".
        who: String,
        /// Which of its methods.
        call: &'static str,
        /// How.
        how: Failure,
    },
}

/// Somebody who watches slots. Called by the thread that drives the slot, in the order in which things happened, with nothing held;
/// returns soon. While a call is left behind, what happens is not told.
pub trait Watch: Send + Sync {
    /// Something happened at `slot`.
    fn notice(&self, slot: &str, what: &Told);
}

/// Nobody watches.
impl Watch for () {
    fn notice(&self, _slot: &str, _what: &Told) {}
}
