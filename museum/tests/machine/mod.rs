//! A machine with everything real but time: topology, resets, power, a host bridge, and below it emulated hardware.
//!
//! ```text
//! 00:01.0 root port --- 01:00.0 physical function with two virtual ones (01:00.2, 01:00.3)
//!                  \--- 01:00.1 disk
//! ```
//!
//! Concurrency: plain locks and std's atomics are not seen by shuttle; those of the fabric, of the parts and of virtual
//! time are never held at a scheduling point, or the schedule would not end.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(
    clippy::disallowed_types,
    reason = "the checkers' own locks; nothing that is checked takes part in them"
)]

pub(crate) mod part;
pub(crate) mod tally;
pub(crate) mod time;
pub(crate) mod wire;

use gate::{Deadline, Gate, GateState, ThreadToken};
use part::Part;
use pci_core::mechanism::{BusRange, HostBridge};
use pci_core::{
    BarIndex, BarKind, ConfigSpace, ConfigSpaceBuilder, Express, ExtendedCapability, Function, Identity, Msi,
    Pm, SrIov, Time, Width,
};
use pci_spec::capability::express::PortType;
use pci_spec::{Bdf, ClassCode, config};
use power::{Emulated, Power};
use reset::{Preserved, Resets};
use shuttle::rand::Rng;
use std::sync::Arc;
use std::time::Duration;
use topology::fabric::{Fabric, Place, PlugId};
use topology::{NodeKind, Segment, Snapshot, Topology};
use wire::{Parts, Wire};

pub(crate) const ROOT: Bdf = Bdf::from_routing_id(0, 0x0008);
pub(crate) const PF: Bdf = Bdf::from_routing_id(0, 0x0100);
pub(crate) const DISK: Bdf = Bdf::from_routing_id(0, 0x0101);

/// Memory and bus mastering.
const COMMAND: u32 = 0x0006;
pub(crate) const MSI_ADDRESS: u16 = 4;

/// Never fires under shuttle.
pub(crate) fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(3600))
}

/// Lets the others go ahead, more or less far.
pub(crate) fn linger() {
    for _ in 0..shuttle::rand::thread_rng().gen_range(0..400) {
        shuttle::thread::yield_now();
    }
}

/// Has passed already.
pub(crate) fn at_once() -> Deadline {
    Deadline::after(Duration::ZERO)
}

/// See the module's head.
pub(crate) struct Machine {
    pub(crate) topology: Arc<Topology>,
    pub(crate) fabric: Arc<Fabric>,
    /// What the functions are behind. Scans have a bridge of their own, as they reach functions without a gate.
    pub(crate) host: Arc<HostBridge>,
    pub(crate) wire: Arc<Wire>,
    pub(crate) parts: Parts,
    pub(crate) resets: Resets,
    pub(crate) power: Power,
    pub(crate) disk: PlugId,
    pub(crate) disk_function: Arc<Function>,
}

fn bar() -> BarIndex {
    BarIndex::new(0).unwrap()
}

fn endpoint() -> ConfigSpaceBuilder {
    ConfigSpace::builder(Identity::new(0x1b36, 0x0010, ClassCode::NVME))
        .bar(bar(), BarKind::Memory64, 16 << 10)
        .capability(Pm::default())
        .capability(Express::default())
        .capability(Msi::new(1))
        .multi_function()
}

fn port() -> ConfigSpaceBuilder {
    ConfigSpace::bridge_builder(Identity::new(0x1b36, 0x000c, ClassCode::PCI_BRIDGE))
        .capability(Pm { no_soft_reset: true, ..Pm::default() })
        .capability(Express::port(PortType::RootPort))
}

fn part(at: Bdf, config: &ConfigSpaceBuilder) -> Arc<Part> {
    Part::new(Gate::new(at.to_string()), config.build().unwrap())
}

impl Machine {
    pub(crate) fn new() -> Arc<Machine> {
        Machine::with(Arc::new(time::Jumping::default()))
    }

