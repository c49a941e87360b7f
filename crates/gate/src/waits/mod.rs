//! Who holds what and waits for what, for `portcullis locks` and for the watchdog.
//!
//! Every thread writes a wait down in its own record before it goes to sleep ([`Waiting`]), and takes it out on whatever
//! way it leaves (law 9); that happens on slow paths only. What a gate's closer holds is in the gate, what is inside a gate
//! is in the threads' slots and in the gate. [`snapshot`] puts the three together: one [`Holder`] for each thread that
//! waits, for each gate that is closed, and for whatever somebody waits for.
//!
//! What this module does **not** do: it changes nothing, ends no wait and knows no deadlock when it sees one; it shows
//! who waits for whom, and a circle is a circle.
//!
//! # Concurrency
//! A snapshot blocks nobody and is blocked by nobody. It enters no gate. It takes the leaf of each thread's record and of
//! the list of gates, both held for a copy, and looks behind a gate's lock only if that is free within a millisecond. The
//! parts are read one after the other, so a picture of a busy house may show somebody who waits for what has just gone.

mod collect;
mod entry;
mod gates;
mod holder;
mod operation;
mod watchdog;

pub(crate) use collect::at_gate;
pub use entry::Waiting;
pub(crate) use entry::{Entry, EntryLock};
pub(crate) use gates::register;
pub use holder::{Blocker, Holder, Thread, WaitId, chain};
pub(crate) use operation::Operation;
pub use watchdog::Watchdog;

/// All holders at this moment: who waits longest first, then what is only held.
pub fn snapshot() -> Vec<Holder> {
    let threads = collect::threads();
    let wanted = threads.iter().filter_map(|thread| thread.wait.as_ref()?.gate).collect();
    let gates = gates::look(&wanted);
    holder::assemble(&threads, &gates)
}
