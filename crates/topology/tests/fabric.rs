//! Who answers a configuration access.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod support;

use pci_core::mechanism::HostBridge;
use pci_core::{BusNumbers, ConfigAddress, ConfigSpace, ResetKind, Width};
use pci_spec::bridge;
use pci_spec::capability::express::{self, PortType};
use pci_spec::capability::{express::port::ARI_FORWARDING_ENABLE, id};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::*;
use topology::fabric::{Place, PlugError};

const ABSENT: u32 = u32::MAX;
const NVME: u32 = 0x0010_1b36;
const PORT: u32 = 0x000c_1b36;

struct Bus {
    machine: Machine,
    bridge: HostBridge,
}

impl Bus {
    fn new() -> Bus {
        let machine = Machine::new();
        let bridge = machine.fabric.host_bridge("test");
        Bus { machine, bridge }
    }

    fn read(&self, bus: u8, devfn: u8) -> u32 {
        let at = ConfigAddress { bus, devfn, register: 0 };
        self.bridge.read(&self.machine.token, at, Width::Dword).unwrap()
    }

    fn write(&self, bus: u8, devfn: u8, register: u16, width: Width, value: u32) {
        let at = ConfigAddress { bus, devfn, register };
        let _ = self.bridge.write(&self.machine.token, at, width, value).unwrap();
    }

    fn number(&self, bus: u8, devfn: u8, secondary: u8, subordinate: u8) {
        let numbers = BusNumbers { primary: bus, secondary, subordinate };
        self.write(bus, devfn, bridge::PRIMARY_BUS, Width::Dword, numbers.encode());
    }
}

#[test]
fn accesses_follow_the_bus_number_registers_of_the_bridges() {
    let bus = Bus::new();
    let root = bus.machine.root(0x08, &port("root port", PortType::RootPort));
    let upstream = bus.machine.below(root, 0, &port("upstream", PortType::UpstreamPort));
    let downstream = bus.machine.below(upstream, 0x10, &port("downstream", PortType::DownstreamPort));
    bus.machine.below(downstream, 0, &function("disk", &endpoint()));

    assert_eq!((bus.read(0, 0x08), bus.read(0, 0x10)), (PORT, ABSENT));
    assert_eq!(bus.read(1, 0), ABSENT, "no bus numbers yet");
    bus.number(0, 0x08, 4, 9);
    assert_eq!((bus.read(4, 0), bus.read(5, 0x10)), (PORT, ABSENT));
    bus.number(4, 0, 5, 9);
    assert_eq!(bus.read(5, 0x10), PORT);
    bus.number(5, 0x10, 9, 9);
    assert_eq!(bus.read(9, 0), NVME);
    bus.number(0, 0x08, 4, 8);
    assert_eq!(bus.read(9, 0), ABSENT, "the root port does not forward bus 9");
    bus.number(0, 0x08, 4, 9);
    assert_eq!(bus.read(9, 0), NVME);
}

#[test]
fn only_device_0_is_on_a_link_unless_the_port_forwards_to_ari_devices() {
    let bus = Bus::new();
    let slot = bus.machine.root(0, &port("root port", PortType::RootPort));
    bus.machine.below(slot, 0, &function("f0", &endpoint()));
    bus.machine.below(slot, 9, &function("f9", &endpoint()));
    bus.number(0, 0, 1, 1);
    assert_eq!((bus.read(1, 0), bus.read(1, 9)), (NVME, ABSENT));
    let config = bus.machine.fabric.function(at("00:00.0")).unwrap().config().clone();
    let control = config.find_capability(id::PCI_EXPRESS).unwrap() + express::DEVICE_CONTROL_2;
    bus.write(0, 0, control, Width::Word, u32::from(ARI_FORWARDING_ENABLE));
    assert_eq!(bus.read(1, 9), NVME);
    bus.write(0, 0, control, Width::Word, 0);
    assert_eq!(bus.read(1, 9), ABSENT);
}

#[test]
fn a_reset_or_a_loss_of_power_of_a_bridge_cuts_off_what_is_below_whoever_causes_it() {
    let bus = Bus::new();
    let root = port("root port", PortType::RootPort);
    let slot = bus.machine.root(0, &root);
    bus.machine.below(slot, 0, &function("disk", &endpoint()));
    type Cut = fn(&ConfigSpace);
    let reset: Cut = |config| config.reset(ResetKind::DeviceReset);
    let power: Cut = |config| config.lose_power();
    let cuts = [("reset", reset), ("power", power)];
    for (what, cut) in cuts {
        bus.number(0, 0, 1, 1);
        assert_eq!(bus.read(1, 0), NVME, "{what}");
        cut(root.config());
        assert_eq!(bus.read(1, 0), ABSENT, "{what}");
    }
}

