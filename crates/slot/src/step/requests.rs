//! What operators ask for, by command and by button.

use super::{BLINK, MAX_OPERATIONS, Step};
use crate::effect::{Effect, Finished, Lamp, Notice};
use crate::event::{OperationId, Request};
use crate::slot::{Cause, Leaving, State};
use std::time::Duration;

impl Step<'_> {
    pub(super) fn asked(&mut self, id: OperationId, request: Request) {
        let refused = match request {
            Request::Cancel => Err(self.cancel()),
            _ if self.slot.waiting.len() >= MAX_OPERATIONS => Err(Finished::TooMany),
            Request::Enable => self.asked_to_enable(id),
            Request::Disable { timeout } => self.asked_to_disable(id, timeout),
        };
        if let Err(how) = refused {
            self.order(Effect::Finish(id, how));
        }
    }

    fn asked_to_enable(&mut self, id: OperationId) -> Result<(), Finished> {
        match self.slot.state {
            State::Off | State::BlinkingOn { .. } => {
                self.objection().map_or(Ok(()), Err)?;
                self.slot.waiting.push(id);
                self.power_on();
                Ok(())
            }
            _ => Err(Finished::WrongState),
        }
    }

    fn asked_to_disable(&mut self, id: OperationId, timeout: Duration) -> Result<(), Finished> {
        match self.slot.state {
            State::On | State::BlinkingOff { .. } => {
                self.slot.waiting.push(id);
                self.begin_to_leave(timeout);
            }
            State::Leaving(Leaving::Asked { deadline, .. }) => {
                self.slot.waiting.push(id);
                // The shorter of the two: a second unplug may be in a hurry, and the first loses nothing by it.
                let sooner = deadline.min(self.now.saturating_add(timeout));
                if sooner <= self.now { self.revoke(Cause::Forced) } else { self.set_deadline(sooner) }
            }
            // It leaves already and cannot be hurried (HP-03); nor does it come back now.
            State::Leaving(_) => {
                self.slot.waiting.push(id);
                self.stays_off();
            }
            State::Off | State::BlinkingOn { .. } | State::PoweringOn(_) => {
                return Err(Finished::WrongState);
            }
        }
        Ok(())
    }

    /// Calls off what was begun; how the request to do so ends.
    fn cancel(&mut self) -> Finished {
        match self.slot.state {
            State::BlinkingOn { .. } | State::BlinkingOff { .. } => self.stop_blinking(),
            State::Leaving(Leaving::Asked { .. }) => self.keep(),
            _ => return Finished::TooLate,
        }
        Finished::Done
    }

    pub(super) fn button(&mut self) {
        match self.slot.state {
            State::Off => self.blink(true),
            State::On => self.blink(false),
            State::BlinkingOn { .. } | State::BlinkingOff { .. } => self.stop_blinking(),
            State::PoweringOn(_) | State::Leaving(_) => self.tell(Notice::ButtonIgnored),
        }
    }

    fn blink(&mut self, on: bool) {
        let until = self.now.saturating_add(BLINK);
        self.slot.state = if on { State::BlinkingOn { until } } else { State::BlinkingOff { until } };
        self.order(Effect::PowerLamp(Lamp::Blink));
        self.order(Effect::SetTimer(until));
        self.tell(Notice::ButtonPressed { on });
    }

    pub(super) fn stop_blinking(&mut self) {
        let on = matches!(self.slot.state, State::BlinkingOff { .. });
        self.order(Effect::StopTimer);
        self.order(Effect::PowerLamp(if on { Lamp::On } else { Lamp::Off }));
        self.slot.state = if on { State::On } else { State::Off };
        self.tell(Notice::ButtonCancelled);
        self.finish(Finished::Cancelled);
    }
}
