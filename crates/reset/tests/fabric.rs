//! Resets on emulated hardware that routes by its bridges' registers: what a reset takes away is really out of reach.

mod machine;

use gate::{Gate, Pass, Quiesced, ThreadToken};
use machine::{Silicon, bdf, bridge, endpoint, soon};
use pci_core::mechanism::HostBridge;
use pci_core::{
    BarIndex, ConfigAddress, ConfigSpace, ConfigSpaceBuilder, Device, DeviceState, Errno, Express,
    ExtendedCapability, Function, Identity, Pm, ResetKind, SrIov, VirtualFunction, VirtualTime, Width,
};
use pci_spec::capability::express::PortType;
use pci_spec::{Bdf, ClassCode, config};
use reset::{Error, Resets};
use std::sync::Arc;
use topology::fabric::{Fabric, Place};
use topology::{Segment, Snapshot, Topology};

const ROOT: &str = "0000:00:01.0";
const UP: &str = "0000:01:00.0";
const DOWN: &str = "0000:02:00.0";
const LEAF: &str = "0000:03:00.0";

struct Hardware {
    token: ThreadToken,
    fabric: Arc<Fabric>,
    topology: Arc<Topology>,
    resets: Resets,
    leaf: Arc<Silicon>,
}

fn port(kind: PortType) -> ConfigSpaceBuilder {
    bridge().capability(Express::port(kind))
}

impl Hardware {
    /// A root port, a switch and a device, found and numbered by a scan.
    fn new() -> Hardware {
        let mut token = ThreadToken::at_thread_entry();
        let fabric = Arc::new(Fabric::new(0));
        let host = Arc::new(fabric.host_bridge("host"));
        let time = Arc::new(VirtualTime::default());
        let topology = Arc::new(Topology::new(time.clone()));
        topology.add_segment(&mut token, Segment::emulated(&fabric), soon()).expect("the first");
        let resets = Resets::new(time).with_topology(topology.clone());
        let leaf = Arc::new(Silicon::default());
        let mut place = Place::Root(8);
        let ports =
            [(ROOT, PortType::RootPort), (UP, PortType::UpstreamPort), (DOWN, PortType::DownstreamPort)];
        for (at, kind) in ports {
            let function = function(&host, at, &port(kind), &Arc::new(Silicon::default()));
            let id = fabric.plug(place, function).expect("free");
            place = Place::Below(id, 0);
        }
        let config = endpoint().capability(Express::default());
        fabric.plug(place, function(&host, LEAF, &config, &leaf)).expect("free");
        let mut hardware = Hardware { token, fabric, topology, resets, leaf };
        hardware.rescan();
        hardware
    }

    fn rescan(&mut self) {
        let scanned = self.topology.rescan(&mut self.token, 0, soon()).expect("a segment");
        assert_eq!(scanned.problems, []);
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.topology.snapshot(&self.token)
    }

    /// What a consumer reads from the device, through the bridges.
    fn vendor(&mut self) -> u16 {
        let function = self.snapshot().function(bdf(LEAF)).expect("found").function.clone();
        let mut bytes = [0; 2];
        function.read_config(&mut self.token, config::VENDOR_ID, &mut bytes, soon()).expect("open");
        u16::from_le_bytes(bytes)
    }
}

fn function(
    host: &Arc<HostBridge>,
    at: &str,
    config: &ConfigSpaceBuilder,
    device: &Arc<Silicon>,
) -> Arc<Function> {
    let config = Arc::new(config.build().expect("a configuration space"));
    Arc::new(Function::new(at, Gate::new(at), config, device.clone()).behind(host.clone(), bdf(at)))
}

#[test]
fn rst_14_a_switch_gets_its_bus_numbers_back_before_anything_below_it_is_touched() {
    let mut hardware = Hardware::new();
    assert_eq!(hardware.vendor(), 0x1234, "the scan found the way");
    let snapshot = hardware.snapshot();
    let before: Vec<_> = snapshot.iter().map(|node| node.function.config().bus_numbers()).collect();
    let done = hardware.resets.reset_bus(&mut hardware.token, &snapshot, bdf(ROOT), soon()).expect("a reset");
    assert_eq!(done.not_restored, 0);
    let after: Vec<_> = snapshot.iter().map(|node| node.function.config().bus_numbers()).collect();
    assert_eq!(after, before);
    assert_eq!(*hardware.leaf.resets.lock(), [ResetKind::DeviceReset]);
    assert_eq!(hardware.vendor(), 0x1234, "the way is there again");
}

#[test]
fn rst_08_a_device_is_reset_through_its_bus_and_answers_afterwards() {
    let mut hardware = Hardware::new();
    let snapshot = hardware.snapshot();
    let Hardware { token, resets, .. } = &mut hardware;
    let done = resets.reset_function_by(token, &snapshot, bdf(LEAF), reset::Method::Bus, soon());
    assert_eq!(done.expect("a reset").not_restored, 0);
    assert_eq!(*hardware.leaf.resets.lock(), [ResetKind::DeviceReset]);
    assert_eq!(hardware.vendor(), 0x1234);
}

#[test]
fn a_bus_that_has_changed_since_the_caller_looked_is_not_reset() {
    let mut hardware = Hardware::new();
    let old = hardware.snapshot();
    hardware.topology.remove(&mut hardware.token, bdf(LEAF), soon()).expect("removed");
    let error = hardware.resets.reset_bus(&mut hardware.token, &old, bdf(ROOT), soon()).expect_err("changed");
    assert!(matches!(error, Error::Changed), "{error}");
    assert_eq!(error.errno(), Errno::EAGAIN);
    assert!(hardware.leaf.resets.lock().is_empty());
}

