//! Errands: what drivers are called for from outside of the slot's life.
//!
//! An errand waits until nothing else is due and is then carried out in as many tasks as it takes; between two of them
//! everything else goes first again. Exactly one answer is given, with nothing held: when its last task is done, when the card is
//! taken away from everybody, or when the slot ends.

use super::Controller;
use super::call::contained;
use super::desk::{Bond, Desk};
use super::work::{At, Done, Ended, Held, Task, Work};
use crate::driver::Bound;
use crate::driver_call::{Answering, DriverAnswer, DriverCall, DriverInfo};
use crate::slot::{Leaving, State};
use gate::ThreadToken;
use pci_core::Function;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How many calls of drivers may wait at one slot. Far more than there are functions.
pub const MAX_DRIVER_CALLS: usize = 64;

/// See the module's head.
pub(super) struct Errand {
    function: Arc<Function>,
    call: DriverCall,
    answering: Answering,
    /// What is left of it.
    pub(super) tasks: VecDeque<Task>,
    /// What it comes to, as far as is known.
    outcome: DriverAnswer,
}

#[derive(Default)]
pub(super) struct Errands {
    waiting: VecDeque<Errand>,
    pub(super) current: Option<Errand>,
    /// What is being done is a task of the current one.
    pub(super) is_out: bool,
}

impl Controller {
    /// Which driver in this process has `function`; none if it is not of this slot. Waits for nothing.
    #[must_use]
    pub fn driver_of(&self, function: &Function) -> Option<DriverInfo> {
        let desk = self.desk.lock();
        let bond = desk.card.bond_at(desk.card.position(function)?)?;
        let info = DriverInfo { name: Arc::clone(&bond.driver), handlers: bond.handlers? };
        let binding = Arc::clone(&bond.binding);
        drop(desk);
        binding.holds().then_some(info)
    }

    /// Has the driver of `function` called, by whoever drives this slot, one at a time with everything else that it does, and with the
    /// deadline of any call of a driver. `answer` is given what comes of it: exactly once, whatever happens, soon after the
    /// call's deadline at the latest; mostly on the thread that drives, on this one if the slot is shut down or too many calls
    /// ([`MAX_DRIVER_CALLS`]) wait already, or on whichever drops the slot. Nothing of the slot is held then; it returns soon.
    ///
    /// Waits for nothing. Not to be called with anything held that `answer` needs.
    ///
    /// A removal goes first, and waits for the call only if it is an orderly one, as for any call of a driver. A function that is being
    /// [offered](DriverCall::Probe) to drivers while its card is on the way off is offered to nobody.
    pub fn call_driver(
        &self,
        function: &Arc<Function>,
        call: DriverCall,
        answer: Box<dyn FnOnce(DriverAnswer) + Send>,
    ) {
        let answering = Answering::new(answer);
        let mut desk = self.desk.lock();
        let refused = match () {
            () if desk.is_closing() => Some(DriverAnswer::NoDriver),
            () if desk.errands.waiting.len() >= MAX_DRIVER_CALLS => Some(DriverAnswer::Failed),
            () => None,
        };
        if let Some(refused) = refused {
            drop(desk);
            let _its_own_affair = contained(|| answering.give(refused));
            return;
        }
        desk.errands.waiting.push_back(Errand {
            function: Arc::clone(function),
            call,
            answering,
            tasks: VecDeque::new(),
            outcome: DriverAnswer::NoDriver,
        });
        self.wake(desk);
    }
}

/// Calls a driver that has a handler for it, and the function still.
pub(super) fn call(
    held: Held,
    mut bound: Box<dyn Bound>,
    (call, has_handler): (DriverCall, bool),
    token: &mut ThreadToken,
) -> Ended {
    let answer = match () {
        () if !held.binding.holds() => Ok(DriverAnswer::NoDriver),
        () if !has_handler => Ok(call.without_handler()),
        () => contained(|| call.make(&mut *bound, token)),
    };
    let failure = answer.as_ref().err().cloned();
    let answer = answer.unwrap_or(DriverAnswer::Lost);
    Ended { done: Done::Answered(held.binding, bound, answer), failure }
}

impl Desk {
    /// The next task of an errand, or its end; false if there is none.
    pub(super) fn go_on_errand(&mut self, now: Duration) -> bool {
        if self.errands.current.is_none() {
            let Some(errand) = self.errands.waiting.pop_front() else { return false };
            let begun = self.begin(errand);
            self.errands.current = Some(begun);
        }
        let next = self.errands.current.as_mut().and_then(|errand| errand.tasks.pop_front());
        if let Some(task) = next {
            self.effect_until = now.saturating_add(self.effect_timeout);
            self.errands.is_out = true;
            self.tasks.push_back(task);
        } else if let Some(errand) = self.errands.current.take() {
            self.tasks.push_back(Task::Reply(errand.answering, errand.outcome));
        }
        true
    }

