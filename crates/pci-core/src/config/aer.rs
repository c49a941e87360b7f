//! Error records: Device Status and Advanced Error Reporting, as a device notes an error in them.
//!
//! PCIe 6.0 s6.2.5 *Sequence of Device Error Signaling and Logging Operations*. Recording only: whoever records an error is
//! told which message the function would send for it, and what follows from that (a port's record, a freeze, recovery) is
//! decided elsewhere. Device Control's enables are not looked at: they are the consumer's, and the platform that owns error
//! handling hears of errors whatever its guest has switched off.

use super::{ConfigSpace, halves};
use pci_spec::aer::{self, Correctable, Message, RootStatus, Uncorrectable};
use pci_spec::capability::express::{self, DeviceStatus};

/// What a function's AER capability shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorRecords {
    /// Uncorrectable errors since the last clearing, masked ones too.
    pub uncorrectable: Uncorrectable,
    /// Which of them are not reported.
    pub uncorrectable_mask: Uncorrectable,
    /// Which of them are fatal.
    pub severity: Uncorrectable,
    /// Correctable errors since the last clearing, masked ones too.
    pub correctable: Correctable,
    /// Which of them are not reported.
    pub correctable_mask: Correctable,
    /// The uncorrectable error that was logged first, as long as it is not cleared.
    pub first: Option<Uncorrectable>,
    /// The header of the packet of that error.
    pub header: [u32; 4],
}

/// What a root port has heard from below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RootErrors {
    /// Which messages have arrived.
    pub status: RootStatus,
    /// Routing ID of the sender of the first message of a correctable error.
    pub correctable_source: u16,
    /// Routing ID of the sender of the first message of another error.
    pub uncorrectable_source: u16,
}

impl ConfigSpace {
    /// Records errors that cost nothing. Answers those that are not masked, for which the function sends one message.
    pub fn record_correctable(&self, errors: Correctable) -> Correctable {
        let errors = errors & aer::CORRECTABLE_ENDPOINT;
        if errors.is_empty() {
            return errors;
        }
        self.note(DeviceStatus::CORRECTABLE_ERROR);
        let Some(at) = self.layout.positions.aer else { return errors };
        self.set_bits(dword(at, aer::CORRECTABLE_STATUS), errors.bits(), true);
        let masked = Correctable::from_bits_truncate(self.dword(dword(at, aer::CORRECTABLE_MASK)));
        errors - masked
    }

    /// Records one error that cost a transaction, with the header of its packet. The header is kept only if no earlier
    /// error is still recorded, as the first one is what explains the others. Errors that the function cannot have are
    /// ignored. Answers the message that the function sends for it: none if the error is masked.
    ///
    /// Two threads that record at once may mix their headers; which error was first is always consistent.
    pub fn record_uncorrectable(&self, error: Uncorrectable, header: [u32; 4]) -> Option<Message> {
        let error = Uncorrectable::from_bits_retain(lowest(error & self.uncorrectable_possible()));
        if error.is_empty() {
            return None;
        }
        let message = if self.is_fatal(error) { Message::Fatal } else { Message::NonFatal };
        let class = match message {
            Message::Fatal => DeviceStatus::FATAL_ERROR,
            _ => DeviceStatus::NON_FATAL_ERROR,
        };
        let request = DeviceStatus::UNSUPPORTED_REQUEST;
        let unsupported = error == Uncorrectable::UNSUPPORTED_REQUEST;
        self.note(if unsupported { class | request } else { class });
        match self.layout.positions.aer {
            Some(at) => self.log_uncorrectable(at, error, header).then_some(message),
            None => Some(message),
        }
    }

    /// Records in a root port that a message of `source` (a routing ID) has arrived. The source of a second one is not
    /// kept. True if the function is a root port that keeps such records.
    ///
    /// PCIe 6.0 s6.2.4.1.2 *Root Complex Error Reporting*.
    pub fn record_message(&self, message: Message, source: u16) -> bool {
        let Some(at) = self.layout.positions.root_errors else { return false };
        let (first, again, shift) = match message {
            Message::Correctable => (RootStatus::CORRECTABLE, RootStatus::MULTIPLE_CORRECTABLE, 0),
            _ => (RootStatus::UNCORRECTABLE, RootStatus::MULTIPLE_UNCORRECTABLE, 16),
        };
        let heard = |old: u32| {
            let old = RootStatus::from_bits_retain(old);
            let severity = match (message, old.contains(first)) {
                (Message::Correctable, _) => RootStatus::empty(),
                (Message::NonFatal, _) => RootStatus::NON_FATAL,
                (Message::Fatal, true) => RootStatus::FATAL,
                (Message::Fatal, false) => RootStatus::FATAL | RootStatus::FIRST_UNCORRECTABLE_FATAL,
            };
            let more = if old.contains(first) { again } else { RootStatus::empty() };
            (old | first | severity | more).bits()
        };
        let old = self.update(dword(at, aer::ROOT_ERROR_STATUS), heard).unwrap_or(0);
        if old & first.bits() == 0 {
            let keep = |sources: u32| sources & !(0xffff << shift) | u32::from(source) << shift;
            let _old = self.update(dword(at, aer::ERROR_SOURCE), keep);
        }
        true
    }

