//! The access gate: passes, closing, epochs, and the proof that a waiting thread holds nothing.
//!
//! Every access to a function passes its [`Gate`]: configuration space, BAR, DMA, interrupt, mapping fault. Accesses
//! are very many and closers (reset, power change, freeze, unplug) are few, so the gate counts accesses in flight
//! and is not a lock around the device.
//!
//! * [`Handle`] is the consumer's side. [`Handle::try_enter`] gives a short [`Pass`] in about two nanoseconds and
//!   never waits; [`Handle::enter`] and [`Handle::enter_long`] wait up to a [`Deadline`].
//! * [`Gate`] is the owner's side. [`Gate::close`] stops entries, drains what is inside and gives a [`Quiesced`] proof;
//!   [`Gate::freeze`] refuses entries at once without waiting; [`Gate::retire`] ends the epoch for good.
//! * [`ThreadToken`] is the proof that a thread holds nothing others could wait for. Whatever may wait takes
//!   `&mut ThreadToken`; a pass or a proof borrows it, so waiting while holding one does not compile.
//! * [`GateCell`] is data read under a pass and replaced under quiescence; a read costs one compare.
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

pub mod barrier;
mod cell;
mod clock;
mod close;
mod deadline;
mod gate;
mod handle;
mod held;
mod long;
mod pass;
mod refusal;
mod state;
mod status;
mod subscribe;
mod sync;
mod thread;
mod word;

pub use cell::GateCell;
pub use close::{Quiesced, ShortQuiesced};
pub use deadline::{Deadline, Until};
pub use gate::Gate;
pub use handle::Handle;
pub use held::{Exclusive, Held};
pub use pass::{LongPass, Pass};
pub use refusal::{AccessKind, Busy, CloseError, Reason, Refusal};
pub use status::{GateState, GateStatus, Inside, InsideKind, Refused, Retired};
pub use subscribe::{Subscription, Wake};
pub use thread::ThreadToken;
pub use word::Epoch;
