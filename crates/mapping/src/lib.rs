//! Memory of a device that consumers map, and that can be taken back from them at any time.
//!
//! A [`Memory`] is what lies behind a BAR or a region. A consumer in this process maps it through its function's
//! [`Mappings`] and gets a [`Mapping`]: pages appear when they are first touched, under a pass of the function's gate, and
//! go again whenever the function cannot be reached. What another process has mapped cannot be unmapped from here; it is
//! hidden, or left behind (`memory`).
//!
//! * `memory` is the device's side: the file, the device's own view of it, and what becomes of a view that was shared;
//! * `window` is one consumer's range of addresses and the rules of what it shows;
//! * `fault` are the threads that answer page faults, `uffd` is the kernel's interface to them;
//! * `access` are loads and stores that may fail, [`sigbus`] has them fail where the process would end;
//! * [`Mappings`] are all of one function: limits, accounts, and what its gate has to say to them.
//!
//! What this crate does **not** do: it knows nothing of PCI. Whether a region can be reached is asked of a [`Reach`].
//!
//! # Concurrency
//! A page is made present under a pass, while [`Reach`] says yes; whoever changes that closes the gate, which drains such
//! passes, and then zaps. Freezing and removal need no drain: they replace the range in one step, and a page that is made
//! present late finds nothing to be put into. Locks are leaves; none is held while waiting.

// Law 1: whatever waits takes `&mut ThreadToken`; see clippy.toml.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

#[allow(unsafe_code, reason = "loads and stores that may fail are instructions with a table of their own")]
mod access;
mod account;
mod area;
mod error;
mod fault;
mod limits;
mod mapping;
mod mappings;
mod memory;
pub mod ranks;
mod reach;
#[allow(unsafe_code, reason = "a process-wide signal handler")]
pub mod sigbus;
mod uffd;
mod window;

pub use access::Value;
pub use account::{MappingReport, MappingState};
pub use area::{Area, Holds};
pub use error::{MapError, MappingError};
pub use limits::MappingLimits;
pub use mapping::Mapping;
pub use mappings::{MapRequest, Mappings, NotSettled, Shared};
pub use memory::Memory;
pub use reach::{OnDisabled, Reach};
pub use window::{Pages, PagesError, Trap, Window};
