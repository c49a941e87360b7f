//! Scans of a part of a segment: what is below one bridge, one device.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod support;

use gate::{Deadline, ThreadToken};
use pci_core::mechanism::{BusRange, ConfigOps, Ecam, HostBridge};
use pci_core::{
    BarKind, BusNumbers, ConfigAddress, ConfigEffects, ConfigSpace, ConfigSpaceBuilder, ConfigStatus,
    Function, RealTime, Slot, SrIov, Width,
};
use pci_spec::capability::express::PortType;
use pci_spec::{bridge, config};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use support::*;
use topology::enumerate::{Problem, Reserve, Space, Windows};
use topology::fabric::{Fabric, Place, PlugId, Port};
use topology::{NodeKind, Segment, Topology, TopologyError};

/// Answers some accesses itself, or does something before they go on: address, and whether it is a write.
type Hook = Box<dyn Fn(ConfigAddress, bool) -> Option<u32> + Send + Sync>;

struct Hooked {
    below: Ecam<Arc<Fabric>>,
    hook: Hook,
}

impl ConfigOps for Hooked {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        (self.hook)(at, false).map_or_else(|| self.below.read(at, width), Ok)
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        let _not_answered = (self.hook)(at, true);
        self.below.write(at, width, value)
    }
}

/// A segment whose ports have hot-plug slots.
struct Slots {
    token: ThreadToken,
    fabric: Arc<Fabric>,
    topology: Arc<Topology>,
    ports: Vec<PlugId>,
}

impl Slots {
    fn new(ports: u8, reserve: Reserve) -> Slots {
        Slots::hooked(ports, reserve, Box::new(|_, _| None))
    }

    fn hooked(ports: u8, reserve: Reserve, hook: Hook) -> Slots {
        let mut token = ThreadToken::at_thread_entry();
        let fabric = Arc::new(Fabric::new(0));
        let below = Ecam::new(fabric.clone(), BusRange::ALL);
        let ops = Arc::new(Hooked { below, hook });
        let bridge = Arc::new(HostBridge::new("test", 0, BusRange::ALL, ops));
        let segment = Segment::new(bridge, fabric.clone(), Windows::default()).reserving(reserve);
        let topology = Arc::new(Topology::new(Arc::new(RealTime::default())));
        topology.add_segment(&mut token, segment, soon()).unwrap();
        let plug = |device: u8| fabric.plug(Place::Root(device << 3), hot_plug_port("root port")).unwrap();
        let ports = (0..ports).map(plug).collect();
        let mut slots = Slots { token, fabric, topology, ports };
        assert_eq!(slots.scan().problems, []);
        slots
    }

    fn scan(&mut self) -> topology::Scanned {
        self.topology.rescan(&mut self.token, 0, soon()).unwrap()
    }

    fn below(&mut self, port: &str) -> topology::Scanned {
        self.topology.rescan_below(&mut self.token, at(port), soon()).unwrap()
    }

    fn plug(&self, port: usize, function: &Arc<Function>) -> PlugId {
        self.fabric.plug(Place::Below(self.ports[port], 0), function.clone()).unwrap()
    }

    fn shown(&self) -> Vec<String> {
        self.topology.snapshot(&self.token).iter().map(|node| node.address.to_string()).collect()
    }

    fn config(&self, text: &str) -> Arc<ConfigSpace> {
        let snapshot = self.topology.snapshot(&self.token);
        snapshot.function(at(text)).unwrap().function.config().clone()
    }
}

fn hot_plug_port(name: &str) -> Arc<Function> {
    let slot = Slot { number: 1, hot_plug: true, surprise: true, present: true };
    let identity = Port::identity(0x1b36, 0x000c);
    Arc::new(Port::function(name, identity, PortType::RootPort, Some(slot)).unwrap())
}

/// A bridge to a bus that is no link.
fn conventional(name: &str) -> Arc<Function> {
    function(name, &ConfigSpace::bridge_builder(Port::identity(0x1b36, 0x000e)))
}

fn disk(size: u64) -> ConfigSpaceBuilder {
    endpoint().bar(bar(0), BarKind::Memory64, size).bar(bar(2), BarKind::Memory32, size)
}

/// Vendor ID of what asks to be tried again.
const NOT_READY: u32 = 0xffff_0001;

fn is_vendor_of(at: ConfigAddress, bus: u8) -> bool {
    (at.bus, at.devfn, at.register) == (bus, 0, config::VENDOR_ID)
}

/// Until the condition holds.
fn wait_for(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}

