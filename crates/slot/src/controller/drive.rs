//! Driving a slot: one event, one effect, one piece of work after the other.

use super::Controller;
use super::call::{Call, Driving, contained};
use super::desk::{Closing, Desk};
use super::work::{Done, Ended, Task, Work};
use crate::event::Event;
use crate::ranks;
use crate::watch::Told;
use gate::lock::LeafGuard;
use gate::{Deadline, ThreadToken};
use std::time::Duration;

/// How much one thread does in one go: far more than an unplug of everything takes.
const MOST: u32 = 1 << 16;

impl Controller {
    /// Carries out on this thread everything that is due, until nothing is; answers how long it is then until the slot's timer is
    /// due. No time at all, if something is due still: foreign code that has an event for each that it is told of, which must not
    /// keep this thread for ever. Nothing, if there is no timer, if another thread drives (which will see whatever was posted before this call), or if the
    /// slot was taken away from this one.
    ///
    /// # Panics
    /// In builds with debug assertions, if this thread holds a pass or a lock (law 1).
    pub fn drive(&self, token: &mut ThreadToken) -> Option<Duration> {
        token.assert_holds_nothing();
        let now = self.now();
        let mut desk = self.desk.lock();
        desk.woken = false;
        if desk.patience_ends().is_some_and(|when| when <= now) {
            desk.give_way();
        }
        if desk.driving.is_some() {
            let again = desk.patience_ends();
            drop(desk);
            if let Some(when) = again {
                self.wake_at(when);
            }
            return None;
        }
        let ticket = desk.next_number();
        desk.driving = Some(Driving { ticket, call: None });
        for _ in 0..MOST {
            // Not under the lock: a clock is somebody else's.
            drop(desk);
            let now = self.now();
            desk = self.desk.lock();
            if !desk.is_driven_by(ticket) {
                return None;
            }
            let Some(work) = desk.next_work(now) else { return self.rest(desk, now) };
            let until = self.call_until(&work, &desk, now);
            let purpose = work.purpose();
            let (who, name) = desk.callee(&work);
            let since = now;
            desk.driving =
                Some(Driving { ticket, call: Some(Call { ticket, who, name, purpose, since, until }) });
            let again = desk.patience_ends();
            drop(desk);
            if let Some(when) = again {
                self.wake_at(when);
            }
            // Calls of foreign code are contained where they are made. This is for what else it is in: the model of a device that is
            // told, or dropped, as a driver's hold ends.
            let deadline = Deadline::after(until.saturating_sub(now));
            let ended = contained(|| work.run(self, token, deadline));
            let ended = ended.unwrap_or_else(|failure| Ended { done: Done::Nothing, failure: Some(failure) });
            desk = self.desk.lock();
            if !desk.is_driven_by(ticket) {
                drop(desk);
                self.late(token, ticket, ended.done);
                return None;
            }
            let Ended { done, failure } = ended;
            let call = desk.driving.as_mut().and_then(|driving| driving.call.take());
            let failure = call.and_then(|call| Some((call.who, call.name, failure?)));
            desk.complete(purpose, done, failure);
        }
        desk.driving = None;
        drop(desk);
        self.wake_at(self.now());
        Some(Duration::ZERO)
    }

    /// Nothing is due any more.
    fn rest(&self, mut desk: LeafGuard<'_, ranks::Desk, Desk>, now: Duration) -> Option<Duration> {
        desk.driving = None;
        let timer = desk.timer;
        drop(desk);
        // Said again each time: it may have come due meanwhile, for somebody who left at once because this thread drove.
        if let Some(when) = timer {
            self.wake_at(when);
        }
        timer.map(|when| when.saturating_sub(now))
    }

    /// When a call that begins now is past its time.
    fn call_until(&self, work: &Work, desk: &Desk, now: Duration) -> Duration {
        let own = now.saturating_add(self.settings.callback_timeout);
        let until = match () {
            // Foreign to the effect: whoever watches.
            () if work.is_told() => own,
            () if work.is_hardware() => desk.effect_until,
            () => own.min(desk.effect_until),
        };
        until.max(now.saturating_add(crate::settings::Settings::LEAST))
    }
}

impl Desk {
    pub(super) fn is_driven_by(&self, ticket: u64) -> bool {
        self.driving.as_ref().is_some_and(|driving| driving.ticket == ticket)
    }

    /// The next piece of work; none if nothing is due.
    fn next_work(&mut self, now: Duration) -> Option<Work> {
        // Every round takes something out of a queue that is bounded, or a timer that is then set ahead.
        self.errands.is_out = false;
        loop {
            if let Some(task) = self.tasks.pop_front() {
                let work = self.load(task);
                if work.is_some() {
                    return work;
                }
                self.errands.is_out = false;
                continue;
            }
            if let Some(effect) = self.effects.get(self.carried_out).copied() {
                self.carried_out += 1;
                self.expand(effect, now);
                continue;
            }
            if self.closing == Closing::Wanted {
                self.close(now);
            } else if self.closing != Closing::No {
                // Nothing that happens now brings it up again.
                return None;
            } else if let Some(answer) = self.answers.pop_front() {
                self.step(now, answer);
            } else if self.timer.is_some_and(|when| when <= now) {
                self.timer = None;
                self.step(now, Event::Timer);
            } else if let Some(event) = self.inbox.pop(self.slot.sight()) {
                self.take_up(now, event);
            } else if !self.go_on_errand(now) {
                return None;
            }
        }
    }

    fn take_up(&mut self, now: Duration, event: Event) {
        match event {
            Event::Asked(id, request) => {
                self.step(now, event);
                // Told before what comes of it.
                self.tasks.push_front(Task::Tell(Told::Operation(id, request, None)));
            }
            // Others may have something still.
            Event::Released => self.tasks.push_back(Task::Check { from: 0 }),
            // Of a card that has left meanwhile.
            Event::Failed if !self.card.failed => {}
            _ => self.step(now, event),
        }
    }

    fn step(&mut self, now: Duration, event: Event) {
        self.effects.clear();
        self.carried_out = 0;
        let Desk { slot, effects, .. } = self;
        slot.step(now, event, effects);
    }
}
