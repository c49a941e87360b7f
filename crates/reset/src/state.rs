//! Saving and restoring the state of a function without a reset, for whoever hands it on (RST-20).

use crate::error::Error;
use crate::facts::Facts;
use crate::peek::Peek;
use crate::recorded;
use crate::resets::{Resets, learn};
use crate::saved::{BlobError, SavedState};
use crate::session::Session;
use crate::shut::{Patience, shut};
use gate::{Deadline, Refusal, ThreadToken};
use pci_core::Errno;
use pci_spec::Bdf;
use topology::{Node, Snapshot};

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

    /// The state of a function while everybody else goes on: a copy to have for when it does not answer any more. Empty if it
    /// does not answer now; registers that somebody writes meanwhile may be old or new.
    ///
    /// # Errors
    /// [`Error::NotThere`]; [`Error::Busy`] if the function is frozen, or was blocked past the deadline.
    pub fn copy_state(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        deadline: Deadline,
    ) -> Result<SavedState, Error> {
        let node = snapshot.function(at).cloned().ok_or(Error::NotThere)?;
        let policy = self.policies.of(token, &node);
        let mut peek =
            Peek::new(token, &node, Patience::Until(deadline)).map_err(|refusal| refused(&node, refusal))?;
        learn(&policy, &mut peek, at);
        Ok(policy.facts.get().map_or(SavedState::default(), |facts| SavedState::save(&mut peek, at, facts)))
    }

    /// Clears what a function has recorded of errors, in AER and Device Status (AER-06), while everybody else goes on; a function
    /// that is frozen is closed for it.
    ///
    /// # Errors
    /// [`Error::NotThere`]; [`Error::Busy`] or [`Error::NotClosed`] if it was blocked past the deadline.
    pub fn clear_errors(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let node = snapshot.function(at).cloned().ok_or(Error::NotThere)?;
        let policy = self.policies.of(token, &node);
        let refusal = match Peek::new(token, &node, Patience::Until(deadline)) {
            Ok(mut peek) => {
                learn(&policy, &mut peek, at);
                let facts = policy.facts.get();
                let recorded = facts.map(|facts| recorded::by_all(&mut peek, at, facts));
                for recorded::Clearing { register, width, value } in recorded.into_iter().flatten() {
                    peek.write(register, width, value);
                }
                return Ok(());
            }
            Err(refusal) => refusal,
        };
        match refusal {
            Refusal::Frozen => self.with_closed(token, snapshot, at, deadline, |session, facts| {
                let recorded = facts.map(|facts| recorded::by_all(session, at, facts));
                recorded::clear(session, at, recorded.unwrap_or_default());
                Ok(())
            }),
            refusal => Err(refused(&node, refusal)),
        }
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

fn refused(node: &Node, refusal: Refusal) -> Error {
    match refusal {
        Refusal::Gone | Refusal::StaleEpoch { .. } => Error::NotThere,
        Refusal::Frozen | Refusal::Blocked(_) => {
            Error::Busy { function: node.function.name().to_owned(), in_use: false }
        }
    }
}
