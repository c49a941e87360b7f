//! Functions in a small topology, on a clock of the test.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

use gate::lock::Leaf;
use gate::{Deadline, Gate, Gone, Pass, Quiesced, ThreadToken};
use pci_core::mechanism::{BusRange, ConfigOps, HostBridge};
use pci_core::{
    BarIndex, BarKind, Change, ConfigAddress, ConfigEffects, ConfigSpace, ConfigStatus, Device, Express,
    ExtendedCapability, Function, FunctionEvent, Identity, Observer, Pm, ResetKind, SrIov, StaysClosed, Time,
    Width,
};
use pci_spec::capability::express::PortType;
use pci_spec::{Bdf, ClassCode};
use power::{Power, State};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use topology::{Node, NodeKind, Snapshot};

mod ranks {
    gate::ranks! {
        /// What happened, in order; a leaf.
        pub Journal = 99, "journal of a test";
    }
}

/// Long enough that only a hang reaches it.
pub(crate) fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

pub(crate) fn wait_until(what: &str, done: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < limit, "never happened: {what}");
        std::thread::yield_now();
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Leaf<ranks::Journal, Vec<String>>>);

impl Journal {
    pub(crate) fn write(&self, line: String) {
        self.0.lock().push(line);
    }

    /// Everything since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Observer for Journal {
    fn event(&self, function: &str, event: &FunctionEvent<'_>) {
        self.write(match event {
            FunctionEvent::Power(step) => format!("{function}: {step}"),
            FunctionEvent::PowerChanged(Change { old, new }) => format!("{function}: {old} to {new}"),
            other => format!("{function}: {other:?}"),
        });
    }
}

/// A clock that jumps, and stands still at a delay while the test wants it to.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    micros: AtomicU64,
    hold: AtomicBool,
    held: AtomicBool,
}

impl Clock {
    /// Delays last from now on until the answer is dropped, also by a test that fails.
    pub(crate) fn stand_still(&self) -> StandingStill<'_> {
        self.held.store(false, Ordering::SeqCst);
        self.hold.store(true, Ordering::SeqCst);
        StandingStill(self)
    }

    pub(crate) fn is_delaying(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }

    pub(crate) fn micros(&self) -> u64 {
        self.micros.load(Ordering::SeqCst)
    }

    pub(crate) fn advance(&self, duration: Duration) {
        self.micros.fetch_add(u64::try_from(duration.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

pub(crate) struct StandingStill<'a>(&'a Clock);

impl Drop for StandingStill<'_> {
    fn drop(&mut self) {
        self.0.hold.store(false, Ordering::SeqCst);
    }
}

impl Time for Clock {
    fn now(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::SeqCst))
    }

    fn pass(
        &self,
        token: &mut ThreadToken,
        closed: &dyn StaysClosed,
        duration: Duration,
    ) -> Result<(), Gone> {
        if !duration.is_zero() {
            while self.hold.load(Ordering::SeqCst) {
                self.held.store(true, Ordering::SeqCst);
                closed.wait(token, Deadline::after(Duration::from_millis(1)))?;
            }
            self.advance(duration);
        }
        if closed.is_gone() { Err(Gone) } else { Ok(()) }
    }
}

/// A host bridge behind which nobody answers.
struct Nobody;

impl ConfigOps for Nobody {
    fn read(&self, _: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        Ok(width.all_ones())
    }
    fn write(&self, _: ConfigAddress, _: Width, _: u32) -> Result<ConfigEffects, ConfigStatus> {
        Ok(ConfigEffects::default())
    }
}

/// A device without behaviour.
struct Silent;

