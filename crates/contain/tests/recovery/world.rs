//! A PE with functions on a virtual clock: parties, models and a platform that do as they are told.

use crate::script::{Act, Script};
use contain::containment::{End, Frozen, News, OnEnd, Parts, RecoveryId, Running, Start};
use contain::merge::Vote;
use contain::party::{Parties, Party, Reply};
use contain::pe::{Held, Holder, Pe, PeAddress, PeKind, PeState};
use contain::plan::{
    Answer, Call, Channel, Flavour, FunctionId, Handlers, PlatformState, Policy, Queried, Role, Thaw, Traffic,
};
use contain::platform::{ClosedFunctions, Platform, ResetRequest};
use contain::recovery::Recovery;
use contain::report::{Doom, Log, Outcome};
use contain::settings::Settings;
use contain::tree::{NewPe, PeFunction, PeTree, TryClaimed};
use contain::watch::{Told, Watch};
use gate::{AccessKind, Deadline, Gate, Pass, Quiesced, ThreadToken};
use parking_lot::Mutex;
use pci_core::{
    BarIndex, Command, ConfigSpace, Device, Function, Identity, Preserve, PreserveError, ResetKind, Time,
    VirtualTime,
};
use pci_spec::{Bdf, ClassCode};
use slot::{ByHand, Driven};
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(crate) const AWARE: Role = Role::Aware(Handlers::all());
pub(crate) const MODEL: Role = Role::Consumer(Policy::SaveAndRestore);
pub(crate) const MMIO_AND_DMA: Queried =
    Queried::Is(PlatformState::MMIO_ACTIVE.union(PlatformState::DMA_ACTIVE));

pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// A device whose whole state is a number.
pub(crate) struct Model {
    name: String,
    script: Arc<Script>,
    pub(crate) number: AtomicU64,
    has_state: bool,
}

impl Device for Model {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {
        self.number.store(0, Ordering::Release);
        self.script.call(&format!("reset of {}", self.name));
    }

    fn command_changed(&self, _pass: &Pass<'_>, _old: Command, _new: Command) {
        self.script.note(&format!("{} has the bus", self.name));
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn preserve(&self) -> Option<&dyn Preserve> {
        self.has_state.then_some(self)
    }
}

impl Preserve for Model {
    fn save(&self, _quiesced: &Quiesced<'_>) -> Result<Vec<u8>, PreserveError> {
        if !self.script.call(&format!("{}.save", self.name)) {
            return Err(PreserveError::NotNow("as it was told"));
        }
        Ok(self.number.load(Ordering::Acquire).to_le_bytes().to_vec())
    }

    fn restore(&self, _quiesced: &Quiesced<'_>, state: &[u8]) -> Result<(), PreserveError> {
        if !self.script.call(&format!("{}.restore", self.name)) {
            return Err(PreserveError::Malformed("as it was told"));
        }
        let number = state.try_into().map_err(|_| PreserveError::Malformed("not a number"))?;
        self.number.store(u64::from_le_bytes(number), Ordering::Release);
        Ok(())
    }
}

/// A function of the world.
pub(crate) struct Card {
    pub(crate) name: String,
    pub(crate) there: Arc<PeFunction>,
    pub(crate) model: Arc<Model>,
    pub(crate) role: Mutex<Role>,
    pub(crate) interrupts_held: Mutex<bool>,
}

impl Card {
    pub(crate) fn enters(&self, token: &ThreadToken) -> bool {
        self.there.function.handle().try_enter(token, AccessKind::Bar).is_ok()
    }