#[test]
fn what_is_below_a_bridge_is_gone_while_its_secondary_bus_is_held_in_reset() {
    // RST-09: the bit has an effect in hardware at once; what is reset is up to the caller.
    let bus = Bus::new();
    let slot = bus.machine.root(0, &port("root port", PortType::RootPort));
    bus.machine.below(slot, 0, &function("disk", &endpoint()));
    bus.number(0, 0, 1, 1);
    let hold = u32::from(bridge::BridgeControl::SECONDARY_BUS_RESET.bits());
    let at = ConfigAddress { bus: 0, devfn: 0, register: bridge::BRIDGE_CONTROL };
    let effects = bus.bridge.write(&bus.machine.token, at, Width::Word, hold).unwrap();
    assert!(effects.secondary_bus_reset.is_some_and(|change| change.new && !change.old));
    assert_eq!((bus.read(0, 0), bus.read(1, 0)), (PORT, ABSENT));
    bus.write(0, 0, bridge::BRIDGE_CONTROL, Width::Word, 0);
    assert_eq!(bus.read(1, 0), NVME);
}

#[test]
fn of_two_bridges_that_claim_a_bus_the_first_has_it() {
    let bus = Bus::new();
    for devfn in [0x10, 0x08] {
        let slot = bus.machine.root(devfn, &port("root port", PortType::RootPort));
        if devfn == 0x08 {
            bus.machine.below(slot, 0, &function("disk", &endpoint()));
        }
        bus.number(0, devfn, 1, 1);
    }
    assert_eq!(bus.read(1, 0), NVME);
    bus.number(0, 0x08, 0, 0);
    assert_eq!(bus.read(1, 0), ABSENT, "the other one, with nothing below");
}

#[test]
fn what_is_unplugged_is_gone_with_everything_below() {
    let bus = Bus::new();
    let root = bus.machine.root(0, &port("root port", PortType::RootPort));
    let disk = function("disk", &endpoint());
    bus.machine.below(root, 0, &disk);
    bus.number(0, 0, 1, 1);
    assert_eq!(bus.read(1, 0), NVME);
    assert_eq!(bus.machine.fabric.unplug(root).len(), 2);
    assert_eq!((bus.read(0, 0), bus.read(1, 0)), (ABSENT, ABSENT));
    assert!(bus.machine.fabric.unplug(root).is_empty());
    assert_eq!(Arc::strong_count(&disk), 1, "nothing keeps what was taken out");
}

#[test]
fn a_place_that_is_taken_or_does_not_exist_is_refused() {
    let machine = Machine::new();
    let disk = function("disk", &endpoint());
    let id = machine.root(0, &disk);
    let plug = |place| machine.fabric.plug(place, function("other", &endpoint())).err();
    assert_eq!(plug(Place::Root(0)), Some(PlugError::Taken));
    assert_eq!(plug(Place::Below(id, 0)), Some(PlugError::NoBridge));
    let root = machine.root(8, &port("root port", PortType::RootPort));
    assert_eq!(plug(Place::Below(root, 200)), None);
    machine.fabric.unplug(root);
    assert_eq!(plug(Place::Below(root, 0)), Some(PlugError::NoBridge));
}

#[test]
fn a_function_that_stays_answers_every_read_while_others_come_and_go() {
    let bus = Bus::new();
    let slot = bus.machine.root(0, &port("root port", PortType::RootPort));
    bus.machine.below(slot, 0, &function("stays", &endpoint()));
    bus.number(0, 0, 1, 1);
    let stop = AtomicBool::new(false);
    let fabric = &bus.machine.fabric;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..2000u32 {
                let devfn = 8 + u8::try_from(round % 200).unwrap();
                let id = fabric.plug(Place::Root(devfn), function("comes", &endpoint())).unwrap();
                fabric.unplug(id);
            }
            stop.store(true, Ordering::Release);
        });
        while !stop.load(Ordering::Acquire) {
            assert_eq!(bus.read(1, 0), NVME);
        }
    });
}
