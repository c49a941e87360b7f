//! The calls that are under way, one inside the other: see the head of [`world`](super).

use super::{Due, World};
use crate::clock::Meanwhile;
use gate::ThreadToken;
use slot::Settings;
use std::collections::BTreeSet;
use std::time::Duration;

/// The longest that a call is left hanging while others wait below it on the stack.
const BEARABLE: Duration = Duration::from_secs(2);
/// Actions inside calls, one in the other.
const DEPTH: usize = 6;

/// A call that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Whose controller is driven; nothing for an operator's action.
    slot: Option<usize>,
    /// Another one drives that slot by now.
    stale: bool,
    began: Duration,
    /// Of that, what others' calls on top of it took beyond what it waited for.
    buried: Duration,
}

impl World {
    /// Whether an operator is at something, which may keep functions closed.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.frames.with(|frames| frames.iter().any(|frame| frame.slot.is_none()))
    }

    /// A time that others below on the stack can bear: all of it if there are none, else just too much.
    pub(crate) fn bearable(&self, wanted: Duration, bound: Duration) -> Duration {
        let buries = self.frames.with(|frames| frames.iter().filter(|frame| !frame.stale).count() > 1);
        if buries { wanted.min(bound + BEARABLE) } else { wanted }
    }

    /// Drives one of the slots that were woken; false if there is none.
    pub(crate) fn drive_somebody(&self, token: &mut ThreadToken) -> bool {
        let Some(slot) = self.woken.with(BTreeSet::pop_first) else { return false };
        self.drive(token, slot);
        true
    }

    pub(super) fn drive(&self, token: &mut ThreadToken, slot: usize) {
        // If somebody drives it further down, this returns at once.
        let stale = self.is_driven(slot);
        self.frames.with(|frames| {
            frames.push(Frame { slot: Some(slot), stale, began: self.now(), buried: Duration::ZERO })
        });
        let due = self.bays[slot].controller().drive(token);
        let spent = self.frames.with(|frames| {
            let frame = frames.pop().filter(|frame| !frame.stale);
            frame.map_or(Duration::ZERO, |frame| self.now().saturating_sub(frame.began))
        });
        self.ledger.with(|ledger| ledger.clocks[slot].busy += spent);
        if let Some(after) = due {
            self.set_timer(slot, self.now() + after);
        }
    }

    fn is_driven(&self, slot: usize) -> bool {
        self.frames.with(|frames| frames.iter().any(|frame| frame.slot == Some(slot) && !frame.stale))
    }

    /// Lets time pass inside a call that a controller makes.
    pub(crate) fn linger(&self, token: &mut ThreadToken, slot: usize, time: Duration) {
        self.look_after(slot);
        self.meanwhile(token, self.now().saturating_add(time), &|| false);
    }

    /// Looks after the call of a slot that is under way, now and whenever that is worth while.
    pub(super) fn look_after(&self, slot: usize) {
        let now = self.now();
        if let Some(next) = self.bays[slot].controller().overdue(now) {
            // A look that changes nothing is not worth another one at once.
            let next = next.max(now + Settings::LEAST);
            self.agenda.with(|agenda| {
                agenda.retain(|due| *due != Due::Look(slot));
                agenda.put(next, Due::Look(slot));
            });
        }
    }

    /// A slot is to be driven: nobody drives it, so whoever did so further down on the stack was left behind.
    pub(crate) fn wake(&self, slot: usize) {
        self.woken.with(|woken| woken.insert(slot));
        let now = self.now();
        let left_behind = self.frames.with(|frames| {
            let ours = frames.iter_mut().filter(|frame| frame.slot == Some(slot) && !frame.stale);
            ours.map(|frame| {
                frame.stale = true;
                now.saturating_sub(frame.began)
            })
            .sum()
        });
        self.ledger.with(|ledger| ledger.clocks[slot].busy += left_behind);
    }

    /// How long a slot was busy so far, with calls that are its own.
    pub(crate) fn busy(&self, slot: usize) -> Duration {
        let under_way = self.frames.with(|frames| {
            let ours = frames.iter().find(|frame| frame.slot == Some(slot) && !frame.stale);
            ours.map_or(Duration::ZERO, |frame| self.now().saturating_sub(frame.began))
        });
        self.ledger.with(|ledger| ledger.clocks[slot].busy) + under_way
    }

    /// Does something as an operator would, on no slot's thread.
    pub(crate) fn as_operator<R>(&self, act: impl FnOnce() -> R) -> R {
        self.as_operator_timed(act).0
    }

    /// As [`World::as_operator`], and says how much time that took by itself.
    pub(crate) fn as_operator_timed<R>(&self, act: impl FnOnce() -> R) -> (R, Duration) {
        let began = self.now();
        self.frames.with(|frames| {
            frames.push(Frame { slot: None, stale: false, began, buried: Duration::ZERO });
        });
        let done = act();
        let buried = self.frames.with(Vec::pop).map_or(Duration::ZERO, |frame| frame.buried);
        (done, self.now().saturating_sub(began).saturating_sub(buried))
    }
}

impl Meanwhile for World {
    fn meanwhile(&self, token: &mut ThreadToken, end: Duration, over: &dyn Fn() -> bool) {
        let depth = self.frames.with(|frames| frames.len());
        while !over() && !self.is_violated() {
            let act = self.random.with(|random| random.chance(1, 4))
                && depth < DEPTH
                && self.steps.get() < self.last_step.get()
                && !self.calm.get();
            if self.drive_somebody(token) {
            } else if act {
                self.count_step();
                self.act(token);
            } else if self.do_what_is_due(token) {
                self.count_step();
            } else if let Some(next) = self.agenda.with(|agenda| agenda.next()).filter(|next| *next <= end) {
                self.clock.advance_to(next);
                continue;
            } else {
                self.clock.advance_to(end);
                break;
            }
            self.check(token);
        }
        let late = self.now().saturating_sub(end);
        self.frames.with(|frames| frames.last_mut().map(|top| top.buried += late));
        if let Some(slot) = self.frames.with(|frames| frames.last().filter(|top| !top.stale)?.slot) {
            self.ledger.with(|ledger| ledger.clocks[slot].buried += late);
        }
    }
}
