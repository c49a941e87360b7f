//! What a scenario is about: the device in the slot.

use super::address::{CONTROLLER, DISK, FUNCTION};

/// The device that the guest gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// An NVMe disk; the guest's driver takes it.
    Disk,
    /// An NVMe disk with MSI that comes and goes; the machine is started without it.
    HotDisk,
    /// As `HotDisk`, and executed by a back end behind the daemon.
    RemoteDisk,
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
            // QEMU aborts when a vfio-user device with MSI-X is unplugged.
            Self::HotDisk | Self::RemoteDisk | Self::EndpointTest => false,
        }
    }

    /// Whether the machine is started without it.
    pub(super) fn is_hot(self) -> bool {
        match self {
            Self::HotDisk | Self::RemoteDisk => true,
            Self::Disk | Self::EndpointTest => false,
        }
    }

    /// Whether there is a disk whose data somebody keeps.
    pub(super) fn is_disk(self) -> bool {
        match self {
            Self::Disk | Self::HotDisk | Self::RemoteDisk => true,
            Self::EndpointTest => false,
        }
    }

    /// Added to the guest's kernel command line, with a leading space.
    pub(super) fn kernel_arguments(self) -> &'static str {
        match self {
            // A driver waits 30 s for a disk that was pulled, and a minute for its administration.
            Self::HotDisk => " nvme_core.io_timeout=3 nvme_core.admin_timeout=3",
            // A back end that is killed is back within seconds, on a busy machine too.
            Self::RemoteDisk => " nvme_core.io_timeout=20 nvme_core.admin_timeout=20",
            Self::Disk | Self::EndpointTest => "",
        }
    }

    /// A condition of the guest's shell: the device is there to be used, as far as the machine was started with one.
    /// Drivers probe in the background.
    pub(super) fn is_found(self) -> String {
        match self {
            Self::Disk => format!("test -b {DISK} && test -c {CONTROLLER}"),
            Self::HotDisk | Self::RemoteDisk => "true".into(),
            Self::EndpointTest => format!("test -e /sys/bus/pci/devices/{FUNCTION}/config"),
        }
    }
}
