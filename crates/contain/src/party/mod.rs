//! Who has the functions of a PE, as far as its recovery is concerned: drivers here, consumers elsewhere, nobody.
//!
//! * [`Parties`] says who has a function; whoever embeds this crate knows.
//! * [`Party`] is one of them: what it is ([`Role`]), and how it is called. Its answer comes by [`Reply`], at once or later, from
//!   whichever thread.
//! * [`Driver`] is a driver in this process, called through the slot of its function; [`Consumer`] is anybody who is no driver;
//!   [`Nobody`] has nothing to say.
//!
//! What this module does **not** do: it decides nothing about a recovery, and quiesces, saves and restores no model: that is
//! between a recovery and the model.
//!
//! # Concurrency
//! Parties are foreign code: they are called with nothing held and one call at a time for each function, a panic is caught, and
//! who does not return or answer in time is left behind.

mod consumer;
mod driver;
mod nobody;
mod reply;

pub use consumer::{Consumer, Drainer, Holder, Notifier};
pub use driver::Driver;
pub use nobody::Nobody;
pub(crate) use nobody::Unresponsive;
pub(crate) use reply::Hears;
pub use reply::Reply;

use crate::plan::{Call, Channel, Role};
use crate::tree::PeFunction;
use gate::{Deadline, ThreadToken};
use std::sync::Arc;

/// Who has which function.
pub trait Parties: Send + Sync {
    /// Who has `function` now. Asked when a recovery begins, when a function comes while one is under way, and when somebody
    /// else is said to have it.
    fn of(&self, token: &mut ThreadToken, function: &Arc<PeFunction>) -> Arc<dyn Party>;
}

/// Who has one function; see the module's head.
pub trait Party: Send + Sync {
    /// For people.
    fn name(&self) -> String;

    /// What it is. Asked once for each recovery.
    fn role(&self) -> Role;

    /// Whether a hot reset is not enough for its function (EEH-04).
    fn needs_fundamental_reset(&self) -> bool {
        false
    }

    /// Calls it. `reply` may be answered before this returns, or later; dropped unanswered, the call counts as lost.
    fn call(&self, token: &mut ThreadToken, call: Call, reply: Reply);

    /// Sends it its error notification, if it asked for one. Nothing comes back.
    fn notify(&self, token: &mut ThreadToken, channel: Channel) {
        let _ = (token, channel);
    }

    /// Waits up to the deadline until no I/O of its function has memory any more that was taken away from it; false if some may.
    /// Nobody goes on before that, and nothing is reset: a kernel that has pinned pages writes to them whoever has them by then.
    fn drained(&self, token: &mut ThreadToken, deadline: Deadline) -> bool {
        let _ = (token, deadline);
        true
    }

    /// Holds its interrupts back, or lets them through again, up to the deadline.
    fn hold_interrupts(&self, token: &mut ThreadToken, held: bool, deadline: Deadline) {
        let _ = (token, held, deadline);
    }
}
