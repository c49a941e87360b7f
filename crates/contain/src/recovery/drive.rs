//! Driving a recovery: one piece of work after the other.

use super::desk::{Desk, Driving, Underway};
use super::timing::LEAST;
use super::work::{Done, Holdings, Purpose, Work};
use super::{Recovery, gates};
use crate::ranks;
use gate::lock::LeafGuard;
use gate::{Deadline, ThreadToken};
use slot::Driven;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Weak;
use std::time::Duration;

/// How much one thread does in one go: more than the recovery of 10,000 functions takes.
const MOST: u32 = 1 << 20;

/// It hung, or panicked.
pub(super) struct Lost;

impl Driven for Recovery {
    fn name(&self) -> &str {
        &self.name
    }

    fn now(&self) -> Duration {
        self.parts.time.now()
    }

    fn drive(&self, token: &mut ThreadToken) -> Option<Duration> {
        token.assert_holds_nothing();
        let mut desk = self.desk.lock();
        desk.woken = false;
        if desk.driving.is_some() {
            return None;
        }
        let ticket = desk.next_ticket();
        desk.driving = Some(Driving { ticket, work: None });
        for _ in 0..MOST {
            // Not under the lock: a clock is somebody else's.
            drop(desk);
            let now = self.now();
            desk = self.desk.lock();
            if !desk.is_driven_by(ticket) {
                return None;
            }
            let Some(work) = self.next_work(&mut desk, now) else { return self.rest(desk, now) };
            let (underway, until) = self.write_down(&work, ticket, now);
            desk.driving = Some(Driving { ticket, work: Some(underway) });
            drop(desk);
            let deadline = Deadline::after(until.saturating_sub(now));
            let done = catch_unwind(AssertUnwindSafe(|| work.run(self, token, deadline)));
            desk = self.take_in(ticket, done.map_err(|_panic| Lost))?;
        }
        desk.driving = None;
        drop(desk);
        self.wake_at(self.now());
        Some(Duration::ZERO)
    }

    fn overdue(&self, now: Duration) -> Option<Duration> {
        let mut desk = self.desk.lock();
        // Who is told to stop at its deadline is given a moment to do so.
        let until = desk.driving.as_ref()?.work.as_ref()?.until.saturating_add(LEAST);
        if now < until {
            return Some(until);
        }
        let mut underway = desk.driving.take()?.work?;
        let purpose = std::mem::replace(&mut underway.purpose, Purpose::Nothing);
        desk.left_behind.push(underway);
        self.complete(&mut desk, purpose, Err(Lost), now);
        self.wake(desk);
        None
    }
}

impl Recovery {
    fn write_down(&self, work: &Work, ticket: u64, now: Duration) -> (Underway, Duration) {
        let (who, name) = work.callee();
        let until = now.saturating_add(work.limit(&self.timing, now));
        (Underway { ticket, who, name, purpose: work.purpose(), until }, until)
    }

    /// Puts down what came out of a piece of work; `None` if the recovery was taken away from this thread meanwhile.
    fn take_in(
        &self,
        ticket: u64,
        done: Result<Done, Lost>,
    ) -> Option<LeafGuard<'_, ranks::RecoveryDesk, Desk>> {
        let now = self.now();
        let mut desk = self.desk.lock();
        if !desk.is_driven_by(ticket) {
            drop(desk);
            // What it found is nobody's any more, and may panic as it is dropped.
            gates::discard([done]);
            self.desk.lock().left_behind.retain(|work| work.ticket != ticket);
            return None;
        }
        let underway = desk.driving.as_mut().and_then(|driving| driving.work.take());
        if let Some(underway) = underway {
            self.complete(&mut desk, underway.purpose, done, now);
        }
        Some(desk)
    }

    /// Nothing is due any more.
    fn rest(&self, mut desk: LeafGuard<'_, ranks::RecoveryDesk, Desk>, now: Duration) -> Option<Duration> {
        desk.driving = None;
        let retry = desk.retry.as_ref().map(|(at, _)| *at);
        let when = [desk.timer, retry, desk.calls.next_deadline()].into_iter().flatten().min();
        drop(desk);
        // Said again each time: it may have come due meanwhile, for somebody who left at once because this thread drove.
        if let Some(when) = when {
            self.wake_at(when);
        }
        when.map(|when| when.saturating_sub(now))
    }

    fn wake_at(&self, when: Duration) {
        let me: Weak<dyn Driven> = Weak::clone(&self.me) as Weak<dyn Driven>;
        self.parts.crew.wake_at(&me, when);
    }
}

/// A recovery that nobody drives any more gives everything back, as at its end.
impl Drop for Recovery {
    fn drop(&mut self) {
        let mut desk = std::mem::take(&mut *self.desk.lock());
        let Holdings { functions, parked, marked, pes, seats, claim } = desk.take_holdings();
        for function in functions.iter() {
            function.function.config().hold_dma(false);
        }
        gates::discard(parked);
        drop((marked, pes));
        gates::discard(seats);
        gates::discard(std::mem::take(&mut desk.rubbish));
        gates::discard([desk]);
        drop(claim);
    }
}
