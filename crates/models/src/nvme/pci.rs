//! The function's configuration space.

use pci_core::{
    BarIndex, BarKind, ConfigSpace, Express, Identity, InterruptPin, LayoutError, Location, Msi, Msix, Pm,
};
use pci_spec::ClassCode;

use super::config::InterruptStyle;
use super::doorbell::BAR0_BYTES;
use super::limits::{MSI_VECTORS, MSIX_VECTORS};

/// Vendor ID: the one that virtual devices without a registered vendor have long used (QEMU's edu and standard VGA
/// among them). Neither it nor the device ID is registered with the PCI-SIG. Drivers find an NVMe controller by its
/// class, and no driver has quirks for this pair: with the ID of somebody else's controller we would inherit theirs.
pub(super) const VENDOR: u16 = 0x1234;
/// Device ID: "NV".
pub(super) const DEVICE: u16 = 0x4e56;
/// Subsystem vendor ID.
pub(super) const SUBSYSTEM_VENDOR: u16 = VENDOR;
/// Offset of the MSI-X table in BAR 0.
const TABLE: u32 = 0x2000;
/// Offset of the MSI-X pending bits in BAR 0.
const PENDING: u32 = 0x3000;

/// Vectors that the controller has with this kind of interrupt.
pub(super) const fn vectors(style: InterruptStyle) -> u16 {
    match style {
        InterruptStyle::Intx => 1,
        InterruptStyle::Msi => MSI_VECTORS,
        InterruptStyle::Msix => MSIX_VECTORS,
    }
}

/// The configuration space of a controller with this kind of interrupt. `immediate`: a reset and the way back to D0 are over
/// when the write that asks for them is; else a host waits for as long as for any function.
///
/// # Errors
/// The layout does not fit together: a mistake in this file.
pub(super) fn config_space(
    style: InterruptStyle,
    multi_function: bool,
    immediate: bool,
) -> Result<ConfigSpace, LayoutError> {
    let bar0 = BarIndex::new(0).ok_or(LayoutError::NoRoom("BAR 0"))?;
    let mut builder = ConfigSpace::builder(Identity::new(VENDOR, DEVICE, ClassCode::NVME))
        .bar(bar0, BarKind::Memory64, BAR0_BYTES)
        .capability(Pm { immediate_readiness: immediate, ..Pm::default() });
    if immediate {
        builder = builder.immediate_readiness();
    }
    if multi_function {
        builder = builder.multi_function();
    }
    builder = match style {
        InterruptStyle::Intx => builder.intx(InterruptPin::A),
        InterruptStyle::Msi => builder.capability(Msi::new(MSI_VECTORS)),
        InterruptStyle::Msix => builder.capability(Msix {
            vectors: MSIX_VECTORS,
            table: Location { bar: 0, offset: TABLE },
            pba: Location { bar: 0, offset: PENDING },
        }),
    };
    builder.capability(Express::default()).aer().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_style_has_a_configuration_space_with_its_interrupts_only() {
        for style in [InterruptStyle::Intx, InterruptStyle::Msi, InterruptStyle::Msix] {
            let config = config_space(style, false, true).unwrap();
            let layout = config.interrupt_layout();
            assert_eq!(layout.intx != InterruptPin::None, style == InterruptStyle::Intx);
            assert_eq!(layout.msi_vectors, if style == InterruptStyle::Msi { 32 } else { 0 });
            assert_eq!(layout.msix.is_some(), style == InterruptStyle::Msix);
            let mut class = [0; 3];
            config.read(9, &mut class);
            assert_eq!(class, [0x02, 0x08, 0x01]);
        }
    }
}
