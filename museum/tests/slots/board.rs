//! A machine with two ports for cards, of which everything is real but time and the devices.
//!
//! ```text
//! 00:01.0 port of slot a --- 01:00.0 and further functions of the card
//! 00:02.0 port of slot b --- 02:00.0 and further functions of the card
//! ```

use super::crew::Crew;
use super::journal::Journal;
use super::wire::Wire;
use crate::machine::part::Part;
use crate::machine::time::Jumping;
use crate::machine::{ahead, assert_whole};
use gate::{AccessKind, Gate, GateState, LongPass, ThreadToken};
use museum::unplug::held::Held;
use pci_core::mechanism::{BusRange, Ecam, HostBridge};
use pci_core::{ConfigSpace, Express, Function, Identity, Pm, Slot as PortSlot};
use pci_spec::capability::express::PortType;
use pci_spec::{Bdf, ClassCode};
use reset::Resets;
use slot::Binding;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use topology::fabric::{Fabric, Place, PlugId};
use topology::{Segment, Snapshot, Topology};

/// The ports of both slots.
pub(crate) const PORTS: [Bdf; 2] = [Bdf::from_routing_id(0, 0x0008), Bdf::from_routing_id(0, 0x0010)];

/// Primary, secondary and subordinate bus number.
const BUSES: u16 = 0x18;

/// The bus below a port.
pub(crate) fn bus_of(port: Bdf) -> u8 {
    port.device()
}

/// See the module's head.
pub(crate) struct Board {
    pub(crate) topology: Arc<Topology>,
    pub(crate) fabric: Arc<Fabric>,
    /// What the functions are behind. Scans have a bridge of their own, as they reach functions without a gate.
    pub(crate) host: Arc<HostBridge>,
    pub(crate) wire: Arc<Wire>,
    pub(crate) resets: Resets,
    pub(crate) time: Arc<Jumping>,
    pub(crate) crew: Arc<Crew>,
    pub(crate) journal: Arc<Journal>,
    ports: Vec<(Arc<Part>, PlugId)>,
    meddled: AtomicBool,
    /// What a callback waits for that does not return.
    pub(crate) stuck: Held,
    /// What drivers let go of on another thread.
    pub(crate) handed: Mutex<Vec<Arc<Binding>>>,
    /// Drivers end out of turn: they are unbound, or left behind in a call that comes back just then.
    pub(crate) out_of_turn: AtomicBool,
}

impl Board {
    /// Both slots are empty.
    pub(crate) fn new() -> Arc<Board> {
        let time = Arc::new(Jumping::default());
        let fabric = Arc::new(Fabric::new(0));
        let wire = Wire::new(&fabric);
        let topology = Arc::new(Topology::new(time.clone()));
        let board = Board {
            host: Arc::new(HostBridge::new("host", 0, BusRange::ALL, wire.clone())),
            resets: Resets::new(time.clone()).with_topology(topology.clone()),
            crew: Crew::new(time.clone()),
            ports: Vec::new(),
            meddled: AtomicBool::new(false),
            stuck: Held::default(),
            handed: Mutex::default(),
            out_of_turn: AtomicBool::new(false),
            journal: Arc::default(),
            topology,
            fabric,
            wire,
            time,
        };
        let ports = PORTS.map(|at| board.plug_port(at)).into();
        let board = Board { ports, ..board };
        board.scan();
        Arc::new(board)
    }

    fn plug_port(&self, at: Bdf) -> (Arc<Part>, PlugId) {
        let slot = PortSlot { number: u16::from(bus_of(at)), hot_plug: true, surprise: true, present: false };
        let config = ConfigSpace::bridge_builder(Identity::new(0x1b36, 0x000c, ClassCode::PCI_BRIDGE))
            .capability(Pm { no_soft_reset: true, ..Pm::default() })
            .capability(Express { slot: Some(slot), ..Express::port(PortType::RootPort) });
        let part = Part::new(Gate::new(at.to_string()), config.build().unwrap());
        let _effects = part.config.write(BUSES, &[0, bus_of(at), bus_of(at)]);
        let place = Place::Root(at.routing_id().to_be_bytes()[1]);
        let plugged = self.fabric.plug(place, self.function(at, &part)).unwrap();
        self.wire.plug(at, part.clone());
        (part, plugged)
    }

    /// A function at this address.
    pub(crate) fn function(&self, at: Bdf, part: &Arc<Part>) -> Arc<Function> {
        let function = Function::new(at.to_string(), part.gate.clone(), part.config.clone(), part.clone());
        let function = function.behind(self.host.clone(), at).observed_by(part.clone());
        Arc::new(function.timed_by(self.time.clone()))
    }

    fn scan(&self) {
        let mut token = ThreadToken::at_thread_entry();
        let ecam = Ecam::new(self.fabric.clone(), BusRange::ALL);
        let bridge = Arc::new(HostBridge::new("scan", 0, BusRange { first: 0, last: 2 }, Arc::new(ecam)));
        let segment = Segment::new(bridge, self.fabric.clone(), topology::enumerate::Windows::default());
        self.topology.add_segment(&mut token, segment, ahead()).unwrap();
        let scanned = self.topology.rescan(&mut token, 0, ahead()).unwrap();
        assert_eq!(scanned.added.len(), PORTS.len());
    }

    /// Where the card below a port is plugged in.
    pub(crate) fn below(&self, port: Bdf) -> PlugId {
        let nth = PORTS.iter().position(|at| *at == port).unwrap();
        self.ports[nth].1
    }

    /// Keeps resets of a port's bus away.
    pub(crate) fn enter_port(&self, port: Bdf, token: &mut ThreadToken) -> Result<LongPass, String> {
        let gate = &self.ports[PORTS.iter().position(|at| *at == port).unwrap()].0.gate;
        let pass = gate.handle().enter_long(token, AccessKind::Config, "scan", ahead());
        pass.map_err(|refusal| refusal.to_string())
    }

    /// The picture as it is now, which is whole.
    pub(crate) fn snapshot(&self, token: &ThreadToken) -> Arc<Snapshot> {
        let snapshot = self.topology.snapshot(token);
        assert_whole(&snapshot);
        snapshot
    }

    /// From now on somebody resets functions or writes their COMMAND on his own, also at the very end.
    pub(crate) fn meddle(&self) {
        self.meddled.store(true, Relaxed);
    }

    /// Nobody but the slots themselves has COMMAND.
    pub(crate) fn is_left_alone(&self) -> bool {
        !self.meddled.load(Relaxed)
    }

    /// Nothing is left but the ports, and nobody waits at their gates.
    pub(crate) fn assert_empty(&self) {
        let token = ThreadToken::at_thread_entry();
        let left: Vec<_> = self.snapshot(&token).iter().map(|node| node.address).collect();
        assert_eq!(left, PORTS, "left in the topology");
        for (part, _) in &self.ports {
            let status = part.gate.status();
            assert_eq!(status.state, GateState::Open, "{status:?}");
            let waiting = status.waiting_accesses + status.waiting_closers + status.inside.len();
            assert!(status.owner.is_none() && waiting == 0, "{status:?}");
        }
    }
}