impl Device for Silent {
    fn read_bar(&self, _: &Pass<'_>, _: BarIndex, _: u64, data: &mut [u8]) {
        data.fill(0x5a);
    }
    fn write_bar(&self, _: &Pass<'_>, _: BarIndex, _: u64, _: &[u8]) {}
    fn reset(&self, _: &Quiesced<'_>, _: ResetKind) {}
    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

pub(crate) fn at(bus: u8, device: u8, function: u8) -> Bdf {
    Bdf::new(0, bus, device, function).unwrap()
}

fn bar0() -> BarIndex {
    BarIndex::new(0).unwrap()
}

/// A world of functions under construction.
pub(crate) struct Board {
    pub(crate) clock: Arc<Clock>,
    pub(crate) journal: Journal,
    nodes: Vec<Node>,
}

impl Board {
    pub(crate) fn new() -> Board {
        Board { clock: Arc::new(Clock::default()), journal: Journal::default(), nodes: Vec::new() }
    }

    fn add(&mut self, address: Bdf, config: ConfigSpace, kind: NodeKind) {
        let name = address.to_string();
        let function = Function::new(name.clone(), Gate::new(name), Arc::new(config), Arc::new(Silent));
        let function = function.observed_by(Arc::new(self.journal.clone())).timed_by(self.clock.clone());
        self.nodes.push(Node { address, function: Arc::new(function), kind });
    }

    pub(crate) fn endpoint(&mut self, address: Bdf, pm: Pm) -> &mut Board {
        let identity = Identity::new(0x1b36, 0x0010, ClassCode::NVME);
        let builder = ConfigSpace::builder(identity).bar(bar0(), BarKind::Memory64, 16 << 10);
        let builder = builder.capability(pm).capability(Express::default());
        self.add(address, builder.build().unwrap(), NodeKind::Endpoint);
        self
    }

    /// An endpoint with room for virtual functions.
    pub(crate) fn physical(&mut self, address: Bdf, pm: Pm) -> &mut Board {
        let identity = Identity::new(0x1b36, 0x0010, ClassCode::NVME);
        let builder = ConfigSpace::builder(identity).capability(pm).capability(Express::default());
        let vfs = ExtendedCapability::SrIov(SrIov::new(4, 0x0011));
        self.add(address, builder.extended_capability(vfs).build().unwrap(), NodeKind::Endpoint);
        self
    }

    pub(crate) fn bridge(
        &mut self,
        address: Bdf,
        port: PortType,
        secondary: u8,
        subordinate: u8,
    ) -> &mut Board {
        let identity = Identity::new(0x1b36, 0x000c, ClassCode::PCI_BRIDGE);
        let builder = ConfigSpace::bridge_builder(identity).capability(Pm::default());
        let config = builder.capability(Express::port(port)).build().unwrap();
        let _effects = config.write(0x18, &[address.bus(), secondary, subordinate]);
        self.add(address, config, NodeKind::Bridge { secondary, subordinate, slot: false });
        self
    }

    pub(crate) fn virtual_function(&mut self, address: Bdf, physical: Bdf) -> &mut Board {
        let identity = Identity::new(0x1b36, 0x0011, ClassCode::NVME);
        let config = ConfigSpace::builder(identity).build().unwrap();
        self.add(address, config, NodeKind::Virtual { physical });
        self
    }

    /// An endpoint without power management.
    pub(crate) fn unmanaged(&mut self, address: Bdf) -> &mut Board {
        let identity = Identity::new(0x1b36, 0x0010, ClassCode::NVME);
        let builder = ConfigSpace::builder(identity).bar(bar0(), BarKind::Memory64, 16 << 10);
        self.add(address, builder.build().unwrap(), NodeKind::Endpoint);
        self
    }

    /// An endpoint that answers no configuration access, whatever its power.
    pub(crate) fn silent(&mut self, address: Bdf) -> &mut Board {
        let identity = Identity::new(0x1b36, 0x0010, ClassCode::NVME);
        let config = ConfigSpace::builder(identity).capability(Pm::default()).build().unwrap();
        let bridge = HostBridge::new("nobody", 0, BusRange::ALL, Arc::new(Nobody));
        let name = address.to_string();
        let function = Function::new(name.clone(), Gate::new(name), Arc::new(config), Arc::new(Silent));
        let function = function.observed_by(Arc::new(self.journal.clone())).timed_by(self.clock.clone());
        let function = Arc::new(function.behind(Arc::new(bridge), address));
        self.nodes.push(Node { address, function, kind: NodeKind::Endpoint });
        self
    }

    pub(crate) fn build(&mut self) -> World {
        World {
            snapshot: Snapshot::of(std::mem::take(&mut self.nodes)),
            clock: self.clock.clone(),
            journal: self.journal.clone(),
        }
    }
}

pub(crate) struct World {
    pub(crate) snapshot: Snapshot,
    pub(crate) clock: Arc<Clock>,
    pub(crate) journal: Journal,
}

impl World {
    /// ```text
    /// 00:01.0 root port - 01:00.0 upstream port - 02:00.0 downstream port - 03:00.0 endpoint
    ///                                           \ 02:01.0 downstream port - 04:00.0 endpoint
    /// 00:02.0 root port - 05:00.0 endpoint
    /// ```
    pub(crate) fn switch() -> World {
        Board::new()
            .bridge(at(0, 1, 0), PortType::RootPort, 1, 4)
            .bridge(at(1, 0, 0), PortType::UpstreamPort, 2, 4)
            .bridge(at(2, 0, 0), PortType::DownstreamPort, 3, 3)
            .bridge(at(2, 1, 0), PortType::DownstreamPort, 4, 4)
            .endpoint(at(3, 0, 0), Pm::default())
            .endpoint(at(4, 0, 0), Pm::default())
            .bridge(at(0, 2, 0), PortType::RootPort, 5, 5)
            .endpoint(at(5, 0, 0), Pm::default())
            .build()
    }

    pub(crate) fn power(&self) -> Power {
        Power::new(self.clock.clone())
    }

    pub(crate) fn function(&self, at: Bdf) -> &Arc<Function> {
        &self.snapshot.function(at).unwrap().function
    }

    pub(crate) fn state(&self, at: Bdf) -> State {
        self.function(at).device_state()
    }

    pub(crate) fn states(&self) -> Vec<(String, State)> {
        let state = |node: &Arc<Node>| (node.address.to_string(), node.function.device_state());
        self.snapshot.iter().map(state).collect()
    }

    /// Memory decoding on, BAR 0 set.
    pub(crate) fn set_up(&self, token: &mut ThreadToken, at: Bdf) {
        let f = self.function(at);
        f.write_config(token, 0x10, &0xfeb0_0000_u32.to_le_bytes(), patient()).unwrap();
        f.write_config(token, 0x04, &[0x06], patient()).unwrap();
    }
}
