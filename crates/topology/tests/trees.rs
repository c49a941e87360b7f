//! Random trees: a scan finds what was plugged in, numbers nest, windows contain what is below and do not overlap.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod support;

use pci_core::{BarKind, ConfigSpace, Function};
use pci_spec::capability::express::PortType;
use pci_spec::{Bdf, bar as encoding, bridge};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use support::*;
use topology::fabric::{Place, PlugId};
use topology::{NodeKind, Snapshot};

/// What is on one bus.
#[derive(Clone, Debug)]
enum Device {
    /// Functions 0 to 7 that are there besides 0, and the BARs.
    Plain { others: u8, bars: Vec<(u8, u8)> },
    /// An ARI device of so many functions; behind a port only.
    Ari { functions: u8 },
    /// A bridge with what is below.
    Bridge(Vec<Device>),
}

fn device() -> impl Strategy<Value = Device> {
    let bars = proptest::collection::vec((0u8..3, 0u8..12), 0..3);
    let plain = (any::<u8>(), bars).prop_map(|(others, bars)| Device::Plain { others: others & 0x2a, bars });
    let leaf = prop_oneof![4 => plain, 1 => (1u8..40).prop_map(|functions| Device::Ari { functions })];
    leaf.prop_recursive(5, 60, 4, |inner| proptest::collection::vec(inner, 0..4).prop_map(Device::Bridge))
}

/// Plugs devices in and notes every function that a scan has to find.
struct Builder {
    machine: Machine,
    expected: Vec<Arc<Function>>,
}

const LIMIT: usize = 200;

impl Builder {
    fn plug(&mut self, bridge: Option<PlugId>, devfn: u8, function: Arc<Function>) -> PlugId {
        let place = bridge.map_or(Place::Root(devfn), |bridge| Place::Below(bridge, devfn));
        self.expected.push(function.clone());
        self.machine.fabric.plug(place, function).unwrap()
    }

    /// On the root bus, or below a switch: any number of devices.
    fn bus(&mut self, bridge: Option<PlugId>, devices: &[Device]) {
        for (device, number) in devices.iter().zip(0u8..32) {
            self.device(bridge, number * 8, device);
        }
    }

    /// Below a port: one device, or a switch for several.
    fn link(&mut self, port_id: PlugId, devices: &[Device]) {
        match devices {
            [] => {}
            [device @ (Device::Plain { .. } | Device::Ari { .. })] => self.device(Some(port_id), 0, device),
            several => {
                let upstream = self.plug(Some(port_id), 0, port("upstream", PortType::UpstreamPort));
                for (device, number) in several.iter().zip(0u8..32) {
                    let below = std::slice::from_ref(device);
                    let downstream = port("downstream", PortType::DownstreamPort);
                    let downstream = self.plug(Some(upstream), number * 8, downstream);
                    let below = if let Device::Bridge(devices) = device { devices } else { below };
                    self.link(downstream, below);
                }
            }
        }
    }

    fn device(&mut self, bridge: Option<PlugId>, first: u8, device: &Device) {
        if self.expected.len() > LIMIT - 40 {
            return;
        }
        match device {
            Device::Plain { others, bars } => {
                for function_number in (0..8u8).filter(|number| *number == 0 || others >> number & 1 != 0) {
                    let mut config = endpoint();
                    for (index, (kind, shift)) in (0..).step_by(2).zip(bars) {
                        config = match kind {
                            0 => config.bar(bar(index), BarKind::Io, 16 << (shift % 5)),
                            1 => config.bar(bar(index), BarKind::Memory32, 4096 << shift),
                            _ => config.bar(bar(index), BarKind::Memory64, 4096 << (2 * shift)),
                        };
                    }
                    if *others != 0 {
                        config = config.multi_function();
                    }
                    self.plug(bridge, first + function_number, function("endpoint", &config));
                }
            }
            Device::Ari { functions } if bridge.is_some() => {
                for number in 0..*functions {
                    let next = if number + 1 < *functions { (number + 1) * 3 } else { 0 };
                    let config = endpoint().extended_capability(ari(next));
                    self.plug(bridge, number * 3, function("ari", &config));
                }
            }
            Device::Ari { .. } => {
                self.plug(bridge, first, function("endpoint", &endpoint()));
            }
            Device::Bridge(devices) => {
                let id = self.plug(bridge, first, port("port", PortType::RootPort));
                self.link(id, devices);
            }
        }
    }
}

