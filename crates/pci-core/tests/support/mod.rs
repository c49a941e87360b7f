//! The function that the tests are about, and byte-wise access to it.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

use pci_core::{
    BarIndex, BarKind, ConfigSpace, ConfigSpaceBuilder, Express, Identity, InterruptPin, Location, Msi, Msix,
    Pm, Vendor,
};
use pci_spec::ClassCode;
use pci_spec::capability::pm::Capabilities;

pub(crate) fn bar(index: u8) -> BarIndex {
    BarIndex::new(index).unwrap()
}

pub(crate) fn identity() -> Identity {
    Identity { revision: 2, ..Identity::new(0x1b36, 0x0010, ClassCode::NVME) }
}

/// One of everything. Places: PM 0x40, MSI 0x48, MSI-X 0x60, PCI Express 0x6c, vendor-specific 0xa8, AER 0x100.
pub(crate) fn full() -> ConfigSpaceBuilder {
    ConfigSpace::builder(identity())
        .bar(bar(0), BarKind::Memory64, 16 << 10)
        .bar(bar(2), BarKind::Io, 64)
        .bar(bar(4), BarKind::Memory64Prefetchable, 8 << 30)
        .rom(64 << 10)
        .intx(InterruptPin::A)
        .capability(Pm { d1: true, pme: Capabilities::PME_D0 | Capabilities::PME_D3COLD, ..Pm::default() })
        .capability(Msi { per_vector_masking: true, ..Msi::new(4) })
        .capability(Msix {
            vectors: 65,
            table: Location { bar: 0, offset: 0x2000 },
            pba: Location { bar: 0, offset: 0x3000 },
        })
        .capability(Express::default())
        .capability(Vendor { data: vec![1, 2, 3, 4, 5], writable: vec![0xff, 0x0f] })
        .aer()
}

pub(crate) fn read8(config: &ConfigSpace, offset: u16) -> u8 {
    let mut data = [0; 1];
    config.read(offset, &mut data);
    data[0]
}

pub(crate) fn read16(config: &ConfigSpace, offset: u16) -> u16 {
    let mut data = [0; 2];
    config.read(offset, &mut data);
    u16::from_le_bytes(data)
}

pub(crate) fn read32(config: &ConfigSpace, offset: u16) -> u32 {
    let mut data = [0; 4];
    config.read(offset, &mut data);
    u32::from_le_bytes(data)
}
