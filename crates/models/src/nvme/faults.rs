//! The faults that a controller can be made to have.
//!
//! Each leaves the controller's state as it was, so that it can be saved and, after a reset, restored: what is injected is
//! the failure of a device, not the loss of what it knows. A doorbell that is written meanwhile counts afterwards.
//!
//! A fault that the device itself would notice is reported to whoever watches the function ([`assign::Port::fault`]); the others
//! have to be found by others: all-ones by who reads them, a hang by who waits.

use gate::Pass;
use pci_core::{ErrorSign, FaultName, InjectError};

use super::board::Trap;
use super::engine::Halt;
use super::outbox::Outbox;
use super::shared::{Order, Shared};

const ALL_ONES: &str = "all-ones";
const CONTROLLER_FATAL: &str = "controller-fatal";
const REGISTER_PANIC: &str = "register-panic";
const WORKER_PANIC: &str = "worker-panic";
const DMA_FAULT: &str = "dma-fault";
const HANG: &str = "hang";

/// What [`inject`] knows.
pub(super) const FAULTS: &[FaultName] = &[
    FaultName {
        name: ALL_ONES,
        what: "registers read all-ones, writes are lost and nothing is done, as behind a dead link, until the function is reset",
    },
    FaultName {
        name: CONTROLLER_FATAL,
        what: "CSTS.CFS is 1 and nothing is done, until a reset of the controller or the function",
    },
    FaultName { name: REGISTER_PANIC, what: "the next access to BAR 0 panics in the device model" },
    FaultName { name: WORKER_PANIC, what: "the thread of the device model panics" },
    FaultName { name: DMA_FAULT, what: "the next DMA is refused, and nothing is done until a reset" },
    FaultName { name: HANG, what: "no command is taken or answered, until a reset" },
];

/// Makes the controller have a fault.
///
/// # Errors
/// [`InjectError`]: there is no such fault, or no thread that could panic.
pub(super) fn inject(
    shared: &Shared,
    pass: &Pass<'_>,
    fault: &str,
    has_worker: impl FnOnce() -> bool,
) -> Result<(), InjectError> {
    let sign = match fault {
        ALL_ONES => {
            shared.board.set_trap(Trap::Unreachable);
            shared.halt(pass, Halt::Unreachable);
            None
        }
        CONTROLLER_FATAL => {
            shared.halt(pass, Halt::Fatal);
            Some(ErrorSign::DeviceFault("the NVMe controller is in a fatal state"))
        }
        REGISTER_PANIC => {
            shared.board.set_trap(Trap::Panic);
            None
        }
        WORKER_PANIC if has_worker() => {
            shared.order(Order::Panic);
            shared.waker.notify();
            None
        }
        WORKER_PANIC => {
            return Err(InjectError::NotNow("the controller was never enabled, and has no thread yet"));
        }
        DMA_FAULT => {
            let iova = shared.with_engine(pass, &mut Outbox::default(), |engine, _| engine.next_fetch());
            shared.halt(pass, Halt::Dma);
            Some(ErrorSign::DmaFault { iova })
        }
        HANG => {
            shared.halt(pass, Halt::Hung);
            None
        }
        _ => return Err(InjectError::Unknown { known: FAULTS }),
    };
    if let Some(sign) = sign {
        shared.port.fault(pass.token(), sign);
    }
    Ok(())
}

/// What the fault `register-panic` is.
#[cold]
pub(super) fn panic_in_register() {
    panic!("a panic in a register of an NVMe controller, as it was asked for");
}
