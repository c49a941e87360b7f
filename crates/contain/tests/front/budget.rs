//! How often a PE may freeze (EEH-10, EEH-I6).

use crate::rig::*;
use contain::budget::FreezeBudget;
use contain::pe::Holder;
use std::time::Duration;
use topology::NodeKind;

fn freeze_and_recover(house: &mut House) -> bool {
    house.fail_and_turn("02:00.0");
    let within = house.last().look(|start| start.within_budget);
    house.last().recover();
    house.turn();
    within
}

#[test]
fn the_sixth_freeze_within_an_hour_is_beyond_the_budget_eeh_10() {
    let mut house = House::new();
    let within: Vec<_> = (0..6).map(|_| freeze_and_recover(&mut house)).collect();
    assert_eq!(within, [true, true, true, true, true, false]);
    house.time.advance(Duration::from_secs(3602));
    assert!(freeze_and_recover(&mut house), "an hour later it counts anew");
}

#[test]
fn an_operator_sets_the_budget_while_it_runs_eeh_27() {
    let mut house = House::new();
    house.containment.set_budget(FreezeBudget { max_freezes: 1, ..FreezeBudget::default() });
    assert!(freeze_and_recover(&mut house));
    assert!(!freeze_and_recover(&mut house));
}

#[test]
fn the_count_survives_a_reset_that_takes_the_functions_out_and_puts_them_back_eeh_i6() {
    let mut house = House::new();
    freeze_and_recover(&mut house);
    house.fail_and_turn("02:00.0");
    let recovery = house.last();
    let before = recovery.look(|start| start.claim.pe().clone());
    // As the executor does it: marked, so that an empty PE stays (EEH-13).
    let mut marked = contain::tree::Marked::new();
    marked.add(&before).unwrap();
    house.unplug("02:00.0");
    house.follow();
    house.plug("02:00.0", NodeKind::Endpoint);
    house.follow();
    drop(marked);
    recovery.recover();
    house.turn();
    let after = house.containment.tree().find(&house.token, pe(0x0200), Holder::Lookup).unwrap();
    assert!(before.is(&after));
    assert_eq!(after.freezes.freezes(), 2);
}

#[test]
fn what_is_not_recovered_spends_nothing() {
    let mut house = House::new();
    house.containment.set_recover(false);
    house.fail_and_turn("02:00.0");
    assert!(house.begun().is_empty());
    assert_eq!(house.frozen(), ["02:00.0"], "frozen and left (EEH-27)");
    let found = house.containment.tree().find(&house.token, pe(0x0200), Holder::Lookup).unwrap();
    assert_eq!(found.freezes.freezes(), 0);
}
