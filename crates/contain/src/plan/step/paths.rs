//! Which way a recovery takes, by what the functions answered.

use super::Step;
use crate::merge::Vote;
use crate::plan::{Effect, Flavour, Goal, Phase, State, Thaw, Traffic, Whom};
use crate::report::{Doom, Log, Notice, Path};

impl Step<'_> {
    /// Everybody was told of the error.
    pub(super) fn error_detected(&mut self) {
        let vote = self.verdict(Phase::ErrorDetected);
        self.plan.voted = vote;
        if let Some(outcome) = self.nobody_to_recover() {
            self.end(outcome);
            return;
        }
        match self.plan.flavour {
            Flavour::Eeh => match vote {
                Vote::Disconnect | Vote::NoAerDriver => self.fail(Doom::Voted(vote)),
                _ => self.query(Goal::Known),
            },
            // The link is lost without a reset, whatever they say (AER-05).
            Flavour::Aer(_) if self.plan.flavour.is_frozen() || self.plan.again => self.need_reset(),
            Flavour::Aer(_) => match vote {
                Vote::None | Vote::CanRecover => self.enter(Phase::MmioEnabled),
                Vote::Recovered => self.come_back(),
                Vote::NeedReset => self.need_reset(),
                Vote::Disconnect | Vote::NoAerDriver => self.fail(Doom::Voted(vote)),
            },
        }
    }

    /// The PE's state is known, after an error.
    pub(super) fn take_path(&mut self) {
        self.order(Effect::Log(Log::Temporary));
        let vote = if self.plan.host_bridge { Vote::NeedReset } else { self.plan.voted };
        match vote {
            Vote::None => {
                self.tell(Notice::Taking(Path::HotPlug));
                self.plan.whom = Whom::Everybody;
                self.begin_reset();
            }
            // Who is as before is so only once it is thawed.
            Vote::CanRecover | Vote::Recovered => {
                self.tell(Notice::Taking(Path::CanRecover));
                self.thaw(Traffic::Mmio);
            }
            Vote::NeedReset => self.need_reset(),
            Vote::Disconnect | Vote::NoAerDriver => self.fail(Doom::Voted(vote)),
        }
    }

    pub(super) fn need_reset(&mut self) {
        self.tell(Notice::Taking(Path::NeedReset));
        self.begin_reset();
    }

    fn thaw(&mut self, traffic: Traffic) {
        self.plan.state = State::Thawing(traffic);
        self.order(Effect::Thaw(traffic));
    }

    pub(super) fn thawed(&mut self, traffic: Traffic, how: Thaw) {
        if self.plan.state != State::Thawing(traffic) {
            return;
        }
        match (how, traffic) {
            (Thaw::Failed, _) => self.fail(Doom::ThawFailed),
            (Thaw::NeedsReset, _) => self.need_reset(),
            (Thaw::Done, Traffic::Mmio) => self.enter(Phase::MmioEnabled),
            (Thaw::Done, Traffic::Dma) => self.come_back(),
        }
    }

    /// Everybody was told that registers can be reached again.
    pub(super) fn mmio_enabled(&mut self) {
        let vote = self.verdict(Phase::MmioEnabled);
        if let Some(outcome) = self.nobody_to_recover() {
            self.end(outcome);
            return;
        }
        match (vote, self.plan.flavour) {
            (Vote::Disconnect | Vote::NoAerDriver, _) => self.fail(Doom::Voted(vote)),
            (Vote::NeedReset, _) => self.need_reset(),
            _ if self.plan.again => self.need_reset(),
            (_, Flavour::Eeh) => self.thaw(Traffic::Dma),
            (Vote::Recovered | Vote::None, Flavour::Aer(_)) => self.come_back(),
            // It can, and has not (AER-06).
            (Vote::CanRecover, Flavour::Aer(_)) => self.fail(Doom::Voted(vote)),
        }
    }

    /// Everybody was told of the reset.
    pub(super) fn slot_reset(&mut self) {
        let vote = self.verdict(Phase::SlotReset);
        match vote {
            Vote::Disconnect | Vote::NoAerDriver => self.fail(Doom::Voted(vote)),
            _ if self.plan.again => self.need_reset(),
            Vote::None | Vote::Recovered => self.come_back(),
            // A reset was not enough, and there is nothing more (EEH-15).
            Vote::CanRecover | Vote::NeedReset => self.fail(Doom::Voted(vote)),
        }
    }

    /// There was another error. One that comes while everything is frozen still is the same one (EEH-07).
    pub(super) fn frozen_again(&mut self) {
        let thawed = match self.plan.state {
            State::Calling(Phase::ErrorDetected) => !self.plan.flavour.is_frozen(),
            State::Calling(Phase::Resume | Phase::CorErrorDetected) => true,
            State::Calling(phase) => phase.needs_thawed(),
            State::Thawing(_) | State::Unfreezing { .. } | State::Settling => true,
            _ => false,
        };
        if thawed && !self.plan.again {
            self.plan.again = true;
            self.tell(Notice::FrozenAgain);
        }
    }
}
