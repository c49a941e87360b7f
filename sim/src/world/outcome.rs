//! How a run is asked for, and what became of it.

use crate::invariants::Violation;
use std::time::Duration;

/// How a world is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Makes the plan and everything that happens.
    pub seed: u64,
    /// 1 to [`MOST_SLOTS`](crate::MOST_SLOTS).
    pub slots: usize,
    /// The machine has the s390 view too.
    pub zpci: bool,
    /// Gets every line of the trace.
    pub out: Option<fn(&str)>,
    /// Descriptors, mappings and threads of the process are counted too: nothing else may have any that come and go.
    pub counts_process: bool,
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Steps that were made.
    pub steps: u64,
    /// Virtual time that passed.
    pub time: Duration,
    /// Hash of the trace.
    pub hash: u64,
    /// Operations that ended.
    pub operations: u64,
    /// Times that a slot was on.
    pub plugged: u64,
    /// Function handles that were given out.
    pub handles: u64,
    /// The first thing that was not as it has to be.
    pub violation: Option<Violation>,
    /// The last lines of the trace.
    pub last: Vec<String>,
}
