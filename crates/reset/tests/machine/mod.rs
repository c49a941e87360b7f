//! A machine whose devices follow a script: when they answer after which reset, what they lose, when they are pulled.
//!
//! Registers are those of real configuration spaces; between them and whoever reads stands the script, on a virtual
//! clock.
#![allow(dead_code)] // Each test file uses a part of it.
#![allow(clippy::disallowed_types)] // The script's own locks guard plain values; no code under test takes part in them.

pub(crate) mod procedures;

use gate::{AccessKind, Deadline, Gate, Gone, Handle, Pass, Quiesced, ThreadToken};
use parking_lot::Mutex;
use pci_core::mechanism::{BusRange, ConfigOps, HostBridge};
use pci_core::{
    BarIndex, BarKind, Command, ConfigAddress, ConfigEffects, ConfigSpace, ConfigSpaceBuilder, ConfigStatus,
    Device, Express, Function, FunctionEvent, Identity, Observer, PowerState, ResetKind, StaysClosed, Time,
    VirtualTime, Width,
};
use pci_spec::bridge::BRIDGE_CONTROL;
use pci_spec::capability::express::{self, port};
use pci_spec::capability::pm;
use pci_spec::{Bdf, ClassCode, config};
use reset::{Quirks, Resets};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use topology::{Node, NodeKind, Snapshot};

pub(crate) const NEVER: Duration = Duration::MAX;
pub(crate) const AT_ONCE: Duration = Duration::ZERO;

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn bdf(text: &str) -> Bdf {
    text.parse().expect("an address")
}

/// What a device does that its registers do not say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Script {
    /// How long it does not answer after a function level reset.
    pub(crate) flr: Duration,
    /// After Advanced Features' reset.
    pub(crate) af_flr: Duration,
    /// After D3hot to D0.
    pub(crate) pm: Duration,
    /// After the end of the reset of its bus.
    pub(crate) bus: Duration,
    /// While it does not answer it shows "try again" in its Vendor ID, instead of all-ones.
    pub(crate) retries: bool,
    /// How many looks still show outstanding requests.
    pub(crate) pending: u32,
    /// How many writes to BARs are lost after a reset.
    pub(crate) deaf_bars: u32,
    /// When its link comes up after the reset of its bus, for a bridge.
    pub(crate) link: Duration,
    /// It ignores requests to change its power state.
    pub(crate) insomniac: bool,
    /// Its link does not come up by itself: only when it is trained again.
    pub(crate) needs_training: bool,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            flr: AT_ONCE,
            af_flr: AT_ONCE,
            pm: AT_ONCE,
            bus: AT_ONCE,
            retries: true,
            pending: 0,
            deaf_bars: 0,
            link: AT_ONCE,
            needs_training: false,
            insomniac: false,
        }
    }
}

/// One scripted device.
struct Part {
    config: Arc<ConfigSpace>,
    script: Script,
    /// The physical function of a virtual one, which is there while that has it switched on.
    physical: Option<Arc<ConfigSpace>>,
    silent_until: Duration,
    link_at: Duration,
    deaf_bars: u32,
}

/// What was written, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) at: Bdf,
    pub(crate) register: u16,
    pub(crate) value: u32,
    pub(crate) when: Duration,
}

/// The devices behind one host bridge.
pub(crate) struct Machine {
    clock: Arc<Clock>,
    parts: Mutex<BTreeMap<u16, Part>>,
    below: Mutex<BTreeMap<u16, Vec<u16>>>,
    pub(crate) written: Mutex<Vec<Written>>,
}

fn key(at: ConfigAddress) -> u16 {
    u16::from_be_bytes([at.bus, at.devfn])
}