    /// What the AER capability shows; nothing without one.
    #[must_use]
    pub fn error_records(&self) -> Option<ErrorRecords> {
        let at = self.layout.positions.aer?;
        let read = |offset| self.dword(dword(at, offset));
        let uncorrectable = Uncorrectable::from_bits_truncate(read(aer::UNCORRECTABLE_STATUS));
        let pointer = read(aer::CONTROL) & aer::FIRST_ERROR_POINTER_MASK;
        let first = Uncorrectable::from_bits_truncate(1 << pointer);
        Some(ErrorRecords {
            uncorrectable,
            uncorrectable_mask: Uncorrectable::from_bits_truncate(read(aer::UNCORRECTABLE_MASK)),
            severity: Uncorrectable::from_bits_truncate(read(aer::UNCORRECTABLE_SEVERITY)),
            correctable: Correctable::from_bits_truncate(read(aer::CORRECTABLE_STATUS)),
            correctable_mask: Correctable::from_bits_truncate(read(aer::CORRECTABLE_MASK)),
            // The pointer tells of an error only as long as that error is recorded.
            first: Some(first).filter(|first| uncorrectable.intersects(*first)),
            header: [0, 4, 8, 12].map(|offset| read(aer::HEADER_LOG + offset)),
        })
    }

    /// What a root port has heard from below; nothing if it keeps no such records.
    #[must_use]
    pub fn root_errors(&self) -> Option<RootErrors> {
        let at = self.layout.positions.root_errors?;
        let (correctable_source, uncorrectable_source) = halves(self.dword(dword(at, aer::ERROR_SOURCE)));
        let status = RootStatus::from_bits_truncate(self.dword(dword(at, aer::ROOT_ERROR_STATUS)));
        Some(RootErrors { status, correctable_source, uncorrectable_source })
    }

    /// Clears what is recorded of errors, as software does once it has dealt with them (AER-06): Device Status, AER's two
    /// status registers, and what a root port has heard. An error that is recorded meanwhile may be cleared with the others.
    pub fn clear_error_records(&self) {
        if let Some(at) = self.layout.positions.express {
            let index = dword(at, express::DEVICE_CONTROL);
            self.set_bits(index, u32::from(express::DEVICE_STATUS_RW1C) << 16, false);
        }
        if let Some(at) = self.layout.positions.aer {
            self.set_bits(dword(at, aer::UNCORRECTABLE_STATUS), u32::MAX, false);
            self.set_bits(dword(at, aer::CORRECTABLE_STATUS), u32::MAX, false);
        }
        if let Some(at) = self.layout.positions.root_errors {
            self.set_bits(dword(at, aer::ROOT_ERROR_STATUS), u32::MAX, false);
        }
    }

    /// Whether the severity register makes that error fatal; its power-on value counts without AER.
    fn is_fatal(&self, error: Uncorrectable) -> bool {
        let severity = self.layout.positions.aer.map_or(aer::UNCORRECTABLE_SEVERITY_DEFAULT, |at| {
            self.dword(dword(at, aer::UNCORRECTABLE_SEVERITY))
        });
        severity & error.bits() != 0
    }

    /// What the status register has a bit for.
    fn uncorrectable_possible(&self) -> Uncorrectable {
        let Some(at) = self.layout.positions.aer else { return aer::UNCORRECTABLE_ENDPOINT };
        let rule = self.layout.rule(dword(at, aer::UNCORRECTABLE_STATUS));
        Uncorrectable::from_bits_truncate(rule.map_or(0, |rule| rule.bits.clear))
    }

    /// True if the error is not masked.
    fn log_uncorrectable(&self, at: u16, error: Uncorrectable, header: [u32; 4]) -> bool {
        let earlier = self.update(dword(at, aer::UNCORRECTABLE_STATUS), |old| old | error.bits());
        let mask = self.dword(dword(at, aer::UNCORRECTABLE_MASK));
        if mask & error.bits() != 0 {
            return false;
        }
        // What is masked has logged no header, so it is not in the way of one.
        if earlier.is_some_and(|earlier| earlier & !mask == 0) {
            let pointer = error.bits().trailing_zeros();
            let _old =
                self.update(dword(at, aer::CONTROL), |old| old & !aer::FIRST_ERROR_POINTER_MASK | pointer);
            for (index, value) in (dword(at, aer::HEADER_LOG)..).zip(header) {
                let _old = self.update(index, |_| value);
            }
        }
        true
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
