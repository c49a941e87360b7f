//! Complaints about unplugging: shuttle must find in the locking what the complaint is about, within as many schedules as a
//! part has, and nothing when the one thing is changed that it is about.
//!
//! Run with `RUSTFLAGS="--cfg shuttle" cargo test -p museum --release --test complaints`. The numbers in the names are those
//! of `museum::unplug`; report B is that of `museum::zpci`, report E that of `museum::eeh`.
#![cfg(shuttle)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test code; clippy exempts only functions marked as tests"
)]

mod random;

use museum::eeh::{held_over_calls, sliding, taken_again, tree_walk};
use museum::unplug::Order::{self, AsReported, Repaired};
use museum::unplug::{
    bus_walk, close_resets, count_shown, kept_open, mapped, power_tool, taken_twice, two_orders, two_slots,
};
use museum::zpci::{fetched_twice, slot_lock};
use random::explore_a_part;
use shuttle::thread;
use std::panic::catch_unwind;
use std::sync::Arc;

/// A tenth: what is not found in a thousand schedules is not found.
const PART: usize = 10;

/// Shuttle says this of a schedule in which everybody sleeps.
const SLEEPS: &str = "deadlock";

/// The checker finds something in `scenario`, and that is what it complains of.
fn breaks(complaint: &str, scenario: fn()) {
    let panic = catch_unwind(|| explore_a_part(PART, scenario)).expect_err("shuttle found nothing");
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    let text = text.unwrap_or_default();
    assert!(text.contains(complaint), "shuttle found something else: {text}");
}

/// Shows that an exhibit breaks for that reason and for no other.
fn holds(scenario: fn()) {
    explore_a_part(PART, scenario);
}

/// Runs each of `works` on a thread of its own and waits for all.
fn all_at_once<T: Send + Sync + 'static>(on: T, works: &[fn(&T)]) -> Arc<T> {
    let on = Arc::new(on);
    let run = |work: &fn(&T)| {
        let (on, work) = (on.clone(), *work);
        thread::spawn(move || work(&on))
    };
    let threads: Vec<_> = works.iter().map(run).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    on
}

fn pulled_while_its_user_closes_it(order: Order) {
    all_at_once(close_resets::Slot::in_use(order), &[|slot| slot.pulled(), |slot| slot.close()]);
}

#[test]
fn complaint_1_a_pulled_card_and_the_user_that_closes_it_wait_for_each_other() {
    // HP-16
    breaks(SLEEPS, || pulled_while_its_user_closes_it(AsReported));
}

#[test]
fn complaint_1_with_the_reset_lock_let_go_around_the_driver_holds() {
    // HP-16
    holds(|| pulled_while_its_user_closes_it(Repaired));
}

fn asked_to_let_go(order: Order) {
    all_at_once(count_shown::Function::in_use(order), &[|function| function.unbind(), |f| f.user()]);
}

#[test]
fn complaint_2_a_user_that_looks_at_its_device_before_it_lets_go_never_does() {
    // VF-04
    breaks(SLEEPS, || asked_to_let_go(AsReported));
}

#[test]
fn complaint_2_with_a_look_that_takes_no_lock_holds() {
    // VF-04
    holds(|| asked_to_let_go(Repaired));
}

fn two_slots_and_a_dying_process(order: Order) {
    all_at_once(
        two_slots::Machine::in_use(order),
        &[|machine| machine.unplug(0), |machine| machine.unplug(1), |machine| machine.process_dies()],
    );
}

#[test]
fn complaint_3_two_slots_wait_for_each_other_through_the_process_that_has_both() {
    // HP-02, HP-16
    breaks(SLEEPS, || two_slots_and_a_dying_process(AsReported));
}

#[test]
fn complaint_3_with_the_reset_lock_let_go_before_the_topology_is_waited_for_holds() {
    // HP-02, HP-16
    holds(|| two_slots_and_a_dying_process(Repaired));
}

fn removed_while_virtual_functions_are_switched_on(order: Order) {
    let machine = all_at_once(
        two_orders::Machine::in_use(order),
        &[|machine| machine.remove(), |machine| machine.set_virtual_functions(2)],
    );
    assert_eq!(machine.virtual_functions(), 0, "virtual functions without a physical one");
}

#[test]
fn complaint_4_a_removal_and_a_change_of_the_virtual_functions_wait_for_each_other() {
    // HP-18
    breaks(SLEEPS, || removed_while_virtual_functions_are_switched_on(AsReported));
}

