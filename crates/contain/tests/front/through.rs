//! From the error to the thaw, with the executor of recoveries.

use crate::rig::*;
use contain::pe::PeState;
use contain::report::Outcome;
use contain::settings::Settings;
use contain::watch::Told;

#[test]
fn an_error_is_frozen_recovered_and_thawed_and_nothing_is_left_behind_eeh_i5() {
    let mut house = House::real(Settings::default());
    house.fail_and_turn("01:00.0");
    assert_eq!(house.frozen(), BUS_1);
    house.drive();
    let ended = house.containment.history();
    assert_eq!(
        ended.iter().map(|ended| (ended.pe, ended.outcome)).collect::<Vec<_>>(),
        [(pe(0x0100), Outcome::Recovered)]
    );
    assert!(house.frozen().is_empty());
    for report in house.containment.pes(&house.token) {
        assert_eq!(report.state, PeState::empty(), "{}", report.address);
        assert_eq!((report.incident, report.holders), (None, Vec::new()), "{}", report.address);
    }
    let told = house.told();
    assert!(told.iter().any(|told| matches!(told, Told::Began { .. })));
}

#[test]
fn the_sixth_error_within_an_hour_is_the_end_of_the_pe_eeh_10() {
    let mut house = House::real(Settings::default());
    for n in 1..=6 {
        house.fail_and_turn("02:00.0");
        house.drive();
        let outcome = house.containment.history()[0].outcome;
        assert_eq!(matches!(outcome, Outcome::Failed(_)), n == 6, "{n}: {outcome:?}");
    }
    assert_eq!(house.frozen(), ["02:00.0"]);
    let told = house.told();
    assert!(told.iter().any(|told| matches!(told, Told::PermanentFailure { .. })));
}

#[test]
fn a_pe_and_one_below_it_that_fail_together_are_both_recovered_eeh_i7() {
    let mut house = House::real(Settings::default());
    house.fail("02:00.0");
    house.fail("01:00.0");
    house.fail("00:03.0");
    house.drive();
    assert!(house.frozen().is_empty());
    let history = house.containment.history();
    assert!(history.iter().all(|ended| ended.outcome == Outcome::Recovered), "{history:?}");
    assert_eq!(history.len(), 3);
}
