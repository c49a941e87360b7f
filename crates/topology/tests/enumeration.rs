//! What a scan finds, and which numbers and addresses it gives.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod support;

use gate::ThreadToken;
use pci_core::mechanism::{BusRange, ConfigOps, Ecam, HostBridge};
use pci_core::{BarKind, BusNumbers, ConfigAddress, ConfigEffects, ConfigStatus, Time, VirtualTime, Width};
use pci_spec::capability::express::PortType;
use pci_spec::{bridge, config};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use support::*;
use topology::enumerate::{Problem, Range, Space, Windows};
use topology::fabric::{Fabric, Place};
use topology::{NodeKind, Segment, Topology};

fn numbers(machine: &Machine, text: &str) -> (u8, u8, u8) {
    let numbers = machine.node(at(text)).unwrap().function.config().bus_numbers().unwrap();
    (numbers.primary, numbers.secondary, numbers.subordinate)
}

#[test]
fn bridges_get_bus_numbers_depth_first() {
    let mut machine = Machine::new();
    let one = machine.root(0x08, &port("root port 1", PortType::RootPort));
    let upstream = machine.below(one, 0, &port("upstream", PortType::UpstreamPort));
    for devfn in [0, 0x08] {
        let downstream = machine.below(upstream, devfn, &port("downstream", PortType::DownstreamPort));
        machine.below(downstream, 0, &function("disk", &endpoint()));
    }
    machine.root(0x10, &port("root port 2", PortType::RootPort));
    let scanned = machine.rescan();
    assert_eq!(scanned.problems, []);
    assert_eq!(
        machine.shown(),
        [
            "0000:00:01.0",
            "0000:00:02.0",
            "0000:01:00.0",
            "0000:02:00.0",
            "0000:02:01.0",
            "0000:03:00.0",
            "0000:04:00.0",
        ]
    );
    assert_eq!(numbers(&machine, "00:01.0"), (0, 1, 4));
    assert_eq!(numbers(&machine, "01:00.0"), (1, 2, 4));
    assert_eq!(numbers(&machine, "02:00.0"), (2, 3, 3));
    assert_eq!(numbers(&machine, "02:01.0"), (2, 4, 4));
    assert_eq!(numbers(&machine, "00:02.0"), (0, 5, 5));
    let snapshot = machine.topology.snapshot(&machine.token);
    let disk = at("04:00.0");
    let above: Vec<_> =
        std::iter::successors(snapshot.parent(disk), |node| snapshot.parent(node.address)).collect();
    let above: Vec<_> = above.iter().map(|node| node.address.to_string()).collect();
    assert_eq!(above, ["0000:02:01.0", "0000:01:00.0", "0000:00:01.0"]);
    assert_eq!(snapshot.below(snapshot.function(at("00:01.0")).unwrap()).len(), 5);
}

#[test]
fn bus_numbers_that_nest_are_kept_and_others_get_those_after() {
    let mut machine = Machine::new();
    let set = |function: &pci_core::Function, secondary, subordinate| {
        let numbers = BusNumbers { primary: 0, secondary, subordinate };
        let _ = function.config().write(bridge::PRIMARY_BUS, &numbers.encode().to_le_bytes());
    };
    let slots: Vec<_> = (0..4).map(|_| port("root port", PortType::RootPort)).collect();
    set(&slots[1], 5, 7);
    set(&slots[2], 6, 9);
    set(&slots[3], 3, 2);
    for (index, slot) in (0u8..).zip(&slots) {
        let id = machine.root(index * 8, slot);
        machine.below(id, 0, &function("disk", &endpoint()));
    }
    assert_eq!(machine.rescan().problems, []);
    assert_eq!(numbers(&machine, "00:01.0"), (0, 5, 7), "kept");
    assert_eq!(numbers(&machine, "00:00.0"), (0, 8, 8));
    assert_eq!(numbers(&machine, "00:02.0"), (0, 9, 9), "overlapped");
    assert_eq!(numbers(&machine, "00:03.0"), (0, 10, 10), "upside down");
    assert!(machine.node(at("05:00.0")).is_some());
    let before = machine.shown();
    machine.rescan();
    assert_eq!(machine.shown(), before);
}

