//! A museum of locking: designs that broke, the checker that finds how, and the real gate in the same places.
//!
//! An exhibit is the locking of a bug report, rebuilt in our own words as small as it still breaks. Its test runs it under
//! a checker, which must find the bug; the tests of the design run the same scenario over the real gate, and there the
//! checker must find nothing. `cargo xtask museum` runs both, and the mutants of `mutants.toml`: changes of one line in
//! the real code, each of which must make the test that is named with it fail.
//!
//! What this crate does **not** do: nothing depends on it, and nothing in it runs in the product.
//!
//! Concurrency: the exhibits are wrong on purpose. Everything that they share is the checker's, so that being wrong is a
//! failed test and not undefined behaviour.

#[cfg(shuttle)]
pub mod eeh;
#[cfg(loom)]
pub mod first_use;
#[cfg(loom)]
pub mod freed_poller;
#[cfg(shuttle)]
pub mod hardware;
#[cfg(loom)]
pub mod one_queue;
#[cfg(loom)]
pub mod ops_swap;
#[cfg(loom)]
pub mod page_fault;
#[cfg(loom)]
pub mod stack;
#[cfg(loom)]
pub mod stack_waiter;
#[cfg(shuttle)]
pub mod unplug;
#[cfg(shuttle)]
pub mod zpci;