    pub(crate) fn id(&self) -> FunctionId {
        self.there.id
    }
}

/// Done on a thread of its own, which is waited for.
pub(crate) type Meanwhile = Box<dyn FnOnce(&mut ThreadToken) + Send>;

/// What everybody in the world sees.
pub(crate) struct Scene {
    pub(crate) script: Arc<Script>,
    pub(crate) cards: Mutex<Vec<Arc<Card>>>,
    pub(crate) replies: Mutex<HashMap<String, VecDeque<Reply>>>,
    pub(crate) states: Mutex<VecDeque<Queried>>,
    pub(crate) thaws: Mutex<HashMap<Traffic2, Thaw>>,
    pub(crate) tree: Arc<PeTree>,
    pub(crate) told: Mutex<Vec<Told>>,
    pub(crate) ends: Mutex<Vec<End>>,
    /// Called in the middle of a call of this name.
    pub(crate) meanwhile: Mutex<HashMap<String, Meanwhile>>,
    /// Each reset takes this time of the clock, as its hold and settle times say.
    pub(crate) reset_took: Mutex<Vec<Duration>>,
    /// Who found something that must not be so as he was called. His panic alone would be taken for one of his own.
    pub(crate) wrong: Mutex<Vec<String>>,
}

/// [`Traffic`] as a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Traffic2 {
    Mmio,
    Dma,
}

impl Scene {
    pub(crate) fn card(&self, name: &str) -> Arc<Card> {
        self.cards.lock().iter().find(|card| card.name == name).cloned().unwrap()
    }

    fn of(&self, function: &PeFunction) -> Arc<Card> {
        self.cards.lock().iter().find(|card| card.there.id == function.id).cloned().unwrap()
    }

    fn happens(&self, call: &str) {
        let act = self.meanwhile.lock().remove(call);
        if let Some(act) = act {
            std::thread::spawn(move || act(&mut ThreadToken::at_thread_entry())).join().unwrap();
        }
    }

    /// Asserts in the middle of a call, so that the test fails and not only the call.
    fn asserted(&self, call: &str, asserts: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(asserts)) {
            self.wrong.lock().push(call.to_owned());
            resume_unwind(panic);
        }
    }

    /// EEH-I4: whoever calls foreign code holds nothing, and no gate of a function that is no model is closed.
    fn assert_free(&self, token: &mut ThreadToken, call: &str) {
        self.asserted(call, || {
            token.assert_holds_nothing();
            for card in self.cards.lock().iter() {
                let closed = card.there.function.gate().status().owner.is_some();
                let model = *card.role.lock() == MODEL;
                assert!(model || !closed, "{call} while the gate of {} is closed", card.name);
            }
        });
    }

    /// Nothing was found in any call that must not be so.
    pub(crate) fn assert_nothing_wrong(&self) {
        assert_eq!(*self.wrong.lock(), Vec::<String>::new(), "an assertion failed in these calls");
    }
}

struct Hand {
    scene: Arc<Scene>,
    card: Arc<Card>,
}

pub(crate) fn call_name(call: Call) -> &'static str {
    match call {
        Call::ErrorDetected(Channel::PermFailure) => "perm_failure",
        Call::ErrorDetected(_) => "error_detected",
        Call::MmioEnabled => "mmio_enabled",
        Call::SlotReset => "slot_reset",
        Call::Resume => "resume",
        Call::CorErrorDetected => "cor_error_detected",
        Call::Unbind => "unbind",
        Call::Probe => "probe",
        Call::Quiesce => "quiesce",
        Call::Save => "save",
        Call::Restore => "restore",
    }
}

pub(crate) fn good_answer(call: Call) -> Answer {
    match call {
        Call::ErrorDetected(Channel::PermFailure) => Answer::Vote(Vote::Disconnect),
        Call::ErrorDetected(_) => Answer::Vote(Vote::CanRecover),
        Call::MmioEnabled | Call::SlotReset => Answer::Vote(Vote::Recovered),
        _ => Answer::Done,
    }
}

impl Party for Hand {
    fn name(&self) -> String {
        self.card.name.clone()
    }

    fn role(&self) -> Role {
        *self.card.role.lock()
    }

    fn call(&self, token: &mut ThreadToken, call: Call, reply: Reply) {
        let script = &self.scene.script;
        let name = format!("{}.{}", self.card.name, call_name(call));
        script.note(&name);
        self.scene.assert_free(token, &name);
        self.scene.happens(&name);
        match script.act(&name) {
            None => reply.answer(good_answer(call)),
            Some(Act::Say(answer)) => reply.answer(answer),
            Some(Act::Later) => self.scene.replies.lock().entry(name).or_default().push_back(reply),
            Some(Act::Drop) => drop(reply),
            Some(Act::Panic) => panic!("{name} panics, as it was told"),
            Some(Act::Hang) => {
                script.hang(&name);
                reply.answer(good_answer(call));
            }
            Some(Act::SayAndHang(answer)) => {
                reply.answer(answer);
                script.hang(&name);
            }
        }
    }

