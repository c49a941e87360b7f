//! Accesses of this process through a window: what is asked before each, and what is said of it afterwards.
//!
//! An access whose page is not present waits in the kernel, or fails there. One that would meet a cover does so here, by
//! the same rules: it waits for a gate that is closed, and for a region that is disabled if that is the policy.

use super::{Shows, Turn, Window, parking};
use crate::{MappingError, OnDisabled};
use gate::{Admission, Deadline, ThreadToken};

/// Why an access cannot begin: it would find all-ones.
enum Covered {
    /// Somebody has the gate, and the function was frozen before.
    Closed,
    /// The region has not been reachable since the freeze.
    Disabled,
    /// It is not worth waiting.
    Refused(MappingError),
}

impl Window {
    /// Before an access. Waits where a fault would be left waiting.
    ///
    /// # Errors
    /// Why it would find all-ones: [`MappingError::Frozen`] or [`MappingError::Gone`]; [`MappingError::Disabled`] or
    /// [`MappingError::TimedOut`] if the region was disabled in a freeze and is still; [`MappingError::NoMemory`] if the
    /// system has no memory to end the cover.
    #[inline]
    pub(crate) fn begin(&self, token: &mut ThreadToken) -> Result<Turn, MappingError> {
        match self.turns.now() {
            Some(turn) => Ok(turn),
            None => self.begin_covered(token),
        }
    }

    #[cold]
    fn begin_covered(&self, token: &mut ThreadToken) -> Result<Turn, MappingError> {
        let closed = Deadline::after(parking::CLOSED);
        let mut disabled = None;
        loop {
            let moment = self.changes.now();
            let until = match (self.try_begin(), self.rules.on_disabled) {
                (Ok(turn), _) => return Ok(turn),
                (Err(Covered::Refused(error)), _) => return Err(error),
                (Err(Covered::Closed), _) => closed,
                (Err(Covered::Disabled), OnDisabled::Fail) => return Err(MappingError::Disabled),
                (Err(Covered::Disabled), OnDisabled::Wait(limit)) => {
                    *disabled.get_or_insert_with(|| Deadline::after(limit))
                }
            };
            self.changes.wait(token, moment, until)?;
        }
    }

    fn try_begin(&self) -> Result<Turn, Covered> {
        let mut state = self.state.lock();
        // Mostly in line already; not if the region could be reached only after the last look, or uncovering failed.
        let admission = self.follow(&mut state);
        if let Some(turn) = self.turns.now() {
            return Ok(turn);
        }
        Err(match (state.shows, admission) {
            (Shows::Gone, _) | (_, Admission::Gone) => Covered::Refused(MappingError::Gone),
            (_, Admission::Frozen) => Covered::Refused(MappingError::Frozen),
            (_, Admission::Blocked) => Covered::Closed,
            (_, Admission::Open) if state.stuck => Covered::Refused(MappingError::NoMemory),
            (_, Admission::Open) => Covered::Disabled,
        })
    }

    /// After an access: what it says of `result`, which is `None` if it failed.
    ///
    /// # Errors
    /// Why it failed, or [`MappingError::Frozen`] or [`MappingError::Gone`] if it may have found all-ones.
    #[inline]
    pub(crate) fn judge<T>(&self, turn: Turn, result: Option<T>) -> Result<T, MappingError> {
        match result {
            Some(result) if self.turns.is_still(turn) => Ok(result),
            _ => Err(self.explain(turn)),
        }
    }

    #[cold]
    fn explain(&self, turn: Turn) -> MappingError {
        let mut state = self.state.lock();
        if !self.turns.is_still(turn) {
            // One that has ended by now was a freeze.
            return if state.shows == Shows::Gone { MappingError::Gone } else { MappingError::Frozen };
        }
        if state.starved {
            // Reported once; there may be memory next time (MM-I4). Pages go and come without harm at any time.
            self.take_away(&mut state);
            return MappingError::NoMemory;
        }
        state.failure
    }
}
