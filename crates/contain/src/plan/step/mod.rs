//! One step of a recovery. Pure.

mod begin;
mod calls;
mod end;
mod hot_plug;
mod paths;
mod query;
mod quiet;
mod reset;

use super::{Effect, Event, Plan, State};
use crate::report::Notice;

impl Plan {
    /// `event` happens: changes the plan, and adds to `effects` what its owner is to do. A function of the plan and its
    /// arguments and of nothing else. Answers that nobody waits for are ignored, and everything is once the plan has ended.
    pub fn step(&mut self, event: Event, effects: &mut Vec<Effect>) {
        if !matches!(self.state, State::Ended(_)) {
            Step { plan: self, effects }.happen(event);
        }
    }
}

/// A step under way.
struct Step<'a> {
    plan: &'a mut Plan,
    effects: &'a mut Vec<Effect>,
}

impl Step<'_> {
    fn happen(&mut self, event: Event) {
        match event {
            Event::Begin(sight) => self.begin(sight),
            Event::Answered(function, call, answer) => self.answered(function, call, answer),
            Event::CallbackLost(function, call) => self.lost(function, call),
            Event::Thawed(traffic, how) => self.thawed(traffic, how),
            Event::StateIs(queried) => self.state_is(queried),
            Event::Waited => self.waited(),
            Event::ResetDone(done) => self.reset_done(done),
            Event::ConfigRestored(done) => self.config_restored(done),
            Event::Unfrozen(done) => self.unfrozen(done),
            Event::FrozenAgain => self.frozen_again(),
            Event::Doomed(doom) => self.doomed(doom),
            Event::PeAdded(pe) => self.pe_added(pe),
            Event::Added(member) => self.added(member),
            Event::Removed(function) => self.removed(function),
            Event::Bound(function, role) => self.bound(function, role),
        }
    }

    fn order(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn tell(&mut self, notice: Notice) {
        self.order(Effect::Tell(notice));
    }
}