    fn notify(&self, _: &mut ThreadToken, channel: Channel) {
        self.scene.script.call(&format!("{}.notify {channel:?}", self.card.name));
    }

    fn drained(&self, token: &mut ThreadToken, _: Deadline) -> bool {
        token.assert_holds_nothing();
        self.scene.script.call(&format!("{}.drained", self.card.name))
    }

    fn hold_interrupts(&self, _: &mut ThreadToken, held: bool, _: Deadline) {
        *self.card.interrupts_held.lock() = held;
        if !held && self.card.there.function.gate().status().owner.is_none() {
            self.scene.script.note(&format!("{} is open and interrupts", self.card.name));
        }
        let name = format!("{}.interrupts", self.card.name);
        self.scene.happens(&name);
        self.scene.script.call(&name);
    }
}

struct Everybody(Arc<Scene>);

impl Parties for Everybody {
    fn of(&self, token: &mut ThreadToken, function: &Arc<PeFunction>) -> Arc<dyn Party> {
        token.assert_holds_nothing();
        let card = self.0.of(function);
        let name = format!("{}.of", card.name);
        self.0.happens(&name);
        self.0.script.call(&name);
        Arc::new(Hand { scene: Arc::clone(&self.0), card })
    }
}

impl Platform for Everybody {
    fn is_present(&self, token: &mut ThreadToken, _: &[Arc<PeFunction>]) -> bool {
        self.hardware(token, "is_present")
    }

    fn state(&self, token: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>]) -> Queried {
        self.hardware(token, "state");
        self.0.states.lock().pop_front().unwrap_or(MMIO_AND_DMA)
    }

    fn thaw(&self, token: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>], traffic: Traffic) -> Thaw {
        self.hardware(token, &format!("thaw {traffic:?}"));
        let key = if traffic == Traffic::Mmio { Traffic2::Mmio } else { Traffic2::Dma };
        self.0.thaws.lock().get(&key).copied().unwrap_or(Thaw::Done)
    }

    fn reset(
        &self,
        token: &mut ThreadToken,
        request: &ResetRequest<'_>,
        closed: &mut ClosedFunctions,
        _: Deadline,
    ) -> bool {
        self.0.asserted("platform.reset", || {
            token.assert_holds_nothing();
            for function in request.functions {
                let gone = function.function.handle().is_gone();
                assert!(
                    gone || closed.is_closed(function.id),
                    "{} is reset while it is open",
                    function.address
                );
            }
            assert!(request.pe.state().contains(PeState::RESET | PeState::CFG_BLOCKED));
        });
        if let contain::plan::Reset::Hot { hold, settle } = request.how {
            self.0.reset_took.lock().push(hold + settle);
        }
        self.0.happens("platform.reset");
        let done = self.0.script.call("platform.reset");
        for function in request.functions {
            let kind = ResetKind::FunctionLevel;
            let _reset = closed.with(token, function.id, |it, quiesced| it.reset_quiesced(quiesced, kind));
        }
        done
    }

    fn restore_config(
        &self,
        token: &mut ThreadToken,
        _: &Pe,
        functions: &[Arc<PeFunction>],
        closed: &mut ClosedFunctions,
        _: Deadline,
    ) -> bool {
        self.0.asserted("platform.restore_config", || {
            for function in functions {
                let came_since = !self.0.script.has("platform.reset");
                let gone = function.function.handle().is_gone();
                assert!(gone || came_since || closed.is_closed(function.id) || self.0.script.has("added"));
            }
        });
        self.hardware(token, "restore_config")
    }

    fn unfreeze(&self, token: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>]) -> bool {
        self.hardware(token, "unfreeze")
    }

    fn clear_error_status(&self, token: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>]) {
        self.hardware(token, "clear_error_status");
    }

    fn remove(&self, token: &mut ThreadToken, function: &Arc<PeFunction>) {
        self.hardware(token, "remove");
        let card = self.0.of(function);
        self.0.script.note(&format!("{} is removed", card.name));
        let _retired = function.function.disconnect(token, Deadline::after(Duration::ZERO));
    }

    fn log(&self, token: &mut ThreadToken, _: &Pe, _: &[Arc<PeFunction>], log: Log) -> String {
        self.hardware(token, "log");
        format!("{log:?}")
    }
}

