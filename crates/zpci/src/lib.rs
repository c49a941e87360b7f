//! The s390 view of PCI functions: handles, states, events, instructions, the I/O region.
//!
//! A guest of this architecture does not find its functions by scanning buses. It is given a list of them ([`clp`]), names each by a
//! handle that changes whenever the function is enabled, disabled or exchanged, and reaches them by instructions that take the handle.
//!
//! * A [`Fid`] names a place for ever; a [`Zdev`] is what the machine knows under it, and is RESERVED, STANDBY or CONFIGURED.
//! * A [`View`] is one device there, in one epoch of its gate; whoever owns the slot brings it in and takes it out.
//! * A [`Handle`] names a view, or nothing. No handle is given out twice: a place in the table has a generation, and is given up when
//!   that is used up (`handles`). A stale handle is an error and never another device (ZIO-I3).
//! * A [`Transition`] is the claim of who recovers, resets, enables or disables. It is tried, keeps nobody out who takes the
//!   device away, and is waited for only by who recovers from an error, with nothing held.
//! * [`Event`]s are told to [`Listener`]s; what is to be done about one is a pure function ([`Availability::react`],
//!   [`ErrorCode::react`]).
//! * Instructions ([`Accessor`]) and the region by which a user outside gives them ([`region`]) reach the function through its gate.
//! * [`hotplug`] is the slot as an operator sees it: power, reset, recovery, reports.
//!
//! What this crate does **not** do: it has no sockets, no threads and no device models, it powers no slot and ends no function; that a
//! disabled function's DMA and interrupts stop is for who holds its gate.
//!
//! # Concurrency
//! A device is found by its handle without a lock. All locks are leaves ([`ranks`]), held for a look or a change of a few words;
//! listeners, devices and slots are called with nothing held, and everything that waits takes the thread's token (law 1).

// Law 1: whatever waits takes `&mut ThreadToken`; see clippy.toml.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod clp;
mod description;
mod events;
mod handle;
mod handles;
pub mod hotplug;
mod id;
mod instruction;
#[cfg(all(test, not(any(loom, shuttle))))]
mod model;
pub mod ranks;
pub mod region;
mod resets;
mod settings;
mod state;
mod transition;
mod view;
mod zdev;
mod zpci;

pub use description::Description;
pub use events::{
    Availability, AvailabilityReaction, ErrorCode, ErrorReaction, Event, Listener, Subscription, User,
    Watched, availability_of,
};
pub use handle::Handle;
pub use id::{Fid, Uid};
pub use instruction::{Accessor, AddressSpace, Fault, ProgramCheck, Request, Space, Status};
pub use settings::{Group, Settings};
pub use state::{Configuration, Work};
pub use transition::{RenewError, Transition};
pub use view::View;
pub use zdev::Zdev;
pub use zpci::{AddError, MAX_FUNCTIONS, Zpci};