#[test]
fn a_card_that_fits_the_reserve_is_found_in_a_slot_that_was_empty() {
    let mut slots = Slots::new(2, Reserve::default());
    let before = slots.config("00:00.0");
    let windows = [bridge::MEMORY_BASE, bridge::PREFETCHABLE_BASE].map(|register| read32(&before, register));
    slots.plug(0, &function("disk", &disk(2 << 20)));
    let scanned = slots.below("00:00.0");
    assert_eq!(scanned.problems, []);
    assert_eq!(scanned.added.len(), 1);
    assert_eq!(slots.shown(), ["0000:00:00.0", "0000:00:01.0", "0000:01:00.0"]);
    let disk = slots.config("01:00.0");
    for index in [0, 2] {
        assert_ne!(disk.bar_address(bar(index)), Some(0));
    }
    let after = [bridge::MEMORY_BASE, bridge::PREFETCHABLE_BASE].map(|register| read32(&before, register));
    assert_eq!(after, windows, "the window of the slot is what it was");
    let base = u64::from(windows[0] & 0xfff0) << 16;
    assert_eq!(disk.bar_address(bar(2)), Some(base), "inside the window");
}

#[test]
fn a_card_beyond_the_reserve_is_said_with_what_it_needs_and_found_all_the_same() {
    let mut slots = Slots::new(2, Reserve::default());
    slots.plug(1, &function("large", &endpoint().bar(bar(0), BarKind::Memory32, 4 << 20)));
    let scanned = slots.below("00:01.0");
    let problem = Problem::BeyondReserve {
        at: at("02:00.0"),
        bridge: at("00:01.0"),
        space: Space::Memory,
        size: 4 << 20,
        window: 2 << 20,
    };
    assert_eq!(scanned.problems, std::slice::from_ref(&problem));
    assert!(problem.to_string().contains("enlarge the reserve"), "{problem}");
    assert_eq!(scanned.added.len(), 1);
    assert_eq!(slots.config("02:00.0").bar_address(bar(0)), Some(0));

    let reserve = Reserve { memory: 4 << 20, ..Reserve::default() };
    drop(slots);
    let mut slots = Slots::new(2, reserve);
    slots.plug(1, &function("large", &endpoint().bar(bar(0), BarKind::Memory32, 4 << 20)));
    assert_eq!(slots.below("00:01.0").problems, []);
}

#[test]
fn a_reserve_takes_nothing_from_those_who_need_it() {
    // 16 slots want 4 KiB of the 60 KiB of ports each; one card needs some of it.
    let mut slots = Slots::new(16, Reserve::default());
    let card = endpoint().bar(bar(0), BarKind::Io, 256);
    slots.fabric.plug(Place::Root(0x1f << 3), function("card", &card)).unwrap();
    assert_eq!(slots.scan().problems, []);
    assert_ne!(slots.config("00:1f.0").bar_address(bar(0)), Some(0));
}

#[test]
fn empty_slots_keep_their_windows_over_scans() {
    let mut slots = Slots::new(3, Reserve::default());
    slots.plug(1, &function("disk", &disk(1 << 20)));
    let windows = |slots: &Slots| {
        ["00:00.0", "00:01.0", "00:02.0"].map(|port| {
            let port = slots.config(port);
            [bridge::MEMORY_BASE, bridge::PREFETCHABLE_BASE].map(|register| read32(&port, register))
        })
    };
    let before = windows(&slots);
    slots.below("00:01.0");
    // Placed before them if they were given out anew: it needs a larger alignment.
    let card = function("card", &disk(2 << 20));
    slots.fabric.plug(Place::Root(0x1f << 3), card).unwrap();
    assert_eq!(slots.scan().problems, []);
    assert_eq!(windows(&slots), before);
}

