//! What the platform's events make of a slot and its function (ZP-05 to ZP-07), row by row.
#![allow(clippy::unwrap_used, reason = "test code")]

mod bay;

use bay::*;
use gate::ThreadToken;
use pci_core::IoState;
use slot::{Features, Finished, Request};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use zpci::hotplug::{Carried, HotplugSlot, OperationError, Recovered};
use zpci::{Availability, Configuration, ErrorCode, Event, Fid, Handle, Uid, User, View};

fn comes(slot: &HotplugSlot, token: &mut ThreadToken, code: u16) -> Carried {
    let (fid, handle) = (slot.zdev().fid(), slot.zdev().handle());
    let event = Event::Availability { fid, handle, pec: Availability::from_code(code) };
    slot.event(token, &event, soon())
}

fn error(slot: &HotplugSlot, token: &mut ThreadToken, handle: Handle, code: u16) -> Carried {
    let event = Event::Error { fid: slot.zdev().fid(), handle, pec: ErrorCode(code) };
    slot.event(token, &event, soon())
}

/// Of three states the one that is asked for.
fn world_in(state: Configuration, token: &mut ThreadToken) -> World {
    match state {
        Configuration::Reserved => World::empty(BUTTON, 1),
        Configuration::Standby => World::in_standby(BUTTON, token),
        Configuration::Configured => World::configured(1, token),
    }
}

fn frozen_and_failed(world: &World) -> (bool, bool) {
    let view = world.view();
    (view.function().io_state() == IoState::Frozen, view.has_failed())
}

/// Nothing is changed by any of the codes in any of the states.
fn assert_ignored(states: &[Configuration], codes: &[u16]) {
    let token = &mut ThreadToken::at_thread_entry();
    for state in states {
        for code in codes {
            let world = world_in(*state, token);
            let carried = comes(world.first(), token, *code);
            assert!(matches!(carried, Carried::Ignored), "{code:#x} in {state:?}: {carried:?}");
            world.slot.drive(token);
            assert_eq!(world.configuration(), *state, "{code:#x}");
            assert!(world.slot.report().waiting.is_empty() && world.ear.heard().is_empty());
        }
    }
}

#[test]
fn a_device_in_standby_is_configured_by_0x0301_zp_05() {
    let token = &mut ThreadToken::at_thread_entry();
    for features in [PLAIN, BUTTON, Features::default()] {
        let world = World::in_standby(features, token);
        let Carried::Asked(operation) = comes(world.first(), token, 0x0301) else { panic!() };
        assert_eq!(world.drive(token, &operation), Some(Finished::Done), "{features:?}");
        assert_eq!(world.configuration(), Configuration::Configured);
    }
}

#[test]
fn a_device_that_was_reserved_is_configured_by_0x0301_zp_05() {
    let token = &mut ThreadToken::at_thread_entry();
    for features in [PLAIN, BUTTON, Features::default()] {
        let world = World::empty(features, 1);
        let carried = comes(world.first(), token, 0x0301);
        world.slot.drive(token);
        assert_eq!(world.configuration(), Configuration::Configured, "{features:?}");
        match carried {
            Carried::Asked(operation) => assert_eq!(operation.finished(), Some(Finished::Done)),
            Carried::Posted => assert!(!features.attention_button),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_device_appears_by_0x0302_and_waits_for_its_button_if_it_has_one_zp_05() {
    let token = &mut ThreadToken::at_thread_entry();
    for (features, state) in [
        (BUTTON, Configuration::Standby),
        (PLAIN, Configuration::Configured),
        (Features::default(), Configuration::Configured),
    ] {
        let world = World::empty(features, 1);
        assert!(matches!(comes(world.first(), token, 0x0302), Carried::Posted));
        world.slot.drive(token);
        assert_eq!(world.configuration(), state, "{features:?}");
    }
}

#[test]
fn a_card_whose_link_comes_with_its_power_is_not_said_to_have_one_before() {
    let token = &mut ThreadToken::at_thread_entry();
    for code in [0x0301, 0x0302] {
        let world = World::empty(Features::default(), 1);
        world.break_link();
        assert!(matches!(comes(world.first(), token, code), Carried::Posted));
        world.pass(token, Duration::from_secs(5));
        assert_eq!(world.configuration(), Configuration::Standby, "{code:#x}");
    }
}

#[test]
fn a_device_that_is_wanted_back_is_asked_for_by_0x0303_and_its_consumer_is_not_waited_for_zp_05() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let attached = world.assignment(0).attach(token).unwrap();
    let Carried::Asked(operation) = comes(world.first(), token, 0x0303) else { panic!() };
    assert_eq!(operation.request(), Request::Disable { timeout: UNPLUG });
    assert_eq!(world.drive(token, &operation), None);
    assert_eq!(world.asked(), 1);
    world.assert_works(token);
    attached.detach(token);
    world.slot.post(slot::Event::Released);
    assert_eq!(world.drive(token, &operation), Some(Finished::Done));
    assert_eq!(world.configuration(), Configuration::Standby);
}

#[test]
fn a_device_that_was_taken_away_is_dead_at_once_by_0x0304_and_nobody_is_asked_zp_05() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let _attached = world.assignment(0).attach(token).unwrap();
    let Carried::Asked(operation) = comes(world.first(), token, 0x0304) else { panic!() };
    assert_eq!(frozen_and_failed(&world), (true, true), "before anybody drives");
    assert_eq!(world.drive(token, &operation), Some(Finished::Done));
    assert_eq!((world.configuration(), world.asked()), (Configuration::Standby, 0));
    assert_eq!(world.power(token, true), Some(Finished::Done));
    world.assert_works(token);
}

#[test]
fn a_device_that_is_reserved_by_0x0308_while_it_is_used_is_torn_out_zp_05() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let _attached = world.assignment(0).attach(token).unwrap();
    assert!(matches!(comes(world.first(), token, 0x0308), Carried::Posted));
    assert_eq!(frozen_and_failed(&world), (true, true), "before anybody drives");
    world.slot.drive(token);
    assert_eq!((world.configuration(), world.asked()), (Configuration::Reserved, 0));
    assert_eq!(world.zdev().handle(), Handle::NONE);
}

