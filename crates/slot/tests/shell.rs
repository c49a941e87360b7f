//! What is posted and asked reaches the life: in order, bounded, from anywhere, driven by anybody.
#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]

mod world;

use gate::{Deadline, ThreadToken};
use slot::{BLINK, Cause, Event, Features, Finished, MAX_OPERATIONS, Notice, Request, State, Told};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use world::*;

#[test]
fn a_link_that_was_down_between_two_looks_is_a_removal_and_an_addition_hp_14() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    world.plug(token);
    let old = world.function(0);
    for _ in 0..1_000 {
        world.slot.post(Event::Link(false));
        world.slot.post(Event::Link(true));
    }
    world.drive(token);
    assert!(world.notices().contains(&Notice::Revoking(Cause::LinkLost)));
    assert_eq!(world.state(), State::On);
    assert!(old.function().handle().is_gone());
    assert_eq!(world.script.count("hardware.configure"), 2, "a thousand flaps that nobody has seen are one");
}

#[test]
fn a_link_that_stays_down_leaves_a_slot_that_was_tried_once_more() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    world.plug(token);
    world.slot.post(Event::Card(true));
    world.slot.post(Event::Link(false));
    world.script.set("hardware.apply_power", Fault::Fail);
    world.pass(token, Duration::from_secs(60));
    assert_eq!(world.state(), State::Off);
    assert_eq!(world.script.count("hardware.apply_power"), 2);
    world.assert_clean();
}

#[test]
fn a_button_that_was_pressed_any_number_of_times_counts_by_whether_it_was_odd_hp_07() {
    let features = Features { attention_button: true, ..PLAIN };
    for presses in 1..9 {
        let token = &mut ThreadToken::at_thread_entry();
        let world = World::new(features, 1);
        world.slot.post(Event::Card(true));
        world.slot.post(Event::Link(true));
        (0..presses).for_each(|_| world.slot.post(Event::Button));
        world.pass(token, BLINK + SECOND);
        assert_eq!(world.state(), if presses % 2 == 1 { State::On } else { State::Off }, "{presses}");
    }
}

#[test]
fn an_unplug_wins_over_a_link_that_flaps_hp_17() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    world.plug(token);
    world.slot.post(Event::Link(false));
    world.slot.post(Event::Link(true));
    let operation = world.unplug(60);
    world.drive(token);
    assert_eq!(operation.finished(), Some(Finished::Done));
    assert_eq!(world.state(), State::Off);
    assert!(!world.slot.report().comes_back);
}

#[test]
fn a_card_that_is_exchanged_while_the_power_is_cut_comes_up() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(Features::default(), 1);
    world.plug(token);
    world.slot.post(Event::Card(false));
    world.pass(token, Duration::from_millis(500));
    world.slot.post(Event::Card(true));
    world.drive(token);
    assert!(world.slot.report().comes_back);
    world.pass(token, SECOND);
    assert_eq!(world.state(), State::On);
}

#[test]
fn another_card_is_found_anew_and_an_unplug_afterwards_is_final_hp_15() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    world.plug(token);
    let old = world.function(0);
    world.slot.post(Event::Replaced);
    world.drive(token);
    assert!(old.function().handle().is_gone() && world.state() == State::On);
    world.unplug(0);
    world.drive(token);
    assert_eq!(world.state(), State::Off);
}

