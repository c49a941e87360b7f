//! What slot operations cannot do themselves: reset the hardware, count virtual functions, and reach the platform.

use super::report::ErrorReport;
use crate::events::User;
use crate::handle::Handle;
use crate::id::Fid;
use gate::{Deadline, ThreadToken};
use pci_core::Function;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use thiserror::Error;

/// The machine around a slot. Called with nothing held; a panic counts as a failure.
pub trait Unit: Send + Sync {
    /// Whether there is any way to reset the function. Waits for nothing.
    fn can_reset(&self, _function: &Function) -> bool {
        true
    }

    /// Closes the function's gate, resets the function, puts its registers back, and opens the gate again, also if the function was
    /// frozen before; a freeze that came meanwhile stays. Returns by the deadline plus what the hardware needs, and at once when the
    /// gate is retired. One that does not return keeps nobody from the next device: it may be called for that one meanwhile.
    ///
    /// # Errors
    /// [`ResetFailure`], which says whether anything was changed: who recovers a function gives it up only if something was.
    fn reset(
        &self,
        token: &mut ThreadToken,
        function: &Arc<Function>,
        deadline: Deadline,
    ) -> Result<(), ResetFailure>;

    /// How many virtual functions the function has switched on. Waits for nothing.
    fn virtual_functions_on(&self, _function: &Function) -> u16 {
        0
    }

    /// Who would have to take part in a recovery from an error (ZP-07); [`User::Failed`] is not the unit's to say. Waits for nothing.
    fn user(&self, _function: &Function) -> User {
        User::PassedThrough
    }

    /// Passes a report on to the platform's service. `handle` is the function's, as it was when the report came.
    ///
    /// # Errors
    /// [`ReportRefused`].
    fn report(&self, _fid: Fid, _handle: Handle, _report: &ErrorReport<'_>) -> Result<(), ReportRefused> {
        Err(ReportRefused::NoFacility)
    }
}

/// Why a unit did not reset a function; for people.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ResetFailure {
    /// Nothing was changed: somebody was inside for too long, the function is not there any more, or something around it came or went.
    #[error("{0}")]
    Untouched(String),
    /// The function may be in any state.
    #[error("{0}")]
    Failed(String),
}

/// Why a report did not reach the platform.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReportRefused {
    /// The platform takes no reports.
    #[error("the platform takes no reports")]
    NoFacility,
    /// It did not take this one.
    #[error("{0}")]
    Failed(String),
}

/// Calls a unit, and catches its panic: what it leaves half done is its own, for its passes and proofs have gone with it.
pub(super) fn contained<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_panic| String::from("it panicked"))
}
