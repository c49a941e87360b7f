//! The PE of a function that is assigned to a consumer.

use super::{PassedPe, PeStatus};
use crate::containment::{Containment, RefusedError, Then};
use crate::inject::ErrorInjection;
use crate::pe::{Held, Holder, PeState};
use crate::plan::{PlatformState, Queried, RESET_HOLD, RESET_SETTLE, Reset, Thaw, Traffic};
use crate::platform::{ClosedFunctions, ResetRequest};
use crate::tree::{PeFunction, Snapshot};
use gate::{Deadline, ThreadToken};
use pci_core::Errno;
use pci_spec::Bdf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A PE for as long as a consumer has a function of it: it counts as passed through (EEH-21), and is held by name.
#[derive(Debug)]
pub struct AssignedPe {
    containment: Arc<Containment>,
    pe: Held,
    /// The consumer has thawed DMA before MMIO: both come with MMIO.
    dma_thawed: AtomicBool,
}

/// What a PE in reset does not answer to.
const IN_RESET: PeState = PeState::RESET.union(PeState::CFG_BLOCKED);

impl AssignedPe {
    /// A consumer opens the function at `function` (EEH-24): a PE that stays frozen is thawed, and from now on the consumer deals with its
    /// errors.
    ///
    /// # Errors
    /// `ENODEV` if the function is in no PE; `EBUSY` if the PE is being recovered: try again later.
    pub fn open(
        containment: &Arc<Containment>,
        token: &mut ThreadToken,
        function: Bdf,
    ) -> Result<AssignedPe, Errno> {
        let found = containment.tree().of_function(token, function, Holder::Assignment);
        let (pe, _function) = found.ok_or(Errno::ENODEV)?;
        // Counted by what gives it back: also if opening fails.
        let is_first = pe.pass_through();
        let opened = AssignedPe { containment: containment.clone(), pe, dma_thawed: AtomicBool::new(false) };
        if opened.is_isolated() {
            opened.take_over(token)?;
        } else if is_first && opened.not_recovering().is_ok() {
            // The last one may have left in the middle of a thaw: MMIO, and DMA not yet.
            opened.pe.clear(IN_RESET);
            opened.hold_dma(token, false);
        }
        Ok(opened)
    }

    /// The PE.
    pub fn pe(&self) -> &Held {
        &self.pe
    }

    fn is_isolated(&self) -> bool {
        self.pe.state().contains(PeState::ISOLATED)
    }

    /// The functions of the PE and of those below it, parents before children.
    fn functions(&self, snapshot: &Snapshot) -> Vec<Arc<PeFunction>> {
        let mut functions = Vec::new();
        for visit in snapshot.walk(self.pe.address()) {
            let first = functions.len();
            functions.extend(snapshot.functions(visit.pe().address()).cloned());
            if let Some(of_this_pe) = functions.get_mut(first..) {
                of_this_pe.sort_by_key(|function| function.address);
            }
        }
        functions
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.containment.parts().settings.call_timeout)
    }

    /// Thaws the gates; one that is not frozen by itself is as it should be.
    fn thaw_gates(&self, token: &mut ThreadToken) -> Result<(), Errno> {
        match self.containment.thaw(token, self.pe.address()) {
            Ok(()) | Err(RefusedError::NotFrozen(_)) => Ok(()),
            Err(RefusedError::Recovering(_)) => Err(Errno::EBUSY),
            Err(RefusedError::NoPe(_) | RefusedError::NoFunction(_)) => Err(Errno::ENODEV),
        }
    }

    /// The hardware's part of a thaw.
    fn thaw_hardware(&self, token: &mut ThreadToken, traffic: Traffic) -> Result<(), Errno> {
        let functions = self.functions(&self.containment.tree().snapshot(token));
        match self.containment.parts().platform.thaw(token, &self.pe, &functions, traffic) {
            Thaw::Done => Ok(()),
            Thaw::NeedsReset | Thaw::Failed => Err(Errno::EIO),
        }
    }

    fn hold_dma(&self, token: &ThreadToken, held: bool) {
        for function in self.functions(&self.containment.tree().snapshot(token)) {
            if held {
                function.function.config().hold_dma(true);
            } else {
                function.function.release_dma(token);
            }
        }
    }

    fn how(&self, fundamental: bool) -> Reset {
        let scale = self.containment.parts().settings.time_scale.clamp(0.0, 1.0);
        let [hold, settle] = [RESET_HOLD, RESET_SETTLE].map(|time| time.mul_f64(scale));
        if fundamental { Reset::Fundamental { hold, settle } } else { Reset::Hot { hold, settle } }
    }

    /// Refused while a recovery has the PE, also with one above it, or is about to.
    fn not_recovering(&self) -> Result<(), Errno> {
        let recovering = self.pe.state().contains(PeState::RECOVERING);
        if recovering || self.containment.is_being_recovered(&self.pe) { Err(Errno::EBUSY) } else { Ok(()) }
    }
}

impl PassedPe for AssignedPe {
    fn is_present(&self, _token: &mut ThreadToken) -> bool {
        !self.pe.state().contains(PeState::INVALID)
    }

    fn is_enabled(&self) -> bool {
        self.containment.is_enabled()
    }

