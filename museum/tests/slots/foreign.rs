//! Foreign code that does not return, or panics: its slot ends all the same, and what it left behind is ended once.

use super::bay::Card;
use super::driver::{OnCall, Visit};
use super::{HOUR, House, ORDERLY, Users, run};
use crate::machine::linger;
use crate::machine::tally::explore_with;
use gate::ThreadToken;
use slot::Finished;
use std::panic::resume_unwind;

fn stuck_in(call: &str, visit: &Visit<'_>) {
    if visit.call == call {
        visit.board.stuck.wait_until_free();
    }
}

/// The unplug ends; only then the callback returns.
fn unplug_and_free(house: &House, token: &mut ThreadToken) {
    linger();
    assert_eq!(house.on(0, ORDERLY, token), Finished::Done);
    house.board.stuck.let_go();
}

/// Has time pass as soon as somebody is stuck.
fn watchdog(house: &House, _token: &mut ThreadToken) {
    while !house.board.stuck.is_free() {
        linger();
        let slot = &house.slots[0];
        if slot.report().calling.is_some_and(|calling| calling.who == "tame") {
            house.board.crew.overdue(slot, HOUR);
        }
    }
}

fn hangs(driver: OnCall) {
    run(Card::Functions(1), Users::Drivers(driver), &[unplug_and_free, watchdog]);
}

#[test]
fn complaint_9_a_driver_that_does_not_answer_a_request_is_left_behind() {
    // VF-04
    explore_with(&["unplug", "hung", "remove"], || hangs(|visit, _| stuck_in("request", visit)));
}

#[test]
fn complaint_9_a_driver_that_does_not_come_back_from_its_removal_is_left_behind() {
    explore_with(&["unplug", "hung", "remove"], || hangs(|visit, _| stuck_in("remove", visit)));
}

#[test]
fn a_driver_that_panics_when_it_is_asked_is_contained() {
    explore_with(&["unplug", "panic", "remove"], || {
        let panics: OnCall = |visit, _| {
            if visit.call == "request" {
                resume_unwind(Box::new("asked"));
            }
        };
        run(Card::Functions(1), Users::Drivers(panics), &[unplug_and_free]);
    });
}
