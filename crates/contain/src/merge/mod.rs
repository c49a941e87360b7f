//! What several answers come to: the two merge tables of Linux, which are not the same.
//!
//! Containment merges by priority ([`Rule::Eeh`], EEH-12), AER by what an answer may replace ([`Rule::Aer`], AER-03). With
//! the first the order in which functions answer means nothing; with the second it does, so answers are merged in the order
//! of the tree, never in the order in which they happen to come in.

mod aer;
mod eeh;

pub use pci_core::recovery::Vote;

/// A merge table: for what the answers came to so far, and the next answer, what they come to together.
pub(crate) type Table = [[Vote; Vote::ALL.len()]; Vote::ALL.len()];

/// By which table answers are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The answer with the highest priority wins (EEH-12).
    Eeh,
    /// What was said last wins over *can recover* and *recovered*, *need reset* over *disconnect*, a function without a
    /// driver that knows of errors over everything (AER-03).
    Aer,
}

impl Rule {
    /// What `so_far` and `next` come to.
    #[must_use]
    pub fn merge(self, so_far: Vote, next: Vote) -> Vote {
        let table = match self {
            Rule::Eeh => &eeh::TABLE,
            Rule::Aer => &aer::TABLE,
        };
        table[row(so_far)][row(next)]
    }
}

/// The row of an answer, and its column.
const fn row(vote: Vote) -> usize {
    // The numbers begin at 1.
    vote as usize - 1
}
