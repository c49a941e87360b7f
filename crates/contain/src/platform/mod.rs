//! What a recovery asks of the hardware, and the hardware that does it.
//!
//! * [`Platform`] is what the executor calls: is it there, in which state is it, reset it, put its configuration back.
//! * [`Machine`] is the platform as this house has it.
//! * [`ClosedFunctions`] are the gates that the executor has closed for it, which go through a reset closed and come back closed.
//!
//! What this module does **not** do: it decides nothing (that is [`crate::plan`]), and it neither freezes, thaws nor opens a gate: a
//! function that was contained is so after a reset too, until whoever contained it lets it go.
//!
//! # Concurrency
//! Every call is foreign code to its caller: it is made with nothing held, and may be left behind when it does not return. None
//! waits for a consumer; what the hardware needs passes with the gates parked, and the removal of a function ends its part of it.

mod closed;
mod machine;

pub use closed::{CloseFunctionsError, ClosedFunctions};
pub use machine::{Machine, Slots};

use crate::pe::Pe;
use crate::plan::{FunctionId, Queried, Reset, Thaw, Traffic};
use crate::report::Log;
use crate::tree::PeFunction;
use gate::{Deadline, ThreadToken};
use std::sync::Arc;

/// A reset of a PE with all that is below it.
#[derive(Clone, Copy, Debug)]
pub struct ResetRequest<'a> {
    /// The PE at the top.
    pub pe: &'a Pe,
    /// All functions of it and of the PEs below, parents before children.
    pub functions: &'a [Arc<PeFunction>],
    /// Which reset, with its times as they are to pass (EEH-19).
    pub how: Reset,
}

/// The hardware of a recovery. `functions` are always those of a PE and of all PEs below it, parents before children; what
/// was removed meanwhile is passed by.
pub trait Platform: Send + Sync {
    /// Whether at least one device is there (EEH-11).
    fn is_present(&self, token: &mut ThreadToken, functions: &[Arc<PeFunction>]) -> bool;

    /// In which state the hardware of a PE is (EEH-03). Of gates it knows nothing: a PE whose functions answer is active.
    fn state(&self, token: &mut ThreadToken, pe: &Pe, functions: &[Arc<PeFunction>]) -> Queried;

    /// Lets `traffic` through again, without a reset (EEH-14). The gates are the caller's.
    fn thaw(&self, token: &mut ThreadToken, pe: &Pe, functions: &[Arc<PeFunction>], traffic: Traffic)
    -> Thaw;

    /// Keeps the configuration of all functions, resets them, and gives them their time. All that are there are in `closed`;
    /// those that were removed meanwhile are not in it afterwards, and all others still are, closed. True only if all that were
    /// not removed answer: a reset that was carried out and brought nobody back is none (EEH-19).
    ///
    /// What bridges lose is put back, as nothing below them could be reached; the rest is
    /// [`restore_config`](Platform::restore_config)'s. After a reset that failed the configuration that was kept is used for the
    /// next one, whatever is in the functions by then.
    fn reset(
        &self,
        token: &mut ThreadToken,
        request: &ResetRequest<'_>,
        closed: &mut ClosedFunctions,
        deadline: Deadline,
    ) -> bool;

    /// Puts back the configuration that a reset took, bridges before what is below them; of a function that did not answer before
    /// the reset, the copy that was made when it came. False if a function does not answer, or another one answers in its
    /// place.
    fn restore_config(
        &self,
        token: &mut ThreadToken,
        pe: &Pe,
        functions: &[Arc<PeFunction>],
        closed: &mut ClosedFunctions,
        deadline: Deadline,
    ) -> bool;

    /// The hardware's part of unfreezing a PE after a reset (EEH-20).
    fn unfreeze(&self, token: &mut ThreadToken, pe: &Pe, functions: &[Arc<PeFunction>]) -> bool;

    /// Clears what the functions have recorded of errors (AER-06).
    fn clear_error_status(&self, token: &mut ThreadToken, pe: &Pe, functions: &[Arc<PeFunction>]);

    /// Takes a function and what is below it out of the topology as an unplug does (EEH-17). Begins it and does not wait for its
    /// end.
    fn remove(&self, token: &mut ThreadToken, function: &Arc<PeFunction>);

    /// The hardware's state for those who look for the cause, a line for each function.
    fn log(&self, token: &mut ThreadToken, pe: &Pe, functions: &[Arc<PeFunction>], log: Log) -> String;

    /// A function came, and is not frozen: what has to be known of it when it does not answer is looked up.
    fn arrived(&self, token: &mut ThreadToken, function: &Arc<PeFunction>) {
        let _ = (token, function);
    }

    /// A function has gone for good; nothing is kept of it.
    fn left(&self, token: &mut ThreadToken, function: FunctionId) {
        let _ = (token, function);
    }
}