/// A root port with a card that makes virtual functions.
struct Card {
    hardware: Hardware,
    slot: Bdf,
    pf: Bdf,
}

/// Makes plain virtual functions.
struct Physical(Silicon);

impl Device for Physical {
    fn read_bar(&self, pass: &Pass<'_>, bar: BarIndex, offset: u64, data: &mut [u8]) {
        self.0.read_bar(pass, bar, offset, data);
    }
    fn write_bar(&self, _: &Pass<'_>, _: BarIndex, _: u64, _: &[u8]) {}
    fn reset(&self, quiesced: &Quiesced<'_>, kind: ResetKind) {
        self.0.reset(quiesced, kind);
    }
    fn virtual_function(&self, _index: u16, _gate: &Gate) -> Option<VirtualFunction> {
        let identity = Identity::new(0x1234, 0x5679, ClassCode::ETHERNET);
        let config = ConfigSpace::virtual_builder(identity).capability(Express::default()).build().ok()?;
        Some(VirtualFunction { config: Arc::new(config), device: Arc::new(Silicon::default()) })
    }
    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

impl Card {
    fn new() -> Card {
        let mut hardware = Hardware::new();
        let host = Arc::new(hardware.fabric.host_bridge("host"));
        let (slot, pf) = (bdf("0000:00:02.0"), bdf("0000:04:00.0"));
        let root = function(&host, "0000:00:02.0", &port(PortType::RootPort), &Arc::new(Silicon::default()));
        let root = hardware.fabric.plug(Place::Root(0x10), root).expect("free");
        let config = endpoint()
            .capability(Express::default())
            .capability(Pm::default())
            .extended_capability(ExtendedCapability::SrIov(SrIov::new(3, 0x5679)))
            .build()
            .expect("a configuration space");
        let name = pf.to_string();
        let card = Function::new(
            &*name,
            Gate::new(&*name),
            Arc::new(config),
            Arc::new(Physical(Silicon::default())),
        );
        hardware.fabric.plug(Place::Below(root, 0), Arc::new(card.behind(host, pf))).expect("free");
        hardware.rescan();
        let mut card = Card { hardware, slot, pf };
        card.set(3).expect("switched on");
        card
    }

    fn set(&mut self, count: u16) -> Result<topology::VirtualFunctions, topology::NumVfsError> {
        let Hardware { token, topology, .. } = &mut self.hardware;
        topology.set_num_vfs(token, self.pf, count, soon())
    }

    /// All virtual functions answer on the bus and to their consumers, which can reset them.
    fn all_work(&mut self) {
        let snapshot = self.hardware.snapshot();
        let shown = snapshot.virtual_functions(self.pf);
        assert_eq!(shown.len(), 3);
        for node in shown {
            let Hardware { token, fabric, resets, .. } = &mut self.hardware;
            let host = fabric.host_bridge("look");
            let command = ConfigAddress::new(node.address, config::COMMAND);
            assert_eq!(host.read(token, command, Width::Word), Ok(0), "{}: on its bus", node.address);
            let mut vendor = [0; 2];
            node.function.read_config(token, config::VENDOR_ID, &mut vendor, soon()).expect("open");
            assert_eq!(vendor, [0x34, 0x12]);
            let done = resets.reset_function(token, &snapshot, node.address, soon()).expect("a reset");
            assert_eq!((done.method, done.not_restored), (Some(reset::Method::Flr), 0));
        }
    }
}

#[test]
fn rst_19_virtual_functions_work_after_every_reset_that_reaches_their_physical_function() {
    let mut card = Card::new();
    card.all_work();
    for method in [reset::Method::Flr, reset::Method::Pm] {
        let snapshot = card.hardware.snapshot();
        let Hardware { token, resets, .. } = &mut card.hardware;
        let done = resets.reset_function_by(token, &snapshot, card.pf, method, soon()).expect("a reset");
        assert_eq!(done.not_restored, 0, "{method:?}");
        card.all_work();
    }
    let snapshot = card.hardware.snapshot();
    let Hardware { token, resets, .. } = &mut card.hardware;
    let done = resets.reset_bus(token, &snapshot, card.slot, soon()).expect("a reset");
    assert_eq!(done.not_restored, 0);
    card.all_work();
    card.set(0).expect("switched off");
    card.set(2).expect("and on again: their addresses are there");
}

#[test]
fn a_function_is_not_reset_with_virtual_functions_that_the_caller_has_not_seen() {
    let mut card = Card::new();
    card.set(0).expect("switched off");
    let old = card.hardware.snapshot();
    card.set(3).expect("switched on");
    let Hardware { token, resets, .. } = &mut card.hardware;
    let error = resets.reset_function(token, &old, card.pf, soon()).expect_err("changed");
    assert!(matches!(error, Error::Changed), "{error}");
    card.all_work();
}

#[test]
fn rst_14_what_has_no_power_below_a_bridge_is_given_it_before_the_reset() {
    let mut hardware = Hardware::new();
    let platform = Arc::new(power::Emulated::managing([bdf(DOWN), bdf(LEAF)]));
    let power = power::Power::new(Arc::new(VirtualTime::default())).on(platform);
    let snapshot = hardware.snapshot();
    for at in [DOWN, LEAF] {
        let cold = power.set_state(&snapshot, bdf(at), DeviceState::D3Cold, &mut hardware.token, soon());
        cold.expect("switched off");
    }
    let resets = Resets::new(Arc::new(VirtualTime::default())).with_power(power);
    let done = resets.reset_bus(&mut hardware.token, &snapshot, bdf(ROOT), soon()).expect("a reset");
    assert_eq!(done.not_restored, 0);
    assert_eq!(hardware.vendor(), 0x1234);
    assert_eq!(hardware.leaf.resets.lock().last(), Some(&ResetKind::DeviceReset));
}
