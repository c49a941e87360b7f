//! From an effect of the life to tasks, and from a task to work.

use super::desk::{Card, Closing, Desk};
use super::work::{Indicator, Task, Work};
use crate::effect::{Effect, Removal};
use crate::event::Event;
use crate::slot::{Leaving, State};
use crate::watch::Told;
use assign::Assignment;
use std::sync::Arc;
use std::time::Duration;

impl Desk {
    pub(super) fn expand(&mut self, effect: Effect, now: Duration) {
        self.effect_until = now.saturating_add(self.effect_timeout);
        match effect {
            Effect::Disconnect => self.tasks.push_back(Task::Disconnect),
            Effect::PowerLamp(lamp) => self.tasks.push_back(Task::Lamp(Indicator::Power, lamp)),
            Effect::AttentionLamp(lamp) => self.tasks.push_back(Task::Lamp(Indicator::Attention, lamp)),
            Effect::SetTimer(when) => self.timer = Some(when),
            Effect::StopTimer => self.timer = None,
            Effect::ApplyPower => self.tasks.push_back(Task::ApplyPower),
            Effect::Configure => self.tasks.push_back(Task::Configure),
            Effect::Ask { nth } => self.ask_everybody(nth),
            Effect::Keep => self.let_everybody_stay(),
            Effect::Revoke => {
                self.take_everything_away(self.removal());
                self.tasks.push_back(Task::Answer(Event::Revoked));
            }
            Effect::Remove(removal) => {
                self.take_everything_away(removal);
                self.tasks.push_back(Task::Unconfigure(removal));
                self.tasks.push_back(Task::Answer(Event::Removed));
            }
            Effect::CutPower => {
                self.tasks.push_back(Task::CutPower);
                self.tasks.push_back(Task::Answer(Event::PoweredOff));
            }
            Effect::Finish(id, how) => {
                if let Some(at) = self.operations.iter().position(|operation| operation.id() == id) {
                    self.tasks.push_back(Task::Finish(self.operations.swap_remove(at), how));
                }
            }
            Effect::Tell(notice) => self.tasks.push_back(Task::Tell(Told::Notice(notice))),
        }
    }

    /// Whether the hardware can be reached while the card is revoked.
    fn removal(&self) -> Removal {
        match self.slot.state() {
            State::Leaving(Leaving::Revoking(cause)) if cause.is_surprise() => Removal::Surprise,
            _ => Removal::Orderly,
        }
    }

    fn functions(&self) -> Arc<[Arc<Assignment>]> {
        Arc::clone(&self.card.functions)
    }

    /// Everything that a task needs, for doing it without the lock; none if there is nothing to do any more.
    pub(super) fn load(&mut self, task: Task) -> Option<Work> {
        match task {
            Task::Tell(told) => (!self.is_left_behind(&self.watch)).then_some(Work::Tell(told)),
            Task::Lamp(which, lamp) => {
                // Beside a call that is left behind, unless that is one of these: a lamp must not go on showing what is over.
                let stuck = self.left_behind.iter().any(|call| call.name.ends_with("_lamp"));
                (!stuck).then_some(Work::Lamp(which, lamp))
            }
            Task::ApplyPower => self.bring_up(Work::ApplyPower, Event::Powered(false)),
            Task::Configure => self.bring_up(Work::Configure, Event::Configured(false)),
            // Beside another call that is left behind, but not twice.
            Task::CutPower => (!self.is_out(&self.hardware, "cut_power")).then_some(Work::CutPower),
            Task::Probe { bond, at } => self.probe(bond, at),
            Task::Offer(at) => self.offer(at),
            Task::Call { bond, call } => self.call(bond, call),
            Task::Unbind { bond } => self.with_bound(bond, |held, bound| Work::Unbind { held, bound }),
            Task::Reply(answering, answer) => Some(Work::Reply(answering, answer)),
            Task::Request { bond, nth } => {
                self.with_bound(bond, |held, bound| Work::Request { held, bound, nth })
            }
            Task::Keep { bond } => self.with_bound(bond, |held, bound| Work::Keep { held, bound }),
            Task::Remove { bond, removal } => {
                self.with_bound(bond, |held, bound| Work::Remove { driver: held.driver, bound, removal })
            }
            Task::Shutdown { bond } => {
                self.with_bound(bond, |held, bound| Work::Shutdown { driver: held.driver, bound })
            }
            Task::LetGo { bond } => {
                let at = self.card.bonds.iter().position(|other| other.id == bond)?;
                Some(Work::LetGo(self.card.bonds.remove(at)))
            }
            Task::Ask { seat, nth } => self.free_seat(seat).map(|seat| Work::Ask { seat, nth }),
            Task::Stay { seat } => self.free_seat(seat).map(Work::Stay),
            Task::Revoke { from } => {
                let next = self.seats.iter().map(|seat| seat.id).find(|id| *id >= from)?;
                self.tasks.push_front(Task::Revoke { from: next + 1 });
                self.seat_to_revoke(next).map(Work::Revoke)
            }
            Task::Check { from } => self.check(from),
            Task::Quiet => Some(Work::Quiet(self.functions())),
            Task::Disconnect => Some(Work::Disconnect(self.functions())),
            Task::Drain => Some(Work::Drain(self.functions())),
            Task::Unconfigure(removal) => {
                // Whoever has seen the card go has closed its gates, so it may not have been quieted; and what is there now may be
                // another one.
                let lost = self.inbox.tells_of_a_loss();
                let removal = if lost { Removal::Surprise } else { removal };
                let card = std::mem::replace(&mut self.card, Card::none());
                (!card.functions.is_empty()).then_some(Work::Unconfigure { card, removal })
            }
            Task::Finish(operation, how) => {
                let told = !self.is_left_behind(&self.watch);
                Some(Work::Finish { operation, how, told })
            }
            Task::Answer(event) => {
                self.answers.push_back(event);
                None
            }
            Task::Closed => {
                self.closing = Closing::Done;
                Some(Work::Closed)
            }
        }
    }
}
