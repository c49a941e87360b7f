//! When a function that nobody uses goes to sleep, and how deep: pure.
//!
//! ```text
//!           last user gone, control auto
//!   busy ---------------------------------> idle --- delay over ---> asleep
//!    ^                                        |                        |
//!    +---- user, or control on ---------------+------------------------+
//! ```
//!
//! The words are those of Linux's files `power/control`, `power/autosuspend_delay_ms` and `power/wakeup`. Clock and
//! gates are elsewhere: the shell feeds [`Idle::step`] with what happened and carries out what it answers.

use crate::State;
use crate::facts::Facts;
use pci_spec::capability::pm::Capabilities;
use std::time::Duration;

/// What an operator wants (`power/control`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Control {
    /// "auto": sleeps when nobody uses it.
    #[default]
    Auto,
    /// "on": stays awake.
    On,
}

/// How a function is to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// See [`Control`].
    pub control: Control,
    /// From the last use to sleep; `None` is never (a negative `autosuspend_delay_ms`).
    pub delay: Option<Duration>,
    /// It may wake the system, which it must be able to where it sleeps (`power/wakeup`).
    pub wakeup: bool,
    /// Its power may be taken away (`d3cold_allowed`).
    pub d3cold_allowed: bool,
}

impl Default for Policy {
    /// Sleeps at once when it is not used any more, also without power.
    fn default() -> Policy {
        Policy { control: Control::Auto, delay: Some(Duration::ZERO), wakeup: false, d3cold_allowed: true }
    }
}

impl Policy {
    /// Where a function sleeps: the deepest state that it can be in, and from which it can still wake the system if it is
    /// to. D0 if there is none.
    #[must_use]
    pub fn sleeps_in(&self, facts: &Facts) -> State {
        let wakes = |from: Capabilities| {
            let pme = facts.capabilities & ANY_PME;
            // Who cannot signal PME at all sleeps as deep as the others, and is not woken by itself.
            !self.wakeup || pme.is_empty() || pme.contains(from)
        };
        let managed = facts.pm.is_some() || facts.has_platform;
        let cold = self.d3cold_allowed && facts.has_platform;
        let deepest = [
            (State::D3Cold, Capabilities::PME_D3COLD, cold && !facts.quirks.no_d3),
            (State::D3Hot, Capabilities::PME_D3HOT, !facts.quirks.no_d3),
            (State::D2, Capabilities::PME_D2, facts.has_state(State::D2) && !facts.quirks.no_d1_d2),
            (State::D1, Capabilities::PME_D1, facts.has_state(State::D1) && !facts.quirks.no_d1_d2),
        ];
        let found = deepest.into_iter().find(|(_, pme, possible)| managed && *possible && wakes(*pme));
        found.map_or(State::D0, |(state, ..)| state)
    }
}

const ANY_PME: Capabilities = Capabilities::PME_D0
    .union(Capabilities::PME_D1)
    .union(Capabilities::PME_D2)
    .union(Capabilities::PME_D3HOT)
    .union(Capabilities::PME_D3COLD);

/// Who uses a function, and since when nobody does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Idle {
    policy: Policy,
    users: u32,
    last_used: Duration,
    asleep: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody uses the function from now on (PWR-11).
    Use,
    /// Somebody does not any more.
    Release,
    /// The operator wants something else.
    Set(Policy),
    /// Time passed.
    Tick,
    /// The function was put to sleep.
    Slept,
    /// The function is awake, whoever woke it.
    Woke,
    /// It could not be put to sleep now: it was busy.
    Stayed,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Wake it.
    Wake,
    /// Put it to sleep now, if nothing is in flight.
    Sleep,
    /// Look again at this time.
    LookAt(Duration),
}

impl Idle {
    /// A function in D0 that nobody uses.
    #[must_use]
    pub fn new(policy: Policy, now: Duration) -> Idle {
        Idle { policy, users: 0, last_used: now, asleep: false }
    }

    /// How it is to sleep.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// How many use it.
    #[must_use]
    pub fn users(&self) -> u32 {
        self.users
    }

