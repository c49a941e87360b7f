//! Resets of functions, buses and slots: methods, order, save and restore.
//!
//! ```text
//!             contention, deadline: nothing changed            removed: Error::Removed, the others reopen
//!                  ^                                                ^        ^         ^         ^
//!                  |                                                |        |         |         |
//!  probe --> close the gates --> tell, wake to D0, save, ----> method 1 -> wait ready -> restore, --> tell, reopen
//!  (pure)    (all or none)       COMMAND = INTX_DISABLE        |  ^          |           compare      (thaw if reset)
//!                                                       ENOTTY |  |          | not ready     ^
//!                                                              v  |          v               |
//!                                                          next method, if any; none left ---+
//! ```
//!
//! * [`Method`] and [`Methods`]: the ways to reset a function, which are used, and in which order (`reset_method`).
//! * [`Resets`]: resets of one function ([`Resets::reset_function`]), of everything below a bridge
//!   ([`Resets::reset_bus`]), and of everything that a consumer owns on a bus ([`Resets::hot_reset`]).
//! * [`Custody`]: the same, step by step, for a caller that has closed the functions and goes on with them afterwards: a
//!   recovery ([`Resets::reset_bus_closed`]).
//! * [`SavedState`]: what is kept of a function's configuration space over a reset; [`Preserved`] keeps it over D3.
//! * [`Quirks`], [`Procedures`]: what is to be known of a device, and what the embedder brings.
//!
//! The sequences are written against a small trait (`hold`) and know neither gates nor threads; the closed gates are
//! behind it in service, scripted hardware in tests.
//!
//! What this crate does **not** do: BARs, interrupts and DMA (whoever drives a function is told before and after),
//! the power of slots (`power`), the removal of a function that does not come back.
//!
//! # Concurrency
//! A reset holds the gates of what it reaches, and nothing else: no lock is held while anything happens to a device.
//! Each gate is *parked* while a delay passes, so the thread holds nothing then (law 1), and the removal of the
//! function ends the delay at once (law 4). Several gates are closed together, all or none, in no order that a caller
//! has to know. With gates held, a further one is only tried, never waited for. The two locks (ranks 46 and 47) guard
//! maps, of what is kept between resets and over D3.

// Law 1: whatever waits takes `&mut ThreadToken`; see clippy.toml.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod act;
mod bus;
mod closed;
mod custody;
mod error;
mod facts;
mod hold;
pub mod hot;
mod link;
mod method;
mod methods;
mod peek;
mod policy;
mod preserve;
mod probe;
mod procedures;
mod quirks;
pub mod ranks;
mod ready;
mod recorded;
mod release;
mod resets;
mod saved;
mod secondary;
mod sequence;
mod session;
mod shut;
mod state;
mod subtree;

pub use bus::{Through, check_request};
pub use closed::{BusReset, NotBack};
pub use custody::{Custody, Kept};
pub use error::Error;
pub use method::{METHOD_COUNT, Method};
pub use methods::{ListError, ListWarning, MethodList, Methods};
pub use preserve::Preserved;
pub use probe::Lack;
pub use procedures::{Procedure, Procedures};
pub use quirks::{Quirks, SpecialFlr};
pub use resets::{Done, Probed, Resets};
pub use saved::{BlobError, SavedState};
pub use secondary::BusTimes;
