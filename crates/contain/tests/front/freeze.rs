//! Freezing and thawing: counted, with what is below (EEH-06, EEH-09).

use crate::rig::*;
use contain::containment::{Left, Phase, RefusedError, Then};
use contain::pe::{Holder, PeState};
use contain::report::Outcome;
use contain::watch::Told;
use topology::NodeKind;

#[test]
fn everything_in_the_pe_and_below_is_frozen_and_nothing_else() {
    let mut house = House::new();
    house.fail_and_turn("01:00.1");
    assert_eq!(house.frozen(), BUS_1);
    assert!(house.state(pe(0x0100)).contains(PeState::ISOLATED));
    let told = Told::Frozen { pe: pe(0x0100), function: Some(at("01:00.1")), sign: Some(SIGN) };
    assert_eq!(house.told()[0], told);
}

#[test]
fn a_recovered_pe_is_thawed_and_forgotten() {
    let mut house = House::new();
    house.fail_and_turn("01:00.0");
    house.last().recover();
    house.turn();
    assert!(house.frozen().is_empty());
    assert!(house.containment.recoveries().is_empty());
    assert!(house.told().contains(&Told::Thawed { pe: pe(0x0100) }));
    let ended = house.containment.history();
    assert_eq!((ended[0].pe, ended[0].outcome, ended[0].resets), (pe(0x0100), Outcome::Recovered, 1));
    let statistics = house.containment.statistics();
    assert_eq!((statistics.recoveries, statistics.recovered, statistics.slot_resets), (1, 1, 1));
}

#[test]
fn a_pe_and_one_above_it_are_frozen_together_and_thawed_in_either_order() {
    for child_first in [true, false] {
        let mut house = House::new();
        for address in [pe(0x0200), pe(0x0100)] {
            house.containment.freeze(&mut house.token, address, "test", Then::Stay).unwrap();
        }
        assert_eq!(house.frozen(), BUS_1);
        let (first, second) = if child_first { (0x0200, 0x0100) } else { (0x0100, 0x0200) };
        house.containment.thaw(&mut house.token, pe(first)).unwrap();
        let left: &[&str] = if child_first { &BUS_1 } else { &["02:00.0"] };
        assert_eq!(house.frozen(), left, "the other freeze holds");
        house.containment.thaw(&mut house.token, pe(second)).unwrap();
        assert!(house.frozen().is_empty());
        assert!(!house.state(pe(0x0100)).contains(PeState::ISOLATED));
        assert!(!house.state(pe(0x0200)).contains(PeState::ISOLATED));
    }
}

#[test]
fn a_pe_that_was_frozen_twice_is_thawed_once() {
    let mut house = House::new();
    for _ in 0..2 {
        house.containment.freeze(&mut house.token, pe(0x0200), "test", Then::Stay).unwrap();
    }
    house.containment.thaw(&mut house.token, pe(0x0200)).unwrap();
    assert!(house.frozen().is_empty());
    let again = house.containment.thaw(&mut house.token, pe(0x0200));
    assert_eq!(again, Err(RefusedError::NotFrozen(pe(0x0200))));
}

#[test]
fn what_is_plugged_into_a_frozen_pe_is_frozen_as_it_comes_and_thawed_with_the_rest() {
    let mut house = House::new();
    house.containment.freeze(&mut house.token, pe(0x0100), "test", Then::Stay).unwrap();
    house.plug("01:00.2", NodeKind::Endpoint);
    house.plug("02:00.1", NodeKind::Endpoint);
    house.follow();
    assert!(house.function("01:00.2").handle().is_contained());
    assert!(house.function("02:00.1").handle().is_contained(), "below it, too");
    assert!(!house.platform.arrived.lock().contains(&at("01:00.2")), "it cannot be looked at");
    house.containment.thaw(&mut house.token, pe(0x0100)).unwrap();
    assert!(house.frozen().is_empty());
    house.plug("01:00.3", NodeKind::Endpoint);
    house.follow();
    assert!(house.frozen().is_empty(), "thawed for good");
}

#[test]
fn what_leaves_a_frozen_pe_is_let_go() {
    let mut house = House::new();
    house.containment.freeze(&mut house.token, pe(0x0100), "test", Then::Stay).unwrap();
    let function = house.function("01:00.1");
    house.unplug("01:00.1");
    house.follow();
    assert!(!function.handle().is_contained());
}