impl ConfigOps for Machine {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        let now = self.clock.now();
        let mut parts = self.parts.lock();
        let part = parts.get_mut(&key(at)).ok_or(ConfigStatus::DeviceNotFound)?;
        if part.is_switched_off() {
            return Ok(width.all_ones());
        }
        if now < part.silent_until {
            let retry = part.script.retries && at.register == config::VENDOR_ID;
            return if retry { Ok(0xffff_0001 & width.all_ones()) } else { Ok(width.all_ones()) };
        }
        let mut bytes = [0; 4];
        part.config.read(at.register, &mut bytes[..usize::from(width.bytes())]);
        let mut value = u32::from_le_bytes(bytes);
        if let Some(base) = express_of(&part.config) {
            if at.register == base + express::DEVICE_STATUS && part.script.pending > 0 {
                part.script.pending -= 1;
                value |= 1 << 5;
            }
            if at.register == base + express::LINK_STATUS && part.config.is_bridge() {
                value &= !u32::from(port::LINK_ACTIVE);
                if now >= part.link_at {
                    value |= u32::from(port::LINK_ACTIVE);
                }
            }
        }
        Ok(value)
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        let now = self.clock.now();
        let mut parts = self.parts.lock();
        let part = parts.get_mut(&key(at)).ok_or(ConfigStatus::DeviceNotFound)?;
        let address = Bdf::from_routing_id(0, key(at));
        self.written.lock().push(Written { at: address, register: at.register, value, when: now });
        let is_bar = (config::BAR0..=config::BAR5).contains(&at.register) && !part.config.is_bridge();
        let power = part.config.power_management().map(|power| power + pm::CONTROL_STATUS);
        let ignored = part.script.insomniac && Some(at.register) == power;
        if now < part.silent_until || part.is_switched_off() || ignored || (is_bar && part.take_deaf_bar()) {
            return Ok(ConfigEffects::default());
        }
        let effects = part.config.write(at.register, &value.to_le_bytes()[..usize::from(width.bytes())]);
        part.follow(at.register, value, &effects, now);
        if let Some(change) = effects.secondary_bus_reset {
            self.reset_below(&mut parts, key(at), change.new, now);
        }
        Ok(effects)
    }
}

impl Part {
    fn is_switched_off(&self) -> bool {
        let physical = self.physical.as_ref();
        physical.is_some_and(|config| !config.sr_iov().is_some_and(|vfs| vfs.enabled))
    }

    fn take_deaf_bar(&mut self) -> bool {
        let deaf = self.deaf_bars > 0;
        self.deaf_bars = self.deaf_bars.saturating_sub(1);
        deaf
    }

    fn silent(&mut self, now: Duration, time: Duration) {
        self.silent_until = now.saturating_add(time);
        self.deaf_bars = self.script.deaf_bars;
    }

    fn follow(&mut self, register: u16, value: u32, effects: &ConfigEffects, now: Duration) {
        let base = express_of(&self.config);
        if effects.flr {
            let express = base.is_some_and(|base| register == base + express::DEVICE_CONTROL);
            self.silent(now, if express { self.script.flr } else { self.script.af_flr });
        }
        if effects.power.is_some_and(|change| change.new == PowerState::D0 && change.old == PowerState::D3Hot)
        {
            self.silent(now, self.script.pm);
        }
        let train = u32::from(port::RETRAIN_LINK);
        if base.is_some_and(|base| register == base + express::LINK_CONTROL) && value & train != 0 {
            self.link_at = if self.script.link == NEVER { NEVER } else { now + self.script.link };
        }
    }
}

impl Machine {
    fn reset_below(&self, parts: &mut BTreeMap<u16, Part>, bridge: u16, asserted: bool, now: Duration) {
        if let Some(part) = parts.get_mut(&bridge) {
            let trains = !part.script.needs_training && !asserted;
            part.link_at = if trains { now.saturating_add(part.script.link) } else { NEVER };
        }
        let mut next = self.below.lock().get(&bridge).cloned().unwrap_or_default();
        while let Some(below) = next.pop() {
            let Some(part) = parts.get_mut(&below) else { continue };
            let time = if asserted { NEVER } else { part.script.bus };
            part.silent(now, time);
            next.extend(self.below.lock().get(&below).into_iter().flatten());
        }
    }

    /// Makes a device silent from now on.
    pub(crate) fn hang(&self, at: &str) {
        if let Some(part) = self.parts.lock().get_mut(&bdf(at).routing_id()) {
            part.silent_until = NEVER;
        }
    }
}

fn express_of(config: &ConfigSpace) -> Option<u16> {
    config.find_capability(pci_spec::capability::id::PCI_EXPRESS)
}

/// Virtual time on which things happen: functions are pulled, and who watches sees who gets in.
#[derive(Default)]
pub(crate) struct Clock {
    time: VirtualTime,
    pulls: Mutex<Vec<(Duration, Gate)>>,
    pub(crate) kept_out: Mutex<Vec<Handle>>,
    pub(crate) let_in: Mutex<Vec<Handle>>,
    pub(crate) waits: Mutex<Vec<Duration>>,
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.time.fmt(f)
    }
}

impl Clock {
    /// The time, or `when` if that has not been reached because nothing waited that long.
    pub(crate) fn now_at_least(&self, when: Duration) -> Duration {
        self.now().max(when)
    }

