//! Calling functions, parents before children, and what their answers come to.

use super::Step;
use crate::merge::Vote;
use crate::plan::seat::Seat;
use crate::plan::{Answer, Call, Effect, Flavour, FunctionId, Phase, State};
use crate::report::{Notice, Outcome};

impl Step<'_> {
    /// Begins to call everybody for this.
    pub(super) fn enter(&mut self, phase: Phase) {
        self.plan.state = State::Calling(phase);
        self.plan.seats.iter_mut().for_each(Seat::begin_phase);
        if matches!(phase, Phase::Probe | Phase::ProbeVirtual) {
            // Its next driver finds it working.
            let flavour = self.plan.flavour;
            self.release(|seat| seat.call_in(phase, flavour).is_some());
        }
        self.wave();
    }

    /// Calls the next ones, if nobody is being called: those nearest to the root, all at once. Goes on when nobody is left.
    pub(super) fn wave(&mut self) {
        let State::Calling(phase) = self.plan.state else { return };
        if self.plan.seats.in_call() {
            return;
        }
        if let Some(doom) = self.plan.doom
            && phase != Phase::PermanentFailure
        {
            self.fail(doom);
            return;
        }
        if self.plan.again && phase.needs_thawed() {
            self.phase_over(phase);
            return;
        }
        let flavour = self.plan.flavour;
        let is_next = |seat: &&Seat| !seat.called && seat.call_in(phase, flavour).is_some();
        let Some(depth) = self.plan.seats.iter().filter(is_next).map(|seat| seat.member.depth).min() else {
            self.phase_over(phase);
            return;
        };
        let mut calls = 0;
        for seat in self.plan.seats.iter_mut().filter(|seat| !seat.called && seat.member.depth == depth) {
            if let Some(call) = seat.call_in(phase, flavour) {
                (seat.called, seat.in_call) = (true, Some(call));
                self.effects.push(Effect::Call(seat.member.function, call));
                calls += 1;
            }
        }
        self.plan.seats.calls_begin(calls);
    }

    pub(super) fn answered(&mut self, function: FunctionId, call: Call, answer: Answer) {
        if let Some(seat) = self.plan.seats.get_mut(function)
            && seat.in_call == Some(call)
        {
            seat.hear(call, answer);
            self.plan.seats.call_ends();
            self.wave();
        }
    }

    pub(super) fn lost(&mut self, function: FunctionId, call: Call) {
        let State::Calling(phase) = self.plan.state else { return };
        if let Some(seat) = self.plan.seats.get_mut(function)
            && seat.in_call == Some(call)
        {
            seat.lose();
            self.plan.seats.call_ends();
            self.tell(Notice::Lost(function, call));
            if !phase.votes() && phase != Phase::PermanentFailure {
                self.take_out(function);
            }
            self.wave();
        }
    }

    /// What the answers of a phase come to, merged in the order of the tree.
    pub(super) fn verdict(&self, phase: Phase) -> Vote {
        let flavour = self.plan.flavour;
        let start = match (flavour, phase) {
            // They said so before. With AER's table it would be replaced by anything.
            (Flavour::Eeh, Phase::MmioEnabled) => Vote::CanRecover,
            _ => Vote::None,
        };
        let votes = self.plan.seats.iter().map(|seat| seat.vote(phase, flavour));
        votes.fold(start, |so_far, next| flavour.rule().merge(so_far, next))
    }

    fn phase_over(&mut self, phase: Phase) {
        match phase {
            Phase::ErrorDetected => self.error_detected(),
            Phase::MmioEnabled => self.mmio_enabled(),
            Phase::Unbind(_) | Phase::Save => self.let_go(phase),
            Phase::Probe => self.enter(Phase::SlotReset),
            Phase::SlotReset => self.slot_reset(),
            Phase::ProbeVirtual => self.virtual_functions_are_back(),
            Phase::Resume => self.end_well(),
            Phase::PermanentFailure => self.end_badly(),
            Phase::CorErrorDetected if self.plan.again => self.end(Outcome::FrozenAgain),
            Phase::CorErrorDetected => self.end(Outcome::Recovered),
        }
    }
}