#[test]
fn a_frozen_pe_that_was_removed_is_forgotten() {
    let mut house = House::new();
    house.containment.freeze(&mut house.token, pe(0x0200), "test", Then::Stay).unwrap();
    house.unplug("02:00.0");
    house.follow();
    assert!(house.containment.recoveries().is_empty());
    house.plug("02:00.0", NodeKind::Endpoint);
    house.follow();
    assert!(house.frozen().is_empty());
}

#[test]
fn a_pe_that_is_being_recovered_is_not_thawed_by_hand() {
    let mut house = House::new();
    house.fail_and_turn("02:00.0");
    let refused = house.containment.thaw(&mut house.token, pe(0x0200));
    assert_eq!(refused, Err(RefusedError::Recovering(pe(0x0200))));
    assert_eq!(house.frozen(), ["02:00.0"]);
}

#[test]
fn consumers_that_deal_with_it_keep_it_frozen_until_they_say_so_eeh_21() {
    let mut house = House::new();
    house.fail_and_turn("02:00.0");
    house.last().end(Outcome::Contained);
    house.turn();
    assert_eq!(house.frozen(), ["02:00.0"]);
    assert_eq!(house.containment.recoveries()[0].phase, Phase::Left(Left::Contained));
    assert_eq!(house.containment.statistics().passed_through, 1);
    house.containment.thaw(&mut house.token, pe(0x0200)).unwrap();
    assert!(house.frozen().is_empty());
}

#[test]
fn one_function_is_kept_for_its_consumer_when_the_others_go_on_eeh_20() {
    let mut house = House::new();
    let kept = house.id("01:00.1");
    house.fail_and_turn("01:00.0");
    let recovery = house.last();
    recovery.look(|start| start.frozen.as_ref().unwrap().keep(kept));
    recovery.recover();
    house.turn();
    assert_eq!(house.frozen(), ["01:00.1"]);
    // The rest may fail again, and be recovered again, and it is still kept.
    house.fail_and_turn("01:00.0");
    assert_eq!(house.frozen(), BUS_1);
    house.last().recover();
    house.turn();
    assert_eq!(house.frozen(), ["01:00.1"]);
    house.containment.thaw(&mut house.token, pe(0x0100)).unwrap();
    assert!(house.frozen().is_empty());
}

#[test]
fn a_freeze_by_hand_of_what_is_being_recovered_is_another_error_of_it() {
    let mut house = House::new();
    house.fail_and_turn("02:00.0");
    let stay = house.containment.freeze(&mut house.token, pe(0x0200), "test", Then::Stay);
    assert_eq!(stay, Err(RefusedError::Recovering(pe(0x0200))));
    house.last().thaw();
    house.containment.freeze(&mut house.token, pe(0x0200), "test", Then::Recover).unwrap();
    assert_eq!(house.frozen(), ["02:00.0"]);
    assert_eq!(house.last().heard_of_another_error(), 1);
}

#[test]
fn a_function_that_is_taken_out_of_a_frozen_pe_stays_contained_when_that_is_thawed_eeh_17() {
    let mut house = House::new();
    house.fail_and_turn("00:03.0");
    let recovery = house.last();
    let frozen = recovery.look(|start| start.frozen.clone().unwrap());
    let found = house.containment.tree().of_function(&house.token, at("00:03.1"), Holder::Lookup);
    frozen.take_out(&found.unwrap().1);
    recovery.recover();
    house.turn();
    assert_eq!(house.frozen(), ["00:03.1"]);
    assert!(frozen.keeps_some());
    assert!(frozen.let_go(house.id("00:03.1")));
    assert!(house.frozen().is_empty(), "contained once, however often it was said");
}

#[test]
fn a_function_that_was_torn_out_keeps_no_incident_open_eeh_20() {
    let mut house = House::new();
    house.fail_and_turn("00:03.0");
    let (recovery, kept) = (house.last(), house.id("00:03.1"));
    recovery.look(|start| start.frozen.as_ref().unwrap().keep(kept));
    // Before anybody follows the topology.
    let _orphans = house.function("00:03.1").disconnect(&mut house.token, soon());
    recovery.recover();
    house.turn();
    assert!(house.containment.recoveries().is_empty());
    assert!(house.frozen().is_empty());
}
