//! A slot with a card of some functions: the real owner of a slot, driven by hand, real functions behind gates, and a unit that does as
//! it is told.
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "test code")]

use assign::{Assignment, Limits, Port};
use gate::{Deadline, Gate, Pass, Quiesced, Reason, ThreadToken};
use parking_lot::{Condvar, Mutex};
use pci_core::{BarIndex, BarKind, ConfigSpace, Device, Function, Identity, ResetKind, VirtualTime};
use slot::{
    ByHand, Controller, Drivers, Features, Finished, Hardware, Lamp, Notice, Operation, Parts, Removal,
    Settings, Told, Watch,
};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use zpci::hotplug::{ErrorReport, HotplugSlot, ReportAction, ReportRefused, ResetFailure, Unit};
use zpci::{
    Configuration, Description, Event, Fid, Handle, Listener, Subscription, Uid, User, View, Work, Zdev, Zpci,
};

/// Longer than any test takes.
pub(crate) const LONG: Duration = Duration::from_secs(30);
pub(crate) const UNPLUG: Duration = Duration::from_secs(60);
const MAX_STORE: u16 = 128;

pub(crate) fn soon() -> Deadline {
    Deadline::after(LONG)
}

/// Waits until it is so.
pub(crate) fn until(it_is_so: impl Fn() -> bool) {
    let deadline = soon();
    while !it_is_so() {
        assert!(deadline.remaining().is_some(), "it never is");
        std::thread::yield_now();
    }
}

/// Answers every byte of its BAR with 0x5a.
struct Plain;

impl Device for Plain {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0x5a);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

pub(crate) fn assignment(name: &str) -> Arc<Assignment> {
    let gate = Gate::new(name);
    let identity = Identity::new(0x1014, 0x04ed, pci_spec::ClassCode::NVME);
    let config = ConfigSpace::builder(identity)
        .bar(BarIndex::new(0).unwrap(), BarKind::Memory32, 0x1000)
        .build()
        .unwrap();
    let config = Arc::new(config);
    let port = Port::new(&gate, Arc::clone(&config), Arc::new(()));
    let function = Arc::new(Function::new(name, gate, config, Arc::new(Plain)));
    Assignment::new(function, port, Limits::default())
}

/// What the unit does when it is to reset something.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Resets {
    #[default]
    Well,
    Badly,
    /// Changes nothing.
    NotAtAll,
    Panics,
    /// Another error comes while it is done.
    WithAFreezeMeanwhile,
    /// Waits with the gate closed, as hardware does that needs time, until it is told to go on, or the function is removed.
    AtTheGate,
    /// Waits for nothing that anybody here could end, until it is told to go on. What a unit must not do.
    Hangs,
}

/// A report as it reached the platform.
pub(crate) type Reported = (Fid, Handle, ReportAction, Vec<u8>);

/// The machine around the slot.
#[derive(Default)]
pub(crate) struct Bench {
    how: Mutex<Resets>,
    changed: Condvar,
    /// Resets that have begun.
    pub(crate) begun: AtomicUsize,
    pub(crate) resets: AtomicUsize,
    pub(crate) no_reset: AtomicBool,
    pub(crate) virtual_functions: AtomicU16,
    pub(crate) reports: Mutex<Vec<Reported>>,
    pub(crate) user: Mutex<Option<User>>,
    /// Happens once, while the unit is asked who uses a function.
    pub(crate) meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    pub(crate) refuses: Mutex<Option<ReportRefused>>,
    pub(crate) panics: AtomicBool,
}

impl Bench {
    pub(crate) fn resets(&self, how: Resets) {
        *self.how.lock() = how;
        self.changed.notify_all();
    }

    /// Waits until that many resets have begun.
    pub(crate) fn wait_for_begun(&self, many: usize) {
        let mut how = self.how.lock();
        while self.begun.load(Ordering::Acquire) < many {
            assert!(!self.changed.wait_for(&mut how, LONG).timed_out(), "no reset has begun");
        }
    }

