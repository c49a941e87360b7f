//! The access gate: passes, closing, epochs, and the proof that a waiting thread holds nothing.
//!
//! Every access to a function passes its [`Gate`]: configuration space, BAR, DMA, interrupt, mapping fault. Accesses
//! are very many and closers (reset, power change, freeze, unplug) are few, so the gate counts accesses in flight
//! and is not a lock around the device.
//!
//! * [`Handle`] is the consumer's side. [`Handle::try_enter`] gives a short [`Pass`] in a nanosecond or two and
//!   never waits; [`Handle::enter`] and [`Handle::enter_long`] wait up to a [`Deadline`].
//! * [`Gate`] is the owner's side. [`Gate::close`] stops entries, drains what is inside and gives a [`Quiesced`] proof;
//!   [`Gate::freeze`] refuses entries at once without waiting; [`Gate::retire`] ends the epoch for good. [`close_all`]
//!   closes several gates or none.
//! * [`Closed`] is a gate that stays closed while its closer waits for a delay of the hardware, which no proof allows.
//! * [`ThreadToken`] is the proof that a thread holds nothing others could wait for. Whatever may wait takes
//!   `&mut ThreadToken`; a pass or a proof borrows it, so waiting while holding one does not compile.
//! * [`GateCell`] is data read under a pass and replaced under quiescence; a read costs one compare. [`Published`] is data
//!   that belongs to no gate: replaced while it is read, and given back when nobody reads it any more.
//! * [`Wake`] and [`Handle::admission`] are for those who do not enter but follow a gate: what shows a function's memory.
//! * [`Canceller`] ends a thread's waits from outside, as if their deadlines had passed.
//!
//! What this crate does **not** do: it knows nothing of PCI, it runs no thread and calls no device. What a refusal
//! means to an access (wait, all-ones, drop and count) is decided by the caller.
//!
//! # Concurrency
//!
//! The reader's path is an asymmetric Dekker protocol: a reader stores the gate it enters into a slot of its own
//! thread's record and then loads the gate's state word; a closer stores the state word and then reads all slots.
//! [`barrier`] supplies the ordering between the two halves: a compiler fence for the reader, `membarrier(2)` for the
//! closer. Everything else (who may close, who waits, long passes) is under one lock per gate that is never held while
//! waiting. `docs/locks.md` ranks the locks and states the rules of waiting and fairness.

// Law 1: whatever waits takes `&mut ThreadToken`; see clippy.toml.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod admission;
pub mod barrier;
mod cancel;
mod cell;
mod clock;
mod close;
mod closed;
mod deadline;
mod freeze;
mod gate;
mod handle;
mod held;
pub mod lock;
mod long;
mod ownership;
mod pass;
mod proof;
mod published;
mod refusal;
mod set;
mod state;
mod status;
mod subscribe;
mod sync;
mod thread;
mod trial;
pub mod waits;
mod word;

pub use admission::Admission;
pub use cancel::Canceller;
pub use cell::GateCell;
pub use closed::{Closed, Gone};
pub use deadline::{Deadline, Until};
pub use gate::Gate;
pub use handle::Handle;
pub use held::{Exclusive, Held};
pub use pass::{LongPass, Pass};
pub use proof::{Quiesced, ShortQuiesced};
pub use published::{Published, Reading, StillRead};
pub use refusal::{AccessKind, Busy, CloseError, Reason, Refusal};
pub use set::{CloseAllError, ClosedSet, QuiescedSet, TryCloseAllError, close_all, try_close_all};
pub use status::{GateOwner, GateState, GateStatus, Inside, InsideKind, Refused, Retired, Waiter, WaitsTo};
pub use subscribe::{Subscription, Wake};
pub use thread::ThreadToken;
pub use word::Epoch;