    pub(crate) fn with(time: Arc<dyn Time>) -> Arc<Machine> {
        let mut sr_iov = SrIov::new(2, 0x00ff).bar(bar(), BarKind::Memory64, 4096);
        sr_iov.first_offset = 2;
        let parts = Parts {
            root: part(ROOT, &port()),
            pf: part(PF, &endpoint().extended_capability(ExtendedCapability::SrIov(sr_iov))),
            disk: part(DISK, &endpoint()),
        };
        let fabric = Arc::new(Fabric::new(0));
        let wire = Wire::new(&fabric, &parts);
        let host = Arc::new(HostBridge::new("host", 0, BusRange::ALL, wire.clone()));
        let function = |at: Bdf, part: &Arc<Part>| {
            let function =
                Function::new(at.to_string(), part.gate.clone(), part.config.clone(), part.clone());
            Arc::new(function.behind(host.clone(), at).observed_by(part.clone()).timed_by(time.clone()))
        };
        let root = fabric.plug(Place::Root(8), function(ROOT, &parts.root)).unwrap();
        fabric.plug(Place::Below(root, 0), function(PF, &parts.pf)).unwrap();
        let disk_function = function(DISK, &parts.disk);
        let disk = fabric.plug(Place::Below(root, 1), disk_function.clone()).unwrap();

        let topology = Arc::new(Topology::new(time.clone()));
        let platform = Arc::new(Emulated::managing([ROOT]));
        let power = Power::new(time.clone()).on(platform).preserving(Arc::new(Preserved::default()));
        let resets = Resets::new(time).with_topology(topology.clone()).with_power(power.clone());
        let machine = Machine { topology, fabric, host, wire, parts, resets, power, disk, disk_function };
        machine.scan();
        Arc::new(machine)
    }

    /// Finds the functions, and does what drivers do.
    fn scan(&self) {
        let mut token = ThreadToken::at_thread_entry();
        let ecam = pci_core::mechanism::Ecam::new(self.fabric.clone(), BusRange::ALL);
        let buses = BusRange { first: 0, last: 1 };
        let bridge = Arc::new(HostBridge::new("scan", 0, buses, Arc::new(ecam)));
        let segment = Segment::new(bridge, self.fabric.clone(), topology::enumerate::Windows::default());
        self.topology.add_segment(&mut token, segment, ahead()).unwrap();
        let scanned = self.topology.rescan(&mut token, 0, ahead()).unwrap();
        assert_eq!((scanned.added.len(), scanned.problems), (3, Vec::new()));
        for part in self.parts.all() {
            let set = |at: u16, value: u32| {
                let _effects = part.config.write(at, &value.to_le_bytes());
            };
            if let Some(msi) = part.config.find_capability(pci_spec::capability::id::MSI) {
                set(config::COMMAND, COMMAND);
                set(msi + MSI_ADDRESS, 0xfee0_0000);
            }
        }
    }

    /// The picture as it is now, which is whole.
    pub(crate) fn snapshot(&self, token: &ThreadToken) -> Arc<Snapshot> {
        let snapshot = self.topology.snapshot(token);
        assert_whole(&snapshot);
        snapshot
    }

    pub(crate) fn function(&self, token: &ThreadToken, at: Bdf) -> Option<Arc<Function>> {
        self.snapshot(token).function(at).map(|node| node.function.clone())
    }

    /// A consumer's accesses to the function that is at `at` now, if there is one.
    pub(crate) fn access(&self, token: &mut ThreadToken, at: Bdf) {
        let Some(function) = self.function(token, at) else { return };
        tally::note("read", &function.read_register(token, config::VENDOR_ID, Width::Dword, ahead()));
        tally::note("write", &function.write_register(token, config::COMMAND, Width::Word, COMMAND, ahead()));
        tally::note("BAR read", &function.read_bar(token, bar(), 0, &mut [0; 4], ahead()));
    }

    /// When everybody has ended: gates are open unless their function was removed, and nobody waits.
    pub(crate) fn assert_at_rest(&self) {
        for part in self.parts.all() {
            let status = part.gate.status();
            assert!(matches!(status.state, GateState::Open | GateState::Gone), "{status:?}");
            let waiting = status.waiting_accesses + status.waiting_closers + status.inside.len();
            assert!(status.owner.is_none() && waiting == 0, "{status:?}");
        }
        let token = ThreadToken::at_thread_entry();
        assert_whole(&self.topology.snapshot(&token));
    }
}

/// Every function below a bridge has it, and every virtual function its physical one.
pub(crate) fn assert_whole(snapshot: &Snapshot) {
    for node in snapshot.iter() {
        let at = node.address;
        let below = at.bus() == 0
            || snapshot.parent(at).is_some_and(|bridge| matches!(bridge.kind, NodeKind::Bridge { .. }));
        assert!(below, "{at} is shown without the bridge above it");
        if let NodeKind::Virtual { physical } = node.kind {
            let physical = snapshot.function(physical);
            assert!(
                physical.is_some_and(|node| node.kind == NodeKind::Endpoint),
                "{at} is shown without its physical function"
            );
        }
    }
}
