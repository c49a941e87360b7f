//! Resets on emulated hardware that routes by its bridges' registers: what a reset takes away is really out of reach.

mod machine;

use gate::{Gate, ThreadToken};
use machine::{Silicon, bdf, bridge, endpoint, soon};
use pci_core::mechanism::HostBridge;
use pci_core::{ConfigSpaceBuilder, Errno, Express, Function, ResetKind, VirtualTime};
use pci_spec::capability::express::PortType;
use pci_spec::config;
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
        let mut hardware = Hardware { token, topology, resets, leaf };
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