    /// Whether it was put to sleep.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        self.asleep
    }

    /// What follows from an event at `now`.
    pub fn step(&mut self, now: Duration, event: Event) -> Action {
        match event {
            Event::Use => self.users = self.users.saturating_add(1),
            Event::Release => {
                self.users = self.users.saturating_sub(1);
                self.last_used = now;
            }
            Event::Set(policy) => self.policy = policy,
            Event::Slept => self.asleep = true,
            Event::Woke if self.asleep => {
                self.asleep = false;
                self.last_used = now;
            }
            Event::Stayed => self.last_used = now,
            Event::Woke | Event::Tick => {}
        }
        self.due(now)
    }

    fn due(&self, now: Duration) -> Action {
        let wanted = self.users > 0 || self.policy.control == Control::On;
        match (wanted, self.asleep, self.policy.delay) {
            (true, true, _) => Action::Wake,
            (true, false, _) | (false, true, _) | (false, false, None) => Action::Nothing,
            (false, false, Some(delay)) => {
                let at = self.last_used.saturating_add(delay);
                if now >= at { Action::Sleep } else { Action::LookAt(at) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Quirks;
    use proptest::prelude::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn delayed(delay: u64) -> Policy {
        Policy { delay: Some(ms(delay)), ..Policy::default() }
    }

    #[test]
    fn pwr_11_a_function_sleeps_when_its_last_user_has_gone_and_the_delay_is_over() {
        let mut idle = Idle::new(delayed(100), ms(0));
        assert_eq!(idle.step(ms(10), Event::Use), Action::Nothing);
        assert_eq!(idle.step(ms(20), Event::Use), Action::Nothing);
        assert_eq!(idle.step(ms(500), Event::Release), Action::Nothing);
        assert_eq!(idle.step(ms(600), Event::Release), Action::LookAt(ms(700)));
        assert_eq!(idle.step(ms(699), Event::Tick), Action::LookAt(ms(700)));
        assert_eq!(idle.step(ms(700), Event::Tick), Action::Sleep);
        assert_eq!(idle.step(ms(700), Event::Slept), Action::Nothing);
        assert_eq!(idle.step(ms(800), Event::Use), Action::Wake);
    }

    #[test]
    fn control_on_keeps_it_awake_and_wakes_it() {
        let on = Policy { control: Control::On, ..Policy::default() };
        let mut idle = Idle::new(Policy::default(), ms(0));
        assert_eq!(idle.step(ms(0), Event::Tick), Action::Sleep);
        assert_eq!(idle.step(ms(0), Event::Slept), Action::Nothing);
        assert_eq!(idle.step(ms(1), Event::Set(on)), Action::Wake);
        assert_eq!(idle.step(ms(2), Event::Woke), Action::Nothing);
        assert_eq!(idle.step(ms(9999), Event::Tick), Action::Nothing);
        assert_eq!(idle.step(ms(9999), Event::Set(Policy::default())), Action::Sleep);
    }

    #[test]
    fn a_delay_of_never_is_never() {
        let mut idle = Idle::new(Policy { delay: None, ..Policy::default() }, ms(0));
        assert_eq!(idle.step(Duration::MAX, Event::Tick), Action::Nothing);
    }

    #[test]
    fn a_function_that_was_busy_is_tried_again_after_its_delay() {
        let mut idle = Idle::new(delayed(100), ms(0));
        assert_eq!(idle.step(ms(100), Event::Tick), Action::Sleep);
        assert_eq!(idle.step(ms(101), Event::Stayed), Action::LookAt(ms(201)));
    }

    #[test]
    fn it_sleeps_as_deep_as_it_may_and_can_still_wake_up() {
        let all = Capabilities::D1 | Capabilities::D2;
        let facts =
            |pme| Facts { pm: Some(0x40), capabilities: all | pme, has_platform: true, ..Facts::none() };
        let wakeup = Policy { wakeup: true, ..Policy::default() };
        assert_eq!(Policy::default().sleeps_in(&facts(Capabilities::PME_D3HOT)), State::D3Cold);
        assert_eq!(wakeup.sleeps_in(&facts(Capabilities::PME_D3HOT)), State::D3Hot);
        assert_eq!(wakeup.sleeps_in(&facts(Capabilities::PME_D2 | Capabilities::PME_D1)), State::D2);
        assert_eq!(wakeup.sleeps_in(&facts(Capabilities::PME_D0)), State::D0);
        assert_eq!(wakeup.sleeps_in(&facts(Capabilities::empty())), State::D3Cold, "nothing to lose");
        let warm = Policy { d3cold_allowed: false, ..Policy::default() };
        assert_eq!(warm.sleeps_in(&facts(Capabilities::empty())), State::D3Hot, "PWR-10: d3cold_allowed 0");
        let kept = Facts { quirks: Quirks { no_d3: true, no_d1_d2: true }, ..facts(Capabilities::empty()) };
        assert_eq!(warm.sleeps_in(&kept), State::D0);
        assert_eq!(Policy::default().sleeps_in(&Facts::none()), State::D0);
    }

    proptest! {
        #[test]
        fn nobody_sleeps_while_used_and_nobody_stays_awake_for_no_reason(
            events in proptest::collection::vec((0_u64..50, 0_u8..6), 0..60)
        ) {
            let mut idle = Idle::new(delayed(100), ms(0));
            let (mut now, mut users, mut asleep, mut released) = (0, 0_u32, false, 0);
            for (later, what) in events {
                now += later;
                let event = match what {
                    0 => { users += 1; Event::Use }
                    1 if users > 0 => { users -= 1; released = now; Event::Release }
                    2 if users == 0 && !asleep && now >= released + 100 => { asleep = true; Event::Slept }
                    3 => { if asleep { released = now; } asleep = false; Event::Woke }
                    _ => Event::Tick,
                };
                let expected = match (users > 0, asleep) {
                    (true, true) => Action::Wake,
                    (true, false) | (false, true) => Action::Nothing,
                    (false, false) if now >= released + 100 => Action::Sleep,
                    (false, false) => Action::LookAt(ms(released + 100)),
                };
                prop_assert_eq!(idle.step(ms(now), event), expected);
            }
        }
    }
}
