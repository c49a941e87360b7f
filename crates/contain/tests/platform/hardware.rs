//! A root complex with a switch, a card of two functions, one with virtual functions, and what is beside them; and faults of the
//! wire between a register and whoever reads it.
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

use contain::pe::{Held, PeAddress, PeKind};
use contain::plan::{FunctionId, Reset};
use contain::platform::{ClosedFunctions, Machine, Platform, ResetRequest};
use contain::tree::{NewPe, PeFunction, PeTree};
use gate::{AccessKind, Deadline, Gate, Gone, Handle, Pass, Quiesced, ThreadToken};
use parking_lot::Mutex;
use pci_core::mechanism::{BusRange, ConfigOps, Ecam, HostBridge};
use pci_core::{
    BarIndex, BarKind, ConfigAddress, ConfigEffects, ConfigSpace, ConfigSpaceBuilder, ConfigStatus, Device,
    Express, ExtendedCapability, Function, Identity, ResetKind, SrIov, StaysClosed, Time, VirtualFunction,
    VirtualTime, Width,
};
use pci_spec::capability::express::PortType;
use pci_spec::{Bdf, ClassCode, config};
use reset::Resets;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use topology::enumerate::Windows;
use topology::fabric::{Fabric, Place, PlugId};
use topology::{Segment, Snapshot, Topology};

pub(crate) const ROOT: &str = "0000:00:01.0";
pub(crate) const UP: &str = "0000:01:00.0";
pub(crate) const DOWN: [&str; 2] = ["0000:02:00.0", "0000:02:01.0"];
pub(crate) const LEAF: [&str; 2] = ["0000:03:00.0", "0000:03:00.1"];
pub(crate) const PF: &str = "0000:04:00.0";
pub(crate) const VFS: [&str; 3] = ["0000:04:00.1", "0000:04:00.2", "0000:04:00.3"];
pub(crate) const PORT: &str = "0000:00:02.0";
pub(crate) const LONE: &str = "0000:05:00.0";
pub(crate) const ASIDE: &str = "0000:00:03.0";

pub(crate) const HOT: Reset = Reset::Hot { hold: ms(250), settle: ms(1800) };

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

/// A deadline that no test reaches.
pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// All that is below the root port, bridges before what is below them.
pub(crate) fn below_root() -> Vec<&'static str> {
    [&[UP][..], &DOWN, &LEAF, &[PF], &VFS].concat()
}

/// What is wrong with the wire to a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing answers.
    Silent,
    /// Somebody else answers.
    Another,
}

/// The registers of the fabric behind a wire that may be broken.
pub(crate) struct Wire {
    fabric: Ecam<Arc<Fabric>>,
    pub(crate) faults: Mutex<BTreeMap<Bdf, Fault>>,
    pub(crate) written: Mutex<Vec<(Bdf, u16, u32)>>,
}

fn place(at: ConfigAddress) -> Bdf {
    Bdf::from_routing_id(0, u16::from_be_bytes([at.bus, at.devfn]))
}

impl ConfigOps for Wire {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        match self.faults.lock().get(&place(at)) {
            Some(Fault::Silent) => Ok(width.all_ones()),
            Some(Fault::Another) if at.register == config::VENDOR_ID => Ok(0x0bad_1af4 & width.all_ones()),
            _ => self.fabric.read(at, width),
        }
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        self.written.lock().push((place(at), at.register, value));
        match self.faults.lock().get(&place(at)) {
            Some(Fault::Silent) => Ok(ConfigEffects::default()),
            _ => self.fabric.write(at, width, value),
        }
    }
}

type Happening = Box<dyn FnOnce(&mut ThreadToken) + Send>;

/// Virtual time on which things happen.
#[derive(Default)]
pub(crate) struct Clock {
    time: VirtualTime,
    happenings: Mutex<Vec<(Duration, Happening)>>,
    pub(crate) waits: Mutex<Vec<Duration>>,
    /// Nobody gets into these while time passes, and everybody into those.
    pub(crate) kept_out: Mutex<Vec<Handle>>,
    pub(crate) let_in: Mutex<Vec<Handle>>,
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.time.fmt(f)
    }
}

impl Clock {
    pub(crate) fn at(&self, when: Duration, happens: impl FnOnce(&mut ThreadToken) + Send + 'static) {
        self.happenings.lock().push((when, Box::new(happens)));
    }

    fn due(&self, until: Duration) -> Option<(Duration, Happening)> {
        let mut happenings = self.happenings.lock();
        happenings.sort_by_key(|(when, _)| *when);
        if happenings.first()?.0 <= until { Some(happenings.remove(0)) } else { None }
    }
}

impl Time for Clock {
    fn now(&self) -> Duration {
        self.time.now()
    }