    fn begin(&self, mut errand: Errand) -> Errand {
        let Some(function) = self.card.position(&errand.function).filter(|_| !self.card.revoked) else {
            return errand;
        };
        let bond = self.card.bond_at(function);
        if bond.is_some_and(|bond| self.is_lost(bond)) {
            errand.outcome = DriverAnswer::Lost;
            return errand;
        }
        let bond = bond.filter(|bond| bond.bound.is_some()).map(|bond| bond.id);
        match (errand.call, bond) {
            (DriverCall::Probe, bond) => self.begin_to_offer(&mut errand, function, bond),
            (DriverCall::Unbind, Some(bond)) => errand.tasks.push_back(Task::Unbind { bond }),
            (call, Some(bond)) => errand.tasks.push_back(Task::Call { bond, call }),
            (_, None) => {}
        }
        errand
    }

    fn begin_to_offer(&self, errand: &mut Errand, function: usize, bond: Option<u64>) {
        if !matches!(self.slot.state(), State::On | State::BlinkingOff { .. }) {
            return;
        }
        let attached = self.card.functions.get(function).is_some_and(|function| function.is_attached());
        match bond {
            Some(_) if attached => errand.outcome = DriverAnswer::Done,
            // It has let go by itself, and was not told that this is the end.
            Some(bond) => errand.tasks.extend([Task::Unbind { bond }]),
            None => {}
        }
        if bond.is_none() || !attached {
            errand.tasks.push_back(Task::Offer(At { function, driver: 0, only: true }));
        }
    }

    /// Whether its driver has not returned from a call.
    fn is_lost(&self, bond: &Bond) -> bool {
        self.left_behind.iter().any(|call| call.purpose.bond() == Some(bond.id))
    }

    pub(super) fn call(&mut self, bond: u64, call: DriverCall) -> Option<Work> {
        let handlers = self.card.bond(bond)?.handlers;
        let has_handler = call.handler().is_some_and(|one| handlers.is_some_and(|all| all.contains(one)));
        self.with_bound(bond, |held, bound| Work::Call { held, bound, call, has_handler })
    }

    /// What the errand under way comes to, if nothing else is found.
    pub(super) fn comes_to(&mut self, outcome: DriverAnswer) {
        if let Some(errand) = self.errands.current.as_mut().filter(|_| self.errands.is_out) {
            errand.outcome = outcome;
        }
    }

    pub(super) fn called(&mut self, id: u64, done: Done) {
        let Done::Answered(_, bound, answer) = done else { return self.comes_to(DriverAnswer::Lost) };
        if let Some(bond) = self.card.bond(id) {
            bond.bound = Some(bound);
        }
        self.comes_to(answer);
    }

    /// A driver has ended, and panicked in that perhaps; or does not come back, and has its function until it does.
    pub(super) fn unbound(&mut self, bond: u64, done: &Done, failed: bool) {
        self.comes_to(if failed { DriverAnswer::Lost } else { DriverAnswer::Done });
        let Some(errand) = &mut self.errands.current else { return };
        if matches!(done, Done::Unbound(_)) {
            errand.tasks.push_front(Task::LetGo { bond });
        } else {
            errand.tasks.clear();
        }
    }

    /// On an errand, that may have been the last who was waited for.
    pub(super) fn has_let_go(&mut self, failed: bool) {
        if failed {
            self.comes_to(DriverAnswer::Lost);
        }
        if self.errands.is_out {
            self.tasks.push_back(Task::Check { from: 0 });
        }
    }

    /// The card leaves, or everything ends: nobody is called any more.
    pub(super) fn give_errands_up(&mut self) {
        let errands = self.errands.current.take().into_iter().chain(self.errands.waiting.drain(..));
        self.tasks.extend(errands.map(|errand| {
            // What was done is done; one that has not begun comes to this as well.
            let answer = if errand.tasks.is_empty() { errand.outcome } else { DriverAnswer::NoDriver };
            Task::Reply(errand.answering, answer)
        }));
    }

    /// The card is taken out by force: an errand that is out does not hold that up. Its thread is left behind.
    pub(super) fn give_way(&mut self) {
        let errand = self.errands.is_out;
        let driving = self.driving.take_if(|driving| errand && driving.call.is_some());
        let Some(call) = driving.and_then(|driving| driving.call) else { return };
        self.left_behind.push(call);
        self.errands.is_out = false;
        // Answered when everything is disconnected.
        if let Some(errand) = &mut self.errands.current {
            errand.tasks.clear();
            errand.outcome = DriverAnswer::NoDriver;
        }
    }

    /// When consumers, who are being asked to let go, have been asked for long enough: an errand that is out is not waited for then.
    pub(super) fn patience_ends(&self) -> Option<Duration> {
        match self.slot.state() {
            State::Leaving(Leaving::Asked { deadline, .. }) if self.errands.is_out => Some(deadline),
            _ => None,
        }
    }
}
