//! Changes what the function is like, all the time, until every consumer has made its rounds; then removes it.
//!
//! The device writes its marks only while its gate is closed, after the zap, or while it is frozen or gone. So whoever
//! reads a forbidden one, or one of an earlier generation than it knew of, has reached the device by a page that should have
//! been gone.

use std::sync::Arc;
use std::time::Duration;

use gate::{AccessKind, Deadline, Exclusive, Reason, ThreadToken};
use mapping::{Mapping, MappingError};

use crate::device::{Device, WORDS};
use crate::period::{Mark, State};
use crate::random::Random;
use crate::watch::{Steps, Tally};

pub(crate) struct Operator {
    device: Arc<Device>,
    generation: u32,
    /// What the memory contains while nobody can reach it.
    quiet: Option<Vec<[u8; 8 * WORDS]>>,
    tally: Tally,
}

impl Operator {
    pub(crate) fn new(device: Arc<Device>) -> Operator {
        Operator { device, generation: 0, quiet: None, tally: Tally::default() }
    }

    /// Until every consumer has made its rounds: makes a change, and lets half of the consumers make a round. `stale` is a
    /// mapping of the device that was here before.
    pub(crate) fn run(
        mut self,
        consumers: &[Arc<Steps>],
        rounds: u64,
        seed: u64,
        stale: Option<&Mapping>,
        steps: &Steps,
    ) -> Tally {
        let mut token = ThreadToken::at_thread_entry();
        let mut random = Random::new(seed);
        let come = |round| consumers.iter().filter(|consumer| consumer.rounds() >= round).count();
        while come(rounds) < consumers.len() {
            steps.step(0);
            steps.round();
            self.change(random.below(8), &mut token);
            if let Some(stale) = stale {
                assert_eq!(stale.read::<u64>(&mut token, 0), Err(MappingError::Gone), "of the device before");
            }
            // Those whose accesses fail while the function is disabled are more than that, and need nobody.
            steps.wait_until(|| come(steps.rounds()) >= consumers.len() / 2);
        }
        self.remove(&mut token);
        steps.round();
        steps.wait_until(|| consumers.iter().all(|consumer| consumer.ended()));
        self.still_quiet();
        self.tally
    }

    fn change(&mut self, choice: u64, token: &mut ThreadToken) {
        match (self.device.present.look().state, choice) {
            (State::Enabled, 0..=2) => self.disable(token),
            (State::Enabled, 3..=5) => self.freeze(token),
            (State::Enabled, 6) => self.reset(token, State::Disabled),
            (State::Enabled, _) => self.reset(token, State::Enabled),
            (then @ (State::Disabled | State::Hidden), 0) => self.reset(token, then),
            (State::Disabled | State::Hidden, 1..=3) => self.freeze(token),
            (State::Disabled | State::Hidden, _) => self.enable(token),
            (State::Frozen, 0..=4) => self.thaw(token),
            (State::Frozen, _) => self.reset_and_thaw(token),
            (State::Changing | State::Gone, _) => self.enable(token),
        }
    }

    /// The bit is cleared under a pass, as a write of the COMMAND register does; then the gate is closed for the zap.
    fn disable(&mut self, token: &mut ThreadToken) {
        self.begin("disable");
        {
            let _pass = self.device.handle.try_enter(token, AccessKind::Config).unwrap();
            self.device.decoding.set(false);
        }
        let held = self.device.gate.close_short(token, Reason::Remap, soon()).unwrap();
        self.device.mappings.zap(&held);
        self.forbid();
        drop(held);
        self.publish(State::Disabled);
    }

    fn enable(&mut self, token: &mut ThreadToken) {
        self.begin("enable");
        let held = self.device.gate.close_short(token, Reason::Remap, soon()).unwrap();
        self.allow();
        drop(held);
        {
            let _pass = self.device.handle.try_enter(token, AccessKind::Config).unwrap();
            self.device.decoding.set(true);
        }
        let held = self.device.gate.close_short(token, Reason::Remap, soon()).unwrap();
        self.device.mappings.zap(&held);
        drop(held);
        self.publish(State::Enabled);
    }

    /// Takes what it takes, with everybody who faults left waiting; ends with the bit as `then` says.
    fn reset(&mut self, token: &mut ThreadToken, then: State) {
        self.begin("reset");
        let held = self.device.gate.close(token, Reason::Reset, soon()).unwrap();
        self.clear(&held);
        self.device.decoding.set(then == State::Enabled);
        match then {
            State::Enabled => self.allow(),
            _ => self.forbid(),
        }
        drop(held);
        self.publish(then);
    }

    /// From the return of `freeze` on nobody may reach the device; it needs no zap.
    fn freeze(&mut self, token: &mut ThreadToken) {
        self.begin("freeze");
        assert!(self.device.gate.freeze());
        self.publish(State::Frozen);
        let held = self.device.gate.close_short(token, Reason::Freeze, soon()).unwrap();
        self.forbid();
        drop(held);
    }

    fn thaw(&mut self, token: &mut ThreadToken) {
        if !self.device.decoding.is_on() {
            return self.thaw_disabled();
        }
        self.begin("thaw");
        let held = self.device.gate.close_short(token, Reason::Recovery, soon()).unwrap();
        self.allow();
        drop(held);
        assert!(self.device.gate.thaw());
        self.publish(State::Enabled);
    }

    /// The cover stays until decoding is on: nobody may reach the device all the while.
    fn thaw_disabled(&mut self) {
        self.begin("thaw disabled");
        self.quiet = Some(self.device.contents());
        assert!(self.device.gate.thaw());
        self.publish(State::Hidden);
    }

    fn reset_and_thaw(&mut self, token: &mut ThreadToken) {
        self.begin("reset and thaw");
        let held = self.device.gate.close(token, Reason::Recovery, soon()).unwrap();
        self.clear(&held);
        self.device.decoding.set(true);
        self.allow();
        self.device.mappings.reveal(&held);
        assert!(held.thaw());
        self.publish(State::Enabled);
    }

    fn remove(&mut self, token: &mut ThreadToken) {
        self.begin("remove");
        let retired = self.device.gate.retire(token, soon());
        assert!(retired.orphans.is_empty(), "{retired:?}");
        self.publish(State::Gone);
        self.forbid();
    }

    /// What a reset does to memory. Who reads zeroes has reached the device meanwhile.
    fn clear(&self, held: &impl Exclusive) {
        self.device.mappings.zap(held);
        self.device.mark(Mark::Forbidden);
        self.device.memory.clear();
    }

    fn begin(&mut self, what: &'static str) {
        self.still_quiet();
        self.quiet = None;
        self.tally.count(what);
        self.device.present.publish(State::Changing, self.generation);
    }

    fn publish(&self, state: State) {
        self.device.present.publish(state, self.generation);
    }

    /// The device's memory is a new generation's, for consumers to read.
    fn allow(&mut self) {
        self.generation += 1;
        self.device.mark(Mark::Live(self.generation));
    }

    /// Nobody can reach the device from here on, until it is allowed again.
    fn forbid(&mut self) {
        self.device.mark(Mark::Forbidden);
        self.quiet = Some(self.device.contents());
    }

    fn still_quiet(&self) {
        if let Some(quiet) = &self.quiet {
            let period = self.device.present.look();
            let changed = self.device.contents().iter().zip(quiet).position(|(now, then)| now != then);
            assert_eq!(changed, None, "a store to this page has reached the device, {period:?}");
        }
    }
}

/// The gate is free of others, and passes are short.
fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}
