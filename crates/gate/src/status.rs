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
    /// What it says it does (long pass), or the name of its thread (short pass, closer).
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
            InsideKind::Proof(reason) => write!(f, "closer for a {reason}, thread {}", self.what)?,
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

/// The closer that drains the gate or keeps it closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateOwner {
    /// The name of its thread; of a parked gate, of the thread that closed it.
    pub thread: String,
    /// Why it closed the gate.
    pub reason: Reason,
    /// How long it has had the gate.
    pub since: Duration,
    /// It waits for accesses to leave.
    pub draining: bool,
    /// It waits for a delay of the hardware and has no proof: see [`crate::Closed`].
    pub parked: bool,
}

/// What a thread waits for at a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsTo {
    /// To be let in.
    Enter(AccessKind),
    /// For its turn, or for accesses to leave.
    Close(Reason),
    /// For what is inside of a function that was removed.
    Retire,
    /// For a delay of the hardware, with the gate closed.
    Resume(Reason),
}

/// A thread that waits at a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The thread's name.
    pub thread: String,
    /// What it waits for.
    pub to: WaitsTo,
    /// For how long.
    pub since: Duration,
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
    /// Who keeps it closed.
    pub owner: Option<GateOwner>,
    /// How many contain it; see [`crate::Gate::contain`].
    pub contained: u32,
    /// How long it has been in this state.
    pub since: Duration,
    /// Proof, short and long passes inside.
    pub inside: Vec<Inside>,
    /// Accesses waiting to enter.
    pub waiting_accesses: usize,
    /// Closers waiting for their turn.
    pub waiting_closers: usize,
    /// Who waits, as far as it has gone to sleep: read after the rest, from what each thread says of itself.
    pub waiters: Vec<Waiter>,
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
