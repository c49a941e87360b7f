//! A board: emulated functions behind a host bridge, seen through each mechanism, and a device that remembers.

#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

use gate::lock::Leaf;
use gate::{AccessKind, Deadline, Gate, Pass, Quiesced, ThreadToken};
use pci_core::mechanism::{
    BusRange, CONFIG_ADDRESS, CONFIG_ADDRESS_ENABLE, CONFIG_DATA, ConfigOps, ConfigWindow, Ecam,
    FirmwareCalls, HostBridge, Ports,
};
use pci_core::{
    BarIndex, Change, Command, ConfigAddress, ConfigEffects, ConfigSpace, ConfigStatus, Device, Function,
    FunctionEvent, Observer, PowerState, ResetKind, Width,
};
use pci_spec::Bdf;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Long enough that only a hang reaches it.
pub(crate) fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

pub(crate) fn passed() -> Deadline {
    Deadline::at(Instant::now())
}

pub(crate) fn wait_until(what: &str, done: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < limit, "never happened: {what}");
        std::thread::yield_now();
    }
}

pub(crate) fn at(routing_id: u16) -> Bdf {
    Bdf::from_routing_id(0, routing_id)
}

/// Emulated functions by routing ID; nobody answers elsewhere. Window, ports and firmware lead to the same ones.
#[derive(Default)]
pub(crate) struct Board {
    functions: BTreeMap<u16, Arc<ConfigSpace>>,
    /// What `CONFIG_ADDRESS` holds.
    latch: AtomicU32,
    /// How many accesses reached a bus.
    pub(crate) touched: AtomicUsize,
}

impl Board {
    pub(crate) fn with(functions: impl IntoIterator<Item = (u16, Arc<ConfigSpace>)>) -> Arc<Board> {
        Arc::new(Board { functions: functions.into_iter().collect(), ..Board::default() })
    }

    pub(crate) fn touched(&self) -> usize {
        self.touched.load(Ordering::SeqCst)
    }

    fn load(&self, id: u16, register: u16, width: Width) -> u32 {
        self.touched.fetch_add(1, Ordering::SeqCst);
        let Some(config) = self.functions.get(&id) else { return width.all_ones() };
        let mut bytes = [0; 4];
        config.read(register, &mut bytes[..usize::from(width.bytes())]);
        u32::from_le_bytes(bytes)
    }

    fn store(&self, id: u16, register: u16, width: Width, value: u32) -> ConfigEffects {
        self.touched.fetch_add(1, Ordering::SeqCst);
        let Some(config) = self.functions.get(&id) else { return ConfigEffects::default() };
        config.write(register, &value.to_le_bytes()[..usize::from(width.bytes())])
    }

    /// What the latch selects, if it is enabled, for an access at `port`.
    fn selected(&self, port: u16) -> Option<(u16, u16)> {
        let latch = self.latch.load(Ordering::SeqCst);
        let lane = port.checked_sub(CONFIG_DATA)?;
        let [register, devfn, bus, _] = latch.to_le_bytes();
        let id = u16::from_be_bytes([bus, devfn]);
        (latch & CONFIG_ADDRESS_ENABLE != 0).then_some((id, u16::from(register) + lane))
    }
}

fn split(offset: u64) -> (u16, u16) {
    (u16::try_from(offset >> 12).unwrap(), u16::try_from(offset & 0xfff).unwrap())
}

impl ConfigWindow for Board {
    fn length(&self) -> u64 {
        256 << 20
    }

    fn read(&self, offset: u64, width: Width) -> u32 {
        let (id, register) = split(offset);
        self.load(id, register, width)
    }

    fn write(&self, offset: u64, width: Width, value: u32) -> ConfigEffects {
        let (id, register) = split(offset);
        self.store(id, register, width, value)
    }
}

impl Ports for Board {
    fn read(&self, port: u16, width: Width) -> u32 {
        // Long enough between the two steps of an access that another one gets in between, if it can.
        std::thread::yield_now();
        let selected = self.selected(port);
        selected.map_or(width.all_ones(), |(id, register)| self.load(id, register, width))
    }

    fn write(&self, port: u16, width: Width, value: u32) -> ConfigEffects {
        if port == CONFIG_ADDRESS && width == Width::Dword {
            self.latch.store(value, Ordering::SeqCst);
            return ConfigEffects::default();
        }
        std::thread::yield_now();
        let selected = self.selected(port);
        selected.map_or(ConfigEffects::default(), |(id, register)| self.store(id, register, width, value))
    }
}

impl FirmwareCalls for Board {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        Ok(self.load(u16::from_be_bytes([at.bus, at.devfn]), at.register, width))
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        Ok(self.store(u16::from_be_bytes([at.bus, at.devfn]), at.register, width, value))
    }
}

type Hook = Box<dyn Fn(ConfigAddress, Option<u32>) -> Result<Option<u32>, ConfigStatus> + Send + Sync>;

/// Tells threads apart, from 1 on.
fn this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

/// Watches read-modify-writes: nobody else's write may come between the read and the write of one. Only for registers
/// that nobody reads without writing them next.
#[derive(Default)]
pub(crate) struct OneStep {
    /// Who is between its read and its write.
    between: AtomicUsize,
    /// How often anybody has wanted to write.
    wanted: AtomicUsize,
}

impl OneStep {
    /// Call before the access.
    pub(crate) fn want(&self) {
        self.wanted.fetch_add(1, Ordering::SeqCst);
    }