    fn next_pull(&self, until: Duration) -> Option<(Duration, Gate)> {
        let mut pulls = self.pulls.lock();
        pulls.sort_by_key(|(when, _)| *when);
        if pulls.first()?.0 <= until { Some(pulls.remove(0)) } else { None }
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
            assert!(handle.try_enter(token, AccessKind::Config).is_err(), "somebody got in during a reset");
        }
        for handle in self.let_in.lock().iter() {
            assert!(handle.try_enter(token, AccessKind::Config).is_ok(), "somebody else was blocked");
        }
        let end = self.now() + duration;
        while let Some((when, gate)) = self.next_pull(end) {
            self.time.advance(when.saturating_sub(self.now()));
            let mut pulled = Some(gate);
            while let Some(gate) = pulled {
                let _orphans = gate.retire(token, Deadline::after(Duration::ZERO));
                pulled = self.next_pull(when).map(|(_, gate)| gate);
            }
            if closed.is_gone() {
                return Err(Gone);
            }
        }
        self.time.advance(end.saturating_sub(self.now()));
        if closed.is_gone() { Err(Gone) } else { Ok(()) }
    }
}

/// What was told, as "function: step".
#[derive(Default)]
pub(crate) struct Told(pub(crate) Mutex<Vec<String>>);

impl Observer for Told {
    fn event(&self, function: &str, event: &FunctionEvent<'_>) {
        if let FunctionEvent::ResetStep(step) = event {
            self.0.lock().push(format!("{function}: {step}"));
        }
    }
}