#[test]
fn a_device_in_standby_is_reserved_by_0x0308_zp_05() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::in_standby(BUTTON, token);
    assert!(matches!(comes(world.first(), token, 0x0308), Carried::Posted));
    world.slot.drive(token);
    assert_eq!(world.configuration(), Configuration::Reserved);
}

#[test]
fn a_rescan_of_everything_by_0x0306_is_the_topologys_zp_05() {
    let token = &mut ThreadToken::at_thread_entry();
    for state in [Configuration::Reserved, Configuration::Standby, Configuration::Configured] {
        let world = world_in(state, token);
        assert!(matches!(comes(world.first(), token, 0x0306), Carried::RescanAll));
        assert_eq!(world.configuration(), state);
    }
}

#[test]
fn events_that_are_late_change_nothing_zp_05() {
    assert_ignored(&[Configuration::Configured], &[0x0301, 0x0302]);
    assert_ignored(&[Configuration::Standby], &[0x0302, 0x0303, 0x0304]);
    assert_ignored(&[Configuration::Reserved], &[0x0303, 0x0304, 0x0308]);
}

#[test]
fn events_that_nobody_knows_change_nothing_zp_05() {
    let all = [Configuration::Reserved, Configuration::Standby, Configuration::Configured];
    assert_ignored(&all, &[0, 0x0300, 0x0305, 0x0307, 0x0309, u16::MAX]);
}

#[test]
fn events_of_other_functions_change_nothing() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(2, token);
    let (fid, handle) = (Fid(FIRST + 1), world.slots[1].zdev().handle());
    let events = [
        Event::Availability { fid, handle, pec: Availability::Deconfigured },
        Event::Error { fid, handle, pec: ErrorCode::PERMANENT },
        // The identifier says whose it is, also beside a handle of this one.
        Event::Error { fid, handle: world.zdev().handle(), pec: ErrorCode::PERMANENT },
        Event::Handle { fid: Fid(FIRST), old: handle, new: Handle::NONE },
    ];
    for event in events {
        assert!(matches!(world.first().event(token, &event, soon()), Carried::Ignored), "{event:?}");
    }
    world.assert_works(token);
    assert!(world.slot.report().waiting.is_empty());
}

#[test]
fn a_virtual_function_comes_and_goes_with_its_physical_one_and_dies_by_itself() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let zdev = world.zpci.add_virtual(world.zdev(), 1, Fid(0x99), Uid::NONE).unwrap();
    let slot = world.first().of_virtual(zdev.clone());
    for code in [0x0301, 0x0302] {
        assert!(matches!(comes(&slot, token, code), Carried::Ignored), "{code:#x}");
    }
    let function = assignment("vf").function().clone();
    zdev.bring_in(token, View::of_function(&zdev, function.clone(), 128));
    assert!(matches!(comes(&slot, token, 0x0303), Carried::Ignored));
    assert!(matches!(comes(&slot, token, 0x0304), Carried::GivenUp));
    assert!(function.io_state() == IoState::Frozen && zdev.view().unwrap().has_failed());
    world.slot.drive(token);
    world.assert_works(token);
}

#[test]
fn an_error_with_a_stale_handle_is_ignored_zp_06() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    *world.bench.user.lock() = Some(User::Driver);
    let stale = world.zdev().handle();
    world.first().recover(token, soon()).unwrap();
    for handle in [stale, Handle::NONE] {
        for code in [0x003a, 0x003b, 0x0040] {
            assert!(matches!(error(world.first(), token, handle, code), Carried::Ignored));
        }
    }
    world.assert_works(token);
    assert_eq!(world.bench.resets.load(Ordering::Acquire), 1);
}

#[test]
fn an_error_of_a_device_that_left_is_not_the_next_ones_zp_06() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    *world.bench.user.lock() = Some(User::Driver);
    let stale = world.zdev().handle();
    world.tear_out(token);
    assert!(matches!(error(world.first(), token, stale, 0x003b), Carried::Ignored));
    world.put_in(token);
    assert!(matches!(error(world.first(), token, stale, 0x003b), Carried::Ignored));
    world.assert_works(token);
}