#[test]
fn other_functions_are_looked_for_only_in_a_multi_function_device() {
    let mut machine = Machine::new();
    machine.root(0, &function("f0", &endpoint().multi_function()));
    machine.root(3, &function("f3", &endpoint()));
    machine.root(8, &function("single", &endpoint()));
    machine.root(9, &function("hidden", &endpoint()));
    machine.root(17, &function("without function 0", &endpoint()));
    machine.rescan();
    assert_eq!(machine.shown(), ["0000:00:00.0", "0000:00:00.3", "0000:00:01.0"]);
}

#[test]
fn the_functions_of_an_ari_device_are_found_along_their_chain() {
    let mut machine = Machine::new();
    let slot = machine.root(0, &port("root port", PortType::RootPort));
    for (devfn, next) in [(0, 5), (5, 0x41), (0x41, 0xff), (0xff, 0)] {
        machine.below(slot, devfn, &function("f", &endpoint().extended_capability(ari(next))));
    }
    machine.below(slot, 6, &function("not in the chain", &endpoint()));
    assert_eq!(machine.rescan().problems, []);
    let expected = ["0000:00:00.0", "0000:01:00.0", "0000:01:00.5", "0000:01:08.1", "0000:01:1f.7"];
    assert_eq!(machine.shown(), expected);
    let root = machine.node(at("00:00.0")).unwrap();
    assert!(root.function.config().ari_forwarding());
}

#[test]
fn an_ari_chain_that_does_not_ascend_ends_there() {
    let mut machine = Machine::new();
    let slot = machine.root(0, &port("root port", PortType::RootPort));
    for (devfn, next) in [(0, 9), (9, 9)] {
        machine.below(slot, devfn, &function("f", &endpoint().extended_capability(ari(next))));
    }
    assert_eq!(machine.rescan().problems, [Problem::AriChain(at("01:01.1"))]);
    assert_eq!(machine.shown().len(), 3);
}

/// Answers "not ready" to as many reads of the vendor ID of 00:00.0.
struct NotReady {
    below: Ecam<Arc<Fabric>>,
    left: AtomicU32,
}

impl ConfigOps for NotReady {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        let asked = (at.bus, at.devfn, at.register) == (0, 0, config::VENDOR_ID);
        let waits = |left: u32| left.checked_sub(1);
        if asked && self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, waits).is_ok() {
            return Ok(0xffff_0001);
        }
        self.below.read(at, width)
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        self.below.write(at, width, value)
    }
}

fn scan_not_ready(times: u32) -> (Vec<Problem>, usize, Duration) {
    let mut token = ThreadToken::at_thread_entry();
    let fabric = Arc::new(Fabric::new(0));
    fabric.plug(Place::Root(0), function("slow", &endpoint())).unwrap();
    fabric.plug(Place::Root(8), function("other", &endpoint())).unwrap();
    let below = Ecam::new(fabric.clone(), BusRange::ALL);
    let ops = NotReady { below, left: AtomicU32::new(times) };
    let bridge = Arc::new(HostBridge::new("test", 0, BusRange::ALL, Arc::new(ops)));
    let time = Arc::new(VirtualTime::default());
    let topology = Topology::new(time.clone());
    let segment = Segment::new(bridge, fabric, Windows::default());
    topology.add_segment(&mut token, segment, soon()).unwrap();
    let scanned = topology.rescan(&mut token, 0, soon()).unwrap();
    (scanned.problems, topology.snapshot(&token).len(), time.now())
}

#[test]
fn a_function_that_is_not_ready_is_waited_for_but_not_for_ever() {
    // CFG-16, PWR-09a
    assert_eq!(scan_not_ready(4), (vec![], 2, Duration::from_millis(1 + 2 + 4 + 8)));
    let (problems, found, waited) = scan_not_ready(u32::MAX);
    assert_eq!(problems, [Problem::NotReady(at("00:00.0"))]);
    assert_eq!(found, 1, "the others are found all the same");
    assert_eq!(waited, Duration::from_millis(65_535));
}

