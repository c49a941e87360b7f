//! The capability chain and each capability.

mod support;

use pci_core::{
    BarKind, Capability, Change, ConfigSpace, ConfigSpaceBuilder, Express, ExtendedCapability, LayoutError,
    Location, Msi, MsiState, Msix, MsixState, Pm, PowerState, ResetKind, Vendor,
};
use pci_spec::aer::{Correctable, Uncorrectable};
use pci_spec::capability::express::{DeviceStatus, PortType};
use pci_spec::capability::pm::Capabilities;
use support::{bar, full, identity, read8, read16, read32};

const PMCSR: u16 = 0x44;
const MSI: u16 = 0x48;
const MSIX: u16 = 0x60;
const EXPRESS: u16 = 0x6c;
const DEVICE_CONTROL: u16 = EXPRESS + 8;
const VENDOR: u16 = 0xa8;
const AER: u16 = 0x100;

fn bare() -> ConfigSpaceBuilder {
    ConfigSpace::builder(identity())
}

/// Walks the chain as CAP-01 says.
fn chain(config: &ConfigSpace) -> Vec<(u16, u8)> {
    let mut found = Vec::new();
    let mut at = u16::from(read8(config, 0x34) & 0xfc);
    while at >= 0x40 && found.len() < 48 {
        found.push((at, read8(config, at)));
        at = u16::from(read8(config, at + 1) & 0xfc);
    }
    found
}

#[test]
fn a_guest_walks_the_chain_in_the_order_of_the_builder() {
    // CAP-01
    let config = full().build().unwrap();
    assert_eq!(chain(&config), [(0x40, 1), (0x48, 5), (0x60, 0x11), (0x6c, 0x10), (0xa8, 9)]);
    assert_eq!(read32(&config, 0x100), 0x0002_0001, "AER, version 2, the last one");
    let config = full().extended_capability(ExtendedCapability::SerialNumber(0x1122_3344_5566_7788)).build();
    let config = config.unwrap();
    assert_eq!(read32(&config, 0x100), 0x12c2_0001);
    assert_eq!(read32(&config, 0x12c), 0x0001_0003);
    assert_eq!((read32(&config, 0x130), read32(&config, 0x134)), (0x5566_7788, 0x1122_3344));
    assert!(chain(&bare().build().unwrap()).is_empty());
}

#[test]
fn capabilities_without_a_place_fill_the_gaps_around_those_with_one() {
    let config = bare()
        .capability(Express::default())
        .capability_at(0x44, Pm::default())
        .capability(Msi::new(1))
        .capability_at(0xf8, Vendor { data: vec![0; 5], writable: vec![] })
        .build()
        .unwrap();
    assert_eq!(chain(&config), [(0x4c, 0x10), (0x44, 1), (0x88, 5), (0xf8, 9)]);
}

#[test]
fn overlaps_and_bad_places_are_refused() {
    let at = |offset, second: u16| {
        bare().capability_at(offset, Express::default()).capability_at(second, Pm::default()).build().err()
    };
    let overlap = |offset| Some(LayoutError::Overlap { name: "power management", offset });
    let nowhere = |offset| Some(LayoutError::CapabilityOffset { name: "power management", offset });
    assert_eq!(at(0x60, 0x58), None);
    assert_eq!(at(0x60, 0x9c), None);
    assert_eq!(at(0x60, 0x5c), overlap(0x5c));
    assert_eq!(at(0x60, 0x98), overlap(0x98));
    assert_eq!(at(0x60, 0x60), overlap(0x60));
    assert_eq!(at(0x60, 0x3c), nowhere(0x3c), "the header");
    assert_eq!(at(0x60, 0xc2), nowhere(0xc2), "not a multiple of 4");
    assert_eq!(at(0x60, 0xfc), nowhere(0xfc), "reaches beyond 256");
    assert_eq!(at(0x60, 0xfffc), nowhere(0xfffc));
}

#[test]
fn duplicates_and_what_does_not_fit_are_refused() {
    let twice = bare().capability(Pm::default()).capability(Pm::default()).build();
    assert_eq!(twice.err(), Some(LayoutError::DuplicateCapability("power management")));
    let twice = full().aer().build();
    assert_eq!(twice.err(), Some(LayoutError::DuplicateCapability("Advanced Error Reporting")));
    let vendor = || Vendor { data: vec![0; 61], writable: vec![] };
    assert!(bare().capability(vendor()).capability(vendor()).build().is_ok(), "vendors may have several");
    let full = bare().capability(vendor()).capability(vendor()).capability(vendor()).capability(Msi::new(1));
    assert_eq!(full.build().err(), Some(LayoutError::NoRoom("MSI")));
    let long = bare().capability(Vendor { data: vec![0; 300], writable: vec![] }).build();
    assert!(matches!(long, Err(LayoutError::Field { .. })));
    assert_eq!(bare().aer().build().err(), Some(LayoutError::NeedsExpress("Advanced Error Reporting")));
    let port = Express { port_type: PortType::RootPort, ..Express::default() };
    let lanes = Express { lanes: 33, ..Express::default() };
    let payload = Express { max_payload: 6, ..Express::default() };
    for express in [port, lanes, payload] {
        assert!(matches!(bare().capability(express).build(), Err(LayoutError::Field { .. })));
    }
}

