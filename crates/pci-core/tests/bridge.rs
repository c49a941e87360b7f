//! Bridges, and what else routes: bus numbers, secondary bus reset, ARI forwarding, virtual functions.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod support;

use pci_core::{
    Af, BarKind, BusNumbers, Change, ConfigSpace, ConfigSpaceBuilder, Express, ExtendedCapability,
    LayoutError, Pm, ResetKind, RoutingChanges, Slot, SrIov, config,
};
use pci_spec::bridge;
use pci_spec::capability::express::{self, PortType, port};
use pci_spec::capability::{af, id, pm};
use pci_spec::extended::{self, acs, sr_iov};
use std::sync::Arc;
use support::{bar, identity, read8, read16, read32};

fn root_port() -> ConfigSpaceBuilder {
    let slot = Slot { number: 7, hot_plug: true, surprise: false, present: true };
    ConfigSpace::bridge_builder(identity())
        .capability(Express { slot: Some(slot), ..Express::port(PortType::RootPort) })
}

fn express_of(config: &ConfigSpace) -> u16 {
    config.find_capability(id::PCI_EXPRESS).unwrap()
}

#[test]
fn a_bridge_has_the_header_of_type_1() {
    let config = root_port().build().unwrap();
    assert!(config.is_bridge());
    assert_eq!(read8(&config, 0x0e), 1);
    assert_eq!(config.bus_numbers(), Some(BusNumbers::default()));
    let written = config.write(0, &[0xff; 0x40]);
    assert!(written.bus_numbers_changed);
    assert_eq!(read32(&config, 0x18), 0x00ff_ffff, "no latency timer");
    assert_eq!(read16(&config, 0x1c), 0xf0f0, "16-bit I/O");
    assert_eq!(read32(&config, 0x20), 0xfff0_fff0);
    assert_eq!(read32(&config, 0x24), 0xfff1_fff1, "64-bit prefetchable");
    assert_eq!((read32(&config, 0x28), read32(&config, 0x2c)), (u32::MAX, u32::MAX));
    assert_eq!(read32(&config, 0x30), 0, "no upper half of I/O");
    assert_eq!(read16(&config, 0x3e), 0x47);
    assert_eq!(read16(&config, 0x04) & 7, 7, "forwards I/O, memory, and requests from below");
}

#[test]
fn what_a_bridge_cannot_have_is_refused() {
    let refused = |builder: ConfigSpaceBuilder| builder.build().err();
    let bare = || ConfigSpace::bridge_builder(identity());
    assert_eq!(refused(bare().bar(bar(1), BarKind::Memory32, 4096)), None);
    assert_eq!(refused(bare().bar(bar(2), BarKind::Memory32, 4096)), Some(LayoutError::BarPosition(bar(2))));
    assert!(refused(bare().rom(4096)).is_some());
    assert!(refused(bare().capability(Express::default())).is_some(), "an endpoint");
    assert!(
        refused(ConfigSpace::builder(identity()).capability(Express::port(PortType::RootPort))).is_some()
    );
    let slot = Some(Slot { number: 0x2000, hot_plug: true, surprise: true, present: true });
    assert!(refused(bare().capability(Express { slot, ..Express::port(PortType::RootPort) })).is_some());
    let slot = slot.map(|slot| Slot { number: 1, ..slot });
    assert!(refused(bare().capability(Express { slot, ..Express::port(PortType::UpstreamPort) })).is_some());
}

#[test]
fn a_port_shows_its_slot_and_its_link() {
    let config = root_port().build().unwrap();
    let at = express_of(&config);
    assert_eq!(read16(&config, at + express::CAPABILITIES), 0x0142);
    assert_eq!(read32(&config, at + express::SLOT_CAPABILITIES), 7 << 19 | 0x5b);
    assert_eq!(read16(&config, at + express::SLOT_STATUS), 1 << 6);
    assert_eq!(read16(&config, at + express::SLOT_CONTROL), port::SLOT_CONTROL_DEFAULT);
    assert_ne!(read16(&config, at + express::LINK_STATUS) & port::LINK_ACTIVE, 0);
    let layout = config.layout();
    assert_eq!(layout.port_type(), Some(PortType::RootPort));
    assert_eq!(layout.slot().map(|slot| slot.number), Some(7));
    let upstream = ConfigSpace::bridge_builder(identity()).capability(Express::port(PortType::UpstreamPort));
    let upstream = upstream.build().unwrap();
    assert_eq!(read16(&upstream, express_of(&upstream) + express::LINK_STATUS) & port::LINK_ACTIVE, 0);
}

