//! QEMU's monitor protocol (QMP), as far as giving a virtual machine devices and taking them out again needs it.
//!
//! * [`Qmp`] is one connection: commands with deadlines, their answers by number, events.
//! * [`Vm`] is one machine: [`Vm::plug`] is `device_add` of a vfio-user device, [`Vm::unplug`] is `device_del`, again and
//!   again until the guest has let go, and what QEMU answers on the way is understood as errors that say what to do.
//!
//! What this crate does **not** do: it knows neither slots nor functions, and it does not decide which device may be
//! unplugged at all (QEMU 11.1.3 aborts when one with MSI-X is) nor what happens at the deadline. It starts no QEMU and no
//! thread.
//!
//! # The peer is hostile
//! A monitor is a socket that somebody named in a configuration. Whoever answers there decides over no wait, no amount of
//! memory and no log line: lines are bounded to 1 MiB, nesting to what the JSON parser takes, kept events by number and
//! bytes (with a count of those lost), words to 400 bytes without control characters; an answer to what was not asked ends
//! the connection.
//!
//! # Concurrency
//! A [`Qmp`] belongs to one thread at a time. A [`Vm`] is shared: see its module. There is one lock, a leaf
//! ([`ranks::Monitor`]), under which nothing is called and nothing waited for but its own condition. Each call that waits
//! takes a [`gate::ThreadToken`] and a [`gate::Deadline`], and ends soon after the thread's waits are cancelled.

// Law 1: whatever waits takes `&mut ThreadToken`; see clippy.toml.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod backlog;
mod client;
#[cfg(test)]
mod client_tests;
mod error;
#[cfg(test)]
mod fake;
mod inbox;
mod message;
pub mod ranks;
mod socket;
mod vm;

pub use client::Qmp;
pub use error::{Offence, QmpError, Refusal};
pub use message::Event;
pub use vm::{
    Asked, Device, DeviceId, How, InvalidId, Pace, PlugError, PlugOutcome, Plugged, Silence, Status, Step,
    UnplugError, Unplugged, Vm,
};
