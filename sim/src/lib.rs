//! The core in a deterministic world.
//!
//! A [`World`] is made of a seed: slots with the real controllers, topology, resets and power behind them, consumers that do what
//! they should not, hardware that fails, and one thread that lets all of that happen in an order that the seed decides. After
//! every step the [invariants](Invariant) are checked. What was found is found again by the same seed.
//!
//! [`contain`] is another kind of world: forests of PEs of which parts fail and are recovered. [`replay`] is a third: an NVMe back end that
//! dies at any step, and what becomes of the commands that it had.
//!
//! What it does **not** do: see [`World`]; and no sockets, no processes and no guest take part.

mod actions;
mod agenda;
mod bay;
mod card;
mod cell;
mod clock;
mod consumer;
pub mod contain;
mod driver;
mod faults;
mod invariants;
#[cfg(test)]
mod invariants_tests;
mod machine;
mod plan;
mod random;
mod reach;
pub mod replay;
mod rest;
mod s390;
#[cfg(test)]
mod scene;
mod trace;
mod wire;
mod world;

pub use faults::{ConsumerFaults, HardwareFaults, Rate};
pub use invariants::{Invariant, Violation};
pub use machine::{MOST_SLOTS, MachineError};
pub use plan::{Action, Plan};
pub use random::Random;
pub use s390::{Act, Platform};
pub use trace::KEPT;
pub use world::{Options, Outcome, World};
