//! What was taken and not answered, in slots here or with whoever executes commands elsewhere.

use nvme_spec::queue::ADMIN_QUEUE;

use super::elsewhere::Away;
use super::io::{Io, Storage};

impl Io {
    /// Whether commands are executed elsewhere.
    #[inline]
    pub(super) fn is_elsewhere(&self) -> bool {
        matches!(self.storage, Storage::Elsewhere(_))
    }

    /// Who executes commands elsewhere, if that is how it is.
    pub(super) fn away(&self) -> Option<&Away> {
        if let Storage::Elsewhere(away) = &self.storage { Some(away) } else { None }
    }

    /// The same, to work with.
    #[inline]
    pub(super) fn away_mut(&mut self) -> Option<&mut Away> {
        if let Storage::Elsewhere(away) = &mut self.storage { Some(away) } else { None }
    }

    /// Whether no more command can be taken from a submission queue.
    pub(super) fn is_full(&self, qid: u16) -> bool {
        self.away().map_or(qid != ADMIN_QUEUE && self.slots.is_full(), |away| away.is_full(qid))
    }

    /// Whether no command is between being taken and being answered.
    pub(super) fn is_idle(&self) -> bool {
        self.slots.busy() == 0 && self.slots.done.is_empty() && self.away().is_none_or(Away::is_idle)
    }

    /// Commands that are worked on.
    pub(super) fn busy(&self) -> usize {
        self.slots.busy() + self.away().map_or(0, Away::busy)
    }

    /// Whether the engine itself has something to do: a step to start or an outcome to post.
    pub(super) fn has_steps(&self) -> bool {
        self.slots.has_steps() || self.away().is_some_and(Away::has_done)
    }
}
