//! Report E: partitionable endpoints that hot-plug takes out while a recovery is at work on them (2019, and again in 2025).
//!
//! | module | what is wrong |
//! |---|---|
//! | [`tree_walk`] | a recovery walks the list of PEs, and hot-plug frees them, with no lock that both take |
//! | [`sliding`] | the walk that was proposed instead holds the PE that it is at, and goes on from there: it is nowhere by then |
//! | [`taken_again`] | all of a recovery is under the lock of hot-plug, and a function that it calls takes that lock |
//! | [`held_over_calls`] | under that lock somebody is called, or waited for, who needs it to answer |
//!
//! The first two are the report and its proposal; the other two are what became of it, and what its author had warned of.
//! [`Order::Repaired`](crate::unplug::Order::Repaired) changes one thing in each, which shows that it is the cause.
//!
//! Concurrency: locks and links are shuttle's. It fails a schedule in which everybody sleeps.

pub mod held_over_calls;
pub mod sliding;
pub mod taken_again;
pub mod tree_walk;
