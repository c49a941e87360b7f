//! Drivers that are called for errors of their functions while their cards come and go.

use super::bay::Card;
use super::driver::Visit;
use super::{House, Users, lister, pull_a, run, unplug_a};
use crate::machine::linger;
use crate::machine::tally::{explore_with, note};
use gate::ThreadToken;
use pci_core::recovery::Channel;
use slot::{DriverAnswer, DriverCall, Request};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;

/// Lets go when it is asked to, and takes its time over everything else.
fn takes_time(visit: &Visit<'_>, token: &mut ThreadToken) {
    shuttle::thread::yield_now();
    if visit.call == "request" {
        visit.binding.release(token);
    }
}

/// A pulled card takes no call into account: the thread that makes it is left behind, and ends the driver when it comes back.
fn pull_and_leave_behind(house: &House, token: &mut ThreadToken) {
    house.board.out_of_turn.store(true, Relaxed);
    pull_a(house, token);
}

/// Has the driver of the first slot called, as a recovery does.
fn call(house: &House, calls: &[DriverCall]) {
    for call in calls {
        linger();
        let Some(function) = house.bays[0].function() else { continue };
        let (journal, slot) = (house.board.journal.clone(), house.slots[0].clone());
        let (number, same) = (journal.asks(), slot.clone());
        let answer = move |answer: DriverAnswer| {
            journal.answered(number);
            // A look at the slot takes its desk: the net would find that it is held.
            let free = catch_unwind(AssertUnwindSafe(|| drop(same.report()))).is_ok();
            journal.demand(free, || "answered with something held".to_owned());
            let done = matches!(answer, DriverAnswer::Vote(_) | DriverAnswer::Done);
            note(if done { "answered" } else { "nobody's" }, &Ok::<_, ()>(()));
        };
        slot.call_driver(function.function(), *call, Box::new(answer));
    }
}

fn recover(house: &House, _token: &mut ThreadToken) {
    use DriverCall::{ErrorDetected, Resume, SlotReset};
    call(house, &[ErrorDetected(Channel::Frozen), SlotReset, Resume, ErrorDetected(Channel::PermFailure)]);
}

fn unbind_and_probe(house: &House, _token: &mut ThreadToken) {
    house.board.out_of_turn.store(true, Relaxed);
    call(house, &[DriverCall::Unbind, DriverCall::Probe, DriverCall::Unbind, DriverCall::Probe]);
}

fn unplug_and_plug_a(house: &House, token: &mut ThreadToken) {
    unplug_a(house, token);
    house.on(0, Request::Enable, token);
}

#[test]
fn every_call_of_a_driver_is_answered_once_while_its_card_is_unplugged_and_comes_back() {
    // AER-01, VF-04
    explore_with(&["answered", "nobody's", "error detected", "slot reset", "unplug", "plug"], || {
        run(Card::Functions(1), Users::Drivers(takes_time), &[recover, unplug_and_plug_a, lister]);
    });
}

#[test]
fn every_call_of_a_driver_is_answered_once_while_its_card_is_pulled() {
    // AER-01, HP-12
    explore_with(&["answered", "nobody's", "error detected"], || {
        run(Card::Functions(2), Users::Drivers(takes_time), &[recover, pull_and_leave_behind, recover]);
    });
}

#[test]
fn a_function_is_unbound_and_probed_while_its_card_is_unplugged_and_comes_back() {
    // EEH-18
    explore_with(&["answered", "nobody's", "remove", "unplug", "plug"], || {
        run(Card::Functions(1), Users::Drivers(takes_time), &[unbind_and_probe, unplug_and_plug_a, recover]);
    });
}