#[test]
fn nothing_but_what_is_below_the_bridge_is_written_or_looked_at() {
    let elsewhere = Arc::new(AtomicUsize::new(0));
    let counting = Arc::new(AtomicBool::new(false));
    let hook = {
        let (elsewhere, counting) = (elsewhere.clone(), counting.clone());
        move |at: ConfigAddress, write: bool| {
            // The registers of the bridge itself are read, and its ARI forwarding may be written.
            let own = at.bus == 2 || (at.bus, at.devfn) == (0, 8) && !write;
            if counting.load(Ordering::Acquire) && !own {
                elsewhere.fetch_add(1, Ordering::AcqRel);
            }
            None
        }
    };
    let mut slots = Slots::hooked(3, Reserve::default(), Box::new(hook));
    for port in [0, 2] {
        slots.plug(port, &function("stays", &disk(1 << 20)));
    }
    slots.scan();
    let others = slots.topology.snapshot(&slots.token);
    slots.plug(1, &function("new", &disk(1 << 20)));
    counting.store(true, Ordering::Release);
    // A pass on another function, held by another thread: no gate of it may be closed.
    let stays = others.function(at("01:00.0")).unwrap().function.clone();
    let (entered, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let scanned = std::thread::scope(|scope| {
        let holder = scope.spawn({
            let (entered, done) = (&entered, &done);
            move || {
                let mut token = ThreadToken::at_thread_entry();
                let pass = stays.handle().enter(&mut token, gate::AccessKind::Bar, soon()).unwrap();
                entered.store(true, Ordering::Release);
                wait_for(|| done.load(Ordering::Acquire));
                drop(pass);
            }
        });
        wait_for(|| entered.load(Ordering::Acquire));
        let scanned = slots.below("00:01.0");
        done.store(true, Ordering::Release);
        holder.join().unwrap();
        scanned
    });
    assert_eq!((scanned.added.len(), scanned.problems.len()), (1, 0));
    assert_eq!(elsewhere.load(Ordering::Acquire), 0);
    let after = slots.topology.snapshot(&slots.token);
    for node in others.iter() {
        assert!(Arc::ptr_eq(node, after.function(node.address).unwrap()), "{} is another node", node.address);
    }
}

#[test]
fn a_slot_is_scanned_while_another_one_waits_for_its_card_and_the_whole_segment_waits() {
    let (waits, asked) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
    let mut slots = Slots::hooked(2, Reserve::default(), not_ready_while(&waits, &asked));
    slots.plug(0, &function("slow", &disk(4096)));
    slots.plug(1, &function("fast", &disk(4096)));
    waits.store(true, Ordering::Release);
    let topology = slots.topology.clone();
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let mut token = ThreadToken::at_thread_entry();
            topology.rescan_below(&mut token, at("00:00.0"), soon()).unwrap().added.len()
        });
        wait_for(|| asked.load(Ordering::Acquire));
        assert_eq!(slots.below("00:01.0").added.len(), 1, "while the other one is waited for");
        let now = Deadline::after(Duration::from_millis(1));
        let same = slots.topology.rescan_below(&mut slots.token, at("00:00.0"), now);
        assert!(matches!(same, Err(TopologyError::Contended(_))), "{same:?}");
        let whole = slots.topology.rescan(&mut slots.token, 0, now);
        assert!(matches!(whole, Err(TopologyError::Contended(_))), "{whole:?}");
        waits.store(false, Ordering::Release);
        assert_eq!(slots.topology.rescan(&mut slots.token, 0, soon()).unwrap().problems, []);
        assert_eq!(slow.join().unwrap(), 1);
    });
    assert_eq!(slots.shown().len(), 4);
}

#[test]
fn a_scan_whose_bridge_is_removed_meanwhile_shows_nothing() {
    let (waits, asked) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
    let mut slots = Slots::hooked(2, Reserve::default(), not_ready_while(&waits, &asked));
    slots.plug(0, &function("disk", &disk(4096)));
    waits.store(true, Ordering::Release);
    let topology = slots.topology.clone();
    std::thread::scope(|scope| {
        let scan = scope.spawn(|| {
            let mut token = ThreadToken::at_thread_entry();
            topology.rescan_below(&mut token, at("00:00.0"), soon())
        });
        wait_for(|| asked.load(Ordering::Acquire));
        slots.topology.remove(&mut slots.token, at("00:00.0"), soon()).unwrap();
        waits.store(false, Ordering::Release);
        let error = scan.join().unwrap().unwrap_err();
        assert!(matches!(error, TopologyError::NoFunction(bridge) if bridge == at("00:00.0")), "{error}");
    });
    assert_eq!(slots.shown(), ["0000:00:01.0"]);
}

/// A hook that keeps what is at 00.0 of bus 1 from being ready while the first flag is set, and sets the second when somebody asks.
fn not_ready_while(waits: &Arc<AtomicBool>, asked: &Arc<AtomicBool>) -> Hook {
    let (waits, asked) = (waits.clone(), asked.clone());
    Box::new(move |at, _| {
        (is_vendor_of(at, 1) && waits.load(Ordering::Acquire)).then(|| {
            asked.store(true, Ordering::Release);
            NOT_READY
        })
    })
}