#[test]
fn complaint_4_with_both_locks_in_one_order_holds() {
    // HP-18
    holds(|| removed_while_virtual_functions_are_switched_on(Repaired));
}

fn recovered_while_somebody_removes_it(order: Order) {
    all_at_once(taken_twice::Slot::frozen(order), &[|slot| slot.recover(), |slot| slot.remove()]);
}

#[test]
fn complaint_5_a_recovery_waits_for_the_lock_that_it_holds() {
    // HP-02
    breaks(SLEEPS, || recovered_while_somebody_removes_it(AsReported));
}

#[test]
fn complaint_5_with_a_removal_under_the_lock_that_is_held_holds() {
    // HP-02
    holds(|| recovered_while_somebody_removes_it(Repaired));
}

fn an_error_while_interrupts_are_set_up_and_the_bus_is_reset(order: Order) {
    all_at_once(
        bus_walk::Bus::in_use(order),
        &[|bus| _ = bus.error(), |bus| bus.set_interrupts(), |bus| bus.hot_reset()],
    );
}

#[test]
fn complaint_6_three_locks_are_taken_in_a_circle() {
    breaks(SLEEPS, || an_error_while_interrupts_are_set_up_and_the_bus_is_reset(AsReported));
}

#[test]
fn complaint_6_with_nobody_told_under_the_lock_of_the_bus_holds() {
    holds(|| an_error_while_interrupts_are_set_up_and_the_bus_is_reset(Repaired));
}

fn kept_open(order: Order) {
    all_at_once(
        kept_open::Function::in_use(order),
        &[|function| _ = function.unplug_and_shut_down(), |function| function.worker(), |f| f.clock()],
    );
}

#[test]
fn complaint_9_an_unplug_waits_for_somebody_who_waits_for_its_end() {
    // VF-04
    breaks(SLEEPS, || kept_open(AsReported));
}

#[test]
fn complaint_9_with_a_deadline_holds() {
    // VF-04
    holds(|| kept_open(Repaired));
}

fn pulled_under_a_poller(order: Order) {
    all_at_once(mapped::Bar::mapped(order), &[|bar| bar.poll(4), |bar| bar.pulled()]);
}

#[test]
fn complaint_11_a_poller_dies_when_its_card_is_pulled() {
    // HP-12, MM-I3
    breaks("bus error", || pulled_under_a_poller(AsReported));
}

#[test]
fn complaint_11_with_all_ones_in_place_of_the_registers_holds() {
    // HP-12, MM-I3
    holds(|| pulled_under_a_poller(Repaired));
}

fn power_is_cut_when_the_time_is_up(order: Order) {
    all_at_once(
        power_tool::Card::in_use(order),
        &[|card| card.unplug(), |card| card.driver(), |c| c.clock()],
    );
}

#[test]
fn complaint_14_the_power_is_cut_under_a_driver_that_puts_its_device_to_rest() {
    // HP-09, HP-13
    breaks("reached without power", || power_is_cut_when_the_time_is_up(AsReported));
}

#[test]
fn complaint_14_with_the_device_taken_away_first_holds() {
    // HP-09, HP-13
    holds(|| power_is_cut_when_the_time_is_up(Repaired));
}

fn switched_off_while_the_guest_writes_the_region(order: Order) {
    all_at_once(slot_lock::Function::in_use(order), &[|function| function.power_off(), |f| f.guest()]);
}

#[test]
fn report_b_an_unplug_waits_for_a_guest_that_waits_for_the_lock_of_the_unplug() {
    breaks(SLEEPS, || switched_off_while_the_guest_writes_the_region(AsReported));
}

#[test]
fn report_b_with_a_lock_of_its_own_for_requests_holds() {
    holds(|| switched_off_while_the_guest_writes_the_region(Repaired));
}

