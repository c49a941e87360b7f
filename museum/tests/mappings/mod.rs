//! Memory of a function that consumers have mapped, over a simulated kernel: faults, and everything that takes pages away.
//!
//! The kernel is simulated (`kernel`, `pages`), and so is a consumer's access, which sleeps as long as its fault is not
//! answered. The windows, the mappings, the gate and the function are the real ones. What has to hold in every schedule is
//! asserted where it would be broken (`truth`): no page is made present without a pass or while the memory is shut, none is
//! reached that was made present before it was shut, and at the end everybody has got an answer and every range shows what
//! it should. The scenarios whose names begin with `found` break one of these on purpose.
//!
//! All scenarios together are explored with more than 100,000 schedules: `cargo xtask museum` counts them.

mod come_and_go;
mod faults;
mod hidden;
mod kernel;
mod pages;
mod rogues;
mod slot;
mod taken_away;
mod time_up;
mod truth;

use crate::machine::tally::{explore_much, explore_part};

/// There are twenty scenarios and more.
const PART: usize = 2;

/// Explores `scenario`, and asserts that each of `wanted` has happened in it, and nothing of `never`.
fn explore(wanted: &[&str], never: &[&str], scenario: fn()) {
    explore_part(PART, wanted, never, scenario);
}
