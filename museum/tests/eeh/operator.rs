//! Operators that freeze, thaw and recover what is being recovered.

use super::{
    ALONE_PE, CARD, CARD_PE, DISK, DISK_PE, House, card_errors, errors, errors_inside, linger, relist,
    replug, run_timed, run_well, walk,
};
use crate::machine::ahead;
use crate::machine::tally::{explore_part, note};
use contain::containment::Then;
use gate::{AccessKind, ThreadToken};
use pci_core::ResetKind;

/// As for errors.
const PART: usize = 10;

fn freeze_and_thaw(house: &House, token: &mut ThreadToken) {
    for pe in [DISK_PE, CARD_PE] {
        linger();
        note("freeze", &house.containment.freeze(token, pe, "museum", Then::Stay));
        linger();
        note("thaw", &house.containment.thaw(token, pe));
    }
}

fn freeze_and_thaw_alone(house: &House, token: &mut ThreadToken) {
    for _ in 0..4 {
        linger();
        note("freeze", &house.containment.freeze(token, ALONE_PE, "museum", Then::Stay));
        note("thaw", &house.containment.thaw(token, ALONE_PE));
    }
}

#[test]
fn an_error_that_meets_a_thaw_is_never_lost() {
    // EEH-I8, EEH-07
    explore_part(PART, &["error inside", "freeze", "thaw", "recovered"], &["gone"], || {
        run_timed(&[errors_inside, freeze_and_thaw_alone, card_errors]);
    });
}

/// What is asked for below a recovery is made part of it.
fn recover_card_often(house: &House, token: &mut ThreadToken) {
    for _ in 0..5 {
        linger();
        note("recover", &house.containment.recover(token, CARD_PE));
    }
}

fn disk_errors(house: &House, token: &mut ThreadToken) {
    for _ in 0..3 {
        linger();
        house.fail(DISK, token);
    }
}

#[test]
fn what_is_made_part_of_a_recovery_is_frozen_when_it_is_reset() {
    // EEH-06, EEH-07
    explore_part(PART, &["recover", "recovered", "error under a pass"], &[], || {
        run_timed(&[recover_card_often, disk_errors, recover_card_often]);
    });
}

/// The disk's PE is frozen again and again, and the card in it leaves and comes back.
fn freeze_disk_often(house: &House, token: &mut ThreadToken) {
    for _ in 0..6 {
        linger();
        note("freeze", &house.containment.freeze(token, DISK_PE, "museum", Then::Stay));
        linger();
        note("thaw", &house.containment.thaw(token, DISK_PE));
    }
}

#[test]
fn a_function_that_leaves_what_is_frozen_goes_free() {
    // EEH-I1
    explore_part(PART, &["freeze", "thaw"], &["failed"], || {
        run_well(&[freeze_disk_often, relist, relist]);
    });
}

fn recover(house: &House, token: &mut ThreadToken) {
    for pe in [CARD_PE, DISK_PE] {
        linger();
        note("recover", &house.containment.recover(token, pe));
    }
}

#[test]
fn operators_freeze_thaw_and_recover_what_fails() {
    // EEH-I7, EEH-27
    explore_part(PART, &["freeze", "thaw", "recover", "recovered"], &["failed", "gone"], || {
        run_well(&[errors, freeze_and_thaw, recover]);
    });
}

#[test]
fn operators_freeze_thaw_and_recover_what_is_being_replaced() {
    // EEH-I1, EEH-I5, EEH-27
    explore_part(PART, &["freeze", "thaw", "recover", "recovered", "failed"], &[], || {
        run_timed(&[freeze_and_thaw, recover, replug, walk]);
    });
}

/// Keeps the disk and what is below it frozen for a while.
fn keep_frozen(house: &House, token: &mut ThreadToken) {
    for _ in 0..2 {
        linger();
        if house.containment.freeze(token, DISK_PE, "museum", Then::Stay).is_err() {
            continue;
        }
        for at in [CARD, DISK, CARD, DISK, CARD, DISK] {
            linger();
            let entered =
                house.function(at).is_some_and(|it| it.handle().try_enter(token, AccessKind::Bar).is_ok());
            assert!(!entered, "{at} was entered, and an operator has frozen it");
        }
        house.containment.thaw(token, DISK_PE).unwrap();
        note("kept frozen", &Ok::<_, ()>(()));
    }
}

#[test]
fn what_an_operator_has_frozen_stays_so_whatever_ends_below_it() {
    // EEH-I7, EEH-07
    explore_part(PART, &["kept frozen", "recovered"], &["gone"], || {
        run_well(&[card_errors, keep_frozen, reset_disk]);
    });
}

/// A consumer's own resets end no freeze.
fn reset_disk(house: &House, token: &mut ThreadToken) {
    let disk = house.function(DISK).unwrap();
    for _ in 0..3 {
        linger();
        disk.reset(token, ResetKind::DeviceReset, ahead()).unwrap();
    }
}
