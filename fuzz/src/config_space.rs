//! Arbitrary reads and writes of a full configuration space: of an endpoint with virtual functions, and of a bridge.
//!
//! Whatever is written: identification stays, BARs keep their type bits and alignment, and a power cycle brings back the first image.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pci_core::{
    BarIndex, BarKind, ConfigSpace, Express, ExtendedCapability, Identity, InterruptPin, Location, Msi, Msix,
    Pm, ResetKind, Slot, SrIov,
};
use pci_spec::capability::express::PortType;

fuzz_target!(|bytes: &[u8]| {
    for space in [endpoint(), bridge()] {
        write_all_over(&space, bytes);
    }
});

fn write_all_over(space: &ConfigSpace, bytes: &[u8]) {
    let fresh = image(space);
    for step in bytes.chunks_exact(7) {
        let offset = u16::from_le_bytes([step[0], step[1]]);
        let length = usize::from(step[2] & 7);
        if step[2] & 8 == 0 {
            let _ = space.write(offset, &step[3..7][..length.min(4)]);
        } else {
            let mut data = [0; 7];
            space.read(offset, &mut data[..length]);
        }
    }
    let written = image(space);
    assert_eq!(written[..4], fresh[..4], "identification is read-only");
    assert_eq!(written[8..12], fresh[8..12], "class and revision are read-only");
    assert_eq!(written[0x10] & 0x0f, fresh[0x10] & 0x0f, "a BAR keeps its type bits");
    space.reset(ResetKind::PowerCycle);
    assert_eq!(image(space), fresh, "a power cycle brings back the first image");
}

fn image(space: &ConfigSpace) -> Vec<u8> {
    let mut image = vec![0; 4096];
    space.read(0, &mut image);
    image
}

fn bridge() -> ConfigSpace {
    let slot = Slot { number: 1, hot_plug: true, surprise: true, present: true };
    ConfigSpace::bridge_builder(Identity::new(0x1234, 2, pci_spec::ClassCode::PCI_BRIDGE))
        .capability(Pm::default())
        .capability(Express { slot: Some(slot), ..Express::port(PortType::RootPort) })
        .aer()
        .extended_capability(ExtendedCapability::Dpc)
        .build()
        .expect("a layout without overlap")
}

fn endpoint() -> ConfigSpace {
    let location = |offset| Location { bar: 2, offset };
    let first = BarIndex::new(0).expect("BAR 0");
    let virtual_functions = SrIov::new(7, 3).bar(first, BarKind::Memory64, 16 << 10);
    ConfigSpace::builder(Identity::new(0x1234, 1, pci_spec::ClassCode::new(1, 8, 2)))
        .bar(first, BarKind::Memory64, 16 << 10)
        .bar(BarIndex::new(2).expect("BAR 2"), BarKind::Memory32, 64 << 10)
        .bar(BarIndex::new(3).expect("BAR 3"), BarKind::Io, 64)
        .rom(64 << 10)
        .intx(InterruptPin::A)
        .capability(Pm::default())
        .capability(Msi { vectors: 8, address_64: true, per_vector_masking: true })
        .capability(Msix { vectors: 8, table: location(0), pba: location(0x8000) })
        .capability(Express::default())
        .aer()
        .extended_capability(ExtendedCapability::SrIov(virtual_functions))
        .build()
        .expect("a layout without overlap")
}