#[test]
fn a_write_says_what_it_means_for_what_is_below() {
    let config = root_port().build().unwrap();
    assert!(!config.write(bridge::PRIMARY_BUS, &[0]).bus_numbers_changed, "the same");
    assert!(config.write(bridge::SECONDARY_BUS, &[1, 4]).bus_numbers_changed);
    assert_eq!(config.bus_numbers(), Some(BusNumbers { primary: 0, secondary: 1, subordinate: 4 }));
    let held = config.write(bridge::BRIDGE_CONTROL, &[0x40]).secondary_bus_reset;
    assert_eq!(held, Some(Change { old: false, new: true }));
    assert!(config.secondary_bus_reset());
    assert_eq!(config.write(bridge::BRIDGE_CONTROL, &[0x42]).secondary_bus_reset, None);
    let freed = config.write(bridge::BRIDGE_CONTROL, &[0]).secondary_bus_reset;
    assert_eq!(freed, Some(Change { old: true, new: false }));
    let control = express_of(&config) + express::DEVICE_CONTROL_2;
    let forwards = config.write(control, &port::ARI_FORWARDING_ENABLE.to_le_bytes()).ari_forwarding;
    assert_eq!(forwards, Some(Change { old: false, new: true }));
    assert!(config.ari_forwarding());
}

#[test]
fn every_change_of_the_routing_is_counted_whoever_makes_it() {
    let config = root_port().build().unwrap();
    let changes = Arc::new(RoutingChanges::default());
    assert!(config.count_routing_changes(changes.mark(7)));
    assert!(!config.count_routing_changes(changes.mark(8)), "the first mark stays");
    let counted = |what: &dyn Fn()| {
        let before = changes.count();
        what();
        let count = changes.count() - before;
        let marked = if count == 0 { vec![] } else { vec![7] };
        assert_eq!(changes.take(), marked, "who has changed is known until it is asked for");
        count
    };
    let write = |offset: u16, data: &[u8]| {
        let _ = config.write(offset, data);
    };
    assert_eq!(counted(&|| write(bridge::PRIMARY_BUS, &[9])), 0, "routes nothing");
    assert_eq!(counted(&|| write(bridge::SECONDARY_BUS, &[1])), 1);
    assert_eq!(counted(&|| write(bridge::SECONDARY_BUS, &[1])), 0);
    assert_eq!(counted(&|| write(bridge::SUBORDINATE_BUS, &[1])), 1);
    assert_eq!(counted(&|| write(bridge::BRIDGE_CONTROL, &[0x43])), 1);
    assert_eq!(counted(&|| write(bridge::BRIDGE_CONTROL, &[0x41])), 0);
    assert_eq!(counted(&|| config.reset(ResetKind::DeviceReset)), 2, "numbers and bus reset");
    assert_eq!(counted(&|| config.reset(ResetKind::DeviceReset)), 0);
}

#[test]
fn every_function_that_has_changed_is_named_once() {
    let changes = Arc::new(RoutingChanges::default());
    let numbers = [0, 63, 64, 4095, 4096 + 64];
    let spaces = numbers.map(|number| {
        let config = root_port().build().unwrap();
        assert!(config.count_routing_changes(changes.mark(number)));
        config
    });
    assert!(spaces[4].routing_mark().unwrap().is_of(&changes));
    assert!(!spaces[4].routing_mark().unwrap().is_of(&Arc::default()));
    for config in &spaces {
        let _ = config.write(bridge::SECONDARY_BUS, &[1, 1]);
    }
    assert_eq!(changes.count(), 5);
    assert_eq!(changes.take(), [0, 63, 64, 4095], "two share a mark");
    assert_eq!(changes.take(), []);
}

