//! Ranked locks: who may take which lock while holding what, mostly decided by the compiler (law 1).
//!
//! * [`Lock`] has a [`Rank`] and is taken at a *place*, which says what is held: `&mut ThreadToken` (nothing),
//!   `&mut Under` of a guard (locks of lower ranks), or a pass or proof of a gate. The guard keeps the place borrowed, so
//!   under a guard no function that waits compiles, and neither does a lock that the rank does not come [`Before`].
//! * [`Leaf`] needs no place and may be taken anywhere, also in callbacks and destructors. In return nothing is taken
//!   under it, and its guard is not kept. [`Condvar`] waits with a leaf.
//! * Each crate lists its ranks in one place with [`ranks!`](crate::ranks); `docs/locks.md` has the table of all.
//!
//! What types cannot see (two places made from one pass, locks behind a `dyn` callback, a wait under a leaf) is caught
//! while the tests run: builds with debug assertions and the model checkers keep a record of what each thread holds,
//! and panic with the names of both locks (module `net`). Release builds keep no such record.
//!
//! What this module does **not** do: it has no reader-writer lock (that is the gate), no fairness, no timeout for a lock.
//! A panic of a holder does not poison.
//!
//! # Concurrency
//! The primitives are those of the crate's `sync` module. A lock that is not free for ten milliseconds is written down in
//! the record of the thread that wants it, with the last holder, for [`crate::waits`]; a lock that is free costs one
//! relaxed store more than its mutex.

mod leaf;
mod monitor;
mod net;
mod rank;
mod ranked;

pub use leaf::{Condvar, Leaf, LeafGuard};
pub(crate) use monitor::{Condition, Monitor, MonitorGuard};
pub(crate) use net::{assert_no_locks, leaf as enter_leaf};
pub use rank::{Before, Rank, RankInfo, ranks};
pub use ranked::{Below, Guard, Lock, Under};
