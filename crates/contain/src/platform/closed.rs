//! The gates of the functions that a recovery has closed.

use crate::plan::FunctionId;
use crate::tree::PeFunction;
use gate::{
    Busy, CloseAllError, CloseError, Closed, Deadline, Gate, Quiesced, Reason, ThreadToken, TryCloseAllError,
};
use pci_core::Function;
use pci_spec::Bdf;
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

/// Functions that are closed, each gate parked: the thread holds nothing. Dropping it reopens all, but for what is frozen.
///
/// Some may be held for long (a model that was quiesced and waits for its state), others only for a reset.
#[derive(Debug, Default)]
#[must_use = "dropping it reopens the gates at once"]
pub struct ClosedFunctions {
    /// In the order of their coming, which is that of their identities.
    held: BTreeMap<FunctionId, Held>,
}

#[derive(Debug)]
struct Held {
    function: Arc<PeFunction>,
    closed: Closed,
}

/// Why functions were not closed. Those that were held before still are, and all others are as they were.
#[derive(Clone, Debug, Error)]
pub enum CloseFunctionsError {
    /// It was removed.
    #[error("{0} was removed")]
    Gone(Bdf),
    /// Somebody is inside or ahead, now or past the deadline; an attempt may succeed later.
    #[error("{function} is in use: {cause}")]
    InUse {
        /// Which one.
        function: String,
        /// What was in the way.
        cause: String,
    },
}

impl ClosedFunctions {
    /// Closes those of `functions` that are not held yet, all or none. Waits to the deadline if nothing is held yet; with gates
    /// held it tries once, as their closers could be waiting for what is held (`docs/locks.md`, *Rules of waiting*, 8): try again
    /// later.
    ///
    /// # Errors
    /// [`CloseFunctionsError`].
    pub fn close(
        &mut self,
        token: &mut ThreadToken,
        functions: &[Arc<PeFunction>],
        deadline: Deadline,
    ) -> Result<(), CloseFunctionsError> {
        if !self.held.is_empty() {
            return self.try_close(token, functions);
        }
        let gates = self.gates(functions)?;
        let set = gate::close_all(&gates, token, Reason::Reset, deadline)
            .map_err(|error| refused(functions, &error))?
            .park();
        self.take(functions, set)
    }

    /// As [`ClosedFunctions::close`], but never waits.
    ///
    /// # Errors
    /// [`CloseFunctionsError`].
    pub fn try_close(
        &mut self,
        token: &ThreadToken,
        functions: &[Arc<PeFunction>],
    ) -> Result<(), CloseFunctionsError> {
        let gates = self.gates(functions)?;
        let set = gate::try_close_all(&gates, token, Reason::Reset)
            .map_err(|error| busy(functions, &error))?
            .park();
        self.take(functions, set)
    }

    /// The gates of those that are not held yet.
    fn gates(&self, functions: &[Arc<PeFunction>]) -> Result<Vec<Gate>, CloseFunctionsError> {
        let missing = functions.iter().filter(|function| !self.held.contains_key(&function.id));
        missing
            .map(|function| match function.function.handle().is_gone() {
                true => Err(CloseFunctionsError::Gone(function.address)),
                false => Ok(function.function.gate().clone()),
            })
            .collect()
    }

    /// A gate outlives its function: if one was renewed for the next device in its place, all are let go (law 5).
    fn take(
        &mut self,
        functions: &[Arc<PeFunction>],
        set: impl IntoIterator<Item = Closed>,
    ) -> Result<(), CloseFunctionsError> {
        if let Some(gone) = functions.iter().find(|function| function.function.handle().is_gone()) {
            return Err(CloseFunctionsError::Gone(gone.address));
        }
        for closed in set {
            let of = functions.iter().find(|function| closed.is_of(function.function.gate()));
            if let Some(function) = of {
                self.insert(function.clone(), closed);
            }
        }
        Ok(())
    }

    /// Takes over a gate that was closed by itself; one of the same function that was held is let go.
    pub fn insert(&mut self, function: Arc<PeFunction>, closed: Closed) {
        self.held.insert(function.id, Held { function, closed });
    }

    /// Gives a gate away, still closed; `None` if it is not held, or was retired.
    pub fn remove(&mut self, function: FunctionId) -> Option<Closed> {
        self.held.remove(&function).map(|held| held.closed).filter(|closed| !closed.is_gone())
    }

    /// Whether a function is held and not removed.
    #[must_use]
    pub fn is_closed(&self, function: FunctionId) -> bool {
        self.held.get(&function).is_some_and(|held| !held.closed.is_gone())
    }

    /// Does something under the proof of a function; `None` if it was removed or is not held. The gate is parked again
    /// afterwards.
    pub fn with<T>(
        &mut self,
        token: &mut ThreadToken,
        function: FunctionId,
        act: impl FnOnce(&Function, &Quiesced<'_>) -> T,
    ) -> Option<T> {
        let Held { function, closed } = self.held.remove(&function)?;
        let quiesced = closed.resume(token).ok()?;
        let done = act(&function.function, &quiesced);
        let closed = quiesced.park();
        self.insert(function, closed);
        Some(done)
    }

    /// Lets a function go: it reopens, or stays frozen if it is. True if it was held and not removed.
    pub fn open(&mut self, function: FunctionId) -> bool {
        self.remove(function).is_some()
    }

    /// Lets go of all that were removed; says which.
    pub fn forget_gone(&mut self) -> Vec<FunctionId> {
        let gone: Vec<FunctionId> = self.ids().filter(|function| !self.is_closed(*function)).collect();
        self.held.retain(|function, _| !gone.contains(function));
        gone
    }

    /// Which functions are held, those that were removed included.
    pub fn ids(&self) -> impl Iterator<Item = FunctionId> + '_ {
        self.held.keys().copied()
    }

    /// How many are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes gates of `functions` back that were given away; those that were retired are let go.
    pub(super) fn take_back(&mut self, functions: &[Arc<PeFunction>], gates: Vec<Closed>) {
        for closed in gates.into_iter().filter(|closed| !closed.is_gone()) {
            let of = functions.iter().find(|function| closed.is_of(function.function.gate()));
            if let Some(function) = of {
                self.insert(function.clone(), closed);
            }
        }
    }
}

fn refused(functions: &[Arc<PeFunction>], error: &CloseAllError) -> CloseFunctionsError {
    match error.cause {
        CloseError::Gone => gone(functions, &error.gate),
        ref cause => in_use(&error.gate, cause.to_string()),
    }
}

fn busy(functions: &[Arc<PeFunction>], error: &TryCloseAllError) -> CloseFunctionsError {
    match error.cause {
        Busy::Gone => gone(functions, &error.gate),
        ref cause => in_use(&error.gate, cause.to_string()),
    }
}

fn gone(functions: &[Arc<PeFunction>], gate: &Gate) -> CloseFunctionsError {
    let name = gate.name();
    let of = functions.iter().find(|function| function.function.gate().name() == name);
    of.map_or_else(
        || in_use(gate, "it was removed".into()),
        |function| CloseFunctionsError::Gone(function.address),
    )
}

fn in_use(gate: &Gate, cause: String) -> CloseFunctionsError {
    CloseFunctionsError::InUse { function: gate.name().to_owned(), cause }
}