#[test]
fn the_removal_of_the_segment_ends_the_scan_of_a_slot() {
    let (waits, asked) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
    let mut slots = Slots::hooked(1, Reserve::default(), not_ready_while(&waits, &asked));
    slots.plug(0, &function("never ready", &disk(4096)));
    waits.store(true, Ordering::Release);
    let topology = slots.topology.clone();
    std::thread::scope(|scope| {
        let scan = scope.spawn(|| {
            let mut token = ThreadToken::at_thread_entry();
            topology.rescan_below(&mut token, at("00:00.0"), soon())
        });
        wait_for(|| asked.load(Ordering::Acquire));
        slots.topology.remove_segment(&mut slots.token, 0, soon()).unwrap();
        let error = scan.join().unwrap().unwrap_err();
        assert!(matches!(error, TopologyError::Ended(0)), "{error}");
    });
    assert!(slots.shown().is_empty());
}

#[test]
fn two_devices_of_a_bus_find_bus_numbers_at_the_same_time() {
    let (waits, asked) = <(Arc<AtomicBool>, Arc<AtomicBool>)>::default();
    let mut slots = Slots::hooked(0, Reserve::default(), not_ready_while(&waits, &asked));
    for device in [1u8, 2] {
        let id = slots.fabric.plug(Place::Root(device << 3), port("p", PortType::RootPort)).unwrap();
        slots.fabric.plug(Place::Below(id, 0), function("disk", &disk(4096))).unwrap();
    }
    waits.store(true, Ordering::Release);
    let topology = slots.topology.clone();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            let mut token = ThreadToken::at_thread_entry();
            topology.rescan_device(&mut token, 0, 0, 1, soon()).unwrap()
        });
        wait_for(|| asked.load(Ordering::Acquire));
        let now = Deadline::after(Duration::from_secs(1));
        let second = slots.topology.rescan_device(&mut slots.token, 0, 0, 2, now).unwrap();
        assert_eq!((second.added.len(), second.problems), (2, vec![]), "while the first one waits");
        waits.store(false, Ordering::Release);
        let first = first.join().unwrap();
        assert_eq!((first.added.len(), first.problems), (2, vec![]));
    });
    assert_eq!(slots.scan().problems, []);
    assert_eq!(slots.shown().len(), 4);
}

/// A switch with so many downstream ports and a disk below each.
fn plug_switch(slots: &Slots, port: usize, ports: u8) {
    let upstream = slots.plug(port, &support::port("upstream", PortType::UpstreamPort));
    for device in 0..ports {
        let port = support::port("downstream", PortType::DownstreamPort);
        let downstream = slots.fabric.plug(Place::Below(upstream, device << 3), port).unwrap();
        slots.fabric.plug(Place::Below(downstream, 0), function("disk", &disk(4096))).unwrap();
    }
}

#[test]
fn a_switch_in_a_slot_gets_the_buses_in_reserve() {
    let mut slots =
        Slots::new(2, Reserve { buses: 8, memory: 8 << 20, memory64: 8 << 20, ..Reserve::default() });
    plug_switch(&slots, 0, 6);
    let scanned = slots.below("00:00.0");
    assert_eq!(scanned.problems, []);
    assert_eq!(scanned.added.len(), 1 + 2 * 6);
    let NodeKind::Bridge { secondary, subordinate, .. } =
        slots.topology.snapshot(&slots.token).function(at("01:00.0")).unwrap().kind
    else {
        panic!("no bridge")
    };
    assert_eq!((secondary, subordinate), (2, 8));
    assert_eq!(slots.config("00:01.0").bus_numbers().unwrap().secondary, 9);
}

#[test]
fn a_switch_with_more_buses_than_the_slot_has_is_found_as_far_as_they_go() {
    let mut slots =
        Slots::new(2, Reserve { buses: 4, memory: 8 << 20, memory64: 8 << 20, ..Reserve::default() });
    plug_switch(&slots, 0, 4);
    let scanned = slots.below("00:00.0");
    let lacking = [Problem::NoBus(at("02:02.0")), Problem::NoBus(at("02:03.0"))];
    assert_eq!(scanned.problems, lacking);
    assert_eq!(scanned.added.len(), 1 + 4 + 2);
    let next = slots.config("00:01.0").bus_numbers().unwrap();
    assert_eq!((next.secondary, next.subordinate), (5, 8), "the next slot's are not touched");
}

