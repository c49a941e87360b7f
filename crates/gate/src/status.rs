//! What a gate shows of itself: its state, what is inside, who waits.

use crate::{AccessKind, Epoch, Reason};
use std::fmt;
use std::time::Duration;

/// The state of a gate as its consumers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateState {
    /// Accesses enter.
    Open,
    /// A closer is in or draining; accesses wait.
    Blocked(Reason),
    /// Accesses are refused until somebody thaws.
    Frozen,
    /// Accesses are refused for good.
    Gone,
}

/// What kind of thing is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsideKind {
    /// A short pass; it is known by its thread only.
    Short,
    /// A long pass.
    Long(AccessKind),
    /// A closer that holds a proof.
    Proof(Reason),
}

/// Something inside a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Its kind.
    pub kind: InsideKind,
    /// What it says it does (long pass), or the name of its thread (short pass).
    pub what: String,
    /// How long it has been inside, to a few milliseconds; unknown for short passes.
    pub age: Option<Duration>,
    /// The epoch it entered in; unknown for short passes.
    pub epoch: Option<Epoch>,
}

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            InsideKind::Short => write!(f, "short pass of thread {}", self.what)?,
            InsideKind::Long(kind) => write!(f, "{} ({kind:?})", self.what)?,
            InsideKind::Proof(reason) => write!(f, "closer for a {reason}")?,
        }
        match self.age {
            Some(age) => write!(f, " for {} ms", age.as_millis()),
            None => Ok(()),
        }
    }
}

/// Entries refused since the gate was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Blocked by a closer (for waiting entries: past their deadline).
    pub blocked: u64,
    /// Frozen.
    pub frozen: u64,
    /// Gone.
    pub gone: u64,
    /// By a handle of an older epoch.
    pub stale: u64,
}

/// A picture of a gate, taken under its lock.
#[derive(Clone, Debug)]
pub struct GateStatus {
    /// The gate's name.
    pub name: String,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its state.
    pub state: GateState,
    /// Why it is closed, also while it is frozen or gone at the same time.
    pub reason: Option<Reason>,
    /// How long it has been in this state.
    pub since: Duration,
    /// Proof, short and long passes inside.
    pub inside: Vec<Inside>,
    /// Accesses waiting to enter.
    pub waiting_accesses: usize,
    /// Closers waiting for their turn.
    pub waiting_closers: usize,
    /// Entries refused so far.
    pub refused: Refused,
}

/// What is left of an epoch that was retired.
#[derive(Clone, Debug, Default)]
#[must_use = "orphans are still inside and must be shown to the operator"]
pub struct Retired {
    /// What was still inside at the deadline: it keeps its memory and reaches the device no more.
    pub orphans: Vec<Inside>,
}