#[test]
fn more_operations_than_may_wait_are_refused_and_the_others_all_end() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    world.plug(token);
    let _client = Client::new(&world, "client");
    let first: Vec<_> = (0..100).map(|_| world.unplug(60)).collect();
    world.drive(token);
    let second: Vec<_> = (0..100).map(|_| world.unplug(60)).collect();
    world.drive(token);
    let refused = |all: &[Arc<slot::Operation>]| {
        all.iter().filter(|operation| operation.finished() == Some(Finished::TooMany)).count()
    };
    assert_eq!((refused(&first), refused(&second)), (100 - MAX_OPERATIONS, 100));
    assert_eq!(world.slot.report().waiting.len(), MAX_OPERATIONS);
    assert_eq!(world.ask(token, Request::Cancel), Some(Finished::Done), "this is always possible");
    assert!(first.iter().all(|operation| operation.finished().is_some()));
    let ids: std::collections::BTreeSet<_> =
        first.iter().chain(&second).map(|operation| operation.id()).collect();
    assert_eq!(ids.len(), 200);
    let all = world.told.all.lock();
    let (mut begun, mut ended) = (0, 0);
    for told in all.iter() {
        match told {
            Told::Operation(.., None) => begun += 1,
            Told::Operation(.., Some(_)) => ended += 1,
            _ => {}
        }
    }
    assert_eq!((begun, ended), (2 * MAX_OPERATIONS + 1, 2 * MAX_OPERATIONS + 1));
}

#[test]
fn what_only_the_slot_itself_knows_cannot_be_posted() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    world.plug(token);
    let _client = Client::new(&world, "client");
    let operation = world.unplug(60);
    world.drive(token);
    let forged = [
        Event::Revoked,
        Event::Removed,
        Event::PoweredOff,
        Event::Powered(true),
        Event::Configured(true),
        Event::Timer,
        Event::Released,
    ];
    forged.into_iter().for_each(|event| world.slot.post(event));
    world.drive(token);
    assert_eq!(operation.finished(), None, "the client has something still");
}

#[test]
fn two_threads_drive_one_slot_one_at_a_time() {
    let world = World::new(PLAIN, 2);
    let driver = world.driver("driver", true);
    world.slot.post(Event::Link(true));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let token = &mut ThreadToken::at_thread_entry();
                for round in 0..300_u32 {
                    world.slot.post(Event::Card(round % 3 != 0));
                    let asked = if round % 2 == 0 {
                        Request::Enable
                    } else {
                        Request::Disable { timeout: Duration::ZERO }
                    };
                    world.slot.ask(asked);
                    world.slot.drive(token);
                }
            });
        }
    });
    let token = &mut ThreadToken::at_thread_entry();
    world.slot.post(Event::Card(false));
    world.drive(token);
    assert_eq!(world.state(), State::Off);
    assert_eq!(driver.bound.load(Ordering::Acquire), 0);
    world.assert_clean();
}

#[test]
fn a_slot_whose_consumer_hangs_holds_no_other_slot_up() {
    let token = &mut ThreadToken::at_thread_entry();
    let (stuck, other) = (World::new(PLAIN, 1), World::new(PLAIN, 1));
    stuck.plug(token);
    other.plug(token);
    let _client = Client::new(&stuck, "client");
    stuck.script.set("client.revoke", Fault::Hang);
    let operation = stuck.unplug(0);
    std::thread::scope(|scope| {
        scope.spawn(|| stuck.slot.drive(&mut ThreadToken::at_thread_entry()));
        stuck.script.wait_for("client.revoke");
        let free = other.unplug(0);
        other.drive(token);
        assert_eq!(free.finished(), Some(Finished::Done));
        assert_eq!(operation.finished(), None);
        stuck.script.mend("client.revoke");
    });
    assert_eq!(operation.finished(), Some(Finished::Done));
}

#[test]
fn who_waits_for_an_operation_is_woken_by_its_end_and_by_its_own_deadline() {
    let world = World::new(PLAIN, 1);
    let token = &mut ThreadToken::at_thread_entry();
    world.plug(token);
    let _client = Client::new(&world, "client");
    let operation = world.unplug(60);
    assert_eq!(operation.wait(token, Deadline::after(Duration::from_millis(5))), None);
    std::thread::scope(|scope| {
        let waiter =
            scope.spawn(|| operation.wait(&mut ThreadToken::at_thread_entry(), Deadline::after(LONG)));
        world.drive(token);
        world.unplug(0);
        world.drive(token);
        assert_eq!(waiter.join().unwrap(), Some(Finished::Done));
    });
}
