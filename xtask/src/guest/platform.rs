//! What a machine has around the disk, beyond what all machines have.

/// With it off QEMU leaves hot-plug behind root ports to the ports and to Linux's pciehp.
const NO_ACPI_HOT_PLUG: &str = "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off";

/// The surroundings of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Platform {
    /// What QEMU gives a machine by itself.
    Plain,
    /// The root port's own hot-plug in the place of ACPI's: an unplug is a press of the attention button.
    NativeHotPlug,
    /// What Linux needs to use all of a function's power management and resets.
    ///
    /// An IOMMU, in identity mode: Linux's vfio-pci takes no function without one, and it is the driver that sends an
    /// idle function to sleep. And the root port's own hot-plug in the place of ACPI's: with the latter the port never
    /// shows an active link, and Linux takes every bus reset as failed.
    Managed,
}

impl Platform {
    /// What the guest's kernel must be told, with a leading space.
    pub(super) fn kernel_arguments(self) -> &'static str {
        match self {
            Self::Plain | Self::NativeHotPlug => "",
            Self::Managed => " intel_iommu=on iommu=pt",
        }
    }

    /// QEMU's arguments; to be put before those for the disk, which is wired to the IOMMU when it is made.
    pub(super) fn qemu_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &[],
            Self::NativeHotPlug => &["-global", NO_ACPI_HOT_PLUG],
            Self::Managed => {
                &["-global", NO_ACPI_HOT_PLUG, "-device", "intel-iommu,intremap=off,caching-mode=on"]
            }
        }
    }
}