#[test]
fn power_management_shows_its_states() {
    let config = full().build().unwrap();
    assert_eq!(read16(&config, 0x42), 0x8a03, "version 3, D1, PME in D0 and D3cold");
    let config = bare().capability(Pm { no_soft_reset: true, ..Pm::default() }).build().unwrap();
    assert_eq!((read16(&config, 0x42), read16(&config, PMCSR)), (0x0003, 0x0008));
}

#[test]
fn only_power_states_that_exist_and_are_deeper_or_d0_are_asked_for() {
    // PWR-02, PWR-06
    let config = full().build().unwrap();
    let ask = |state: u8| config.write(PMCSR, &[state]).power.map(|change| change.new);
    assert_eq!(ask(0), None, "it is in D0");
    assert_eq!(ask(2), None, "no D2");
    assert_eq!(ask(1), Some(PowerState::D1));
    assert_eq!(config.power_state(), PowerState::D0, "asked for, not entered");
    assert!(config.set_power_state(PowerState::D1).is_some());
    assert_eq!(read16(&config, PMCSR), 1);
    assert!(config.set_power_state(PowerState::D3Hot).is_some());
    assert_eq!(ask(1), None, "from D3hot only to D0");
    assert_eq!(config.set_power_state(PowerState::D1), None);
    assert_eq!(ask(0), Some(PowerState::D0));
    assert_eq!(config.write(PMCSR + 1, &[0]).power, None, "the byte without the field");
    let none = bare().build().unwrap();
    assert_eq!((none.power_state(), none.set_power_state(PowerState::D3Hot)), (PowerState::D0, None));
}

#[test]
fn the_way_back_from_d3hot_loses_state_unless_the_function_keeps_it() {
    // PWR-05
    let up = Change { old: PowerState::D3Hot, new: PowerState::D0 };
    assert!(full().build().unwrap().wakes_to_reset(up));
    assert!(!full().build().unwrap().wakes_to_reset(Change { old: PowerState::D1, new: PowerState::D0 }));
    let keeps = bare().capability(Pm { no_soft_reset: true, ..Pm::default() }).build().unwrap();
    assert!(!keeps.wakes_to_reset(up));
}

#[test]
fn pme_bits_exist_only_where_pme_can_be_signalled() {
    // CAP-10
    let config = bare().capability(Pm::default()).build().unwrap();
    let _ = config.write(PMCSR, &[0xfc, 0xff]);
    assert_eq!(read16(&config, PMCSR), 0);
    let config = full().build().unwrap();
    let _ = config.write(PMCSR, &[0xfc, 0xff]);
    assert_eq!(read16(&config, PMCSR), 0x0100);
    config.reset(ResetKind::DeviceReset);
    assert_eq!(read16(&config, PMCSR), 0x0100, "it works from D3cold, so it is sticky");
    config.reset(ResetKind::PowerCycle);
    assert_eq!(read16(&config, PMCSR), 0);
}

#[test]
fn msi_grants_at_most_the_vectors_asked_for() {
    // CAP-14
    let config = full().build().unwrap();
    assert_eq!(read16(&config, MSI + 2), 0x0184, "4 vectors, 64-bit, maskable");
    let effects = config.write(MSI + 2, &[0xff, 0xff]);
    assert_eq!(read16(&config, MSI + 2), 0x01a5, "enabled, 4 granted");
    let old = MsiState { enabled: false, vectors: 1 };
    let new = MsiState { enabled: true, vectors: 4 };
    assert_eq!(effects.msi, Some(Change { old, new }));
    assert_eq!(config.msi(), new);
    assert_eq!(config.write(MSI + 2, &[0x11]).msi.map(|change| change.new.vectors), Some(2));
    assert_eq!(config.write(MSI + 4, &[0xff; 4]).msi, None);
}