    fn is(&self, how: Resets) -> bool {
        *self.how.lock() == how
    }

    fn begin(&self) -> Resets {
        let how = self.how.lock();
        self.begun.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_all();
        *how
    }
}

/// Nobody has the gate closed any more, or never had.
fn untouched(error: impl std::fmt::Display) -> ResetFailure {
    ResetFailure::Untouched(error.to_string())
}

impl Unit for Bench {
    fn can_reset(&self, _function: &Function) -> bool {
        !self.no_reset.load(Ordering::Acquire)
    }

    fn reset(
        &self,
        token: &mut ThreadToken,
        function: &Arc<Function>,
        deadline: Deadline,
    ) -> Result<(), ResetFailure> {
        match self.begin() {
            Resets::Well => {}
            Resets::Badly => return Err(ResetFailure::Failed(String::from("as it was told"))),
            Resets::NotAtAll => return Err(untouched("as it was told")),
            Resets::Panics => {
                let _closed = function.gate().close(token, Reason::Reset, deadline);
                panic!("as it was told");
            }
            Resets::WithAFreezeMeanwhile => {
                let closed = function.gate().close(token, Reason::Reset, deadline).map_err(untouched)?;
                function.freeze("another error");
                closed.thaw();
                return Ok(());
            }
            Resets::AtTheGate => {
                let closed = function.gate().close(token, Reason::Reset, deadline).map_err(untouched)?;
                let closed = closed.park();
                while self.is(Resets::AtTheGate) {
                    closed.wait(token, Deadline::after(Duration::from_millis(5))).map_err(untouched)?;
                    assert!(deadline.remaining().is_some(), "nobody ended it");
                }
                let closed = closed.resume(token).map_err(untouched)?;
                function.reset_quiesced(&closed, ResetKind::DeviceReset);
                function.thaw_quiesced(closed);
                self.resets.fetch_add(1, Ordering::AcqRel);
                return Ok(());
            }
            Resets::Hangs => {
                let mut how = self.how.lock();
                while *how == Resets::Hangs {
                    assert!(!self.changed.wait_for(&mut how, LONG).timed_out(), "never told to go on");
                }
            }
        }
        function.reset(token, ResetKind::DeviceReset, deadline).map_err(untouched)?;
        self.resets.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn user(&self, _function: &Function) -> User {
        let meanwhile = self.meanwhile.lock().take();
        meanwhile.into_iter().for_each(|act| act());
        assert!(!self.panics.load(Ordering::Acquire), "as it was told");
        self.user.lock().unwrap_or(User::PassedThrough)
    }

    fn virtual_functions_on(&self, _function: &Function) -> u16 {
        assert!(!self.panics.load(Ordering::Acquire), "as it was told");
        self.virtual_functions.load(Ordering::Acquire)
    }

    fn report(&self, fid: Fid, handle: Handle, report: &ErrorReport<'_>) -> Result<(), ReportRefused> {
        assert!(!self.panics.load(Ordering::Acquire), "as it was told");
        if let Some(refused) = &*self.refuses.lock() {
            return Err(refused.clone());
        }
        self.reports.lock().push((fid, handle, report.action, report.data.to_vec()));
        Ok(())
    }
}

/// The port of the slot and the place of its functions.
struct Bay {
    zdevs: Vec<Arc<Zdev>>,
    card: Mutex<Vec<Arc<Assignment>>>,
    power_controller: bool,
    no_link: AtomicBool,
    slot: OnceLock<Weak<Controller>>,
}

impl Hardware for Bay {
    fn apply_power(&self, _token: &mut ThreadToken, _deadline: Deadline) -> bool {
        // The link comes with the power, if that is switched.
        if self.power_controller
            && !self.no_link.load(Ordering::Acquire)
            && let Some(slot) = self.slot.get().and_then(Weak::upgrade)
        {
            slot.post(slot::Event::Link(true));
        }
        true
    }

    fn cut_power(&self, _token: &mut ThreadToken, _deadline: Deadline) {}