#[test]
fn addresses_lie_within_the_windows_of_all_bridges_above() {
    let mut machine = Machine::new();
    let slot = machine.root(0, &port("root port", PortType::RootPort));
    let disk = endpoint()
        .bar(bar(0), BarKind::Memory64, 16 << 10)
        .bar(bar(2), BarKind::Memory32, 4 << 10)
        .bar(bar(3), BarKind::Io, 32)
        .rom(64 << 10);
    machine.below(slot, 0, &function("disk", &disk));
    assert_eq!(machine.rescan().problems, []);
    let disk = machine.node(at("01:00.0")).unwrap().function.config().clone();
    let windows = Windows::default();
    assert_eq!(disk.bar_address(bar(0)), Some(windows.memory64.base));
    assert_eq!(disk.bar_address(bar(2)), Some(windows.memory.base + (64 << 10)));
    assert_eq!(disk.bar_address(bar(3)), Some(windows.io.base));
    assert_eq!(
        u64::from(read32(&disk, config::ROM_BAR)),
        windows.memory.base,
        "larger, so first; not enabled"
    );
    let port = machine.node(at("00:00.0")).unwrap().function.config().clone();
    assert_eq!(read32(&port, bridge::MEMORY_BASE), 0x8000_8000, "1 MiB from 2 GiB on");
    assert_eq!(read32(&port, bridge::PREFETCHABLE_BASE), 0x0001_0001);
    assert_eq!(read32(&port, bridge::PREFETCHABLE_BASE_UPPER), 0x80);
    assert_eq!(read32(&port, bridge::PREFETCHABLE_LIMIT_UPPER), 0x80);
    assert_eq!(read32(&port, bridge::IO_BASE) & 0xffff, 0x1010, "4 KiB from 0x1000 on");
}

#[test]
fn what_stands_beside_a_bridge_gets_no_address_that_its_window_forwards() {
    // A window is a whole number of MiB, however little is below.
    let mut machine = Machine::new();
    let small = endpoint().bar(bar(0), BarKind::Memory32, 4 << 10);
    let slot = machine.root(0, &port("root port", PortType::RootPort));
    machine.below(slot, 0, &function("below", &small));
    machine.root(8, &function("beside", &small));
    assert_eq!(machine.rescan().problems, []);
    let address = |text| machine.node(at(text)).unwrap().function.config().bar_address(bar(0));
    let base = Windows::default().memory.base;
    assert_eq!((address("01:00.0"), address("00:01.0")), (Some(base), Some(base + (1 << 20))));
}

#[test]
fn what_does_not_fit_is_said_and_the_rest_is_placed() {
    let mut token = ThreadToken::at_thread_entry();
    let fabric = Arc::new(Fabric::new(0));
    for (devfn, size) in [(0u8, 1 << 20), (8, 4 << 20), (16, 1 << 20)] {
        let config = endpoint().bar(bar(0), BarKind::Memory32, size);
        fabric.plug(Place::Root(devfn), function("disk", &config)).unwrap();
    }
    let memory = Range { base: 0x8000_0000, last: 0x802f_ffff };
    let windows = Windows { memory, ..Windows::default() };
    let bridge = Arc::new(fabric.host_bridge("test"));
    let topology = Topology::new(Arc::new(VirtualTime::default()));
    topology.add_segment(&mut token, Segment::new(bridge, fabric, windows), soon()).unwrap();
    let problems = topology.rescan(&mut token, 0, soon()).unwrap().problems;
    let no_space = Problem::NoSpace { at: at("00:01.0"), space: Space::Memory, size: 4 << 20 };
    assert_eq!(problems, [no_space]);
    let address = |text| {
        let snapshot = topology.snapshot(&token);
        snapshot.function(at(text)).unwrap().function.config().bar_address(bar(0))
    };
    assert_eq!(address("00:00.0"), Some(0x8000_0000));
    assert_eq!(address("00:01.0"), Some(0));
    assert_eq!(address("00:02.0"), Some(0x8010_0000));
}

