//! The faults that an endpoint-test function can be made to have.
//!
//! Concurrency: one atomic, looked at by every access to a BAR.

use std::sync::atomic::{AtomicU8, Ordering};

use assign::Port;
use gate::Pass;
use pci_core::{ErrorSign, FaultName, InjectError};

/// What [`Faults::inject`] knows.
pub(super) const FAULTS: &[FaultName] = &[
    FaultName {
        name: ALL_ONES,
        what: "BARs read all-ones and writes are lost, as behind a dead link, until a reset",
    },
    FaultName { name: REGISTER_PANIC, what: "the next access to a BAR panics in the device model" },
    FaultName { name: DMA_FAULT, what: "a DMA from the address in the source register is refused" },
];

const ALL_ONES: &str = "all-ones";
const REGISTER_PANIC: &str = "register-panic";
const DMA_FAULT: &str = "dma-fault";

const NONE: u8 = 0;
const UNREACHABLE: u8 = 1;
const PANIC: u8 = 2;

/// What an access runs into.
#[derive(Debug, Default)]
pub(super) struct Faults(AtomicU8);

impl Faults {
    /// Whether nobody is there to answer an access. The one that is to panic does.
    #[inline]
    pub(super) fn stand_in_the_way(&self) -> bool {
        self.0.load(Ordering::Relaxed) != NONE && self.fall_into()
    }

    #[cold]
    fn fall_into(&self) -> bool {
        if self.0.compare_exchange(PANIC, NONE, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            panic!("a panic of an endpoint-test function, as it was asked for");
        }
        self.0.load(Ordering::Relaxed) == UNREACHABLE
    }

    /// As after power-on.
    pub(super) fn clear(&self) {
        self.0.store(NONE, Ordering::Relaxed);
    }

    /// Makes the function have a fault; `iova` is what it would read next.
    ///
    /// # Errors
    /// [`InjectError::Unknown`].
    pub(super) fn inject(
        &self,
        port: &Port,
        pass: &Pass<'_>,
        fault: &str,
        iova: u64,
    ) -> Result<(), InjectError> {
        match fault {
            ALL_ONES => self.0.store(UNREACHABLE, Ordering::Relaxed),
            REGISTER_PANIC => self.0.store(PANIC, Ordering::Relaxed),
            DMA_FAULT => port.fault(pass.token(), ErrorSign::DmaFault { iova }),
            _ => return Err(InjectError::Unknown { known: FAULTS }),
        }
        Ok(())
    }
}