#[test]
fn a_bridge_that_does_not_lead_to_its_buses_is_said_and_nothing_is_removed_that_answers_later() {
    let mut slots = Slots::new(1, Reserve::default());
    let id = slots.plug(0, &function("disk", &disk(4096)));
    slots.below("00:00.0");
    let port = slots.config("00:00.0");
    let none = BusNumbers::default().encode().to_le_bytes();
    let _ = port.write(bridge::PRIMARY_BUS, &none);
    let scanned = slots.below("00:00.0");
    assert_eq!(scanned.problems, [Problem::NotRouted(at("00:00.0"))]);
    assert_eq!(slots.shown(), ["0000:00:00.0"], "nobody answers there");
    slots.scan();
    assert_eq!(slots.shown().len(), 2);
    slots.fabric.unplug(id);
    assert_eq!(slots.below("00:00.0").removed.nodes.len(), 1);
}

#[test]
fn virtual_functions_of_what_was_there_stay_and_those_of_a_card_that_left_go() {
    // HP-18
    let mut slots = Slots::new(2, Reserve { buses: 2, ..Reserve::default() });
    let capability = SrIov::new(4, 0x1234).bar(bar(0), BarKind::Memory64, 4096);
    let card = endpoint().extended_capability(ari(0)).extended_capability(sr_iov(capability));
    let ids = [0, 1].map(|port| slots.plug(port, &function("physical", &card)));
    assert_eq!(slots.scan().problems, []);
    for physical in ["01:00.0", "03:00.0"] {
        slots.topology.set_num_vfs(&mut slots.token, at(physical), 4, soon()).unwrap();
    }
    assert_eq!(slots.shown().len(), 2 + 2 + 8);
    let scanned = slots.below("00:00.0");
    assert_eq!((scanned.added.len(), scanned.removed.nodes.len()), (0, 0));
    slots.fabric.unplug(ids[0]);
    let removed = slots.below("00:00.0").removed;
    assert_eq!(removed.nodes.len(), 1 + 4);
    assert_eq!(slots.shown().len(), 2 + 1 + 4, "the other card's are there");
    for node in removed.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Virtual { .. })) {
        assert!(node.function.handle().is_gone(), "{} is closed for good", node.address);
    }
    let left = slots.topology.snapshot(&slots.token);
    assert!(left.virtual_functions(at("03:00.0")).iter().all(|node| !node.function.handle().is_gone()));
}

#[test]
fn a_device_of_a_bus_is_scanned_beside_others_and_gets_what_they_have_not() {
    let mut machine = Machine::new();
    machine.root(0, &function("first", &disk(1 << 20)));
    let slot = machine.root(8, &port("root port", PortType::RootPort));
    machine.below(slot, 0, &function("below", &disk(1 << 20)));
    machine.rescan();
    machine.root(0x20, &function("new", &disk(1 << 20).multi_function()));
    machine.root(0x23, &function("its third", &disk(1 << 20)));
    machine.root(0x28, &function("not looked at", &disk(1 << 20)));
    let Machine { token, topology, .. } = &mut machine;
    let scanned = topology.rescan_device(token, 0, 0, 4, soon()).unwrap();
    assert_eq!(scanned.problems, []);
    let added: Vec<_> = scanned.added.iter().map(|node| node.address.to_string()).collect();
    assert_eq!(added, ["0000:00:04.0", "0000:00:04.3"]);
    let snapshot = topology.snapshot(token);
    for index in [0, 2] {
        let mut bases: Vec<_> =
            snapshot.iter().filter_map(|node| node.function.config().bar_address(bar(index))).collect();
        bases.sort_unstable();
        assert_eq!(bases.len(), 4);
        assert!(bases.windows(2).all(|pair| pair[0] + (1 << 20) <= pair[1]), "{bases:x?}");
        assert!(!bases.contains(&0));
    }
    // Law 8: what is unplugged is found gone, and only that.
    let found = topology.rescan_device(token, 0, 0, 5, soon()).unwrap();
    assert_eq!((found.added.len(), found.removed.nodes.len()), (1, 0));
}