#[test]
fn a_bridge_for_which_no_bus_is_left_is_said() {
    let mut token = ThreadToken::at_thread_entry();
    let fabric = Arc::new(Fabric::new(0));
    for devfn in [0, 8, 16] {
        fabric.plug(Place::Root(devfn), port("root port", PortType::RootPort)).unwrap();
    }
    let buses = BusRange { first: 0, last: 2 };
    let ops = Ecam::new(fabric.clone(), buses);
    let bridge = Arc::new(HostBridge::new("test", 0, buses, Arc::new(ops)));
    let topology = Topology::new(Arc::new(VirtualTime::default()));
    topology.add_segment(&mut token, Segment::new(bridge, fabric, Windows::default()), soon()).unwrap();
    let problems = topology.rescan(&mut token, 0, soon()).unwrap().problems;
    assert_eq!(problems, [Problem::NoBus(at("00:02.0"))]);
}

#[test]
fn a_rescan_moves_nothing_that_is_there_and_gives_new_ones_what_is_free() {
    let mut machine = Machine::new();
    let config = endpoint().bar(bar(0), BarKind::Memory32, 1 << 20);
    let slot = machine.root(0, &port("root port", PortType::RootPort));
    let empty = machine.root(8, &port("slot", PortType::RootPort));
    let first = machine.below(slot, 0, &function("first", &config));
    machine.root(16, &function("second", &config));
    machine.rescan();
    let second = machine.node(at("00:02.0")).unwrap();
    let address = second.function.config().bar_address(bar(0)).unwrap();

    machine.below(empty, 0, &function("third", &config));
    let scanned = machine.rescan();
    assert_eq!(scanned.problems, []);
    assert_eq!(scanned.added.len(), 1);
    assert!(Arc::ptr_eq(&machine.node(at("00:02.0")).unwrap(), &second), "the same node");
    assert_eq!(second.function.config().bar_address(bar(0)), Some(address));
    let third = machine.node(at("02:00.0")).unwrap().function.config().bar_address(bar(0));
    assert_ne!(third, Some(0));
    assert_ne!(third, Some(address));

    machine.fabric.unplug(first);
    let larger = endpoint().bar(bar(0), BarKind::Memory32, 8 << 20);
    machine.below(slot, 0, &function("larger", &larger));
    let scanned = machine.rescan();
    assert_eq!(scanned.problems, [], "the window of an empty bridge is given out anew");
    assert_eq!((scanned.added.len(), scanned.removed.nodes.len()), (1, 1));
    assert_ne!(scanned.added[0].function.config().bar_address(bar(0)), Some(0));
}

#[test]
fn a_snapshot_does_not_change_when_the_topology_does() {
    let mut machine = Machine::new();
    let id = machine.root(0, &function("disk", &endpoint()));
    machine.rescan();
    let before = machine.topology.snapshot(&machine.token);
    machine.fabric.unplug(id);
    let scanned = machine.rescan();
    assert_eq!(scanned.removed.nodes.len(), 1);
    assert!(machine.shown().is_empty());
    assert!(before.function(at("00:00.0")).is_some());
    assert_eq!(before.function(at("00:00.0")).unwrap().kind, NodeKind::Endpoint);
}

#[test]
fn a_removed_function_takes_along_what_is_below_it() {
    let mut machine = Machine::new();
    let slot = machine.root(0, &port("root port", PortType::RootPort));
    machine.below(slot, 0, &function("disk", &endpoint()));
    machine.root(8, &function("stays", &endpoint()));
    machine.rescan();
    let removed = machine.topology.remove(&mut machine.token, at("00:00.0"), soon()).unwrap();
    assert_eq!(removed.nodes.len(), 2);
    assert_eq!(machine.shown(), ["0000:00:01.0"]);
    let left = machine.topology.snapshot(&machine.token);
    assert!(left.parent(at("01:00.0")).is_none(), "no bridge leads to that bus any more");
    assert!(machine.topology.remove(&mut machine.token, at("00:00.0"), soon()).is_err());
    let removed = machine.topology.remove_segment(&mut machine.token, 0, soon()).unwrap();
    assert_eq!((removed.nodes.len(), machine.shown().len()), (1, 0));
    assert!(machine.topology.rescan(&mut machine.token, 0, soon()).is_err());
}