impl Everybody {
    fn hardware(&self, token: &mut ThreadToken, what: &str) -> bool {
        let name = format!("platform.{what}");
        self.0.asserted(&name, || token.assert_holds_nothing());
        self.0.happens(&name);
        self.0.script.call(&name)
    }
}

impl Watch for Everybody {
    fn tell(&self, told: &Told) {
        self.0.told.lock().push(told.clone());
        self.0.script.call("watch.tell");
    }
}

impl OnEnd for Everybody {
    fn ended(&self, _id: RecoveryId, end: End) {
        self.0.ends.lock().push(end);
        self.0.script.note("ended");
        let scene = Arc::clone(&self.0);
        self.0.asserted("ended", || std::thread::spawn(move || scene.assert_given_back()).join().unwrap());
    }
}

impl Scene {
    /// EEH-I5, EEH-I7: so it is when the end is told.
    fn assert_given_back(&self) {
        let token = ThreadToken::at_thread_entry();
        for card in self.cards.lock().iter() {
            assert!(card.there.function.gate().status().owner.is_none(), "{} is left closed", card.name);
            assert!(!card.there.function.config().is_dma_held(), "{}", card.name);
        }
        for address in [PeAddress::new(0, 0x100), PeAddress::new(0, 0x200)] {
            if let Some(pe) = self.tree.find(&token, address, Holder::Operator) {
                let left = PeState::RECOVERING | PeState::KEEP | PeState::RESET | PeState::CFG_BLOCKED;
                assert!(!pe.state().intersects(left), "{address}: {:?}", pe.state());
                let claimed = self.tree.try_claim(&token, address);
                assert!(matches!(claimed, Ok(TryClaimed::Mine(_))), "{claimed:?}");
            }
        }
    }
}

/// See the module's head.
pub(crate) struct World {
    pub(crate) scene: Arc<Scene>,
    pub(crate) script: Arc<Script>,
    pub(crate) tree: Arc<PeTree>,
    pub(crate) time: Arc<VirtualTime>,
    pub(crate) token: ThreadToken,
    pub(crate) settings: Settings,
    pub(crate) flavour: Flavour,
    pub(crate) within_budget: bool,
    pub(crate) doom: Option<Doom>,
    pub(crate) frozen: Option<Arc<Frozen>>,
    pub(crate) recovery: Option<Arc<Recovery>>,
    root: PeAddress,
}

pub(crate) const TOP: PeAddress = PeAddress::new(0, 0x100);
pub(crate) const BELOW: PeAddress = PeAddress::new(0, 0x200);

impl World {
    /// A bus PE with functions of these roles, named f0, f1 and so on.
    pub(crate) fn new(roles: &[Role]) -> World {
        let time = Arc::new(VirtualTime::default());
        let tree = Arc::new(PeTree::new(time.clone()));
        let mut token = ThreadToken::at_thread_entry();
        let new = |address, parent| NewPe { address, kind: PeKind::Bus, parent: Some(parent) };
        let phb = PeAddress::phb(0);
        let pes = [NewPe { address: phb, kind: PeKind::Phb, parent: None }, new(TOP, phb), new(BELOW, TOP)];
        tree.insert(&mut token, pes, soon()).unwrap();
        let script = Arc::new(Script::default());
        let scene = Arc::new(Scene {
            script: script.clone(),
            cards: Mutex::default(),
            replies: Mutex::default(),
            states: Mutex::default(),
            thaws: Mutex::default(),
            tree: tree.clone(),
            told: Mutex::default(),
            ends: Mutex::default(),
            meanwhile: Mutex::default(),
            reset_took: Mutex::default(),
            wrong: Mutex::default(),
        });
        let mut world = World {
            scene,
            script,
            tree,
            time,
            token,
            settings: Settings::default(),
            flavour: Flavour::Eeh,
            within_budget: true,
            doom: None,
            frozen: None,
            recovery: None,
            root: TOP,
        };
        for role in roles {
            world.plug(TOP, *role);
        }
        world
    }

