//! What happens to functions, who is told, and what is to be done about it.
//!
//! Availability events come from the life of a slot ([`Zdev::noticed`](crate::Zdev::noticed)), error events from a device
//! ([`Watched`]) and from who recovers it. Both are told to every [`Listener`] of the machine. What a machine makes of one is a pure
//! function of it and of how things stand ([`Availability::react`], [`ErrorCode::react`]); whoever owns the slot carries it out.

mod availability;
mod error;
mod from_slot;
mod listeners;
mod sink;

pub use availability::{Availability, AvailabilityReaction};
pub use error::{ErrorCode, ErrorReaction, User};
pub use from_slot::availability_of;
pub(crate) use listeners::Listeners;
pub use listeners::{Listener, Subscription};
pub use sink::Watched;

use crate::handle::Handle;
use crate::id::Fid;

/// Something happened to a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A device came or went, or was asked for (ZP-05).
    Availability {
        /// Of which place.
        fid: Fid,
        /// The handle as it was then.
        handle: Handle,
        /// What.
        pec: Availability,
    },
    /// A device or the way to it has an error (ZP-06).
    Error {
        /// Of which place.
        fid: Fid,
        /// The handle as it was then: a reaction to an event whose handle is stale is a reaction to another device.
        handle: Handle,
        /// Which.
        pec: ErrorCode,
    },
    /// The function has another handle. The architecture has no such event: a guest learns of its handle from commands; users in this
    /// process learn of it here.
    Handle {
        /// Of which place.
        fid: Fid,
        /// Names nothing any more.
        old: Handle,
        /// [`Handle::NONE`] of a function that has none.
        new: Handle,
    },
}
