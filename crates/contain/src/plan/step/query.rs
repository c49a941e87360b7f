//! Asking for the PE's state, until it is available or the time is over (EEH-11, EEH-19).

use super::Step;
use crate::plan::{Effect, Goal, PlatformState, Queried, STATE_POLL_MAX, STATE_POLL_MIN, STATE_WAIT, State};
use crate::report::Doom;
use std::time::Duration;

impl Step<'_> {
    pub(super) fn query(&mut self, goal: Goal) {
        self.plan.state = State::Querying { goal, left: STATE_WAIT };
        self.order(Effect::QueryState);
    }

    pub(super) fn state_is(&mut self, queried: Queried) {
        let State::Querying { goal, left } = self.plan.state else { return };
        match (queried, goal) {
            (Queried::AskAgain(after), _) => self.ask_again(goal, left, after),
            (Queried::Is(state), _) if state.contains(PlatformState::UNAVAILABLE) => {
                self.ask_again(goal, left, STATE_POLL_MIN);
            }
            (Queried::Is(state), Goal::Known) if state.contains(PlatformState::NOT_SUPPORTED) => {
                self.fail(Doom::StateUnknown);
            }
            (Queried::Is(_), Goal::Known) => self.take_path(),
            (Queried::Is(state), Goal::Active) if state.is_active() => self.restore_config(),
            // Up is not the same as back: it is tried again, and never taken for a success.
            (Queried::Is(_), Goal::Active) => self.reset(),
            (Queried::Failed, Goal::Known) => self.fail(Doom::StateUnknown),
            (Queried::Failed, Goal::Active) => self.fail(Doom::NotRecoverable),
        }
    }

    fn ask_again(&mut self, goal: Goal, left: Duration, after: Duration) {
        if left.is_zero() {
            match goal {
                Goal::Known => self.fail(Doom::StateTimeout),
                Goal::Active => self.reset(),
            }
            return;
        }
        // At least a second each time, so that firmware cannot keep everybody busy, and no longer than there is time.
        let wait = after.clamp(STATE_POLL_MIN, STATE_POLL_MAX).min(left);
        self.plan.state = State::Pausing { goal, left: left.saturating_sub(wait) };
        self.order(Effect::Wait(wait));
    }

    pub(super) fn waited(&mut self) {
        match self.plan.state {
            State::Pausing { goal, left } => {
                self.plan.state = State::Querying { goal, left };
                self.order(Effect::QueryState);
            }
            State::Settling => self.settled(),
            _ => {}
        }
    }
}
