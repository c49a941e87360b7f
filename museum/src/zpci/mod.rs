//! Report B: the region through which a guest has block operations done, in the locking that it was proposed with (2021).
//!
//! | module | what is wrong |
//! |---|---|
//! | [`slot_lock`] | the lock of the requests is the slot's, and unplugging waits for the user under it |
//! | [`fetched_twice`] | a request is checked in memory that everybody shares, and carried out from there later |
//!
//! The first is what the report is about; the second was in the code that it is about, and the lock did not help, as it was
//! taken between the two looks at the request. [`Order::Repaired`](crate::unplug::Order::Repaired) changes one thing in
//! each, which shows that it is the cause.
//!
//! Concurrency: locks are shuttle's. It fails a schedule in which everybody sleeps.

pub mod fetched_twice;
pub mod slot_lock;
