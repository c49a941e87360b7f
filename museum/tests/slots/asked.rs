//! Users that are asked to let go, and do it in their own way, or do not.

use super::bay::Card;
use super::driver::Visit;
use super::{House, ORDERLY, Users, lister, run, run_in_no_time, unplug_a, unplug_b};
use crate::machine::tally::{explore_part, explore_with, note};
use crate::machine::{at_once, linger};
use gate::ThreadToken;
use slot::{Event, Finished, Request};

/// Looks at its function, at the topology and at its slot before it lets go.
fn looks_first(visit: &Visit<'_>, token: &mut ThreadToken) {
    if visit.call == "request" {
        let function = visit.binding.function();
        note("look", &function.region_read(token, 7, 0, &mut [0; 4]));
        let virtuals = function.function().config().sr_iov().map(|virtuals| virtuals.num_vfs);
        note("count", &virtuals.ok_or(()));
        let own = function.function();
        let shown =
            visit.board.snapshot(token).iter().any(|node| std::sync::Arc::ptr_eq(&node.function, own));
        let _report = visit.slot.as_ref().map(|slot| slot.report());
        visit.board.journal.demand(shown, || "not shown while it is asked for".to_owned());
        visit.binding.release(token);
    }
}

#[test]
fn complaint_2_drivers_look_at_their_devices_before_they_let_go() {
    // VF-04
    explore_with(&["unplug", "look", "count", "remove"], || {
        run(Card::Virtualized, Users::Drivers(looks_first), &[unplug_a, unplug_b, lister]);
    });
}

#[test]
fn users_that_let_go_at_once_need_no_time() {
    // VF-04
    explore_with(&["unplug", "look", "remove"], || {
        run_in_no_time(Card::Virtualized, Users::Drivers(looks_first), &[unplug_a, unplug_b, lister]);
    });
}

/// Has somebody else let go.
fn hands_over(visit: &Visit<'_>, _token: &mut ThreadToken) {
    if visit.call == "request" {
        visit.board.handed.lock().unwrap().push(visit.binding.clone());
        visit.board.stuck.ask();
    }
}

fn let_go_of_what_is_handed_over(house: &House, token: &mut ThreadToken) {
    house.board.stuck.wait_until_asked();
    let handed = std::mem::take(&mut *house.board.handed.lock().unwrap());
    handed.iter().for_each(|binding| binding.release(token));
}

#[test]
fn a_driver_that_lets_go_on_another_thread_needs_no_time() {
    // VF-04
    explore_with(&["unplug", "remove"], || {
        let works = [unplug_a, let_go_of_what_is_handed_over, lister];
        run_in_no_time(Card::Functions(1), Users::Drivers(hands_over), &works);
    });
}

#[test]
fn a_user_outside_that_lets_go_at_once_needs_no_time() {
    // VF-04
    explore_with(&["unplug", "look", "let go"], || {
        run_in_no_time(Card::Functions(1), Users::Holders, &[unplug_a, look_and_let_go, lister]);
    });
}

/// As [`looks_first`], from outside.
fn look_and_let_go(house: &House, token: &mut ThreadToken) {
    let holder = house.holder(0);
    holder.wait_until_asked();
    holder.look(token);
    let _shown = house.board.snapshot(token).iter().count();
    let _report = house.slots[0].report();
    holder.let_go(token);
}

#[test]
fn complaint_2_somebody_outside_looks_at_its_function_before_it_lets_go() {
    // VF-04
    explore_with(&["unplug", "look", "let go", "revocation"], || {
        run(Card::Functions(1), Users::Holders, &[unplug_a, look_and_let_go, lister]);
    });
}

/// Asks its own slot for everything that it can be asked for, and drives it, from within the call that the slot makes.
fn talks_to_its_slot(visit: &Visit<'_>, token: &mut ThreadToken) {
    let slot = visit.slot.clone().unwrap();
    let _report = slot.report();
    let asked = match visit.call {
        "request" => slot.ask(ORDERLY),
        _ => slot.ask(Request::Enable),
    };
    // Waiting for itself would take until the deadline, and no longer.
    note("own end", &asked.wait(token, at_once()).ok_or(()));
    slot.post(Event::Released);
    let driven = slot.drive(token);
    visit.board.journal.demand(driven.is_none(), || "two threads drive one slot (law 2)".to_owned());
    if visit.call == "request" {
        visit.binding.release(token);
    }
}

#[test]
fn complaint_5_a_driver_asks_things_of_the_slot_that_is_calling_it() {
    // HP-02, HP-03
    explore_part(25, &["unplug", "probe", "request", "remove"], &["own end"], || {
        run(Card::Functions(2), Users::Drivers(talks_to_its_slot), &[unplug_a, unplug_b, lister]);
    });
}

/// Waits for the unplug that waits for the holder.
fn keep_until_it_is_over(house: &House, token: &mut ThreadToken) {
    house.over.wait_until_free();
    house.holder(0).let_go(token);
}

fn unplug_and_tell(house: &House, token: &mut ThreadToken) {
    linger();
    assert_eq!(house.on(0, ORDERLY, token), Finished::Done);
    house.over.let_go();
}

#[test]
fn complaint_9_somebody_lets_go_only_when_the_unplug_is_over() {
    // VF-04
    explore_part(25, &["unplug", "request", "revocation"], &["let go"], || {
        run(Card::Functions(1), Users::Holders, &[unplug_and_tell, keep_until_it_is_over, lister]);
    });
}

/// Needs a while to put its device to rest, and uses it meanwhile.
fn let_go_slowly(house: &House, token: &mut ThreadToken) {
    let holder = house.holder(0);
    holder.wait_until_asked();
    for _ in 0..4 {
        linger();
        holder.access(token);
    }
    holder.let_go(token);
}

#[test]
fn complaint_14_the_power_is_cut_when_nothing_reaches_the_device_any_more() {
    // HP-09, HP-13, VF-04
    explore_with(&["unplug", "read", "BAR read", "let go", "revocation", "read of what is gone"], || {
        run(Card::Functions(2), Users::Holders, &[unplug_a, let_go_slowly, unplug_b]);
    });
}

fn cancel(house: &House, token: &mut ThreadToken) {
    linger();
    house.on(0, Request::Cancel, token);
}

fn press(house: &House, _token: &mut ThreadToken) {
    linger();
    house.slots[0].post(Event::Button);
}

#[test]
fn an_unplug_is_called_off_and_asked_for_again_and_each_ends_once() {
    // HP-03, HP-07
    explore_with(&["unplug", "cancel", "let go", "revocation"], || {
        let works = [unplug_a, cancel, unplug_a, press, look_and_let_go, press];
        run(Card::Functions(1), Users::Holders, &works);
    });
}