#[test]
fn advanced_features_offer_a_reset_only_with_the_status_that_goes_with_it() {
    // RST-06, CAP-12
    let with = |af: Af| ConfigSpace::builder(identity()).capability(af).build().unwrap();
    let config = with(Af::default());
    let at = config.find_capability(id::ADVANCED_FEATURES).unwrap();
    assert_eq!(read32(&config, at), 0x0306_0013);
    assert!(config.layout().has_af_flr() && !config.layout().has_flr());
    assert!(config.write(at + af::CONTROL, &[1]).flr);
    assert!(!config.write(at + af::CONTROL, &[2]).flr);
    assert_eq!(read8(&config, at + af::CONTROL), 0, "reads 0");
    let without = with(Af { transactions_pending: false, ..Af::default() });
    assert!(!without.layout().has_af_flr());
    assert!(!without.write(at + af::CONTROL, &[1]).flr);
}

#[test]
fn readiness_without_delay_is_shown_where_software_looks_for_it() {
    let pm = Pm { immediate_readiness: true, ..Pm::default() };
    let config = ConfigSpace::builder(identity()).immediate_readiness().capability(pm).build().unwrap();
    assert_eq!(read16(&config, 0x06) & 1, 1);
    let at = config.find_capability(id::POWER_MANAGEMENT).unwrap();
    assert_ne!(read16(&config, at + pm::CAPABILITIES) & 0x10, 0);
    assert!(config.layout().immediate_readiness() && config.layout().immediate_readiness_on_d0());
    assert!(!root_port().build().unwrap().layout().immediate_readiness());
}

#[test]
fn walks_end_on_lists_that_do_not() {
    // CAP-01
    let chain = |next: u8| {
        move |offset: u16| match offset {
            0x04 => 0x0010_0000,
            0x34 => 0x43,
            0x40 => u32::from(next) << 8 | 0x05,
            0x80 => 0x40 << 8 | 0x01,
            0xc0 => 0x80 << 8 | 0xff,
            _ => panic!("{offset:#x} is no capability"),
        }
    };
    assert_eq!(config::find_capability(1, chain(0x82)), Some(0x80), "the low bits do not count");
    assert_eq!(config::find_capability(9, chain(0x80)), None, "a circle");
    assert_eq!(config::find_capability(9, chain(0x3c)), None, "below 0x40");
    assert_eq!(config::find_capability(1, chain(0xc0)), None, "0xff ends it");
    let mut hops = 0;
    let circle = |offset: u16| {
        hops += u32::from(offset >= 0x40);
        chain(0x80)(offset)
    };
    assert_eq!(config::find_capability(9, circle), None);
    assert_eq!(hops, 48);
    assert_eq!(config::find_capability(5, |_| 0), None, "no list");

    let extended = |next: u32| {
        move |offset: u16| match offset {
            0x100 => next << 20 | 0x0001_0003,
            0x140 => 0x100 << 20 | 0x0001_0001,
            _ => panic!("{offset:#x} is no capability"),
        }
    };
    assert_eq!(config::find_extended(1, extended(0x140)), Some(0x140));
    assert_eq!(config::find_extended(9, extended(0x0fc)), None, "below 0x100");
    assert_eq!(config::find_extended(9, |_| 0), None);
    let mut hops = 0;
    let circle = |offset| {
        hops += 1;
        extended(0x140)(offset)
    };
    assert_eq!(config::find_extended(9, circle), None);
    assert_eq!(hops, (4096 - 256) / 8);
}

fn with_vfs() -> ConfigSpaceBuilder {
    let capability = SrIov::new(8, 0x1234).bar(bar(0), BarKind::Memory64, 16 << 10);
    ConfigSpace::builder(identity())
        .capability(Express::default())
        .extended_capability(ExtendedCapability::SrIov(capability))
}

#[test]
fn a_physical_function_says_when_its_virtual_functions_come_and_go() {
    let config = with_vfs().build().unwrap();
    let at = config.find_extended(extended::id::SR_IOV).unwrap();
    assert_eq!(read16(&config, at + sr_iov::TOTAL_VFS), 8);
    assert_eq!(config.write(at + sr_iov::NUM_VFS, &[3, 0]).sr_iov, None);
    let change = config.write(at + sr_iov::CONTROL, &[9, 0]).sr_iov.unwrap();
    assert!(!change.old.enabled && change.new.enabled && change.new.memory && change.new.num_vfs == 3);
    config.write(at + sr_iov::VF_BAR0, &[0xff; 8]).sr_iov.ok_or(()).unwrap_err();
    assert_eq!(read32(&config, at + sr_iov::VF_BAR0), 0xffff_c004, "a BAR of 16 KiB each");
    config.reset(ResetKind::FunctionLevel);
    assert_eq!(config.sr_iov(), Some(Default::default()), "gone with a function level reset");
}

