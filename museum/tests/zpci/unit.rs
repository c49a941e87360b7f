//! The machine around the slots: it resets their functions, and takes reports.

use crate::slots::board::Board;
use gate::{CloseError, Deadline, ThreadToken};
use pci_core::Function;
use reset::Error;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use zpci::hotplug::{ErrorReport, ReportRefused, ResetFailure, Unit};
use zpci::{Fid, Handle, User};

/// Bytes of the longest block store.
pub(super) const MAX_STORE: u16 = 128;

/// How often it looks again at what changes under it.
const LOOKS: usize = 20;

/// See the module's head.
pub(super) struct Machinery(pub(super) Arc<Board>);

impl Machinery {
    /// Resets the function where it is now; looks again if its virtual functions came or went meanwhile.
    fn reset_as_found(
        &self,
        token: &mut ThreadToken,
        function: &Arc<Function>,
        deadline: Deadline,
    ) -> Result<(), ResetFailure> {
        let board = &self.0;
        let mut why = String::new();
        for _ in 0..LOOKS {
            let snapshot = board.snapshot(token);
            let node = snapshot.iter().find(|node| Arc::ptr_eq(&node.function, function));
            let Some(node) = node else {
                return Err(ResetFailure::Untouched(String::from("not in the topology")));
            };
            match board.resets.reset_function(token, &snapshot, node.address, deadline) {
                Ok(_) => return Ok(()),
                Err(error @ (Error::Changed | Error::NotClosed { cause: CloseError::Gone, .. })) => {
                    why = error.to_string();
                }
                Err(error @ (Error::Busy { .. } | Error::NotClosed { .. } | Error::NotThere)) => {
                    return Err(ResetFailure::Untouched(error.to_string()));
                }
                Err(error) => return Err(ResetFailure::Failed(error.to_string())),
            }
        }
        Err(ResetFailure::Untouched(why))
    }
}

impl Unit for Machinery {
    fn reset(
        &self,
        token: &mut ThreadToken,
        function: &Arc<Function>,
        deadline: Deadline,
    ) -> Result<(), ResetFailure> {
        // A panic in here is a failure of the reset for who has asked for it, and one of the machine for us.
        let reset = catch_unwind(AssertUnwindSafe(|| self.reset_as_found(token, function, deadline)));
        reset.unwrap_or_else(|panic| {
            self.0.journal.demand(false, || format!("{}: a panic while it is reset", function.name()));
            resume_unwind(panic)
        })
    }

    fn virtual_functions_on(&self, function: &Function) -> u16 {
        function.config().sr_iov().filter(|virtuals| virtuals.enabled).map_or(0, |virtuals| virtuals.num_vfs)
    }

    fn user(&self, _function: &Function) -> User {
        User::Driver
    }

    fn report(&self, fid: Fid, _handle: Handle, _report: &ErrorReport<'_>) -> Result<(), ReportRefused> {
        if fid.0 & 0xff == 0 { Ok(()) } else { Err(ReportRefused::NoFacility) }
    }
}
