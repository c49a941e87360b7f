//! Drivers in this process.

use super::{Party, Reply};
use crate::plan::{Answer, Call, Role};
use gate::ThreadToken;
use pci_core::Function;
use slot::{Controller, DriverAnswer, DriverCall, DriverInfo};
use std::sync::Arc;

/// A driver in this process. It is called by whoever drives the slot of its function, in its turn with everything else that
/// happens there; so calls to drivers of different slots run side by side.
pub struct Driver {
    slot: Arc<Controller>,
    function: Arc<Function>,
    info: DriverInfo,
    needs_fundamental_reset: bool,
}

impl Driver {
    /// The driver that `slot` names for `function`.
    #[must_use]
    pub fn new(slot: Arc<Controller>, function: Arc<Function>, info: DriverInfo) -> Driver {
        Driver { slot, function, info, needs_fundamental_reset: false }
    }

    /// A hot reset is not enough for its function (EEH-04).
    #[must_use]
    pub fn needing_fundamental_reset(self) -> Driver {
        Driver { needs_fundamental_reset: true, ..self }
    }
}

impl Party for Driver {
    fn name(&self) -> String {
        self.info.name.to_string()
    }

    fn role(&self) -> Role {
        if self.info.handlers.is_empty() { Role::Unaware } else { Role::Aware(self.info.handlers) }
    }

    fn needs_fundamental_reset(&self) -> bool {
        self.needs_fundamental_reset
    }

    fn call(&self, _token: &mut ThreadToken, call: Call, reply: Reply) {
        match of_driver(call) {
            Some(of_driver) => {
                let answer = move |answered| give(reply, call, answered);
                self.slot.call_driver(&self.function, of_driver, Box::new(answer));
            }
            // It is no model.
            None => reply.answer(Answer::Done),
        }
    }
}

fn of_driver(call: Call) -> Option<DriverCall> {
    Some(match call {
        Call::ErrorDetected(channel) => DriverCall::ErrorDetected(channel),
        Call::MmioEnabled => DriverCall::MmioEnabled,
        Call::SlotReset => DriverCall::SlotReset,
        Call::Resume => DriverCall::Resume,
        Call::CorErrorDetected => DriverCall::CorErrorDetected,
        Call::Unbind => DriverCall::Unbind,
        Call::Probe => DriverCall::Probe,
        Call::Quiesce | Call::Save | Call::Restore => return None,
    })
}

fn give(reply: Reply, call: Call, answered: DriverAnswer) {
    match answered {
        DriverAnswer::Vote(vote) => reply.answer(Answer::Vote(vote)),
        DriverAnswer::Done => reply.answer(Answer::Done),
        DriverAnswer::Failed => reply.answer(Answer::Failed),
        DriverAnswer::Lost => drop(reply),
        // Nobody took it, which is an answer; in every other call, whoever had it has let go, and nothing is left to be told.
        DriverAnswer::NoDriver if call == Call::Probe => reply.answer(Answer::Failed),
        DriverAnswer::NoDriver => reply.answer(Answer::Done),
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("name", &self.info.name).finish_non_exhaustive()
    }
}
