//! What a driver in this process can be called for from outside of its slot's life, and what comes of it.

use crate::driver::Bound;
use gate::ThreadToken;
use pci_core::recovery::{Channel, Handlers, Vote};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A call of the driver that has a function (AER-01), or a change of who has it. See
/// [`Controller::call_driver`](crate::Controller::call_driver).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverCall {
    /// [`Bound::error_detected`].
    ErrorDetected(Channel),
    /// [`Bound::mmio_enabled`].
    MmioEnabled,
    /// [`Bound::slot_reset`].
    SlotReset,
    /// [`Bound::resume`].
    Resume,
    /// [`Bound::cor_error_detected`].
    CorErrorDetected,
    /// [`Bound::reset_prepare`].
    ResetPrepare,
    /// [`Bound::reset_done`].
    ResetDone,
    /// The driver ends, by [`Bound::remove`], and lets go of the function, which goes on working.
    Unbind,
    /// The function is offered to the drivers of the slot, from the first on, as when its card came up.
    Probe,
}

impl DriverCall {
    /// Which handler this calls; none for a change of who has the function.
    #[must_use]
    pub const fn handler(self) -> Option<Handlers> {
        Some(match self {
            DriverCall::ErrorDetected(_) => Handlers::ERROR_DETECTED,
            DriverCall::MmioEnabled => Handlers::MMIO_ENABLED,
            DriverCall::SlotReset => Handlers::SLOT_RESET,
            DriverCall::Resume => Handlers::RESUME,
            DriverCall::CorErrorDetected => Handlers::COR_ERROR_DETECTED,
            DriverCall::ResetPrepare => Handlers::RESET_PREPARE,
            DriverCall::ResetDone => Handlers::RESET_DONE,
            DriverCall::Unbind | DriverCall::Probe => return None,
        })
    }

    /// The method, for people.
    pub(crate) const fn method(self) -> &'static str {
        match self {
            DriverCall::ErrorDetected(_) => "error_detected",
            DriverCall::MmioEnabled => "mmio_enabled",
            DriverCall::SlotReset => "slot_reset",
            DriverCall::Resume => "resume",
            DriverCall::CorErrorDetected => "cor_error_detected",
            DriverCall::ResetPrepare => "reset_prepare",
            DriverCall::ResetDone => "reset_done",
            DriverCall::Unbind => "remove",
            DriverCall::Probe => "probe",
        }
    }

    /// Calls the handler. Nothing is called for a change of who has the function.
    pub(crate) fn make(self, bound: &mut dyn Bound, token: &mut ThreadToken) -> DriverAnswer {
        match self {
            DriverCall::ErrorDetected(channel) => {
                return DriverAnswer::Vote(bound.error_detected(token, channel));
            }
            DriverCall::MmioEnabled => return DriverAnswer::Vote(bound.mmio_enabled(token)),
            DriverCall::SlotReset => return DriverAnswer::Vote(bound.slot_reset(token)),
            DriverCall::Resume => bound.resume(token),
            DriverCall::CorErrorDetected => bound.cor_error_detected(token),
            DriverCall::ResetPrepare => bound.reset_prepare(token),
            DriverCall::ResetDone => bound.reset_done(token),
            DriverCall::Unbind | DriverCall::Probe => {}
        }
        DriverAnswer::Done
    }

    /// What a driver says that has no handler for it.
    pub(crate) const fn without_handler(self) -> DriverAnswer {
        match self {
            DriverCall::ErrorDetected(_) | DriverCall::MmioEnabled | DriverCall::SlotReset => {
                DriverAnswer::Vote(Vote::None)
            }
            _ => DriverAnswer::Done,
        }
    }
}

/// What came of a [`DriverCall`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverAnswer {
    /// What the driver says; [`Vote::None`] also if it has no handler for this.
    Vote(Vote),
    /// It was done. After [`DriverCall::Probe`] the function has a driver.
    Done,
    /// It could not be done: no driver that the function was offered to could take it, or too many calls wait at this slot.
    Failed,
    /// The driver did not return in time, or panicked, in this call or in an earlier one that has not returned. What it has of the
    /// function it has still.
    Lost,
    /// There is nobody to be called: the function has no driver, or none wants it; the driver was unbound, or the card taken out,
    /// before the call or while it was out; or the slot was shut down.
    NoDriver,
}

/// Who has a function, and which errors it can be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverInfo {
    /// Which the driver calls itself.
    pub name: Arc<str>,
    /// Which error callbacks it has; asked once, when it took the function.
    pub handlers: Handlers,
}

/// Whom to tell what came of a call: exactly once, also if it is dropped.
pub(crate) struct Answering(Option<Box<dyn FnOnce(DriverAnswer) + Send>>);

impl Answering {
    pub(crate) fn new(answer: Box<dyn FnOnce(DriverAnswer) + Send>) -> Answering {
        Answering(Some(answer))
    }

    /// Foreign code; may panic.
    pub(crate) fn give(mut self, answer: DriverAnswer) {
        if let Some(tell) = self.0.take() {
            tell(answer);
        }
    }
}

impl Drop for Answering {
    /// The slot was dropped with the call still waiting: nobody holds anything of it, its lock neither.
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            let _its_own_affair = catch_unwind(AssertUnwindSafe(|| tell(DriverAnswer::NoDriver)));
        }
    }
}
