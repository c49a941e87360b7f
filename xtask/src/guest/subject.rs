//! What a scenario is about: the device in the slot.

use super::address::{CONTROLLER, DISK, FUNCTION};

/// The device that the guest gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// An NVMe disk; the guest's driver takes it.
    Disk,
    /// An endpoint-test function with memory that may be mapped; no driver of the guest takes it.
    EndpointTest,
}

/// Bytes of the endpoint-test function's memory: little enough for a guest under software emulation to look at all of it
/// again and again.
pub(super) const MEMORY_BYTES: u64 = 1 << 20;

impl Subject {
    /// Whether there is something to be learnt from running a scenario in each interrupt mode.
    pub(super) fn has_interrupt_modes(self) -> bool {
        match self {
            Self::Disk => true,
            Self::EndpointTest => false,
        }
    }

    /// A condition of the guest's shell: the device is there to be used. Drivers probe in the background.
    pub(super) fn is_found(self) -> String {
        match self {
            Self::Disk => format!("test -b {DISK} && test -c {CONTROLLER}"),
            Self::EndpointTest => format!("test -e /sys/bus/pci/devices/{FUNCTION}/config"),
        }
    }
}
