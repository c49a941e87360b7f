//! A call returns that was left behind.

use super::Controller;
use super::call::contained;
use super::take_away;
use super::work::Done;
use crate::binding::Binding;
use crate::driver::Bound;
use crate::effect::Removal;
use crate::event::Event;
use gate::{Deadline, ThreadToken};

impl Controller {
    /// Ends what came out of it, which the slot has given up. Until that is done the call counts as left behind, so nothing new of
    /// its kind is begun.
    pub(super) fn late(&self, token: &mut ThreadToken, ticket: u64, done: Done) {
        // What it found may panic as it is let go of or dropped.
        let _ = contained(|| self.end_late(token, done));
        self.desk.lock().left_behind.retain(|call| call.ticket != ticket);
        // Who was left behind could not be asked whether it still held something, and may have let go of it meanwhile.
        self.post(Event::Released);
    }

    fn end_late(&self, token: &mut ThreadToken, done: Done) {
        match done {
            Done::Probed(binding, Ok((bound, _)))
            | Done::Back(binding, bound)
            | Done::Answered(binding, bound, _) => end(token, &binding, bound),
            Done::Probed(binding, Err(_)) | Done::Attached(_, binding) | Done::Unbound(binding) => {
                binding.release(token);
            }
            Done::Configured(Ok(functions), _) => {
                take_away::disconnect(&functions, token);
                let deadline = Deadline::after(self.settings.effect_timeout);
                let hardware = &self.parts.hardware;
                // It has failed already, as far as anybody is told.
                let _ = contained(|| hardware.unconfigure(token, &functions, Removal::Surprise, deadline));
            }
            Done::Power(true) => {
                // The slot has gone off without it, and its power was cut too early.
                let deadline = Deadline::after(self.settings.effect_timeout);
                let _ = contained(|| self.parts.hardware.cut_power(token, deadline));
            }
            _ => {}
        }
    }
}

/// The last call of a driver, on the thread that it has kept.
fn end(token: &mut ThreadToken, binding: &Binding, bound: Box<dyn Bound>) {
    let gone = binding.function().function().handle().is_gone();
    let removal = if gone { Removal::Surprise } else { Removal::Orderly };
    let _ = contained(|| bound.remove(token, removal));
    binding.release(token);
}
