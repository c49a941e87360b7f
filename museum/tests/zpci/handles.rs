//! A handle ends with the reset that renews it: who waits meanwhile reaches nothing afterwards.

use super::acts::{recover, set_function, slot_reset};
use super::{Estate, Work, run};
use crate::machine::tally::{explore_part, note};
use crate::machine::{ahead, linger};
use gate::ThreadToken;
use pci_core::BarIndex;
use zpci::{AddressSpace, Request};

/// A program that waits for the function with the last handle that it has heard of.
fn load(estate: &Estate, token: &mut ThreadToken) {
    let bar = AddressSpace::bar(BarIndex::new(0).unwrap());
    for _ in 0..8 {
        linger();
        let Some(handle) = estate.ledger.last(1).pop() else { continue };
        let was_dead = estate.ledger.is_dead(handle);
        let loaded = estate.zpci.load(token, Request::new(handle, bar, 8), 0, ahead());
        note("load", &loaded);
        if let Ok(value) = loaded {
            // The device says how often it was reset, which nobody does here but under a new handle.
            let [mark, resets, ..] = value.to_le_bytes();
            estate.ledger.answered(handle, was_dead, [mark, resets]);
        }
    }
}

fn explore(works: fn()) {
    explore_part(10, &["load"], &[], works);
}

fn beside(other: Work) {
    run(&[load, load, other]);
}

#[test]
fn a_load_that_waits_for_a_reset_of_the_slot_does_not_reach_what_comes_after_it() {
    // ZP-09, ZIO-I3
    explore(|| beside(slot_reset));
}

#[test]
fn a_load_that_waits_for_a_recovery_does_not_reach_what_comes_after_it() {
    // ZP-10, ZIO-I3
    explore(|| beside(recover));
}

#[test]
fn a_load_under_a_handle_that_was_disabled_fails() {
    // ZP-03, ZP-13
    explore(|| beside(set_function));
}