    /// Call from the hook.
    pub(crate) fn see(&self, is_write: bool) {
        let inside = self.between.load(Ordering::SeqCst);
        assert!(inside == 0 || inside == this_thread(), "a write got into a read-modify-write");
        if is_write {
            self.between.store(0, Ordering::SeqCst);
            return;
        }
        self.between.store(this_thread(), Ordering::SeqCst);
        // Gives another writer the time to come, if it can.
        let before = self.wanted.load(Ordering::SeqCst);
        let nobody = || self.wanted.load(Ordering::SeqCst) == before;
        (0..100).take_while(|_| nobody()).for_each(|_| std::thread::yield_now());
        (0..100).for_each(|_| std::hint::spin_loop());
    }
}

/// Operations with a hook before each: it sees the write's value, may fail the access, and may answer a read itself.
pub(crate) struct Hooked {
    pub(crate) below: Arc<dyn ConfigOps>,
    pub(crate) hook: Hook,
}

impl ConfigOps for Hooked {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        match (self.hook)(at, None)? {
            Some(answer) => Ok(answer),
            None => self.below.read(at, width),
        }
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        (self.hook)(at, Some(value))?;
        self.below.write(at, width, value)
    }
}

pub(crate) fn ecam(board: &Arc<Board>) -> Arc<dyn ConfigOps> {
    Arc::new(Ecam::new(board.clone(), BusRange::ALL))
}

pub(crate) fn bridge(ops: Arc<dyn ConfigOps>) -> Arc<HostBridge> {
    Arc::new(HostBridge::new("pci0", 0, BusRange::ALL, ops))
}

gate::ranks! {
    /// A leaf of the tests.
    pub(crate) TestLog = 99, "test log";
}

/// Lines from any thread.
#[derive(Clone)]
struct Log(Arc<Leaf<TestLog, Vec<String>>>);

impl Log {
    fn new() -> Log {
        Log(Arc::new(Leaf::new(Vec::new())))
    }

    fn add(&self, line: String) {
        self.0.lock().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

/// Remembers what it was told.
struct Fake(Log);

impl Device for Fake {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, kind: ResetKind) {
        self.0.add(kind.to_string());
    }

    fn command_changed(&self, _pass: &Pass<'_>, old: Command, new: Command) {
        self.0.add(format!("command {:#x} to {:#x}", old.bits(), new.bits()));
    }

    fn power_changed(&self, _quiesced: &Quiesced<'_>, change: Change<PowerState>) {
        self.0.add(format!("{:?} to {:?}", change.old, change.new));
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

struct Events(Log);

impl Observer for Events {
    fn event(&self, _function: &str, event: &FunctionEvent<'_>) {
        self.0.add(format!("{event:?}"));
    }
}

/// One function at 0000:01:00.0, behind ECAM with a switch that fails every access, or behind nothing.
pub(crate) struct World {
    pub(crate) board: Arc<Board>,
    pub(crate) config: Arc<ConfigSpace>,
    pub(crate) function: Arc<Function>,
    pub(crate) fails: Arc<AtomicU8>,
    told: Log,
    events: Log,
}

impl World {
    pub(crate) fn new(config: ConfigSpace) -> World {
        World::with(config, |function| function)
    }

    pub(crate) fn with(config: ConfigSpace, finish: impl FnOnce(Function) -> Function) -> World {
        let config = Arc::new(config);
        let board = Board::with([(0x0100, config.clone())]);
        let fails = Arc::new(AtomicU8::new(0));
        let switch = fails.clone();
        let hook: Hook = Box::new(move |_, _| match ConfigStatus::from_code(switch.load(Ordering::SeqCst)) {
            Some(status) => Err(status),
            None => Ok(None),
        });
        let ops = Arc::new(Hooked { below: ecam(&board), hook });
        World::over(config, board, ops, fails, finish)
    }

    pub(crate) fn hooked(
        config: ConfigSpace,
        hook: impl Fn(ConfigAddress, Option<u32>) -> Result<Option<u32>, ConfigStatus> + Send + Sync + 'static,
    ) -> World {
        let config = Arc::new(config);
        let board = Board::with([(0x0100, config.clone())]);
        let ops = Arc::new(Hooked { below: ecam(&board), hook: Box::new(hook) });
        World::over(config, board, ops, Arc::default(), |function| function)
    }

    fn over(
        config: Arc<ConfigSpace>,
        board: Arc<Board>,
        ops: Arc<dyn ConfigOps>,
        fails: Arc<AtomicU8>,
        finish: impl FnOnce(Function) -> Function,
    ) -> World {
        let (told, events) = (Log::new(), Log::new());
        let function = Function::new("f", Gate::new("f"), config.clone(), Arc::new(Fake(told.clone())));
        let function = function.observed_by(Arc::new(Events(events.clone()))).behind(bridge(ops), at(0x0100));
        World { board, config, function: Arc::new(finish(function)), fails, told, events }
    }

    pub(crate) fn fail_with(&self, status: Option<ConfigStatus>) {
        self.fails.store(status.map_or(0, ConfigStatus::code), Ordering::SeqCst);
    }

    pub(crate) fn pass<'t>(&'t self, token: &'t ThreadToken) -> Pass<'t> {
        self.function.handle().try_enter(token, AccessKind::Config).unwrap()
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.told.take()
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.events.take()
    }
}
