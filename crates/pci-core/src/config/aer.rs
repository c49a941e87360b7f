//! Error records: Device Status and Advanced Error Reporting, as a device notes an error in them.
//!
//! PCIe 6.0 s6.2.5 *Sequence of Device Error Signaling and Logging Operations*. Recording only: no message is sent, and
//! what follows from an error (a freeze, recovery) is decided elsewhere.

use super::{ConfigSpace, halves};
use pci_spec::aer::{self, Correctable, Uncorrectable};
use pci_spec::capability::express::{self, DeviceStatus};

impl ConfigSpace {
    /// Records errors that cost nothing.
    pub fn record_correctable(&self, errors: Correctable) {
        self.note(DeviceStatus::CORRECTABLE_ERROR);
        if let Some(at) = self.layout.positions.aer {
            let errors = errors & aer::CORRECTABLE_ENDPOINT;
            self.set_bits(dword(at, aer::CORRECTABLE_STATUS), errors.bits(), true);
        }
    }

    /// Records one error that cost a transaction, with the header of its packet. The header is kept only if no earlier
    /// error is still recorded, as the first one is what explains the others. Errors an endpoint cannot have are
    /// ignored.
    ///
    /// Two threads that record at once may mix their headers; which error was first is always consistent.
    pub fn record_uncorrectable(&self, error: Uncorrectable, header: [u32; 4]) {
        let error = Uncorrectable::from_bits_retain(lowest(error & aer::UNCORRECTABLE_ENDPOINT));
        if error.is_empty() {
            return;
        }
        let severity = self.layout.positions.aer.map_or(aer::UNCORRECTABLE_SEVERITY_DEFAULT, |at| {
            self.dword(dword(at, aer::UNCORRECTABLE_SEVERITY))
        });
        let fatal = severity & error.bits() != 0;
        let class = if fatal { DeviceStatus::FATAL_ERROR } else { DeviceStatus::NON_FATAL_ERROR };
        let request = DeviceStatus::UNSUPPORTED_REQUEST;
        let unsupported = error == Uncorrectable::UNSUPPORTED_REQUEST;
        self.note(if unsupported { class | request } else { class });
        if let Some(at) = self.layout.positions.aer {
            self.log_uncorrectable(at, error, header);
        }
    }

    fn log_uncorrectable(&self, at: u16, error: Uncorrectable, header: [u32; 4]) {
        let earlier = self.update(dword(at, aer::UNCORRECTABLE_STATUS), |old| old | error.bits());
        let masked = self.dword(dword(at, aer::UNCORRECTABLE_MASK)) & error.bits() != 0;
        if earlier != Some(0) || masked {
            return;
        }
        let pointer = error.bits().trailing_zeros();
        let _old = self.update(dword(at, aer::CONTROL), |old| old & !aer::FIRST_ERROR_POINTER_MASK | pointer);
        for (index, value) in (dword(at, aer::HEADER_LOG)..).zip(header) {
            let _old = self.update(index, |_| value);
        }
    }

    fn note(&self, status: DeviceStatus) {
        if let Some(at) = self.layout.positions.express {
            let index = dword(at, express::DEVICE_CONTROL);
            self.set_bits(index, u32::from(status.bits()) << 16, true);
        }
    }

    /// Device Status, in one load; empty for a function that is not PCI Express.
    #[must_use]
    pub fn device_status(&self) -> DeviceStatus {
        let at = self.layout.positions.express;
        let status = at.map_or(0, |at| halves(self.dword(dword(at, express::DEVICE_CONTROL))).1);
        DeviceStatus::from_bits_truncate(status)
    }
}

/// The dword of a register at `offset` in the capability at `at`.
fn dword(at: u16, offset: u16) -> usize {
    usize::from((at + offset) / 4)
}

/// The lowest bit set, or 0.
fn lowest(errors: Uncorrectable) -> u32 {
    errors.bits() & errors.bits().wrapping_neg()
}
