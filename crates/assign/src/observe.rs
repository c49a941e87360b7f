//! What a function does by itself or for its guest, told to the operator.

use std::sync::Arc;

use pci_core::{FunctionEvent, Observer, PowerStep, Progress, ResetKind, ResetStep, Stage};

use crate::event::{Event, EventSink};

/// Passes a function's own events on to an [`EventSink`]. Give it to [`pci_core::Function::observed_by`].
///
/// Resets that the consumer or the operator asks for, and freezes, are told by whoever asks, who knows why; they are not
/// told again here.
pub struct Reporter {
    events: Arc<dyn EventSink>,
}

impl Reporter {
    /// A reporter to `events`.
    pub fn new(events: Arc<dyn EventSink>) -> Arc<Reporter> {
        Arc::new(Reporter { events })
    }
}

impl Observer for Reporter {
    fn event(&self, function: &str, event: &FunctionEvent<'_>) {
        let event = match event {
            FunctionEvent::Reset { kind: ResetKind::FunctionLevel } => {
                Event::Reset { reason: "a write to its registers asked for a function level reset" }
            }
            FunctionEvent::ResetFailed { kind: ResetKind::FunctionLevel, error } => {
                Event::NotReset { detail: error.to_string() }
            }
            FunctionEvent::PowerChanged(change) => {
                Event::PowerChanged { from: change.old.name(), to: change.new.name() }
            }
            FunctionEvent::Power(
                step @ (PowerStep::WakeUp
                | PowerStep::Readiness(Progress { stage: Stage::Waiting | Stage::Ready, .. })),
            ) => Event::Notice { detail: step.to_string() },
            FunctionEvent::Power(step) => Event::PowerNotChanged { detail: step.to_string() },
            FunctionEvent::ResetStep(ResetStep::Prepare | ResetStep::Done { reset: false }) => return,
            FunctionEvent::ResetStep(ResetStep::Done { reset: true }) => {
                Event::Reset { reason: "its registers were saved before and restored after" }
            }
            FunctionEvent::ResetStep(step) => Event::Notice { detail: step.to_string() },
            FunctionEvent::PowerNotChanged { error } => Event::PowerNotChanged { detail: error.to_string() },
            FunctionEvent::ReadWhileFrozen { reads } => {
                Event::Notice { detail: format!("{reads} reads while frozen; somebody does not stop") }
            }
            _ => return,
        };
        self.events.event(function, event);
    }
}