    fn pass(
        &self,
        token: &mut ThreadToken,
        closed: &dyn StaysClosed,
        duration: Duration,
    ) -> Result<(), Gone> {
        self.waits.lock().push(duration);
        for handle in self.kept_out.lock().iter() {
            assert!(handle.try_enter(token, AccessKind::Config).is_err(), "somebody got in");
        }
        for handle in self.let_in.lock().iter() {
            assert!(handle.try_enter(token, AccessKind::Config).is_ok(), "somebody else was blocked");
        }
        let end = self.now() + duration;
        while let Some((when, happens)) = self.due(end) {
            self.time.advance(when.saturating_sub(self.now()));
            happens(token);
            if closed.is_gone() {
                return Err(Gone);
            }
        }
        self.time.advance(end.saturating_sub(self.now()));
        if closed.is_gone() { Err(Gone) } else { Ok(()) }
    }
}

/// A device that counts what it is told, and makes virtual functions like itself.
#[derive(Default)]
pub(crate) struct Silicon {
    pub(crate) resets: Mutex<Vec<ResetKind>>,
}

impl Device for Silicon {
    fn read_bar(&self, _: &Pass<'_>, _: BarIndex, _: u64, data: &mut [u8]) {
        data.fill(0);
    }
    fn write_bar(&self, _: &Pass<'_>, _: BarIndex, _: u64, _: &[u8]) {}
    fn reset(&self, _: &Quiesced<'_>, kind: ResetKind) {
        self.resets.lock().push(kind);
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

pub(crate) fn endpoint() -> ConfigSpaceBuilder {
    ConfigSpace::builder(Identity::new(0x1234, 0x5678, ClassCode::NVME))
        .bar(BarIndex::new(0).unwrap(), BarKind::Memory64, 0x4000)
        .capability(Express::default())
        .aer()
}

pub(crate) fn port(kind: PortType) -> ConfigSpaceBuilder {
    ConfigSpace::bridge_builder(Identity::new(0x1234, 0x0001, ClassCode::PCI_BRIDGE))
        .capability(Express::port(kind))
        .extended_capability(ExtendedCapability::Dpc)
}

/// The hardware, who knows it, and the machine under test.
pub(crate) struct Rig {
    pub(crate) token: ThreadToken,
    pub(crate) clock: Arc<Clock>,
    pub(crate) wire: Arc<Wire>,
    pub(crate) topology: Arc<Topology>,
    pub(crate) machine: Machine,
    pub(crate) silicon: BTreeMap<Bdf, Arc<Silicon>>,
    /// Made at the first use of each.
    functions: BTreeMap<Bdf, Arc<PeFunction>>,
    pub(crate) pe: Held,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        Rig::with(|resets| resets)
    }

    pub(crate) fn with(make: impl FnOnce(Resets) -> Resets) -> Rig {
        let mut token = ThreadToken::at_thread_entry();
        let clock = Arc::new(Clock::default());
        let fabric = Arc::new(Fabric::new(0));
        let wire = Arc::new(Wire {
            fabric: Ecam::new(fabric.clone(), BusRange::ALL),
            faults: Mutex::default(),
            written: Mutex::default(),
        });
        let host = Arc::new(HostBridge::new("host", 0, BusRange::ALL, wire.clone()));
        let topology = Arc::new(Topology::new(clock.clone()));
        let segment = Segment::new(host.clone(), fabric.clone(), Windows::default());
        topology.add_segment(&mut token, segment, soon()).unwrap();
        let mut silicon = BTreeMap::new();
        {
            let mut plug = |place: Place, at: &str, config: ConfigSpaceBuilder| -> PlugId {
                let device = silicon.entry(bdf(at)).or_insert_with(|| Arc::new(Silicon::default())).clone();
                let config = Arc::new(config.build().unwrap());
                let function = Function::new(at, Gate::new(at), config, device).behind(host.clone(), bdf(at));
                fabric.plug(place, Arc::new(function)).unwrap()
            };
            let root = plug(Place::Root(8), ROOT, port(PortType::RootPort));
            let up = plug(Place::Below(root, 0), UP, port(PortType::UpstreamPort));
            let card = plug(Place::Below(up, 0), DOWN[0], port(PortType::DownstreamPort));
            let virtual_card = plug(Place::Below(up, 8), DOWN[1], port(PortType::DownstreamPort));
            plug(Place::Below(card, 0), LEAF[0], endpoint().multi_function());
            plug(Place::Below(card, 1), LEAF[1], endpoint().multi_function());
            let sr_iov = ExtendedCapability::SrIov(SrIov::new(3, 0x5679));
            plug(Place::Below(virtual_card, 0), PF, endpoint().extended_capability(sr_iov));
            let alone = plug(Place::Root(16), PORT, port(PortType::RootPort));
            plug(Place::Below(alone, 0), LONE, endpoint());
            plug(Place::Root(24), ASIDE, endpoint());
        }
        let scanned = topology.rescan(&mut token, 0, soon()).unwrap();
        assert_eq!(scanned.problems, []);
        topology.set_num_vfs(&mut token, bdf(PF), 3, soon()).unwrap();
        let resets = make(Resets::new(clock.clone()).with_topology(topology.clone()));
        let machine = Machine::new(topology.clone(), Arc::new(resets));
        let tree = Arc::new(PeTree::new(clock.clone()));
        let phb = NewPe { address: PeAddress::phb(0), kind: PeKind::Phb, parent: None };
        let pe = tree.insert(&mut token, [phb], soon()).unwrap().remove(0);
        let functions = BTreeMap::new();
        let mut rig = Rig { token, clock, wire, topology, machine, silicon, functions, pe };
        rig.use_all();
        rig.clock.waits.lock().clear();
        rig
    }

    /// As consumers do: memory and bus mastering on, and an interrupt line that is worth keeping.
    fn use_all(&mut self) {
        for node in self.snapshot().iter() {
            let config = node.function.config();
            let _ = config.write(config::COMMAND, &[0x06, 0x00]);
            let _ = config.write(config::INTERRUPT_LINE, &[11]);
        }
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.topology.snapshot(&self.token)
    }

    pub(crate) fn function(&mut self, at: &str) -> Arc<PeFunction> {
        let at = bdf(at);
        let snapshot = self.snapshot();
        let fresh = || {
            let function = snapshot.function(at).unwrap_or_else(|| panic!("{at}")).function.clone();
            let id = FunctionId(at.routing_id().into());
            Arc::new(PeFunction { id, address: at, function, bars: Vec::new() })
        };
        self.functions.entry(at).or_insert_with(fresh).clone()
    }

    pub(crate) fn functions(&mut self, at: &[&str]) -> Vec<Arc<PeFunction>> {
        at.iter().map(|at| self.function(at)).collect()
    }

    /// All of configuration space, by what the emulated hardware has in it.
    pub(crate) fn bytes(&mut self, at: &str) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        self.function(at).function.config().read(0, &mut bytes);
        bytes
    }

    pub(crate) fn all_bytes(&mut self, at: &[&str]) -> Vec<Vec<u8>> {
        at.iter().map(|at| self.bytes(at)).collect()
    }

    /// Freezes functions as the owner of a recovery does, and closes them.
    pub(crate) fn contain(&mut self, at: &[&str]) -> (Vec<Arc<PeFunction>>, ClosedFunctions) {
        let functions = self.functions(at);
        for function in &functions {
            assert!(function.function.contain());
        }
        let mut closed = ClosedFunctions::default();
        closed.close(&mut self.token, &functions, soon()).unwrap();
        (functions, closed)
    }

    pub(crate) fn reset(
        &mut self,
        functions: &[Arc<PeFunction>],
        how: Reset,
        closed: &mut ClosedFunctions,
    ) -> bool {
        self.reset_by(functions, how, closed, soon())
    }

    pub(crate) fn reset_by(
        &mut self,
        functions: &[Arc<PeFunction>],
        how: Reset,
        closed: &mut ClosedFunctions,
        deadline: Deadline,
    ) -> bool {
        let request = ResetRequest { pe: &self.pe, functions, how };
        self.machine.reset(&mut self.token, &request, closed, deadline)
    }

    pub(crate) fn restore(&mut self, functions: &[Arc<PeFunction>], closed: &mut ClosedFunctions) -> bool {
        self.machine.restore_config(&mut self.token, &self.pe, functions, closed, soon())
    }

    pub(crate) fn resets_of(&self, at: &str) -> Vec<ResetKind> {
        self.silicon[&bdf(at)].resets.lock().clone()
    }

    /// Breaks the wire to a function.
    pub(crate) fn fault(&self, at: &str, fault: Fault) {
        self.wire.faults.lock().insert(bdf(at), fault);
    }

    /// Breaks it when so much time has passed.
    pub(crate) fn fault_at(&self, when: Duration, at: &str, fault: Fault) {
        let (wire, at) = (self.wire.clone(), bdf(at));
        self.clock.at(self.clock.now() + when, move |_| {
            wire.faults.lock().insert(at, fault);
        });
    }

    pub(crate) fn mend(&self, at: &str) {
        self.wire.faults.lock().remove(&bdf(at));
    }

    /// Mends all wires when so much time has passed.
    pub(crate) fn mend_at(&self, when: Duration) {
        let wire = self.wire.clone();
        self.clock.at(self.clock.now() + when, move |_| wire.faults.lock().clear());
    }

    /// Pulls functions when so much time has passed.
    pub(crate) fn pull_at(&mut self, when: Duration, at: &[&str]) {
        let functions = self.functions(at);
        self.clock.at(self.clock.now() + when, move |token| {
            for function in functions {
                let _orphans = function.function.gate().retire(token, Deadline::after(Duration::ZERO));
            }
        });
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        self.clock.time.advance(time);
    }

    pub(crate) fn is_open(&mut self, at: &str) -> bool {
        let function = self.function(at);
        function.function.handle().try_enter(&self.token, AccessKind::Config).is_ok()
    }

    /// Whether the reset of the bus below a bridge is asserted.
    pub(crate) fn is_in_reset(&mut self, bridge: &str) -> bool {
        let bytes = self.bytes(bridge);
        bytes[usize::from(pci_spec::bridge::BRIDGE_CONTROL)] & 0x40 != 0
    }
}
