//! A slot with a port, functions with gates, drivers and consumers that do as they are told.
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "test code")]

use assign::{Assignment, Limits, Port as DevicePort};
use gate::{Deadline, Gate, Pass, Quiesced, ThreadToken};
use parking_lot::{Condvar, Mutex};
use pci_core::recovery::{Channel, Handlers, Vote};
use pci_core::{
    BarIndex, BarKind, ConfigSpace, Device, Function, Identity, InterruptPin, ResetKind, VirtualTime,
};
use slot::{
    Binding, Bound, ByHand, Consumer, Controller, Crew, Driver, Drivers, Event, Failure, Features, Finished,
    Hardware, Lamp, Notice, Operation, Parts, ProbeError, Removal, Request, Settings, State, Told, Watch,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// Longer than any test takes.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// What happened, and which calls misbehave. Calls are named "who.method".
#[derive(Default)]
pub(crate) struct Script {
    log: Mutex<Vec<String>>,
    changed: Condvar,
    faults: Mutex<HashMap<String, Fault>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Until it is mended.
    Hang,
    /// The next call of it until it is mended; those that come meanwhile do not.
    HangOnce,
    Panic,
    Fail,
}

impl Script {
    pub(crate) fn set(&self, call: &str, fault: Fault) {
        self.faults.lock().insert(call.to_owned(), fault);
    }

    /// What hangs goes on.
    pub(crate) fn mend(&self, call: &str) {
        let mut faults = self.faults.lock();
        faults.remove(call);
        faults.remove(&format!("{call} is out"));
        drop(faults);
        let _log = self.log.lock();
        self.changed.notify_all();
    }

    /// Notes the call; true if it is to fail.
    pub(crate) fn call(&self, call: &str) -> bool {
        let fault = self.fault(call);
        let out = format!("{call} is out");
        if fault == Some(Fault::HangOnce) {
            self.set(&out, Fault::Hang);
            self.faults.lock().remove(call);
        }
        self.note(call.to_owned());
        match fault {
            Some(Fault::Panic) => panic!("{call} panics, as it was told"),
            Some(Fault::Fail) => return true,
            Some(Fault::Hang) => self.hang(call, call),
            Some(Fault::HangOnce) => self.hang(call, &out),
            None => {}
        }
        false
    }

    fn hang(&self, call: &str, until_mended: &str) {
        let mut log = self.log.lock();
        while self.fault(until_mended).is_some() {
            assert!(!self.changed.wait_for(&mut log, LONG).timed_out(), "{call} was never mended");
        }
        drop(log);
        self.note(format!("{call} returns"));
    }

    fn fault(&self, call: &str) -> Option<Fault> {
        self.faults.lock().get(call).copied()
    }

    pub(crate) fn note(&self, what: String) {
        self.log.lock().push(what);
        self.changed.notify_all();
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().clone()
    }

    pub(crate) fn has(&self, what: &str) -> bool {
        self.log.lock().iter().any(|line| line == what)
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.log.lock().iter().filter(|line| *line == what).count()
    }

    pub(crate) fn wait_for(&self, what: &str) {
        let mut log = self.log.lock();
        while !log.iter().any(|line| line == what) {
            assert!(!self.changed.wait_for(&mut log, LONG).timed_out(), "no {what}: {log:?}");
        }
    }

    /// Waits until it was called more often than that.
    pub(crate) fn wait_for_more(&self, what: &str, before: usize) {
        let mut log = self.log.lock();
        while log.iter().filter(|line| *line == what).count() <= before {
            assert!(!self.changed.wait_for(&mut log, LONG).timed_out(), "no {what}: {log:?}");
        }
    }

    /// Where it is in the log.
    pub(crate) fn at(&self, what: &str) -> usize {
        let log = self.log.lock();
        log.iter().position(|line| line == what).unwrap_or_else(|| panic!("no {what}: {log:?}"))
    }
}

/// Answers every byte of its BAR with 0x5a.
pub(crate) struct Fake(Arc<Script>);

impl Drop for Fake {
    fn drop(&mut self) {
        self.0.call("device.drop");
    }
}

impl Device for Fake {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0x5a);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn command_changed(&self, _pass: &Pass<'_>, _old: pci_core::Command, new: pci_core::Command) {
        if !new.contains(pci_core::Command::BUS_MASTER) {
            self.0.call("device.quiet");
        }
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Hears who attaches and detaches.
struct Sink(Arc<Script>);

impl assign::EventSink for Sink {
    fn event(&self, _function: &str, event: assign::Event) {
        match event {
            assign::Event::ClientAttached => self.0.call("sink.attached"),
            assign::Event::ClientDetached { .. } => self.0.call("sink.detached"),
            _ => false,
        };
    }
}

pub(crate) fn function(name: &str, gate: &Gate, script: &Arc<Script>) -> Arc<Assignment> {
    let identity = Identity::new(0x1b36, 0x0010, pci_spec::ClassCode::NVME);
    let config = ConfigSpace::builder(identity)
        .bar(BarIndex::new(0).unwrap(), BarKind::Memory32, 0x1000)
        .intx(InterruptPin::A)
        .build()
        .unwrap();
    let config = Arc::new(config);
    let sink = Arc::new(Sink(Arc::clone(script)));
    let port = DevicePort::new(gate, Arc::clone(&config), sink);
    let function = Arc::new(Function::new(name, gate.clone(), config, Arc::new(Fake(Arc::clone(script)))));
    Assignment::new(function, port, Limits { detach_timeout: SECOND, ..Limits::default() })
}

/// The port of a slot with a card of some functions.
pub(crate) struct Port {
    script: Arc<Script>,
    gates: Vec<Gate>,
    plugged: AtomicUsize,
    pub(crate) topology: Mutex<Vec<Arc<Assignment>>>,
    /// Every function that there has been, to see whether it is still there.
    pub(crate) all: Mutex<Vec<Weak<Assignment>>>,
    slot: OnceLock<Weak<Controller>>,
    pub(crate) powered: AtomicBool,
    power_controller: bool,
}

impl Port {
    /// The link comes and goes with the power, if that is switched.
    fn tell(&self, event: Event) {
        if self.power_controller
            && let Some(slot) = self.slot.get().and_then(Weak::upgrade)
        {
            slot.post(event);
        }
    }
}

impl Hardware for Port {
    fn apply_power(&self, _token: &mut ThreadToken, _deadline: Deadline) -> bool {
        if self.script.call("hardware.apply_power") {
            return false;
        }
        self.powered.store(true, Ordering::Release);
        self.tell(Event::Link(true));
        true
    }

    fn cut_power(&self, _token: &mut ThreadToken, _deadline: Deadline) {
        assert!(self.topology.lock().is_empty(), "power is cut under what is in the topology");
        self.script.call("hardware.cut_power");
        self.powered.store(false, Ordering::Release);
        self.tell(Event::Link(false));
    }

    fn power_lamp(&self, lamp: Lamp) {
        self.script.call(&format!("hardware.power_lamp {lamp:?}"));
    }

    fn attention_lamp(&self, _lamp: Lamp) {
        self.script.call("hardware.attention_lamp");
    }

    fn configure(&self, _: &mut ThreadToken, _: Deadline) -> Result<Vec<Arc<Assignment>>, String> {
        if self.script.call("hardware.configure") {
            return Err(String::from("as it was told"));
        }
        assert!(self.topology.lock().is_empty(), "configured twice");
        let again = self.plugged.fetch_add(1, Ordering::AcqRel) > 0;
        let functions = self.gates.iter().enumerate().map(|(nth, gate)| {
            let _first = again.then(|| gate.renew().expect("it was retired"));
            function(&format!("f{nth}"), gate, &self.script)
        });
        let functions: Vec<_> = functions.collect();
        *self.topology.lock() = functions.clone();
        self.all.lock().extend(functions.iter().map(Arc::downgrade));
        Ok(functions)
    }

    fn unconfigure(
        &self,
        _token: &mut ThreadToken,
        functions: &[Arc<Assignment>],
        removal: Removal,
        _deadline: Deadline,
    ) {
        let open = functions.iter().find(|function| !function.function().handle().is_gone());
        assert!(open.is_none(), "law 8: its gate goes first");
        self.topology.lock().retain(|there| !functions.iter().any(|gone| Arc::ptr_eq(gone, there)));
        self.script.call("hardware.unconfigure");
        self.script.note(format!("unconfigure {removal:?} {}", functions.len()));
    }
}

/// A vfio-user client, as far as a slot goes: it attaches, and has nothing any more when it was revoked.
pub(crate) struct Client {
    name: &'static str,
    script: Arc<Script>,
    pub(crate) holds: AtomicBool,
    pub(crate) lets_go: AtomicBool,
    pub(crate) slot: OnceLock<Weak<Controller>>,
    pub(crate) attached: Mutex<Option<assign::Attached>>,
    pub(crate) orphans: Mutex<Vec<String>>,
    /// Whose gates are to be gone when it is revoked.
    pub(crate) functions: Mutex<Vec<Arc<Assignment>>>,
}

impl Client {
    pub(crate) fn new(world: &World, name: &'static str) -> Arc<Client> {
        let slot = OnceLock::new();
        let _first = slot.set(Arc::downgrade(&world.slot));
        let client = Arc::new(Client {
            name,
            script: Arc::clone(&world.script),
            holds: AtomicBool::new(true),
            lets_go: AtomicBool::new(false),
            slot,
            attached: Mutex::default(),
            orphans: Mutex::default(),
            functions: Mutex::default(),
        });
        world.slot.add_consumer(client.clone());
        client
    }

    fn call(&self, method: &str) -> bool {
        self.script.call(&format!("{}.{method}", self.name))
    }

    pub(crate) fn let_go(&self, token: &mut ThreadToken) {
        let attached = self.attached.lock().take();
        attached.into_iter().for_each(|attached| attached.detach(token));
        self.holds.store(false, Ordering::Release);
        self.slot.get().and_then(Weak::upgrade).unwrap().post(Event::Released);
    }
}

impl Consumer for Client {
    fn describe(&self) -> String {
        self.name.to_owned()
    }

    fn request(&self, token: &mut ThreadToken, nth: u32) {
        self.script.note(format!("{} asked {nth}", self.name));
        self.call("request");
        if self.lets_go.load(Ordering::Acquire) {
            self.let_go(token);
        }
    }

    fn keep(&self, _token: &mut ThreadToken) {
        self.call("keep");
    }

    fn revoke(&self, token: &mut ThreadToken, _deadline: Deadline) -> Vec<String> {
        let functions = self.functions.lock();
        assert!(functions.iter().all(|function| function.function().handle().is_gone()), "law 8");
        drop(functions);
        self.call("revoke");
        let attached = self.attached.lock().take();
        attached.into_iter().for_each(|attached| attached.detach(token));
        self.holds.store(false, Ordering::Release);
        self.orphans.lock().clone()
    }

    fn holds(&self) -> bool {
        self.call("holds");
        self.holds.load(Ordering::Acquire)
    }
}

/// A driver in this process; lets go when asked, if it is told to.
pub(crate) struct Driven {
    pub(crate) name: &'static str,
    pub(crate) script: Arc<Script>,
    pub(crate) lets_go: AtomicBool,
    pub(crate) mine: AtomicBool,
    pub(crate) bound: Arc<AtomicUsize>,
    /// What it says it can be told of when it takes a function.
    pub(crate) handlers: Mutex<Handlers>,
}

struct Instance {
    name: &'static str,
    script: Arc<Script>,
    lets_go: bool,
    function: Arc<Binding>,
    bound: Arc<AtomicUsize>,
    handlers: Handlers,
    ended: bool,
}

impl Driver for Driven {
    fn name(&self) -> &str {
        self.name
    }

    fn matches(&self, _function: &Function) -> bool {
        self.script.call(&format!("{}.matches", self.name));
        self.mine.load(Ordering::Acquire)
    }

    fn probe(&self, token: &mut ThreadToken, function: &Arc<Binding>) -> Result<Box<dyn Bound>, ProbeError> {
        if self.script.call(&format!("{}.probe", self.name)) {
            return Err(ProbeError::Failed(String::from("as it was told")));
        }
        // It sets its device up.
        let command = pci_core::Command::MEMORY_SPACE | pci_core::Command::BUS_MASTER;
        let deadline = Deadline::after(LONG);
        let bytes = command.bits().to_le_bytes();
        let _refused_if_it_was_late =
            function.function().function().write_config(token, pci_spec::config::COMMAND, &bytes, deadline);
        self.bound.fetch_add(1, Ordering::AcqRel);
        Ok(Box::new(Instance {
            name: self.name,
            script: Arc::clone(&self.script),
            lets_go: self.lets_go.load(Ordering::Acquire),
            function: Arc::clone(function),
            bound: Arc::clone(&self.bound),
            handlers: *self.handlers.lock(),
            ended: false,
        }))
    }
}

impl Instance {
    fn called(&self, method: &str) {
        assert!(!self.ended, "called after its end");
        assert!(self.handlers != Handlers::empty(), "called for what it does not handle");
        self.script.call(&format!("{}.{method}", self.name));
    }

    fn end(&mut self) {
        assert!(!std::mem::replace(&mut self.ended, true), "ended twice");
        self.bound.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Bound for Instance {
    fn request(&mut self, token: &mut ThreadToken, nth: u32) {
        assert!(!self.ended);
        self.script.note(format!("{} asked {nth}", self.name));
        self.script.call(&format!("{}.request", self.name));
        if self.lets_go {
            self.function.release(token);
        }
    }

    fn keep(&mut self, _token: &mut ThreadToken) {
        assert!(!self.ended);
        self.script.call(&format!("{}.keep", self.name));
    }

    fn remove(mut self: Box<Self>, _token: &mut ThreadToken, removal: Removal) {
        self.end();
        let function = self.function.function().function().name();
        self.script.note(format!("remove {function} {removal:?}"));
        self.script.call(&format!("{}.remove", self.name));
    }

    fn shutdown(&mut self, token: &mut ThreadToken) {
        self.end();
        let mut data = [0; 1];
        let works = self.function.function().region_read(token, 0, 0, &mut data).is_ok() && data == [0x5a];
        self.script.note(format!("shutdown {}", if works { "works" } else { "is gone" }));
        self.script.call(&format!("{}.shutdown", self.name));
    }

    fn error_handlers(&self) -> Handlers {
        self.script.call(&format!("{}.error_handlers", self.name));
        self.handlers
    }

    fn error_detected(&mut self, _token: &mut ThreadToken, channel: Channel) -> Vote {
        self.script.note(format!("{channel:?}"));
        self.called("error_detected");
        Vote::CanRecover
    }

    fn mmio_enabled(&mut self, _token: &mut ThreadToken) -> Vote {
        self.called("mmio_enabled");
        Vote::NeedReset
    }

    fn slot_reset(&mut self, _token: &mut ThreadToken) -> Vote {
        self.called("slot_reset");
        Vote::Recovered
    }

    fn resume(&mut self, _token: &mut ThreadToken) {
        self.called("resume");
    }

    fn cor_error_detected(&mut self, _token: &mut ThreadToken) {
        self.called("cor_error_detected");
    }

    fn reset_prepare(&mut self, _token: &mut ThreadToken) {
        self.called("reset_prepare");
    }

    fn reset_done(&mut self, _token: &mut ThreadToken) {
        self.called("reset_done");
    }
}

/// What those who watch were told.
pub(crate) struct Recorder {
    script: Arc<Script>,
    pub(crate) all: Mutex<Vec<Told>>,
}

impl Watch for Recorder {
    fn notice(&self, _slot: &str, what: &Told) {
        self.all.lock().push(what.clone());
        self.script.call("watch.notice");
    }
}

pub(crate) struct World {
    pub(crate) slot: Arc<Controller>,
    pub(crate) port: Arc<Port>,
    pub(crate) script: Arc<Script>,
    pub(crate) time: Arc<VirtualTime>,
    pub(crate) told: Arc<Recorder>,
    pub(crate) drivers: Arc<Drivers>,
}

pub(crate) const PLAIN: Features =
    Features { power_controller: false, attention_button: false, latch: false };

impl World {
    pub(crate) fn new(features: Features, functions: usize) -> World {
        World::with(
            features,
            functions,
            Settings::default(),
            Arc::new(ByHand),
            Arc::new(VirtualTime::default()),
        )
    }

    pub(crate) fn with(
        features: Features,
        functions: usize,
        settings: Settings,
        crew: Arc<dyn Crew>,
        time: Arc<VirtualTime>,
    ) -> World {
        World::timed(features, functions, settings, crew, Arc::clone(&time) as _, time)
    }

    pub(crate) fn timed(
        features: Features,
        functions: usize,
        settings: Settings,
        crew: Arc<dyn Crew>,
        clock: Arc<dyn pci_core::Time>,
        time: Arc<VirtualTime>,
    ) -> World {
        let script = Arc::new(Script::default());
        let port = Arc::new(Port {
            script: Arc::clone(&script),
            gates: (0..functions).map(|nth| Gate::new(format!("f{nth}"))).collect(),
            plugged: AtomicUsize::new(0),
            topology: Mutex::default(),
            all: Mutex::default(),
            slot: OnceLock::new(),
            powered: AtomicBool::new(false),
            power_controller: features.power_controller,
        });
        let told = Arc::new(Recorder { script: Arc::clone(&script), all: Mutex::default() });
        let drivers = Drivers::new();
        let parts = Parts {
            hardware: port.clone(),
            drivers: Arc::clone(&drivers),
            time: clock,
            crew,
            watch: told.clone(),
        };
        let slot = Controller::new("s1", features, settings, parts);
        let _first = port.slot.set(Arc::downgrade(&slot));
        World { slot, port, script, time, told, drivers }
    }

    pub(crate) fn driver(&self, name: &'static str, lets_go: bool) -> Arc<Driven> {
        let driven = Arc::new(Driven {
            name,
            script: Arc::clone(&self.script),
            lets_go: AtomicBool::new(lets_go),
            mine: AtomicBool::new(true),
            bound: Arc::default(),
            handlers: Mutex::new(Handlers::empty()),
        });
        self.drivers.add(driven.clone());
        driven
    }

    /// Drives until nothing is due, letting time pass to every timer up to `time` from now.
    pub(crate) fn pass(&self, token: &mut ThreadToken, time: Duration) {
        let end = self.slot.now() + time;
        while let Some(wait) = self.slot.drive(token) {
            if self.slot.now() + wait > end {
                break;
            }
            self.time.advance(wait);
        }
        self.time.advance(end.saturating_sub(self.slot.now()));
        self.slot.drive(token);
    }

    /// Drives what is due now.
    pub(crate) fn drive(&self, token: &mut ThreadToken) {
        self.slot.drive(token);
    }

    /// Puts the card in, and brings the slot on.
    pub(crate) fn plug(&self, token: &mut ThreadToken) {
        self.slot.post(Event::Card(true));
        if !self.slot.report().features.power_controller {
            self.slot.post(Event::Link(true));
        }
        self.drive(token);
        if self.slot.report().state != State::On {
            assert_eq!(self.ask(token, Request::Enable), None);
        }
        self.pass(token, SECOND);
        assert_eq!(self.slot.report().state, State::On, "{:?}", self.notices());
    }

    pub(crate) fn ask(&self, token: &mut ThreadToken, request: Request) -> Option<Finished> {
        let operation = self.slot.ask(request);
        self.drive(token);
        operation.finished()
    }

    pub(crate) fn unplug(&self, seconds: u64) -> Arc<Operation> {
        self.slot.ask(Request::Disable { timeout: Duration::from_secs(seconds) })
    }

    pub(crate) fn state(&self) -> State {
        self.slot.report().state
    }

    pub(crate) fn function(&self, nth: usize) -> Arc<Assignment> {
        Arc::clone(&self.port.topology.lock()[nth])
    }

    pub(crate) fn notices(&self) -> Vec<Notice> {
        let all = self.told.all.lock();
        all.iter()
            .filter_map(|told| if let Told::Notice(notice) = told { Some(*notice) } else { None })
            .collect()
    }

    pub(crate) fn failures(&self) -> Vec<(String, &'static str, Failure)> {
        let failure = |told: &Told| match told {
            Told::Callback { who, call, how } => Some((who.clone(), *call, how.clone())),
            _ => None,
        };
        self.told.all.lock().iter().filter_map(failure).collect()
    }

    /// Nothing of any card is left over.
    pub(crate) fn assert_clean(&self) {
        assert!(self.port.topology.lock().is_empty());
        let left = self.port.all.lock().iter().filter(|function| function.strong_count() > 0).count();
        assert_eq!(left, 0, "functions are left over");
        let report = self.slot.report();
        assert_eq!(
            (report.functions.len(), report.waiting.len(), report.left_behind.len()),
            (0, 0, 0),
            "{report:?}"
        );
    }

    /// Drives on a thread of its own until the call hangs, takes the slot away from it, and drives on here. The thread, for its end.
    pub(crate) fn take_over(&self, token: &mut ThreadToken, call: &str) -> std::thread::JoinHandle<()> {
        let before = self.script.count(call);
        let slot = Arc::clone(&self.slot);
        let hung = std::thread::spawn(move || {
            slot.drive(&mut ThreadToken::at_thread_entry());
        });
        self.script.wait_for_more(call, before);
        // Within its time nothing is taken away.
        let due = self.slot.overdue(self.slot.now()).expect("a call is out");
        assert_eq!(self.slot.drive(token), None, "somebody drives");
        self.time.advance(due - self.slot.now());
        assert_eq!(self.slot.overdue(self.slot.now()), None);
        self.pass(token, Duration::ZERO);
        hung
    }
}