    /// Recovers everything below the host bridge.
    pub(crate) fn of_host_bridge(mut self) -> World {
        self.root = PeAddress::phb(0);
        self
    }

    /// Adds a function to a PE.
    pub(crate) fn plug(&mut self, pe: PeAddress, role: Role) -> Arc<Card> {
        let nth = self.scene.cards.lock().len();
        let name = format!("f{nth}");
        let model = Arc::new(Model {
            name: name.clone(),
            script: self.script.clone(),
            number: AtomicU64::new(0),
            has_state: true,
        });
        let config = ConfigSpace::builder(Identity::new(0x1b36, 0x0010, ClassCode::NVME)).build().unwrap();
        let at = Bdf::from_routing_id(0, pe.number().unwrap() + u16::try_from(nth).unwrap());
        let device: Arc<dyn Device> = model.clone();
        let function = Function::new(name.clone(), Gate::new(name.clone()), Arc::new(config), device);
        let id = FunctionId(u64::try_from(nth).unwrap() + 1);
        let function = PeFunction { id, address: at, function: Arc::new(function), bars: Vec::new() };
        self.tree.add_function(&mut self.token, pe, function, soon()).unwrap();
        let (_, there) = self.tree.of_function(&self.token, at, Holder::Lookup).unwrap();
        let card =
            Arc::new(Card { name, there, model, role: Mutex::new(role), interrupts_held: Mutex::new(false) });
        self.scene.cards.lock().push(card.clone());
        card
    }

    pub(crate) fn pe(&self) -> Held {
        self.tree.find(&self.token, self.root, Holder::Operator).unwrap()
    }

    pub(crate) fn card(&self, name: &str) -> Arc<Card> {
        self.scene.card(name)
    }

    /// Freezes the PE and begins its recovery, which nobody drives yet.
    pub(crate) fn begin(&mut self) -> Arc<Recovery> {
        let pe = self.pe();
        let snapshot = self.tree.snapshot(&self.token);
        let frozen = self.flavour.is_frozen().then(|| {
            pe.isolate();
            let frozen = Frozen::new(pe.hold_as(Holder::Event));
            frozen.freeze(&snapshot);
            frozen
        });
        self.frozen.clone_from(&frozen);
        let TryClaimed::Mine(claim) = self.tree.try_claim(&self.token, self.root).unwrap() else {
            panic!("somebody else has it");
        };
        let everybody = || Arc::new(Everybody(self.scene.clone()));
        let recovery = Recovery::begin(
            &mut self.token,
            Start {
                id: RecoveryId(1),
                tree: self.tree.clone(),
                snapshot,
                claim,
                frozen,
                flavour: self.flavour,
                within_budget: self.within_budget,
                doom: self.doom,
                parts: Parts {
                    time: self.time.clone(),
                    platform: everybody(),
                    parties: everybody(),
                    crew: Arc::new(ByHand),
                    alarm: Arc::new(()),
                    watch: everybody(),
                    settings: self.settings,
                },
                ended: everybody(),
            },
        );
        self.recovery = Some(recovery.clone());
        recovery
    }

    /// Drives, and jumps to the next timer, until nothing is due any more.
    pub(crate) fn drive(&mut self) -> Option<Outcome> {
        let recovery = self.recovery.clone().unwrap();
        for _ in 0..10_000 {
            match recovery.drive(&mut self.token) {
                Some(pause) => self.time.advance(pause),
                None => return self.outcome(),
            }
        }
        panic!("it goes on for ever: {}", recovery.report());
    }

    /// From the beginning to the end.
    pub(crate) fn recover(&mut self) -> Outcome {
        self.begin();
        let outcome = self.drive();
        outcome.unwrap_or_else(|| panic!("it stands still: {}", self.recovery.as_ref().unwrap().report()))
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.scene.ends.lock().first().map(|end| end.outcome)
    }