#[test]
fn msi_address_data_and_masks_are_as_wide_as_they_should_be() {
    let config = full().build().unwrap();
    let _ = config.write(MSI + 4, &[0xff; 20]);
    let registers = [4, 8, 12, 16, 20].map(|at| read32(&config, MSI + at));
    assert_eq!(registers, [0xffff_fffc, 0xffff_ffff, 0x0000_ffff, 0x0000_000f, 0]);
    assert!(config.msi_masked(3) && !config.msi_masked(4) && !config.msi_masked(32));
    config.set_msi_pending(3, true);
    assert_eq!(read32(&config, MSI + 20), 8);
    let _ = config.write(MSI + 20, &[0xff; 4]);
    assert_eq!(read32(&config, MSI + 20), 8, "pending bits are read-only");
    config.set_msi_pending(3, false);
    assert_eq!(read32(&config, MSI + 20), 0);

    let small = Msi { vectors: 1, address_64: false, per_vector_masking: false };
    let config = bare().capability(small).build().unwrap();
    let _ = config.write(0x42, &[0xff; 16]);
    let registers = [0, 4, 8, 12].map(|at| read32(&config, 0x40 + at));
    assert_eq!(registers, [0x0001_0005, 0xffff_fffc, 0x0000_ffff, 0]);
}

#[test]
fn msi_vectors_are_a_power_of_two_up_to_32() {
    for vectors in [0, 3, 33, 64] {
        let config = bare().capability(Msi::new(vectors)).build();
        assert_eq!(config.err(), Some(LayoutError::MsiVectors(vectors)));
    }
    for vectors in [1, 2, 4, 8, 16, 32] {
        let config = bare().capability(Msi::new(vectors)).build().unwrap();
        let _ = config.write(0x42, &[0x71]);
        assert_eq!((config.msi().vectors, config.interrupt_layout().msi_vectors), (vectors, vectors));
    }
}

#[test]
fn msix_can_be_enabled_and_masked_and_its_places_are_read_only() {
    // CAP-15
    let config = full().build().unwrap();
    let effects = config.write(MSIX, &[0xff; 12]);
    assert_eq!(read16(&config, MSIX + 2), 0xc040, "65 vectors, enabled, masked");
    assert_eq!((read32(&config, MSIX + 4), read32(&config, MSIX + 8)), (0x2000, 0x3000));
    let new = MsixState { enabled: true, masked: true };
    assert_eq!(effects.msix, Some(Change { old: MsixState::default(), new }));
    assert_eq!(config.msix(), new);
    let layout = config.interrupt_layout().msix.unwrap();
    assert_eq!((layout.vectors, layout.table.offset, layout.pba.offset), (65, 0x2000, 0x3000));
}

#[test]
fn msix_structures_lie_apart_and_within_a_memory_bar() {
    let build = |vectors, table, pba| {
        let msix = Msix { vectors, table, pba };
        let config = bare().bar(bar(0), BarKind::Memory32, 0x1000).bar(bar(1), BarKind::Io, 256);
        config.capability(msix).build().err()
    };
    let at = |bar, offset| Location { bar, offset };
    assert_eq!(build(64, at(0, 0), at(0, 0x400)), None);
    assert_eq!(build(64, at(0, 0xc00), at(0, 0xbf8)), None);
    assert_eq!(build(64, at(0, 0), at(0, 0x3f8)), Some(LayoutError::MsixOverlap));
    assert_eq!(build(64, at(0, 0xc08), at(0, 0)), Some(LayoutError::MsixPlace("table")));
    assert_eq!(build(64, at(0, 0), at(0, 0x1000)), Some(LayoutError::MsixPlace("pending bits")));
    assert_eq!(build(64, at(0, 4), at(0, 0x800)), Some(LayoutError::MsixPlace("table")));
    assert_eq!(build(1, at(1, 0), at(0, 0)), Some(LayoutError::MsixPlace("table")), "I/O");
    assert_eq!(build(1, at(0, 0), at(2, 0)), Some(LayoutError::MsixPlace("pending bits")), "no such BAR");
    assert_eq!(build(0, at(0, 0), at(0, 0x800)), Some(LayoutError::MsixVectors(0)));
    assert_eq!(build(2049, at(0, 0), at(0, 0x800)), Some(LayoutError::MsixVectors(2049)));
}

#[test]
fn a_write_of_the_flr_bit_asks_for_the_reset_and_reads_back_zero() {
    // RST-05, CAP-11
    let config = full().build().unwrap();
    assert_ne!(read32(&config, EXPRESS + 4) & 1 << 28, 0, "offered");
    assert_eq!(read16(&config, DEVICE_CONTROL), 0x2810);
    assert!(config.write(DEVICE_CONTROL, &0xa810_u16.to_le_bytes()).flr);
    assert_eq!(read16(&config, DEVICE_CONTROL), 0x2810);
    assert!(!config.write(DEVICE_CONTROL, &[0xff]).flr, "the other byte");
    assert!(!config.write(DEVICE_CONTROL + 2, &[0xff, 0xff]).flr, "the other register");
    assert!(config.write(DEVICE_CONTROL + 1, &[0x80]).flr);

    let without = bare().capability(Express { flr: false, ..Express::default() }).build().unwrap();
    assert_eq!(read32(&without, 0x44) & 1 << 28, 0);
    assert!(!without.write(0x48, &0xa810_u16.to_le_bytes()).flr);
}

