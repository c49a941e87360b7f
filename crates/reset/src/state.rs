//! Saving and restoring the state of a function without a reset, for whoever hands it on (RST-20).

use crate::error::Error;
use crate::facts::Facts;
use crate::resets::{Resets, learn};
use crate::saved::{BlobError, SavedState};
use crate::session::Session;
use crate::shut::{Patience, shut};
use gate::{Deadline, ThreadToken};
use pci_core::Errno;
use pci_spec::Bdf;
use topology::Snapshot;

impl Resets {
    /// Saves the state of a function; empty if it does not answer. The function is closed for it.
    ///
    /// # Errors
    /// [`Error::NotThere`], [`Error::NotClosed`].
    pub fn save_state(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        deadline: Deadline,
    ) -> Result<SavedState, Error> {
        self.with_closed(token, snapshot, at, deadline, |session, facts| {
            Ok(facts.map_or(SavedState::default(), |facts| SavedState::save(session, at, facts)))
        })
    }

    /// Reads what [`SavedState::store`] has made of this function. Nothing of the function is changed.
    ///
    /// # Errors
    /// As [`Resets::save_state`], and inside the answer why these bytes are no state of this function.
    pub fn load_state(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        bytes: &[u8],
        deadline: Deadline,
    ) -> Result<Result<SavedState, BlobError>, Error> {
        let like = self.save_state(token, snapshot, at, deadline)?;
        Ok(SavedState::load(bytes, &like))
    }

    /// Puts a function back into a state that was saved of it; answers how many registers do not take their value.
    /// Does nothing if nothing was saved (RST-20).
    ///
    /// # Errors
    /// As [`Resets::save_state`]; [`Error::Failed`] with `EINVAL` for the state of another function, of which nothing
    /// was written.
    pub fn restore_state(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        state: &SavedState,
        deadline: Deadline,
    ) -> Result<usize, Error> {
        if state.is_empty() {
            return Ok(0);
        }
        self.with_closed(token, snapshot, at, deadline, |session, facts| {
            let facts = facts.ok_or(Error::Failed(Errno::EIO))?;
            if !state.is_like(&SavedState::save(session, at, facts)) {
                return Err(Error::Failed(Errno::EINVAL));
            }
            state.restore(session, at, facts).map_err(|_gone| Error::Removed)?;
            Ok(state.verify(session, at))
        })
    }

    fn with_closed<T>(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        deadline: Deadline,
        act: impl FnOnce(&mut Session<'_>, Option<&Facts>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let nodes = [snapshot.function(at).cloned().ok_or(Error::NotThere)?];
        let policy = self.policies.of(token, &nodes[0]);
        let closed = shut(&nodes, token, Patience::Until(deadline))?;
        let mut session = self.session(token, snapshot, &nodes, closed);
        learn(&policy, &mut session, at);
        let facts = policy.facts.get();
        let done = act(&mut session, facts);
        session.end(|_| false);
        done
    }
}