#[test]
fn a_switch_that_is_one_device_of_a_bus_gets_bus_numbers_that_nobody_has() {
    let mut machine = Machine::new();
    let slot = machine.root(0, &port("root port", PortType::RootPort));
    machine.below(slot, 0, &function("disk", &endpoint()));
    machine.rescan();
    let new = machine.root(0x40, &port("root port", PortType::RootPort));
    let upstream = machine.below(new, 0, &port("upstream", PortType::UpstreamPort));
    let downstream = machine.below(upstream, 0, &port("downstream", PortType::DownstreamPort));
    machine.below(downstream, 0, &function("deep", &disk(4096)));
    let Machine { token, topology, .. } = &mut machine;
    let scanned = topology.rescan_device(token, 0, 0, 8, soon()).unwrap();
    assert_eq!(scanned.problems, []);
    assert_eq!(scanned.added.len(), 4);
    let again = topology.rescan_device(token, 0, 0, 8, soon()).unwrap();
    assert_eq!((again.added.len(), again.removed.nodes.len(), again.problems.len()), (0, 0, 0));
    let before = machine.shown();
    assert_eq!(before.len(), 6);
    let whole = machine.rescan();
    assert_eq!((whole.added.len(), whole.removed.nodes.len(), whole.problems.len()), (0, 0, 0));
    assert_eq!(machine.shown(), before, "a whole scan has nothing to change");
}

#[test]
fn devices_of_a_conventional_bus_come_and_go_within_its_windows() {
    let mut machine = Machine::new();
    let bridge = machine.root(0, &conventional("bridge"));
    machine.rescan();
    for device in [1u8, 2] {
        machine.below(bridge, device << 3, &function("card", &disk(512 << 10)));
    }
    let Machine { token, topology, .. } = &mut machine;
    for device in [1, 2] {
        let scanned = topology.rescan_device(token, 0, 1, device, soon()).unwrap();
        assert_eq!((scanned.added.len(), scanned.problems.len()), (1, 0));
    }
    let removed = topology.remove(token, at("01:01.0"), soon()).unwrap();
    assert_eq!(removed.nodes.len(), 1);
    assert_eq!(machine.shown(), ["0000:00:00.0", "0000:01:02.0"]);
}

#[test]
fn what_cannot_be_scanned_by_itself_is_refused_with_a_reason() {
    let mut machine = Machine::new();
    machine.root(0, &function("disk", &endpoint()));
    machine.root(8, &port("root port", PortType::RootPort));
    machine.rescan();
    let Machine { token, topology, .. } = &mut machine;
    let below = topology.rescan_below(token, at("00:00.0"), soon());
    assert!(matches!(below, Err(TopologyError::NoBridge(_))), "{below:?}");
    let below = topology.rescan_below(token, at("00:05.0"), soon());
    assert!(matches!(below, Err(TopologyError::NoFunction(_))), "{below:?}");
    let device = topology.rescan_device(token, 0, 1, 0, soon());
    assert!(matches!(device, Err(TopologyError::Link(_))), "{device:?}");
    let device = topology.rescan_device(token, 0, 0, 32, soon());
    assert!(matches!(device, Err(TopologyError::NoDevice(32))), "{device:?}");
    let device = topology.rescan_device(token, 0, 77, 0, soon());
    assert!(matches!(device, Err(TopologyError::NoFunction(_))), "{device:?}");
}

#[test]
fn slots_and_devices_of_one_segment_are_scanned_by_many_threads_at_once() {
    const ROUNDS: usize = 40;
    let slots = Slots::new(4, Reserve::default());
    let (fabric, topology, ports) = (&slots.fabric, &slots.topology, &slots.ports);
    std::thread::scope(|scope| {
        for (device, id) in (0u8..).zip(ports) {
            scope.spawn(move || {
                let mut token = ThreadToken::at_thread_entry();
                let bridge = pci_spec::Bdf::new(0, 0, device, 0).unwrap();
                for _ in 0..ROUNDS {
                    let disk = fabric.plug(Place::Below(*id, 0), function("disk", &disk(4096))).unwrap();
                    let scanned = topology.rescan_below(&mut token, bridge, soon()).unwrap();
                    assert_eq!((scanned.added.len(), scanned.problems), (1, vec![]));
                    topology.remove(&mut token, scanned.added[0].address, soon()).unwrap();
                    fabric.unplug(disk);
                }
            });
        }
        for device in [16u8, 17] {
            scope.spawn(move || {
                let mut token = ThreadToken::at_thread_entry();
                for _ in 0..ROUNDS {
                    let place = Place::Root(device << 3);
                    let id = fabric.plug(place, port("root port", PortType::RootPort)).unwrap();
                    fabric.plug(Place::Below(id, 0), function("disk", &disk(4096))).unwrap();
                    let scanned = topology.rescan_device(&mut token, 0, 0, device, soon()).unwrap();
                    assert_eq!((scanned.added.len(), scanned.problems), (2, vec![]));
                    topology.remove(&mut token, scanned.added[0].address, soon()).unwrap();
                    fabric.unplug(id);
                }
            });
        }
    });
}
