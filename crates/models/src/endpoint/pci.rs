//! The function's configuration space.

use pci_core::{
    BarIndex, BarKind, ConfigSpace, ConfigSpaceBuilder, Express, ExtendedCapability, Identity, InterruptPin,
    LayoutError, Msi, Pm, SrIov,
};
use pci_spec::ClassCode;
use pci_spec::bar::ROM_MIN_SIZE;

use super::commands::VECTORS;
use super::{Config, MAX_VFS};

/// Vendor ID: unregistered, as for the other built-in models.
pub const VENDOR: u16 = 0x1234;
/// Device ID of the physical function: "ET".
pub const DEVICE: u16 = 0x4554;
/// Device ID of the virtual functions: "EV".
pub const VF_DEVICE: u16 = 0x4556;

/// The BAR with the registers.
pub(super) const REGISTER_BAR: u8 = 0;
/// Size of that BAR in bytes.
const REGISTER_BYTES: u64 = 4096;
/// The BAR with plain memory; 64-bit, so it takes BAR 3 too.
pub(super) const MEMORY_BAR: u8 = 2;
/// Size of that BAR of a virtual function, in bytes.
pub(super) const VF_MEMORY_BYTES: u64 = 64 << 10;

/// The physical function's configuration space, with room for its virtual ones.
///
/// # Errors
/// The memory or the ROM image has a size that no BAR has.
pub(super) fn physical(config: &Config) -> Result<ConfigSpace, LayoutError> {
    let identity = Identity::new(VENDOR, DEVICE, ClassCode::UNCLASSIFIED_DEVICE);
    let mut builder = common(ConfigSpace::builder(identity).intx(InterruptPin::A))?
        .bar(bar(REGISTER_BAR)?, BarKind::Memory32, REGISTER_BYTES)
        .bar(bar(MEMORY_BAR)?, BarKind::Memory64Prefetchable, config.memory);
    if config.multi_function {
        builder = builder.multi_function();
    }
    if let Some(image) = &config.rom {
        builder = builder.rom((image.len() as u64).next_power_of_two().max(ROM_MIN_SIZE));
    }
    let vfs = config.vfs.min(MAX_VFS);
    if vfs > 0 {
        let sr_iov = SrIov::new(vfs, VF_DEVICE)
            .bar(bar(REGISTER_BAR)?, BarKind::Memory32, REGISTER_BYTES)
            .bar(bar(MEMORY_BAR)?, BarKind::Memory64Prefetchable, VF_MEMORY_BYTES);
        builder = builder
            .extended_capability(ExtendedCapability::Ari { next_function: 0 })
            .extended_capability(ExtendedCapability::SrIov(sr_iov));
    }
    builder.build()
}

/// A virtual function's configuration space.
///
/// # Errors
/// The layout does not fit together: a mistake in this file.
pub(super) fn virtual_function() -> Result<ConfigSpace, LayoutError> {
    let identity =
        Identity { subsystem: DEVICE, ..Identity::new(VENDOR, VF_DEVICE, ClassCode::UNCLASSIFIED_DEVICE) };
    common(ConfigSpace::virtual_builder(identity))?
        .bar(bar(REGISTER_BAR)?, BarKind::Memory32, REGISTER_BYTES)
        .bar(bar(MEMORY_BAR)?, BarKind::Memory64Prefetchable, VF_MEMORY_BYTES)
        .build()
}

/// What both kinds of function have. A reset or a way back to D0 is over at once.
fn common(builder: ConfigSpaceBuilder) -> Result<ConfigSpaceBuilder, LayoutError> {
    Ok(builder
        .immediate_readiness()
        .capability(Pm { no_soft_reset: true, immediate_readiness: true, ..Pm::default() })
        .capability(Msi::new(VECTORS))
        .capability(Express::default())
        .aer())
}

fn bar(index: u8) -> Result<BarIndex, LayoutError> {
    BarIndex::new(index).ok_or(LayoutError::NoRoom("a BAR"))
}
