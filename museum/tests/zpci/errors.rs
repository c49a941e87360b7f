//! An error is told while somebody works on the function already: what was recoverable is recovered in the end.

use super::acts::{error_told, recover, set_function, slot_reset};
use super::{Estate, Work, run_and};
use crate::machine::linger;
use crate::machine::tally::explore_part;
use gate::ThreadToken;
use pci_core::IoState;
use zpci::ErrorCode;

fn error(estate: &Estate, token: &mut ThreadToken) {
    linger();
    let slot = &estate.slots[0];
    error_told(estate, slot, slot.zdev().handle(), ErrorCode::ERROR, token);
}

fn works_in_the_end(estate: &Estate) {
    let view = estate.slots[0].zdev().view().unwrap();
    let state = view.function().io_state();
    assert!(state != IoState::Frozen, "frozen, and nobody is going to recover it");
    assert!(!view.has_failed(), "given up for an error that could be recovered from");
}

fn is_enabled_in_the_end(estate: &Estate) {
    works_in_the_end(estate);
    assert!(estate.slots[0].zdev().handle().is_enabled(), "nobody has disabled it");
}

fn explore(works: fn()) {
    explore_part(20, &["error event"], &[], works);
}

fn run(other: Work) {
    run_and(&[error, other], is_enabled_in_the_end);
}

#[test]
fn a_function_that_is_being_recovered_has_an_error() {
    // ZP-07, ZP-10
    explore(|| run(recover));
}

#[test]
fn a_function_that_is_being_reset_has_an_error() {
    // ZP-07, ZP-09
    explore(|| run(slot_reset));
}

#[test]
fn a_function_that_is_being_enabled_has_an_error() {
    // ZP-07
    explore(|| run_and(&[error, set_function], works_in_the_end));
}

#[test]
fn a_function_has_an_error_twice() {
    // ZP-07, ZP-10
    explore(|| run(error));
}
