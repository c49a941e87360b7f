//! Drivers that do not answer, and drivers that do not come back.

use super::hardware::Manners;
use super::{CARD_PE, House, errors, linger, patient, replug, run, walk};
use crate::machine::ahead;
use crate::machine::tally::{explore_part, note};
use gate::ThreadToken;
use std::time::Duration;

/// As for errors.
const PART: usize = 10;

#[test]
fn a_driver_that_does_not_answer_costs_its_card_and_nothing_else() {
    // EEH-I4, EEH-I5
    explore_part(PART, &["recovered", "failed"], &[], || {
        run(&House::new(Manners::Forgetful, false, patient()), &[errors, replug, walk]);
    });
}

/// Waits for the end of a recovery; only then the driver comes back.
fn recover_and_free(house: &House, token: &mut ThreadToken) {
    linger();
    let id = house.containment.recover(token, CARD_PE).unwrap();
    let end = house.containment.wait_for(token, id, ahead());
    note("end", &end.ok_or(()));
    house.hardware.stuck.let_go();
}

/// Has time pass as soon as somebody is stuck.
fn watchdog(house: &House, _token: &mut ThreadToken) {
    house.hardware.stuck.wait_until_asked();
    house.crew.overdue_all(Duration::from_secs(3600));
}

#[test]
fn a_driver_that_does_not_come_back_is_left_behind() {
    // EEH-I4
    explore_part(PART, &["end", "failed"], &[], || {
        run(&House::new(Manners::Hangs, false, patient()), &[recover_and_free, watchdog, walk]);
    });
}