/// The emulated side of a device: counts what it is told.
#[derive(Default)]
pub(crate) struct Silicon {
    pub(crate) resets: Mutex<Vec<ResetKind>>,
    /// Called before each reset.
    pub(crate) witness: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Device for Silicon {
    fn read_bar(&self, _: &Pass<'_>, _: BarIndex, _: u64, data: &mut [u8]) {
        data.fill(0);
    }
    fn write_bar(&self, _: &Pass<'_>, _: BarIndex, _: u64, _: &[u8]) {}
    fn reset(&self, _: &Quiesced<'_>, kind: ResetKind) {
        if let Some(witness) = self.witness.get() {
            witness();
        }
        self.resets.lock().push(kind);
    }
    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// An endpoint with two BARs, to which capabilities are added.
pub(crate) fn endpoint() -> ConfigSpaceBuilder {
    endpoint_of(0x5678)
}

/// The same with another device ID.
pub(crate) fn endpoint_of(device: u16) -> ConfigSpaceBuilder {
    let class = ClassCode::new(0x01, 0x08, 0x02);
    ConfigSpace::builder(Identity::new(0x1234, device, class))
        .bar(BarIndex::new(0).expect("BAR 0"), BarKind::Memory64, 0x4000)
        .bar(BarIndex::new(2).expect("BAR 2"), BarKind::Memory32, 0x1000)
}

/// The port of a switch or of the root complex.
pub(crate) fn bridge() -> ConfigSpaceBuilder {
    let class = ClassCode::new(0x06, 0x04, 0x00);
    ConfigSpace::bridge_builder(Identity::new(0x1234, 0x0001, class))
}

/// A machine that is being built.
pub(crate) struct Plan {
    parts: Vec<(Bdf, ConfigSpaceBuilder, Script, NodeKind)>,
    quirks: fn(u16, u16) -> Quirks,
}

/// A machine that runs.
pub(crate) struct Rig {
    pub(crate) token: ThreadToken,
    pub(crate) machine: Arc<Machine>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) told: Arc<Told>,
    pub(crate) silicon: BTreeMap<Bdf, Arc<Silicon>>,
    pub(crate) snapshot: Snapshot,
    pub(crate) resets: Resets,
}

impl Plan {
    pub(crate) fn new() -> Plan {
        Plan { parts: Vec::new(), quirks: |_, _| Quirks::default() }
    }

    pub(crate) fn quirks(mut self, quirks: fn(u16, u16) -> Quirks) -> Plan {
        self.quirks = quirks;
        self
    }

    pub(crate) fn endpoint(mut self, at: &str, config: ConfigSpaceBuilder, script: Script) -> Plan {
        self.parts.push((bdf(at), config, script, NodeKind::Endpoint));
        self
    }

    pub(crate) fn bridge(
        mut self,
        at: &str,
        config: ConfigSpaceBuilder,
        script: Script,
        buses: (u8, u8),
        slot: bool,
    ) -> Plan {
        let kind = NodeKind::Bridge { secondary: buses.0, subordinate: buses.1, slot };
        self.parts.push((bdf(at), config, script, kind));
        self
    }

    pub(crate) fn virtual_function(mut self, at: &str, physical: &str) -> Plan {
        let class = ClassCode::new(0x01, 0x08, 0x02);
        let config = ConfigSpace::virtual_builder(Identity::new(0x1234, 0x5679, class))
            .bar(BarIndex::new(0).expect("BAR 0"), BarKind::Memory64, 0x1000)
            .capability(Express::default())
            .aer();
        self.parts.push((bdf(at), config, Script::default(), NodeKind::Virtual { physical: bdf(physical) }));
        self
    }

    pub(crate) fn build(self) -> Rig {
        let clock = Arc::new(Clock::default());
        let machine = Arc::new(Machine {
            clock: clock.clone(),
            parts: Mutex::default(),
            below: Mutex::default(),
            written: Mutex::default(),
        });
        let host = Arc::new(HostBridge::new("host", 0, BusRange::ALL, machine.clone()));
        let told = Arc::new(Told::default());
        let mut silicon = BTreeMap::new();
        let mut nodes = Vec::new();
        for (at, builder, script, kind) in self.parts {
            let config = Arc::new(builder.build().expect("a configuration space"));
            set_up(&config, kind);
            let part = Part {
                config: config.clone(),
                script,
                physical: match kind {
                    NodeKind::Virtual { physical } => {
                        machine.parts.lock().get(&physical.routing_id()).map(|part| part.config.clone())
                    }
                    _ => None,
                },
                silent_until: AT_ONCE,
                link_at: if script.needs_training { NEVER } else { AT_ONCE },
                deaf_bars: 0,
            };
            machine.parts.lock().insert(at.routing_id(), part);
            let device = Arc::new(Silicon::default());
            silicon.insert(at, device.clone());
            let function = Function::new(at.to_string(), Gate::new(at.to_string()), config, device)
                .behind(host.clone(), at)
                .observed_by(told.clone());
            let physical =
                nodes.iter().find(|node: &&Node| kind == NodeKind::Virtual { physical: node.address });
            let function = match physical {
                Some(physical) => function.depending_on(&physical.function),
                None => function,
            };
            nodes.push(Node { address: at, function: Arc::new(function), kind });
        }
        let snapshot = Snapshot::of(nodes);
        for node in snapshot.iter() {
            if let NodeKind::Bridge { secondary, .. } = node.kind {
                let below = snapshot.bus(0, secondary).map(|child| child.address.routing_id()).collect();
                machine.below.lock().insert(node.address.routing_id(), below);
            }
        }
        let resets = Resets::new(clock.clone()).with_quirks(self.quirks);
        let token = ThreadToken::at_thread_entry();
        Rig { token, machine, clock, told, silicon, snapshot, resets }
    }
}

/// What software has set up before anything is reset.
fn set_up(config: &ConfigSpace, kind: NodeKind) {
    if let NodeKind::Bridge { secondary, subordinate, .. } = kind {
        let _ = config.write(0x18, &[0, secondary, subordinate]);
    } else {
        let _ = config.write(config::BAR0, &0xe000_0000_u32.to_le_bytes());
        let _ = config.write(0x18, &0xd000_0000_u32.to_le_bytes());
    }
    let _ = config.write(config::COMMAND, &[0x06, 0x00]);
    let _ = config.write(config::INTERRUPT_LINE, &[11]);
}

impl Rig {
    pub(crate) fn function(&self, at: &str) -> Arc<Function> {
        self.snapshot.function(bdf(at)).expect("a function").function.clone()
    }

    pub(crate) fn config(&self, at: &str) -> Arc<ConfigSpace> {
        self.function(at).config().clone()
    }

    /// The header and everything else, as bytes.
    pub(crate) fn bytes(&self, at: &str) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        self.config(at).read(0, &mut bytes);
        bytes
    }

    pub(crate) fn pull(&self, at: &str, when: Duration) {
        self.clock.pulls.lock().push((when, self.function(at).gate().clone()));
    }

    pub(crate) fn reset(&mut self, at: &str) -> Result<reset::Done, reset::Error> {
        self.resets.reset_function(&mut self.token, &self.snapshot, bdf(at), soon())
    }

    pub(crate) fn now_ms(&self) -> u128 {
        self.clock.now().as_millis()
    }

    pub(crate) fn told(&self) -> Vec<String> {
        self.told.0.lock().clone()
    }

    pub(crate) fn writes(&self, at: &str, register: u16) -> Vec<u32> {
        let written = self.machine.written.lock();
        written
            .iter()
            .filter(|write| write.at == bdf(at) && write.register == register)
            .map(|write| write.value)
            .collect()
    }

    /// Whether an access gets in now.
    pub(crate) fn is_open(&self, at: &str) -> bool {
        self.function(at).handle().try_enter(&self.token, AccessKind::Config).is_ok()
    }

    pub(crate) fn command(&self, at: &str) -> Command {
        self.config(at).command()
    }

    pub(crate) fn bus_resets(&self, bridge: &str) -> Vec<u32> {
        self.writes(bridge, BRIDGE_CONTROL)
    }
}

/// A deadline that a test does not reach: nothing is in flight.
pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}
