//! Whether a function can be reached, in the words of error recovery (CFG-18).
//!
//! There is no second flag: the state is the gate's. *Normal* is a gate that is open or closed for a time, *frozen* is
//! frozen, *permanent failure* is gone. The gate changes them under its lock, one compare and exchange: freezing and
//! thawing undo each other, and nothing leads out of *gone*.

use super::Function;
use crate::observe::FunctionEvent;
use gate::{Deadline, GateState, Retired, ThreadToken};

/// Whether a function can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IoState {
    /// It can, perhaps after a wait.
    Normal,
    /// Not until somebody thaws or resets it: reads give all-ones, writes are dropped.
    Frozen,
    /// Never again: the device was removed or given up.
    PermanentFailure,
}

impl Function {
    /// Whether the function can be reached.
    #[must_use]
    pub fn io_state(&self) -> IoState {
        if self.handle.is_gone() {
            return IoState::PermanentFailure;
        }
        match self.gate.status().state {
            GateState::Open | GateState::Blocked(_) => IoState::Normal,
            GateState::Frozen => IoState::Frozen,
            GateState::Gone => IoState::PermanentFailure,
        }
    }

    /// Freezes the function at once, waiting for nothing, so this may be called with passes held. False if it was
    /// frozen already, or is gone.
    pub fn freeze(&self, why: &str) -> bool {
        let frozen = self.handle.freeze();
        if frozen {
            self.count_reads_anew();
            self.tell(&FunctionEvent::Frozen { why });
        }
        frozen
    }

    /// Ends a freeze without a reset. False if the function is not frozen, is contained, or is gone: that is terminal.
    pub fn thaw(&self) -> bool {
        self.handle.thaw()
    }

    /// Gives the function up: from now on nothing reaches it, in this state or any other. Then waits to the deadline for
    /// what is inside, and answers what still was. If it was given up before, there is only the waiting.
    pub fn disconnect(&self, token: &mut ThreadToken, deadline: Deadline) -> Retired {
        self.gate.retire_epoch_of(&self.handle, token, deadline)
    }
}