#[test]
fn hardware_shows_less_of_a_virtual_function_than_its_consumer_sees() {
    // CAP-04, CAP-05, CAP-08
    let vf = ConfigSpace::virtual_builder(identity()).bar(bar(0), BarKind::Memory64, 4096).build().unwrap();
    let raw = |offset: u16| {
        let mut data = [0; 4];
        vf.read_hardware(offset, &mut data);
        u32::from_le_bytes(data)
    };
    let _ = vf.write(0x04, &[6, 0]);
    let _ = vf.write(0x10, &0x8000_1000u32.to_le_bytes());
    assert_eq!(read32(&vf, 0) & 0xffff, u32::from(identity().vendor));
    assert_eq!((raw(0), raw(4) & 7, raw(0x10)), (u32::MAX, 4, 0));
    let _ = vf.write_hardware(0x10, &[0; 4]);
    let _ = vf.write_hardware(0x04, &[0, 0]);
    assert_eq!((read32(&vf, 0x10), read16(&vf, 0x04)), (0x8000_1004, 2), "its own bits only");
    assert_eq!(raw(8), read32(&vf, 8));
    let pf = with_vfs().build().unwrap();
    let mut data = [0; 4];
    pf.read_hardware(0, &mut data);
    assert_eq!(u32::from_le_bytes(data), read32(&pf, 0));
}

#[test]
fn what_software_saves_before_a_reset_is_there_to_be_restored() {
    // RST-18, RST-19: offset in the capability, bits that take a value.
    type Registers = &'static [(u16, u32)];
    let all: [(ExtendedCapability, u16, Registers); 11] = [
        (ExtendedCapability::Ltr, extended::id::LTR, &[(4, 0x1fff_1fff)]),
        (ExtendedCapability::L1Substates, extended::id::L1_PM_SUBSTATES, &[(8, 0xe3ff_ff0f), (12, 0xfb)]),
        (ExtendedCapability::Pasid { width: 20 }, extended::id::PASID, &[(4, 0x0007_0000)]),
        (ExtendedCapability::Pri { capacity: 32 }, extended::id::PRI, &[(4, 1), (12, u32::MAX)]),
        (ExtendedCapability::Ats, extended::id::ATS, &[(4, 0x801f_0000)]),
        (ExtendedCapability::VirtualChannel, extended::id::VIRTUAL_CHANNEL, &[(12, 0xe), (20, 0xfe)]),
        (ExtendedCapability::ResizableBar(bar(4)), extended::id::RESIZABLE_BAR, &[(8, 0x3f00)]),
        (ExtendedCapability::Dpc, extended::id::DPC, &[(4, 0x00bf_0000)]),
        (ExtendedCapability::Ptm, extended::id::PTM, &[(8, 0xff03)]),
        (ExtendedCapability::Acs(acs::ISOLATION), extended::id::ACS, &[(4, 0x001d_0000)]),
        (ExtendedCapability::CxlPort, extended::id::DVSEC, &[(12, 1)]),
    ];
    let builder = all.iter().fold(support::full(), |builder, (each, ..)| builder.extended_capability(*each));
    let config = builder.build().unwrap();
    for (capability, id, registers) in all {
        let at = config.find_extended(id).unwrap();
        for (offset, mask) in registers {
            let fresh = read32(&config, at + offset);
            let _ = config.write(at + offset, &[0xff; 4]);
            let ones = read32(&config, at + offset);
            let _ = config.write(at + offset, &[0; 4]);
            let zeros = read32(&config, at + offset);
            assert_eq!(ones ^ zeros, *mask, "{capability:?} {offset:#x}");
            config.reset(ResetKind::FunctionLevel);
            assert_eq!(read32(&config, at + offset), fresh, "{capability:?} {offset:#x}");
        }
    }
}