fn register(config: &ConfigSpace, offset: u16) -> u64 {
    u64::from(read32(config, offset))
}

/// The windows of a bridge as its registers say, in the order I/O, memory, 64-bit memory.
fn windows(config: &ConfigSpace) -> [Option<(u64, u64)>; 3] {
    let io = register(config, bridge::IO_BASE);
    let io = bridge::window((io & 0xf0) << 8, io & 0xf000, bridge::IO_GRANULARITY);
    let split = |register: u64| ((register & 0xfff0) << 16, register & 0xfff0_0000);
    let (base, limit) = split(register(config, bridge::MEMORY_BASE));
    let memory = bridge::window(base, limit, bridge::MEMORY_GRANULARITY);
    let (base, limit) = split(register(config, bridge::PREFETCHABLE_BASE));
    let base = base | register(config, bridge::PREFETCHABLE_BASE_UPPER) << 32;
    let limit = limit | register(config, bridge::PREFETCHABLE_LIMIT_UPPER) << 32;
    [io, memory, bridge::window(base, limit, bridge::MEMORY_GRANULARITY)]
}

/// The ranges that the BARs of a function decode, in the same order.
fn bars(config: &ConfigSpace) -> [Vec<(u64, u64)>; 3] {
    let mut ranges = [vec![], vec![], vec![]];
    for layout in config.bars() {
        let base = config.bar_address(layout.index).unwrap();
        assert_ne!(base, 0, "every BAR got an address");
        assert_eq!(base % layout.size, 0, "a multiple of its size");
        let kind = encoding::Kind::decode(read32(config, layout.index.register())).unwrap();
        let space = match kind {
            encoding::Kind::Io => 0,
            encoding::Kind::Memory32 { .. } => 1,
            encoding::Kind::Memory64 { .. } => 2,
        };
        ranges[space].push((base, base + layout.size - 1));
    }
    ranges
}

/// Everything on a bus lies within `within`, apart from each other; then the same below each bridge.
fn check_bus(snapshot: &Snapshot, bus: u8, within: [Option<(u64, u64)>; 3]) {
    let mut taken = [vec![], vec![], vec![]];
    for node in snapshot.bus(0, bus) {
        let config = node.function.config();
        for (taken, bars) in taken.iter_mut().zip(bars(config)) {
            taken.extend(bars);
        }
        if let NodeKind::Bridge { secondary, .. } = node.kind {
            let windows = windows(config);
            for (taken, window) in taken.iter_mut().zip(windows) {
                taken.extend(window);
            }
            check_bus(snapshot, secondary, windows);
        }
    }
    for (mut taken, within) in taken.into_iter().zip(within) {
        taken.sort_unstable();
        for pair in taken.windows(2) {
            assert!(pair[0].1 < pair[1].0, "{pair:x?} overlap");
        }
        for (base, last) in taken {
            let (first, end) = within.unwrap();
            assert!(first <= base && last <= end, "{base:x}..{last:x} is not within {within:x?}");
        }
    }
}

