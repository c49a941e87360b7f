//! Calls of drivers, mixed in any way with what happens to their slot: each is answered exactly once, a driver ends exactly once, and
//! nothing is left over.
#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]

mod called;
mod world;

use called::*;
use gate::ThreadToken;
use pci_core::Function;
use pci_core::recovery::{Channel, Handlers};
use proptest::prelude::*;
use slot::{DriverCall, Event, Request, Settings};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use world::*;

const FUNCTIONS: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    Call(usize, DriverCall),
    /// The callback hangs in the next call of it, if there is one, and the slot is driven beside it.
    Hang(DriverCall),
    /// What hangs returns.
    Return,
    Misbehave(&'static str, Option<Fault>),
    Post(Event),
    Ask(Request),
    Fail(usize),
    /// The other driver wants functions, or does not.
    Mine(bool),
    /// A client attaches to a function and lets go.
    Attach(usize),
    Drive,
    Pass(u64),
}

fn any_call() -> impl Strategy<Value = DriverCall> {
    prop_oneof![
        3 => Just(DriverCall::ErrorDetected(Channel::Frozen)),
        2 => Just(DriverCall::SlotReset),
        1 => Just(DriverCall::Resume),
        3 => Just(DriverCall::Unbind),
        4 => Just(DriverCall::Probe),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let misbehaving = prop_oneof![
        Just("first.error_detected"),
        Just("first.slot_reset"),
        Just("first.remove"),
        Just("first.probe"),
        Just("first.matches"),
        Just("second.probe"),
        Just("sink.detached"),
    ];
    let fault = prop_oneof![
        2 => Just(None),
        1 => Just(Some(Fault::Panic)),
        1 => Just(Some(Fault::Fail)),
    ];
    let post = prop_oneof![
        1 => Just(Event::Card(false)),
        3 => Just(Event::Card(true)),
        1 => Just(Event::Link(false)),
        3 => Just(Event::Link(true)),
        1 => Just(Event::Replaced),
        1 => Just(Event::Released),
    ];
    let ask = prop_oneof![
        3 => Just(Request::Enable),
        1 => Just(Request::Disable { timeout: Duration::ZERO }),
        1 => Just(Request::Disable { timeout: 3 * SECOND }),
        1 => Just(Request::Cancel),
    ];
    prop_oneof![
        8 => (0..FUNCTIONS, any_call()).prop_map(|(nth, call)| Step::Call(nth, call)),
        2 => any_call().prop_map(Step::Hang),
        2 => Just(Step::Return),
        2 => (misbehaving, fault).prop_map(|(call, fault)| Step::Misbehave(call, fault)),
        2 => post.prop_map(Step::Post),
        2 => ask.prop_map(Step::Ask),
        1 => (0..FUNCTIONS).prop_map(Step::Fail),
        1 => any::<bool>().prop_map(Step::Mine),
        1 => (0..FUNCTIONS).prop_map(Step::Attach),
        6 => Just(Step::Drive),
        2 => (1..8_000_u64).prop_map(Step::Pass),
    ]
}

fn method(call: DriverCall) -> &'static str {
    match call {
        DriverCall::ErrorDetected(_) => "error_detected",
        DriverCall::SlotReset => "slot_reset",
        DriverCall::Resume => "resume",
        DriverCall::Unbind => "remove",
        _ => "probe",
    }
}

struct Run {
    world: World,
    first: Arc<Driven>,
    second: Arc<Driven>,
    answers: Vec<Answers>,
    /// The method that hangs, and the thread that is in it.
    hung: Option<(String, JoinHandle<()>)>,
    /// Functions, also of cards that have left.
    functions: Vec<Arc<Function>>,
}

impl Run {
    fn function(&mut self, nth: usize) -> Option<Arc<Function>> {
        let there = self.world.port.topology.lock().get(nth).map(|there| Arc::clone(there.function()));
        self.functions.extend(there.iter().take(usize::from(self.functions.len() < 8)).cloned());
        there.or_else(|| self.functions.get(nth).cloned())
    }

    fn call(&mut self, nth: usize, call: DriverCall) {
        if let Some(function) = self.function(nth) {
            self.answers.push(self.world.call_at(&function, call));
        }
    }