#[test]
fn a_function_level_reset_keeps_what_belongs_to_the_link() {
    let config = full().build().unwrap();
    let _ = config.write(DEVICE_CONTROL, &[0x2f, 0x00]);
    let _ = config.write(EXPRESS + 0x10, &[0x40]);
    config.reset(ResetKind::FunctionLevel);
    assert_eq!(read16(&config, DEVICE_CONTROL), 0x2830, "the payload size stays");
    assert_eq!(read16(&config, EXPRESS + 0x10), 0x0040);
    config.reset(ResetKind::DeviceReset);
    assert_eq!(read16(&config, DEVICE_CONTROL), 0x2810);
    assert_eq!(read16(&config, EXPRESS + 0x10), 0);
}

#[test]
fn an_integrated_endpoint_shows_no_link() {
    let express = Express { port_type: PortType::RootComplexIntegratedEndpoint, ..Express::default() };
    let config = bare().capability(express).build().unwrap();
    assert_eq!(read16(&config, 0x42), 0x0092);
    let _ = config.write(0x50, &[0xff; 4]);
    assert_eq!((read32(&config, 0x4c), read32(&config, 0x50), read32(&config, 0x6c)), (0, 0, 0));
}

#[test]
fn error_records_are_cleared_by_one_and_outlive_every_reset_but_the_loss_of_power() {
    let config = full().build().unwrap();
    config.record_correctable(Correctable::BAD_TLP);
    config.record_uncorrectable(Uncorrectable::POISONED_TLP, [1, 2, 3, 4]);
    config.record_uncorrectable(Uncorrectable::MALFORMED_TLP, [5, 6, 7, 8]);
    let log = || [0x1c, 0x20, 0x24, 0x28].map(|at| read32(&config, AER + at));
    assert_eq!(read32(&config, AER + 4), 1 << 12 | 1 << 18);
    assert_eq!(log(), [1, 2, 3, 4], "the first error's packet");
    assert_eq!(read32(&config, AER + 0x18) & 0x1f, 12);
    assert_eq!(read32(&config, AER + 0x10), 1 << 6);
    let all = DeviceStatus::CORRECTABLE_ERROR | DeviceStatus::NON_FATAL_ERROR | DeviceStatus::FATAL_ERROR;
    assert_eq!(config.device_status(), all);

    config.reset(ResetKind::FunctionLevel);
    config.reset(ResetKind::DeviceReset);
    assert_eq!((read32(&config, AER + 4), log()), (1 << 12 | 1 << 18, [1, 2, 3, 4]));
    assert_eq!(config.device_status(), DeviceStatus::empty());
    let _ = config.write(AER + 4, &(1u32 << 12).to_le_bytes());
    assert_eq!(read32(&config, AER + 4), 1 << 18);
    let _ = config.write(AER + 0x1c, &[0; 16]);
    assert_eq!(log(), [1, 2, 3, 4], "the log is read-only");
    config.reset(ResetKind::PowerCycle);
    assert_eq!((read32(&config, AER + 4), log()), (0, [0; 4]));
    assert_eq!(read32(&config, AER + 0x0c), 0x0046_2030);
}

#[test]
fn errors_without_a_place_to_record_them_are_ignored() {
    let config = bare().build().unwrap();
    config.record_correctable(Correctable::all());
    config.record_uncorrectable(Uncorrectable::UNSUPPORTED_REQUEST, [0; 4]);
    config.set_msi_pending(40, true);
    assert_eq!(config.device_status(), DeviceStatus::empty());
}

#[test]
fn vendor_bytes_are_writable_where_the_model_says() {
    // CAP-16
    let config = full().build().unwrap();
    let _ = config.write(VENDOR, &[0xff; 8]);
    let mut data = [0; 8];
    config.read(VENDOR, &mut data);
    assert_eq!(data, [9, 0, 8, 0xff, 0x0f, 3, 4, 5]);
}

#[test]
fn pme_support_takes_only_the_pme_bits() {
    let pm = Pm { pme: Capabilities::all(), ..Pm::default() };
    let config = bare().capability(Capability::from(pm)).build().unwrap();
    assert_eq!(read16(&config, 0x42), 0xf803);
}