/// One thread asks for a load that is valid, another for one that is so many bytes long.
fn two_requests_at_once(order: Order, other: u16) {
    let region = Arc::new(fetched_twice::Region::new(order));
    let ask = |address, length| {
        let (region, request) = (region.clone(), fetched_twice::Load { address, length });
        thread::spawn(move || {
            let done = region.write(request);
            assert!(done.is_none_or(|done| done == request), "asked for {request:?}, and {done:?} was done");
        })
    };
    let threads = [ask(0x1000, 8), ask(0x2000, other)];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn report_b_a_request_is_carried_out_that_was_never_checked() {
    // ZIO-I2
    breaks("never checked", || two_requests_at_once(AsReported, 4096));
}

#[test]
fn report_b_a_request_is_carried_out_in_place_of_another() {
    // ZIO-I2
    breaks("asked for", || two_requests_at_once(AsReported, 4));
}

#[test]
fn report_b_with_a_copy_of_its_own_for_each_request_holds() {
    // ZIO-I2
    holds(|| two_requests_at_once(Repaired, 4096));
    holds(|| two_requests_at_once(Repaired, 4));
}

fn walked_while_it_is_changed(order: Order, changes: fn(&tree_walk::Tree)) -> Vec<Option<usize>> {
    let tree = Arc::new(tree_walk::Tree::new(order));
    let same = tree.clone();
    let hot_plug = thread::spawn(move || changes(&same));
    let visited = tree.walk();
    hot_plug.join().unwrap();
    visited
}

fn pulled_under_a_walk(order: Order) {
    let visited = walked_while_it_is_changed(order, |tree| tree.pull());
    assert!(!visited.contains(&None), "a PE is visited that was freed");
}

fn replaced_under_a_walk(order: Order) {
    let visited = walked_while_it_is_changed(order, |tree| {
        tree.pull();
        tree.plug();
    });
    for stays in [2, 3] {
        let visits = visited.iter().filter(|pe| **pe == Some(stays)).count();
        assert_eq!(visits, 1, "a PE that stays is not visited once");
    }
}

#[test]
fn report_e_a_recovery_walks_over_a_pe_that_hot_plug_has_freed() {
    // EEH-I1
    breaks("visited that was freed", || pulled_under_a_walk(AsReported));
}

#[test]
fn report_e_a_walk_misses_what_stays_when_the_memory_of_a_pe_is_used_again() {
    // EEH-I2
    breaks("not visited once", || replaced_under_a_walk(AsReported));
}

#[test]
fn report_e_with_a_lock_over_walks_and_changes_holds() {
    // EEH-I1, EEH-I2
    holds(|| {
        pulled_under_a_walk(Repaired);
        replaced_under_a_walk(Repaired);
    });
}

fn slides_over_what_is_pulled(order: Order) {
    let tree = Arc::new(sliding::Tree::new(order));
    let same = tree.clone();
    let hot_plug = thread::spawn(move || same.pull(2));
    let visited = tree.walk();
    hot_plug.join().unwrap();
    assert!(visited.contains(&1) && visited.contains(&3), "the walk is incomplete");
}

#[test]
fn report_e_the_sliding_walk_ends_where_the_pe_is_removed_that_it_is_at() {
    // EEH-I2
    breaks("incomplete", || slides_over_what_is_pulled(AsReported));
}

#[test]
fn report_e_a_walk_that_goes_on_by_order_and_not_by_links_holds() {
    // EEH-I2
    holds(|| slides_over_what_is_pulled(Repaired));
}

fn recovered_under_the_lock_of_hot_plug(order: Order) {
    all_at_once(taken_again::Machine::new(order), &[|m| _ = m.recover(), |m| m.pull(), |m| _ = m.bus()]);
}

#[test]
fn report_e_a_recovery_takes_the_lock_that_it_has() {
    // EEH-I4
    breaks(SLEEPS, || recovered_under_the_lock_of_hot_plug(AsReported));
}

#[test]
fn report_e_with_the_bus_looked_up_by_who_has_the_lock_holds() {
    // EEH-I4
    holds(|| recovered_under_the_lock_of_hot_plug(Repaired));
}

fn called_by_a_recovery(order: Order) {
    all_at_once(held_over_calls::Machine::in_use(order), &[|m| m.recover(), |m| m.answers()]);
}

#[test]
fn report_e_a_recovery_calls_somebody_who_needs_the_lock_that_it_holds() {
    // EEH-I4
    breaks(SLEEPS, || called_by_a_recovery(AsReported));
}

fn called_while_it_is_unplugged(order: Order) {
    let works: [fn(&held_over_calls::Machine); 4] =
        [|m| m.recover(), |m| m.unplug(), |m| m.answers(), |m| m.lets_go()];
    all_at_once(held_over_calls::Machine::in_use(order), &works);
}

#[test]
fn report_e_an_unplug_waits_for_a_user_who_needs_the_lock_that_it_holds() {
    // EEH-I4
    breaks(SLEEPS, || {
        let works: [fn(&held_over_calls::Machine); 2] = [|m| m.unplug(), |m| m.lets_go()];
        all_at_once(held_over_calls::Machine::in_use(AsReported), &works);
    });
}

#[test]
fn report_e_with_no_lock_over_calls_and_waits_holds() {
    // EEH-I4
    holds(|| called_while_it_is_unplugged(Repaired));
}