    fn power_lamp(&self, _lamp: Lamp) {}

    fn attention_lamp(&self, _lamp: Lamp) {}

    fn configure(&self, token: &mut ThreadToken, _: Deadline) -> Result<Vec<Arc<Assignment>>, String> {
        let functions: Vec<_> =
            self.zdevs.iter().map(|zdev| assignment(&format!("f{}", zdev.fid()))).collect();
        *self.card.lock() = functions.clone();
        for (zdev, function) in self.zdevs.iter().zip(&functions) {
            zdev.bring_in(token, View::new(zdev, function, MAX_STORE));
        }
        Ok(functions)
    }

    fn unconfigure(&self, token: &mut ThreadToken, gone: &[Arc<Assignment>], _: Removal, _: Deadline) {
        assert!(
            gone.iter().all(|function| function.function().handle().is_gone()),
            "law 8: its gate goes first"
        );
        self.zdevs.iter().for_each(|zdev| zdev.take_out(token));
        self.card.lock().clear();
    }
}

/// Tells the functions of their card.
struct Watcher(Vec<Arc<Zdev>>, Mutex<Vec<Told>>);

impl Watch for Watcher {
    fn notice(&self, _slot: &str, what: &Told) {
        self.1.lock().push(what.clone());
        if let Told::Notice(Notice::Card(present)) = what {
            self.0.iter().for_each(|zdev| zdev.card(*present));
        }
    }
}

/// Hears everything that the machine tells, and looks at what is being done to the function then.
#[derive(Default)]
pub(crate) struct Ear(Mutex<Vec<(Event, Option<Work>)>>, OnceLock<Weak<Zdev>>);

impl Listener for Ear {
    fn event(&self, event: &Event) {
        let work = self.1.get().and_then(Weak::upgrade).and_then(|zdev| zdev.work());
        self.0.lock().push((*event, work));
    }
}

impl Ear {
    /// What came since this was asked last.
    pub(crate) fn heard(&self) -> Vec<Event> {
        self.heard_during().into_iter().map(|(event, _)| event).collect()
    }

    /// The same, with what was being done to the first function.
    pub(crate) fn heard_during(&self) -> Vec<(Event, Option<Work>)> {
        std::mem::take(&mut *self.0.lock())
    }
}

pub(crate) struct World {
    pub(crate) zpci: Arc<Zpci>,
    pub(crate) slot: Arc<Controller>,
    pub(crate) slots: Vec<HotplugSlot>,
    pub(crate) bench: Arc<Bench>,
    pub(crate) time: Arc<VirtualTime>,
    pub(crate) ear: Arc<Ear>,
    bay: Arc<Bay>,
    watcher: Arc<Watcher>,
    _listening: Subscription,
}

pub(crate) const PLAIN: Features =
    Features { power_controller: false, attention_button: false, latch: false };
/// A card that is put in waits.
pub(crate) const BUTTON: Features = Features { attention_button: true, ..PLAIN };

/// Function identifiers count from here.
pub(crate) const FIRST: u32 = 0x10;

impl World {
    /// An empty slot, for a card of so many functions.
    pub(crate) fn empty(features: Features, functions: u32) -> World {
        let zpci = Zpci::new(zpci::Settings::default());
        let ear = Arc::new(Ear::default());
        let listening = zpci.listen(ear.clone());
        let add = |nth| zpci.add(Fid(FIRST + nth), Uid::NONE, Description::default()).unwrap();
        let zdevs: Vec<_> = (0..functions).map(add).collect();
        let _first = ear.1.set(Arc::downgrade(&zdevs[0]));
        let bay = Arc::new(Bay {
            zdevs: zdevs.clone(),
            card: Mutex::default(),
            power_controller: features.power_controller,
            no_link: AtomicBool::new(false),
            slot: OnceLock::new(),
        });
        let time = Arc::new(VirtualTime::default());
        let watcher = Arc::new(Watcher(zdevs.clone(), Mutex::default()));
        let parts = Parts {
            hardware: bay.clone(),
            drivers: Drivers::new(),
            time: time.clone(),
            crew: Arc::new(ByHand),
            watch: watcher.clone(),
        };
        let slot = Controller::new("s1", features, Settings::default(), parts);
        let _first = bay.slot.set(Arc::downgrade(&slot));
        let bench = Arc::new(Bench::default());
        let slots = HotplugSlot::of_card(&zdevs, Arc::clone(&slot), bench.clone(), UNPLUG).unwrap();
        World { zpci, slot, slots, bench, time, ear, bay, watcher, _listening: listening }
    }

