//! What an operator does to the slot of a function: power, reset, recover, report (ZP-09 to ZP-11), and what the platform's events make
//! of it (ZP-05, ZP-06).
//!
//! [`HotplugSlot`] has one method for each. `power` asks the owner of the card, its [`Controller`](::slot::Controller), and returns. `reset` and
//! `recover` claim the function ([`Transition`](crate::Transition)), which keeps out those who would do the same, and nobody else: a
//! removal goes on beside them and ends them. What the machine has to do for them is a [`Unit`]'s.
//!
//! A device that the platform has taken away is frozen and marked failed at once, and gone when the card's owner gets to it. Until then a
//! reset of its consumer's own may end the freeze; instructions do not reach it, for the mark stays.
//!
//! What this module does **not** do: it has no thread and no state of its own, does not decide about the life of a slot, and drives
//! none; it does not know how a function is reset.
//!
//! # Concurrency
//! From any thread; there is no lock here. A claim is no lock: operators try it and never wait for it, and it is void once its device has
//! left. Only an error that the platform tells of waits for it, with nothing held and to its deadline: nobody else would recover the
//! function, and to freeze it beside another's work would destroy that work or come too late for it.
//! So nothing that a consumer needs to let go of a function is kept from it while somebody waits for that (ZIO-I1), which the original
//! did by holding the function's state lock over the removal.

mod error;
mod platform;
mod power;
mod recover;
mod renewal;
mod report;
mod reset;
mod sclp;
mod slot;
mod unit;

pub use error::{Malformed, OperationError, errno_of};
pub use platform::Carried;
pub use recover::Recovered;
pub use report::{ErrorReport, ReportAction};
pub use sclp::{SclpCommand, SclpResponse};
pub use slot::{CardError, HotplugSlot};
pub use unit::{ReportRefused, ResetFailure, Unit};