#[test]
fn a_device_that_comes_while_an_error_is_looked_at_is_not_recovered_in_the_place_of_the_last_one() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = Arc::new(World::configured(1, token));
    *world.bench.user.lock() = Some(User::Driver);
    let (last, handle) = (world.view(), world.zdev().handle());
    let there = Arc::clone(&world);
    let exchange = move || {
        let exchanging = std::thread::spawn(move || {
            let token = &mut ThreadToken::at_thread_entry();
            there.tear_out(token);
            there.put_in(token);
        });
        exchanging.join().unwrap();
    };
    *world.bench.meanwhile.lock() = Some(Box::new(exchange));
    let carried = error(world.first(), token, handle, 0x003a);
    assert!(matches!(carried, Carried::Ignored), "{carried:?}");
    assert!(!Arc::ptr_eq(&world.view(), &last));
    assert_eq!(world.bench.begun.load(Ordering::Acquire), 0, "law 5");
    world.assert_works(token);
}

#[test]
fn an_error_of_what_is_being_removed_is_left_to_the_removal() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    *world.bench.user.lock() = Some(User::Driver);
    let _nobody_is_inside = world.view().function().disconnect(token, soon());
    let handle = world.zdev().handle();
    assert!(matches!(error(world.first(), token, handle, 0x003a), Carried::Ignored));
    assert_eq!((world.zdev().handle(), world.bench.begun.load(Ordering::Acquire)), (handle, 0));
}

#[test]
fn news_of_counters_is_no_error_zp_06() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    *world.bench.user.lock() = Some(User::Driver);
    for code in 0x002a..=0x002c {
        assert!(matches!(error(world.first(), token, world.zdev().handle(), code), Carried::Ignored));
    }
    world.assert_works(token);
    assert_eq!(world.bench.begun.load(Ordering::Acquire), 0);
}

#[test]
fn a_permanent_error_freezes_and_marks_the_device_and_tries_nothing_zp_06() {
    let token = &mut ThreadToken::at_thread_entry();
    for code in [0x003b, 0x0040] {
        let world = World::configured(1, token);
        *world.bench.user.lock() = Some(User::Driver);
        assert!(matches!(error(world.first(), token, world.zdev().handle(), code), Carried::GivenUp));
        assert_eq!(frozen_and_failed(&world), (true, true));
        assert_eq!(world.bench.begun.load(Ordering::Acquire), 0);
    }
}

#[test]
fn any_other_error_of_a_driver_s_function_is_recovered_zp_06() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    *world.bench.user.lock() = Some(User::Driver);
    for code in [0x003a, 0x0029, 0x002d, 0x1234] {
        let before = world.zdev().handle();
        let Carried::Recovered(Ok(Recovered::Done { handle })) = error(world.first(), token, before, code)
        else {
            panic!("{code:#x}")
        };
        assert!(handle != before);
        world.assert_works(token);
    }
    world.bench.resets(Resets::Badly);
    let carried = error(world.first(), token, world.zdev().handle(), 0x003a);
    assert!(matches!(carried, Carried::Recovered(Err(OperationError::GivenUp(_)))), "{carried:?}");
    assert_eq!(frozen_and_failed(&world), (true, true));
}

#[test]
fn what_has_failed_is_not_recovered_again_by_an_event_zp_07() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    *world.bench.user.lock() = Some(User::Driver);
    let _given_up = error(world.first(), token, world.zdev().handle(), 0x003b);
    for code in [0x003a, 0x003b] {
        assert!(matches!(error(world.first(), token, world.zdev().handle(), code), Carried::Ignored));
    }
    assert_eq!(world.bench.begun.load(Ordering::Acquire), 0);
}

#[test]
fn what_is_passed_through_is_frozen_and_left_to_its_consumer_zp_07() {
    let token = &mut ThreadToken::at_thread_entry();
    // Also if the unit cannot say whose it is.
    for panics in [false, true] {
        let world = World::configured(1, token);
        *world.bench.user.lock() = Some(User::PassedThrough);
        world.bench.panics.store(panics, Ordering::Release);
        let handle = world.zdev().handle();
        assert!(matches!(error(world.first(), token, handle, 0x003a), Carried::LeftToUser));
        assert_eq!(frozen_and_failed(&world), (true, false));
        assert_eq!((world.zdev().handle(), world.bench.begun.load(Ordering::Acquire)), (handle, 0));
    }
}

#[test]
fn what_nobody_could_go_on_with_is_given_up_and_told_so_zp_07() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    *world.bench.user.lock() = Some(User::Unprepared);
    let handle = world.zdev().handle();
    assert!(matches!(error(world.first(), token, handle, 0x003a), Carried::GivenUp));
    assert_eq!(frozen_and_failed(&world), (true, true));
    let told = Event::Error { fid: Fid(FIRST), handle, pec: ErrorCode::RECOVERY_FAILED };
    assert_eq!(world.ear.heard(), [told]);
}