    /// With a card, which is configured.
    pub(crate) fn configured(functions: u32, token: &mut ThreadToken) -> World {
        let world = World::empty(PLAIN, functions);
        world.put_in(token);
        assert_eq!(world.configuration(), Configuration::Configured);
        world.ear.heard();
        world
    }

    pub(crate) fn put_in(&self, token: &mut ThreadToken) {
        self.slot.post(slot::Event::Card(true));
        if !self.slot.report().features.power_controller {
            self.slot.post(slot::Event::Link(true));
        }
        self.slot.drive(token);
    }

    pub(crate) fn tear_out(&self, token: &mut ThreadToken) {
        self.slot.post(slot::Event::Card(false));
        self.slot.drive(token);
    }

    /// Switched off, with its card in it.
    pub(crate) fn in_standby(features: Features, token: &mut ThreadToken) -> World {
        let world = World::empty(features, 1);
        world.put_in(token);
        if world.configuration() != Configuration::Standby {
            world.power(token, false);
        }
        // A slot whose power can be switched rests a second.
        world.pass(token, Duration::from_secs(2));
        assert_eq!(world.configuration(), Configuration::Standby);
        world.ear.heard();
        world
    }

    /// The link stays down when the slot gets power.
    pub(crate) fn break_link(&self) {
        self.bay.no_link.store(true, Ordering::Release);
    }

    /// Its only function, or the first of several.
    pub(crate) fn first(&self) -> &HotplugSlot {
        &self.slots[0]
    }

    pub(crate) fn zdev(&self) -> &Arc<Zdev> {
        self.first().zdev()
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.zdev().view().unwrap()
    }

    pub(crate) fn configuration(&self) -> Configuration {
        self.zdev().configuration()
    }

    pub(crate) fn assignment(&self, nth: usize) -> Arc<Assignment> {
        Arc::clone(&self.bay.card.lock()[nth])
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

    /// Switches the slot, and drives what is due then.
    pub(crate) fn power(&self, token: &mut ThreadToken, on: bool) -> Option<Finished> {
        let operation = self.first().power(on, Duration::ZERO).unwrap();
        self.slot.drive(token);
        operation.finished()
    }

    pub(crate) fn drive(&self, token: &mut ThreadToken, operation: &Operation) -> Option<Finished> {
        self.slot.drive(token);
        operation.finished()
    }

    /// How often the card's owner asked its consumers.
    pub(crate) fn asked(&self) -> usize {
        let asked = |told: &&Told| matches!(told, Told::Notice(Notice::Asked(_)));
        self.watcher.1.lock().iter().filter(asked).count()
    }

    /// The claim is back, and the function works under its handle.
    pub(crate) fn assert_works(&self, token: &mut ThreadToken) {
        assert_eq!(self.zdev().work(), None, "law 9");
        let view = self.view();
        assert!(view.is_enabled() && !view.has_failed());
        assert!(view.is_named(self.zdev().handle()));
        let mut data = [0; 4];
        let bar = BarIndex::new(0).unwrap();
        let command = pci_core::Command::MEMORY_SPACE.bits().to_le_bytes();
        view.function().write_config(token, pci_spec::config::COMMAND, &command, soon()).unwrap();
        view.function().read_bar(token, bar, 0, &mut data, soon()).unwrap();
        assert_eq!(data, [0x5a; 4]);
    }
}
