//! What an operator asks for (EEH-26, EEH-27).

use crate::rig::*;
use contain::containment::{Left, Phase, RefusedError, Then};
use contain::plan::{Flavour, Severity};
use contain::report::Outcome;
use contain::settings::Settings;
use gate::Deadline;
use std::time::Duration;

#[test]
fn a_recovery_is_forced_also_if_nothing_is_recovered_otherwise_eeh_27() {
    let mut house = House::with(Settings { recover: false, ..Settings::default() });
    house.fail_and_turn("02:00.0");
    assert_eq!(house.containment.recoveries()[0].phase, Phase::Left(Left::RecoveryDisabled));
    let id = house.containment.recover(&mut house.token, pe(0x0200)).unwrap();
    assert_eq!((house.last().id(), house.last().pe()), (id, pe(0x0200)));
    house.last().recover();
    house.turn();
    assert_eq!(house.containment.wait_for(&mut house.token, id, soon()), Some(Outcome::Recovered));
    assert!(house.frozen().is_empty());
}

#[test]
fn a_wait_for_a_recovery_ends_at_its_deadline() {
    let mut house = House::new();
    house.fail_and_turn("02:00.0");
    let id = house.last().id();
    assert_eq!(house.containment.wait_for(&mut house.token, id, Deadline::after(Duration::ZERO)), None);
}

#[test]
fn what_is_not_there_is_refused() {
    let mut house = House::new();
    let nowhere = pe(0x0900);
    let containment = house.containment.clone();
    let no_pe = Err(RefusedError::NoPe(nowhere));
    assert_eq!(containment.freeze(&mut house.token, nowhere, "test", Then::Stay), no_pe);
    assert_eq!(containment.thaw(&mut house.token, nowhere), no_pe);
    assert_eq!(containment.recover(&mut house.token, nowhere), Err(RefusedError::NoPe(nowhere)));
    let reported = containment.report(&house.token, at("09:00.0"), Flavour::Eeh, SIGN);
    assert_eq!(reported, Err(RefusedError::NoFunction(at("09:00.0"))));
}

#[test]
fn an_error_of_aer_that_leaves_the_link_working_freezes_nothing_and_is_recovered_once() {
    let mut house = House::new();
    let flavour = Flavour::Aer(Severity::NonFatal);
    for _ in 0..3 {
        house.containment.report(&house.token, at("02:00.0"), flavour, SIGN).unwrap();
    }
    house.turn();
    assert!(house.frozen().is_empty());
    assert_eq!(house.begun().len(), 1);
    house.last().look(|start| {
        assert!(start.frozen.is_none());
        assert_eq!(start.flavour, flavour);
    });
    house.last().end(Outcome::Recovered);
    house.turn();
    assert!(house.containment.recoveries().is_empty());
}

#[test]
fn a_freeze_during_a_recovery_that_froze_nothing_is_recovered_afterwards() {
    let mut house = House::new();
    house.containment.report(&house.token, at("02:00.0"), Flavour::Aer(Severity::NonFatal), SIGN).unwrap();
    house.turn();
    house.fail_and_turn("02:00.0");
    assert_eq!(house.frozen(), ["02:00.0"]);
    assert_eq!(house.last().heard_of_another_error(), 1);
    house.last().end(Outcome::Recovered);
    house.turn();
    assert_eq!(house.begun().len(), 2);
    house.last().look(|start| assert_eq!(start.flavour, Flavour::Eeh));
    house.last().recover();
    house.turn();
    assert!(house.frozen().is_empty());
}

#[test]
fn a_fatal_error_of_aer_isolates_at_once() {
    let mut house = House::new();
    house.containment.report(&house.token, at("02:00.0"), Flavour::Aer(Severity::Fatal), SIGN).unwrap();
    house.containment.report(&house.token, at("02:00.0"), Flavour::Aer(Severity::Fatal), SIGN).unwrap();
    house.turn();
    assert_eq!(house.begun().len(), 1);
    assert_eq!(house.frozen(), ["02:00.0"]);
}

#[test]
fn the_history_forgets_the_oldest() {
    let mut house = House::with(Settings { history: 16, ..Settings::default() });
    for _ in 0..20 {
        house.fail_and_turn("02:00.0");
        house.last().recover();
        house.turn();
    }
    let history = house.containment.history();
    assert_eq!(history.len(), 16);
    assert!(history.windows(2).all(|pair| pair[0].id > pair[1].id), "the latest first");
}

#[test]
fn stopping_waits_for_recoveries_and_lets_everything_go() {
    let mut house = House::new();
    house.fail_and_turn("02:00.0");
    assert!(!house.containment.stop(&mut house.token, Deadline::after(Duration::ZERO)));
    house.last().recover();
    assert!(house.containment.stop(&mut house.token, soon()));
    assert!(house.containment.tree().snapshot(&house.token).is_empty());
}

#[test]
fn a_report_names_who_holds_a_pe_but_not_itself() {
    let mut house = House::new();
    house.fail_and_turn("02:00.0");
    let pes = house.containment.pes(&house.token);
    let report = pes.iter().find(|report| report.address == pe(0x0200)).unwrap();
    let incident = report.incident.clone().unwrap();
    assert_eq!(incident, (house.last().id(), Phase::Recovering(String::from("in the hands of a test"))));
    assert!(report.holders.iter().all(|(holder, _)| *holder != contain::pe::Holder::Operator));
}