/// The bus of every bridge lies in the range of the bridge above it, and siblings' ranges are apart.
fn check_numbers(snapshot: &Snapshot) {
    let mut ranges: BTreeMap<u8, Vec<(u8, u8)>> = BTreeMap::new();
    let mut buses = BTreeSet::from([0]);
    for node in snapshot.iter() {
        let at = node.address;
        assert!(buses.contains(&at.bus()), "{at} is on a bus that a bridge leads to");
        let NodeKind::Bridge { secondary, subordinate, .. } = node.kind else { continue };
        let numbers = node.function.config().bus_numbers().unwrap();
        assert_eq!(
            (numbers.primary, numbers.secondary, numbers.subordinate),
            (at.bus(), secondary, subordinate)
        );
        assert!(at.bus() < secondary && secondary <= subordinate);
        if let Some(parent) = snapshot.parent(at) {
            let NodeKind::Bridge { subordinate: last, .. } = parent.kind else { panic!("{parent:?}") };
            assert!(subordinate <= last, "{at}");
        }
        for other in ranges.entry(at.bus()).or_default() {
            assert!(subordinate < other.0 || other.1 < secondary, "{at}");
        }
        ranges.entry(at.bus()).or_default().push((secondary, subordinate));
        assert!(buses.insert(secondary), "one bridge to a bus");
    }
}

/// The questions of a snapshot, asked of the list of its nodes.
fn check_against_a_list(snapshot: &Snapshot) {
    let all: Vec<_> = snapshot.iter().cloned().collect();
    assert!(all.is_sorted_by_key(|node| node.address));
    assert_eq!(all.len(), snapshot.len());
    for node in &all {
        assert!(Arc::ptr_eq(snapshot.function(node.address).unwrap(), node));
        let above = all.iter().find(|other| {
            matches!(other.kind, NodeKind::Bridge { secondary, .. } if secondary == node.address.bus())
        });
        assert_eq!(snapshot.parent(node.address).map(|node| node.address), above.map(|node| node.address));
        let mut below = Vec::new();
        let mut left = vec![node.clone()];
        while let Some(bridge) = left.pop() {
            let NodeKind::Bridge { secondary, .. } = bridge.kind else { continue };
            let on_bus = all.iter().filter(|node| node.address.bus() == secondary);
            left.extend(on_bus.clone().cloned());
            below.extend(on_bus.map(|node| node.address));
        }
        below.sort_unstable();
        let found: Vec<_> = snapshot.below(node).iter().map(|node| node.address).collect();
        assert_eq!(found, below);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_scan_finds_exactly_what_was_plugged_in_and_gives_it_numbers_and_addresses(
        devices in proptest::collection::vec(device(), 0..8),
        later in proptest::collection::vec(device(), 0..3),
    ) {
        let mut builder = Builder { machine: Machine::new(), expected: Vec::new() };
        builder.bus(None, &devices);
        let problems = builder.machine.rescan().problems;
        prop_assert_eq!(problems, vec![]);
        let check = |builder: &Builder| {
            let snapshot = builder.machine.topology.snapshot(&builder.machine.token);
            let address = |function: &Arc<Function>| Arc::as_ptr(function) as usize;
            let found: BTreeSet<_> = snapshot.iter().map(|node| address(&node.function)).collect();
            let expected: BTreeSet<_> = builder.expected.iter().map(address).collect();
            assert_eq!(found, expected);
            assert_eq!(snapshot.len(), builder.expected.len(), "none twice");
            check_numbers(&snapshot);
            let all = topology::enumerate::Windows::default();
            let ends = [all.io, all.memory, all.memory64].map(|range| Some((range.base, range.last)));
            check_bus(&snapshot, 0, ends);
            check_against_a_list(&snapshot);
            snapshot
        };
        let before = check(&builder);

        let places: BTreeMap<Bdf, _> =
            before.iter().map(|node| (node.address, bars(node.function.config()))).collect();
        for (device, number) in later.iter().zip(u8::try_from(devices.len()).unwrap()..32) {
            builder.device(None, number * 8, device);
        }
        prop_assert_eq!(builder.machine.rescan().problems, vec![]);
        let after = check(&builder);
        for (at, bars_before) in places {
            let node = after.function(at).unwrap();
            prop_assert!(Arc::ptr_eq(&node.function, &before.function(at).unwrap().function));
            prop_assert_eq!(bars(node.function.config()), bars_before, "{} moved", at);
        }
    }
}