    pub(crate) fn end(&self) -> End {
        self.scene.ends.lock()[0]
    }

    /// As hot-plug does: the gate first, then the topology.
    pub(crate) fn unplug(&mut self, name: &str) {
        let card = self.card(name);
        remove_from(&self.tree, &card, &mut self.token);
    }

    /// There is another error, as the front tells it.
    pub(crate) fn freeze_again(&mut self) {
        let snapshot = self.tree.snapshot(&self.token);
        if self.pe().isolate() {
            self.frozen.as_ref().unwrap().again(&snapshot);
            self.recovery.as_ref().unwrap().post(News::FrozenAgain);
        }
    }

    /// Everything is given back: gates, marks, claims, references. The functions that are open are said.
    pub(crate) fn assert_clean(&mut self, open: bool) {
        assert_eq!(self.scene.ends.lock().len(), 1, "it ends once");
        self.scene.assert_nothing_wrong();
        let cards = self.scene.cards.lock().clone();
        for card in cards.iter().filter(|card| !card.there.function.handle().is_gone()) {
            let status = card.there.function.gate().status();
            assert!(status.owner.is_none(), "{status:?}");
            assert!(!card.there.function.config().is_dma_held());
            let kept = *card.role.lock() == Role::Consumer(Policy::ContainUntilTold);
            assert_eq!(card.enters(&self.token), open && !kept, "{}: {status:?}", card.name);
            assert_eq!(*card.interrupts_held.lock(), !(open || kept), "{}: interrupts", card.name);
        }
        let recovery = self.recovery.take().unwrap();
        assert_eq!(Arc::strong_count(&recovery), 1, "somebody holds the recovery");
        drop(recovery);
        self.frozen = None;
        for address in [TOP, BELOW] {
            let Some(pe) = self.tree.find(&self.token, address, Holder::Operator) else { continue };
            assert_eq!(pe.holders(), [(Holder::Operator, 1)], "{address}");
            let left = PeState::RECOVERING | PeState::KEEP | PeState::RESET | PeState::CFG_BLOCKED;
            assert!(!pe.state().intersects(left), "EEH-I5: {:?}", pe.state());
            let isolated = address == self.root && !open && self.flavour.is_frozen();
            assert_eq!(pe.state().contains(PeState::ISOLATED), isolated, "{address}");
        }
        assert!(self.tree.orphans(Duration::ZERO).is_empty(), "{:?}", self.tree.orphans(Duration::ZERO));
    }

    pub(crate) fn notices(&self) -> Vec<contain::report::Notice> {
        let told = self.scene.told.lock();
        let notice = |told: &Told| if let Told::Notice { notice, .. } = told { Some(*notice) } else { None };
        told.iter().filter_map(notice).collect()
    }

    /// On another thread, until it has nothing more to do or is left behind.
    pub(crate) fn drive_elsewhere(&self) -> std::thread::JoinHandle<Option<Duration>> {
        let recovery = self.recovery.clone().unwrap();
        std::thread::spawn(move || recovery.drive(&mut ThreadToken::at_thread_entry()))
    }

    /// A thread hangs in `call`; its time passes, and this one drives on.
    pub(crate) fn leave_behind(&mut self, call: &str) -> std::thread::JoinHandle<Option<Duration>> {
        let thread = self.drive_elsewhere();
        self.script.wait_for(&format!("{call} hangs"));
        let recovery = self.recovery.clone().unwrap();
        assert_eq!(recovery.drive(&mut self.token), None, "one at a time");
        let until = recovery.overdue(self.time.now()).expect("a call is out");
        self.time.advance(until - self.time.now());
        assert_eq!(recovery.overdue(self.time.now()), None, "it is taken away");
        thread
    }
}

pub(crate) fn remove_from(tree: &PeTree, card: &Card, token: &mut ThreadToken) {
    let _orphans = card.there.function.disconnect(token, Deadline::after(Duration::ZERO));
    tree.remove_function(token, card.there.address, soon()).unwrap();
}
