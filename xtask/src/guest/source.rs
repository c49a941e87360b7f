//! Where the guest's device comes from, and what the guest should see of it.

use super::subject::Subject;
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;

/// What serves the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Source {
    /// The daemon of this workspace, over vfio-user
    Portcullis,
    /// QEMU's own emulated NVMe device
    QemuNvme,
}

/// How the disk interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Interrupt {
    /// Message signalled
    Msi,
    /// Message signalled, extended
    Msix,
    /// The shared pin
    Intx,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portcullis => "portcullis",
            Self::QemuNvme => "qemu-nvme",
        })
    }
}

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Msi => "msi",
            Self::Msix => "msix",
            Self::Intx => "intx",
        })
    }
}

impl Interrupt {
    /// The name of the interrupt's controller in the guest's `/proc/interrupts`.
    pub(super) fn controller(self) -> &'static str {
        match self {
            Self::Msi => "PCI-MSI-",
            Self::Msix => "PCI-MSIX-",
            Self::Intx => "IO-APIC",
        }
    }
}

impl Source {
    /// The interrupt modes the device can be made with.
    pub(super) fn interrupts(self) -> &'static [Interrupt] {
        match self {
            Self::Portcullis => &[Interrupt::Msi, Interrupt::Msix, Interrupt::Intx],
            // QEMU's device has no MSI capability.
            Self::QemuNvme => &[Interrupt::Msix, Interrupt::Intx],
        }
    }

    /// Whether it has the device that a scenario is about.
    pub(super) fn has(self, subject: Subject) -> bool {
        self == Self::Portcullis || subject == Subject::Disk
    }

    /// Whether the function has Advanced Error Reporting; QEMU's device has not.
    pub(super) fn has_aer(self) -> bool {
        self == Self::Portcullis
    }

    /// Whether the guest's addresses of the BARs survive a reset that the guest's kernel knows nothing of. QEMU keeps
    /// those of a vfio device by itself. A device of its own loses them, as a real function does: nothing in the guest
    /// writes them again, so its driver finds no controller at the old address and gives up.
    pub(super) fn keeps_bars(self) -> bool {
        self == Self::Portcullis
    }

    /// What the guest's kernel must be told: QEMU's device cannot be made without MSI-X, so the guest must not use it.
    pub(super) fn kernel_arguments(self, irq: Interrupt) -> &'static str {
        if self == Self::QemuNvme && irq == Interrupt::Intx { " pci=nomsi" } else { "" }
    }

    /// QEMU's arguments for the device behind the root port `rp0`.
    pub(super) fn qemu_arguments(self, disk: &Path, socket: &Path) -> Vec<String> {
        let device = |value: Value| ["-device".into(), value.to_string()];
        match self {
            Self::Portcullis => device(json!({
                "driver": "vfio-user-pci",
                "id": "device0",
                "bus": "rp0",
                "socket": {"type": "unix", "path": socket},
            }))
            .into(),
            Self::QemuNvme => {
                let drive = json!({"driver": "raw", "node-name": "image", "file": {"driver": "file", "filename": disk}});
                let nvme = json!({"driver": "nvme", "id": "device0", "bus": "rp0", "serial": "lab", "drive": "image"});
                [["-blockdev".into(), drive.to_string()], device(nvme)].concat()
            }
        }
    }
}
