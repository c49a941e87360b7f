//! What is read to see whether a function is ready.

use pci_core::{ConfigStatus, Width};
use pci_spec::config;

/// What a function that is not ready yet answers for its vendor ID where the root port shows it. PCIe 6.0 s2.3.1
/// *Request Handling Rules*, "Configuration RRS Software Visibility" (CFG-16).
const RETRY: u32 = 0x0001;

/// The register that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The vendor ID: behind a root port that makes retries visible.
    VendorId,
    /// COMMAND: everywhere else, and for virtual functions, whose vendor ID always reads all-ones (CAP-04).
    Command,
}

/// What a look at a function says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It answers.
    Ready,
    /// Nothing answers yet, or the answer is "try again".
    NotYet,
    /// It is marked disconnected: it will not answer any more.
    Disconnected,
}

impl Probe {
    /// The register for a function (PWR-09).
    #[must_use]
    pub const fn of(is_virtual: bool, retries_visible: bool) -> Probe {
        if retries_visible && !is_virtual { Probe::VendorId } else { Probe::Command }
    }

    /// Its offset; it is read as a [`Width::Word`].
    #[must_use]
    pub const fn register(self) -> u16 {
        match self {
            Probe::VendorId => config::VENDOR_ID,
            Probe::Command => config::COMMAND,
        }
    }

    /// What the value read says. A read that failed says no more than all-ones (CFG-03).
    #[must_use]
    pub fn answer(self, read: Result<u32, ConfigStatus>) -> Answer {
        match read {
            Ok(value) if value & Width::Word.all_ones() == Width::Word.all_ones() => Answer::NotYet,
            Ok(RETRY) if self == Probe::VendorId => Answer::NotYet,
            Ok(_) => Answer::Ready,
            Err(_) => Answer::NotYet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pwr_09_a_virtual_function_is_looked_at_through_its_command_register() {
        assert_eq!(Probe::of(true, true), Probe::Command);
        assert_eq!(Probe::of(false, true), Probe::VendorId);
        assert_eq!(Probe::of(false, false), Probe::Command);
    }

    #[test]
    fn pwr_09_retry_and_all_ones_are_not_ready_and_a_failed_read_neither() {
        // CFG-16
        assert_eq!(Probe::VendorId.answer(Ok(0x0001)), Answer::NotYet);
        assert_eq!(Probe::VendorId.answer(Ok(0xffff)), Answer::NotYet);
        assert_eq!(Probe::VendorId.answer(Ok(0x1b36)), Answer::Ready);
        assert_eq!(Probe::Command.answer(Ok(0x0001)), Answer::Ready, "COMMAND with I/O decoding on");
        assert_eq!(Probe::Command.answer(Ok(0xffff)), Answer::NotYet);
        assert_eq!(Probe::Command.answer(Err(ConfigStatus::DeviceNotFound)), Answer::NotYet);
    }
}
