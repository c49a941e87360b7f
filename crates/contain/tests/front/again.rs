//! Errors during and after a recovery: none is lost, whatever it meets.

use crate::rig::*;
use contain::containment::{Left, Phase};
use contain::pe::PeState;
use contain::report::{Doom, Outcome};
use contain::watch::Told;

#[test]
fn an_error_after_the_thaw_is_told_to_the_recovery_which_finds_it_frozen() {
    let mut house = House::new();
    house.fail_and_turn("02:00.0");
    house.last().thaw();
    house.fail_and_turn("02:00.0");
    assert_eq!(house.last().heard_of_another_error(), 1);
    assert_eq!(house.frozen(), ["02:00.0"]);
    assert_eq!(house.begun().len(), 1);
}

#[test]
fn an_error_that_the_recovery_did_not_hear_of_is_recovered_from_in_its_turn() {
    for before_the_end in [true, false] {
        let mut house = House::new();
        house.fail_and_turn("02:00.0");
        let first = house.last();
        first.thaw();
        if before_the_end {
            house.fail("02:00.0");
        }
        first.end(Outcome::Recovered);
        if !before_the_end {
            house.fail("02:00.0");
        }
        house.turn();
        assert_eq!(house.begun().len(), 2, "before the end: {before_the_end}");
        assert_eq!(house.frozen(), ["02:00.0"]);
        assert!(house.last().id() > house.containment.history()[0].id);
        house.last().recover();
        house.turn();
        assert!(house.frozen().is_empty());
        assert_eq!(house.containment.statistics().freezes, 2);
    }
}

#[test]
fn a_recovery_that_ends_frozen_again_is_followed_by_another_which_counts_eeh_10() {
    let mut house = House::new();
    house.fail_and_turn("02:00.0");
    house.last().thaw();
    house.fail_and_turn("02:00.0");
    house.last().end(Outcome::FrozenAgain);
    house.turn();
    assert_eq!(house.begun().len(), 2);
    let pes = house.containment.pes(&house.token);
    let report = pes.iter().find(|report| report.address == pe(0x0200)).unwrap();
    assert_eq!(report.freezes, 2);
}

#[test]
fn what_failed_for_good_stays_frozen_and_is_told_once() {
    let mut house = House::new();
    house.fail_and_turn("02:00.0");
    house.last().end(Outcome::Failed(Doom::ResetFailed));
    house.turn();
    house.fail_and_turn("02:00.0");
    assert_eq!(house.frozen(), ["02:00.0"]);
    assert_eq!(house.begun().len(), 1);
    assert_eq!(house.containment.recoveries()[0].phase, Phase::Left(Left::Failed(Doom::ResetFailed)));
    let told = house.told();
    let failures = told.iter().filter(|told| matches!(told, Told::PermanentFailure { .. }));
    assert_eq!(failures.count(), 1);
}

#[test]
fn a_thaw_that_races_a_freeze_never_leaves_it_open_while_isolated() {
    // The steps of `Frozen` from two sides, in the order that hurts.
    let mut house = House::new();
    house.fail_and_turn("02:00.0");
    let frozen = house.last().look(|start| start.frozen.clone().unwrap());
    let snapshot = house.containment.tree().snapshot(&house.token);
    for _ in 0..3 {
        frozen.thaw();
        frozen.again(&snapshot);
        assert!(house.state(pe(0x0200)).contains(PeState::ISOLATED));
        assert_eq!(house.frozen(), ["02:00.0"]);
    }
    frozen.thaw();
    assert!(house.frozen().is_empty(), "each count was given back");
}

#[test]
fn a_removed_pe_that_is_held_for_too_long_is_warned_of_once() {
    let mut house = House::new();
    let held = house.containment.tree().find(&house.token, pe(0x0200), contain::pe::Holder::Assignment);
    house.unplug("02:00.0");
    house.follow();
    house.time.advance(std::time::Duration::from_secs(61));
    house.turn();
    house.turn();
    let warnings = house.told().iter().filter(|told| matches!(told, Told::Orphan(_))).count();
    assert_eq!(warnings, 1);
    drop(held);
}