    /// Drives on a thread of its own until the first driver hangs in this call at the first function, or does not come there.
    fn hang(&mut self, token: &mut ThreadToken, call: DriverCall) {
        if self.hung.is_some() {
            return;
        }
        self.world.drive(token);
        let name = format!("first.{}", method(call));
        let before = self.world.script.count(&name);
        self.world.script.set(&name, Fault::HangOnce);
        self.call(0, call);
        let slot = Arc::clone(&self.world.slot);
        let thread = std::thread::spawn(move || {
            slot.drive(&mut ThreadToken::at_thread_entry());
        });
        while self.world.script.count(&name) == before && !thread.is_finished() {
            std::thread::yield_now();
        }
        if thread.is_finished() {
            self.world.script.mend(&name);
            thread.join().unwrap();
        } else {
            self.hung = Some((name, thread));
        }
    }

    fn returns(&mut self) {
        if let Some((name, thread)) = self.hung.take() {
            self.world.script.mend(&name);
            thread.join().unwrap();
        }
    }

    fn take(&mut self, token: &mut ThreadToken, step: Step) {
        let world = &self.world;
        match step {
            Step::Call(nth, call) => self.call(nth, call),
            Step::Hang(call) => self.hang(token, call),
            Step::Return => self.returns(),
            Step::Misbehave(call, Some(fault)) => world.script.set(call, fault),
            // What hangs is mended by its return.
            Step::Misbehave(call, None) => {
                if self.hung.as_ref().is_none_or(|(name, _)| name != call) {
                    world.script.mend(call);
                }
            }
            Step::Post(event) => world.slot.post(event),
            Step::Ask(request) => _ = world.slot.ask(request),
            Step::Fail(nth) => _ = self.function(nth).map(|function| self.world.slot.fail(&function)),
            Step::Mine(mine) => self.second.mine.store(mine, Ordering::Release),
            Step::Attach(nth) => {
                let function = world.port.topology.lock().get(nth).cloned();
                if let Some(Ok(attached)) = function.map(|function| function.attach(token)) {
                    // Who hears of it may panic, as it was told.
                    let _ = catch_unwind(AssertUnwindSafe(|| attached.detach(token)));
                }
            }
            Step::Drive => _ = world.slot.drive(token),
            Step::Pass(ms) => {
                let end = world.slot.now() + Duration::from_millis(ms);
                let _later = world.slot.overdue(end);
                world.pass(token, Duration::from_millis(ms));
            }
        }
    }

    fn end(mut self, token: &mut ThreadToken) {
        // Whatever was left hanging is past its time, whether or not it ever returns.
        self.world.time.advance(60 * SECOND);
        let _none = self.world.slot.overdue(self.world.slot.now());
        self.world.pass(token, 200 * SECOND);
        for answers in &self.answers {
            assert!(answers.one().is_some(), "a call was never answered: {:?}", self.world.slot.report());
        }
        self.returns();
        for call in ["first.remove", "second.remove", "sink.detached"] {
            self.world.script.mend(call);
        }
        self.world.unplug(0);
        self.world.pass(token, 200 * SECOND);
        assert!(self.answers.iter().all(|answers| answers.one().is_some()), "and once it stays");
        assert_eq!(self.first.bound.load(Ordering::Acquire), 0, "{:?}", self.world.script.log());
        assert_eq!(self.second.bound.load(Ordering::Acquire), 0, "{:?}", self.world.script.log());
        self.functions.clear();
        self.world.assert_clean();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_call_is_answered_once_whatever_happens_to_its_slot(
        steps in prop::collection::vec(any_step(), 0..60),
        power_controller in any::<bool>(),
    ) {
        let token = &mut ThreadToken::at_thread_entry();
        let features = slot::Features { power_controller, ..PLAIN };
        let settings = Settings { remind: 2 * SECOND, ..Settings::default() };
        let (crew, time) = (Arc::new(slot::ByHand), Arc::default());
        let world = World::with(features, FUNCTIONS, settings, crew, time);
        let first = world.aware("first", true);
        let second = world.aware("second", false);
        *second.handlers.lock() = Handlers::ERROR_DETECTED;
        world.plug(token);
        let mut run = Run { world, first, second, answers: Vec::new(), hung: None, functions: Vec::new() };
        steps.into_iter().for_each(|step| run.take(token, step));
        run.end(token);
    }
}