    fn status(&self, token: &mut ThreadToken) -> Result<PeStatus, Errno> {
        let snapshot = self.containment.tree().snapshot(token);
        let busy = PeState::ISOLATED | PeState::RECOVERING;
        let above_is_recovered = snapshot.up(self.pe.address()).skip(1).any(|pe| pe.state().intersects(busy));
        let own = self.pe.state();
        let functions = self.functions(&snapshot);
        let state = if own.contains(PeState::RESET) {
            PlatformState::RESET_ACTIVE
        } else if own.contains(PeState::RECOVERING) {
            PlatformState::UNAVAILABLE
        } else if own.contains(PeState::ISOLATED) {
            PlatformState::empty()
        } else {
            // Only what is not frozen can be asked.
            match self.containment.parts().platform.state(token, &self.pe, &functions) {
                Queried::Is(hardware) if !hardware.contains(PlatformState::UNAVAILABLE) => {
                    enabled(&functions)
                }
                Queried::Is(_) | Queried::AskAgain(_) => PlatformState::UNAVAILABLE,
                Queried::Failed => return Err(Errno::EIO),
            }
        };
        Ok(PeStatus { state, above_is_recovered, removed: own.contains(PeState::REMOVED) })
    }

    fn take_over(&self, token: &mut ThreadToken) -> Result<(), Errno> {
        self.not_recovering()?;
        self.thaw_gates(token)?;
        self.pe.clear(IN_RESET);
        self.hold_dma(token, false);
        Ok(())
    }

    fn thaw(&self, token: &mut ThreadToken, traffic: Traffic) -> Result<(), Errno> {
        self.not_recovering()?;
        if self.pe.state().contains(PeState::RESET) {
            return Err(Errno::EIO);
        }
        self.thaw_hardware(token, traffic)?;
        match (traffic, self.is_isolated()) {
            (Traffic::Mmio, true) => {
                // Before anything gets in: DMA stays frozen until it is thawed in its turn.
                self.hold_dma(token, !self.dma_thawed.swap(false, Ordering::AcqRel));
                self.thaw_gates(token)
            }
            (Traffic::Mmio, false) => Ok(()),
            (Traffic::Dma, true) => {
                self.dma_thawed.store(true, Ordering::Release);
                Ok(())
            }
            (Traffic::Dma, false) => {
                self.hold_dma(token, false);
                Ok(())
            }
        }
    }

    fn begin_reset(&self, token: &mut ThreadToken, fundamental: bool) -> Result<(), Errno> {
        self.not_recovering()?;
        let why = "its consumer resets it";
        match self.containment.freeze(token, self.pe.address(), why, Then::Stay) {
            Ok(()) => {}
            Err(RefusedError::Recovering(_) | RefusedError::NotFrozen(_)) => return Err(Errno::EBUSY),
            Err(RefusedError::NoPe(_) | RefusedError::NoFunction(_)) => return Err(Errno::ENODEV),
        }
        let functions = self.functions(&self.containment.tree().snapshot(token));
        let deadline = self.deadline();
        let mut closed = ClosedFunctions::default();
        closed.close(token, &functions, deadline).map_err(|_| Errno::EBUSY)?;
        self.pe.set(IN_RESET);
        let request = ResetRequest { pe: &self.pe, functions: &functions, how: self.how(fundamental) };
        if self.containment.parts().platform.reset(token, &request, &mut closed, deadline) {
            return Ok(());
        }
        self.pe.clear(IN_RESET);
        Err(Errno::EIO)
    }

    fn end_reset(&self, token: &mut ThreadToken) -> Result<(), Errno> {
        self.not_recovering()?;
        if !self.pe.state().contains(PeState::RESET) {
            return Ok(());
        }
        let functions = self.functions(&self.containment.tree().snapshot(token));
        if !self.containment.parts().platform.unfreeze(token, &self.pe, &functions) {
            return Err(Errno::EIO);
        }
        self.pe.clear(IN_RESET);
        self.hold_dma(token, false);
        self.thaw_gates(token)
    }

    fn configure(&self, token: &mut ThreadToken) -> Result<(), Errno> {
        self.not_recovering()?;
        let functions = self.functions(&self.containment.tree().snapshot(token));
        let deadline = self.deadline();
        let mut closed = ClosedFunctions::default();
        closed.close(token, &functions, deadline).map_err(|_| Errno::EBUSY)?;
        let platform = &self.containment.parts().platform;
        let restored = platform.restore_config(token, &self.pe, &functions, &mut closed, deadline);
        if restored { Ok(()) } else { Err(Errno::EIO) }
    }

    fn inject(&self, token: &mut ThreadToken, error: &ErrorInjection) -> Result<(), Errno> {
        let injected = self.containment.inject_into(token, self.pe.address(), error);
        injected.map(|_at| ()).map_err(|error| error.errno())
    }
}

/// The consumer has gone, or its function has: one fewer (EEH-24).
impl Drop for AssignedPe {
    fn drop(&mut self) {
        self.pe.take_back();
    }
}

fn enabled(functions: &[Arc<PeFunction>]) -> PlatformState {
    let held = functions.iter().any(|function| function.function.config().is_dma_held());
    let dma = if held { PlatformState::empty() } else { PlatformState::DMA_ENABLED };
    PlatformState::MMIO_ENABLED | dma
}
