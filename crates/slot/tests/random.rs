//! Any sequence of events, any speed of the owner: every operation ends once, in bounded time, and in the right order.

use proptest::prelude::*;
use slot::{Effect, Event, Features, Finished, OperationId, Removal, Request, Settings, Slot, State};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The longest an operation may take: the longest time-out below, and what the owner and the hardware take.
const BOUND: Duration = Duration::from_secs(30 + 60 + 20);
/// The longest that the owner takes for an effect.
const SLOW: u64 = 2_000;

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(Request),
    Port(Event),
    /// The consumer lets go, if it is asked.
    LetGo,
    /// Milliseconds pass.
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let seconds = prop_oneof![Just(0), 1..30_u64];
    let disable = seconds.prop_map(|s| Request::Disable { timeout: Duration::from_secs(s) });
    let request = prop_oneof![Just(Request::Enable), disable, Just(Request::Cancel)];
    let port = prop_oneof![
        Just(Event::Button),
        any::<bool>().prop_map(Event::Card),
        any::<bool>().prop_map(Event::Link),
        any::<bool>().prop_map(Event::Latch),
        Just(Event::PowerFault),
        Just(Event::Replaced),
    ];
    let step = prop_oneof![
        3 => request.prop_map(Step::Ask),
        3 => port.prop_map(Step::Port),
        1 => Just(Step::LetGo),
        4 => (1..8_000_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..60)
}

/// The owner of a slot in virtual time: carries effects out after a while, and checks their order.
struct Owner {
    slot: Slot,
    now: Duration,
    timer: Option<Duration>,
    /// What is being carried out, and when it is done. One after the other, as an owner does.
    work: VecDeque<(Duration, Event)>,
    delays: VecDeque<u64>,
    fails: bool,
    asked: BTreeMap<OperationId, Duration>,
    next: u64,
    powered: bool,
    configured: bool,
    revoked: bool,
    disconnected: bool,
    is_asked: bool,
}

impl Owner {
    fn send(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.slot.step(self.now, event, &mut effects);
        let surprise = effects.iter().position(|effect| *effect == Effect::Disconnect);
        let acts = effects.iter().position(|effect| !matches!(effect, Effect::Tell(_)));
        assert!(surprise.is_none() || surprise == acts, "HP-12: {effects:?}");
        effects.into_iter().for_each(|effect| self.carry_out(effect));
    }

    fn later(&mut self, event: Event) {
        let delay = self.delays.pop_front().unwrap_or(0);
        self.delays.push_back(delay);
        let begins = self.work.back().map_or(self.now, |(at, _)| *at);
        self.work.push_back((begins + Duration::from_millis(delay), event));
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Disconnect => self.disconnected = true,
            Effect::SetTimer(at) => self.timer = Some(at),
            Effect::StopTimer => self.timer = None,
            Effect::ApplyPower => {
                assert!(!self.configured);
                self.powered = true;
                self.later(Event::Powered(!self.fails));
            }
            Effect::Configure => {
                assert!(self.powered && !self.configured);
                (self.configured, self.revoked, self.disconnected) = (true, false, false);
                self.later(Event::Configured(!self.fails));
            }
            Effect::Ask { .. } => {
                assert!(self.configured && !self.revoked && !self.disconnected);
                self.is_asked = true;
            }
            Effect::Keep => {
                assert!(self.is_asked && !self.disconnected);
                self.is_asked = false;
            }
            Effect::Revoke => {
                assert!(self.configured && !self.revoked);
                (self.revoked, self.is_asked) = (true, false);
                self.later(Event::Revoked);
            }
            Effect::Remove(how) => {
                assert!(self.configured, "removed twice");
                assert!(!self.disconnected || how == Removal::Surprise, "touches what is gone");
                self.configured = false;
                self.later(Event::Removed);
            }
            Effect::CutPower => {
                assert!(!self.configured, "power is cut under what is in the topology");
                self.powered = false;
                self.later(Event::PoweredOff);
            }
            Effect::Finish(id, how) => {
                let since = self.asked.remove(&id).expect("ends once");
                assert!(self.now - since <= BOUND, "{how:?} after {:?}", self.now - since);
                assert!(how != Finished::TooMany || self.asked.len() >= slot::MAX_OPERATIONS);
            }
            Effect::PowerLamp(_) | Effect::AttentionLamp(_) | Effect::Tell(_) => {}
        }
    }

    /// Lets time pass to `end`, with everything that is due until then in its order.
    fn pass(&mut self, end: Duration) {
        loop {
            let work = self.work.front().map(|(at, _)| *at);
            let due = [work, self.timer].into_iter().flatten().min().filter(|at| *at <= end);
            let Some(at) = due else { break };
            self.now = self.now.max(at);
            if work == Some(at) {
                let (_, event) = self.work.pop_front().expect("it is due");
                self.send(event);
            } else {
                self.timer = None;
                self.send(Event::Timer);
            }
        }
        self.now = end;
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Ask(request) => {
                self.next += 1;
                let id = OperationId(self.next);
                self.asked.insert(id, self.now);
                self.send(Event::Asked(id, request));
            }
            Step::Port(event) => self.send(event),
            Step::LetGo => {
                if self.is_asked {
                    self.send(Event::Released);
                }
            }
            Step::Pass(ms) => self.pass(self.now + Duration::from_millis(ms)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_operation_ends_once_and_in_time_whatever_happens(
        steps in steps(),
        delays in prop::collection::vec(0..SLOW, 1..8),
        (power_controller, attention_button, latch, fails) in any::<(bool, bool, bool, bool)>(),
        starts_on in any::<bool>(),
    ) {
        let features = Features { power_controller, attention_button, latch };
        let mut owner = Owner {
            slot: Slot::new(features, &Settings::default()),
            now: Duration::ZERO,
            timer: None,
            work: VecDeque::new(),
            delays: delays.into(),
            fails: fails && !starts_on,
            asked: BTreeMap::new(),
            next: 0,
            powered: false,
            configured: false,
            revoked: false,
            disconnected: false,
            is_asked: false,
        };
        if starts_on {
            for step in [
                Step::Port(Event::Card(true)),
                Step::Ask(Request::Enable),
                Step::Pass(2 * SLOW),
                Step::Port(Event::Link(true)),
                Step::Pass(2 * SLOW),
            ] {
                owner.take(step);
            }
        }
        owner.fails = fails;
        steps.into_iter().for_each(|step| owner.take(step));
        owner.pass(owner.now + BOUND);
        prop_assert!(owner.asked.is_empty(), "never ended: {:?}", owner.asked);
        prop_assert!(matches!(owner.slot.state(), State::Off | State::On), "{:?}", owner.slot.state());
        prop_assert_eq!(owner.slot.state() == State::On, owner.configured);
        prop_assert!(owner.work.is_empty());
    }
}
