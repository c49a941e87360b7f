//! `reset_slot` (ZP-09).
#![allow(clippy::unwrap_used, reason = "test code")]

mod bay;

use bay::*;
use gate::ThreadToken;
use pci_core::{Errno, IoState};
use std::sync::atomic::Ordering;
use zpci::hotplug::{Carried, OperationError, Recovered};
use zpci::{Configuration, ErrorCode, Event, Fid, Handle, User, Work};

#[test]
fn a_reset_is_done_by_the_unit_and_the_function_has_another_handle_then_zp_09() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let old = world.zdev().handle();
    assert_eq!(world.first().reset(token, false, soon()), Ok(()));
    assert_eq!(world.bench.resets.load(Ordering::Acquire), 1);
    let handle = world.zdev().handle();
    assert!(handle.is_enabled() && handle != old && world.zpci.by_handle(token, old).is_none());
    world.assert_works(token);
}

#[test]
fn a_probe_changes_nothing_and_succeeds_zp_09() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let handle = world.zdev().handle();
    assert_eq!(world.first().reset(token, true, soon()), Ok(()));
    assert_eq!((world.bench.begun.load(Ordering::Acquire), world.zdev().handle()), (0, handle));
    assert_eq!(world.ear.heard(), []);
    world.assert_works(token);
}

#[test]
fn what_is_not_configured_is_not_reset_zp_09() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::empty(BUTTON, 1);
    for state in [Configuration::Reserved, Configuration::Standby] {
        for probe in [true, false] {
            let refused = world.first().reset(token, probe, soon()).unwrap_err();
            assert_eq!((refused.errno(), refused), (Errno::EIO, OperationError::WrongState(state)));
            assert_eq!(world.zdev().work(), None);
        }
        world.put_in(token);
    }
    assert_eq!(world.bench.begun.load(Ordering::Acquire), 0);
}

#[test]
fn a_reset_beside_other_work_is_refused_at_once_zp_09() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    for work in [Work::Recovery, Work::Reset, Work::SetFunction] {
        let claim = world.zdev().begin(work).unwrap();
        for probe in [true, false] {
            let refused = world.first().reset(token, probe, soon()).unwrap_err();
            assert_eq!((refused.errno(), refused), (Errno::EIO, OperationError::Contended));
        }
        drop(claim);
    }
    assert_eq!(world.bench.begun.load(Ordering::Acquire), 0);
    assert_eq!(world.first().reset(token, false, soon()), Ok(()));
}

#[test]
fn a_function_without_a_way_to_be_reset_says_so() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.no_reset.store(true, Ordering::Release);
    for probe in [true, false] {
        let refused = world.first().reset(token, probe, soon()).unwrap_err();
        assert_eq!((refused.errno(), refused), (Errno::ENOTTY, OperationError::NoReset));
    }
    world.assert_works(token);
}

#[test]
fn a_reset_that_fails_leaves_a_function_that_works_and_gives_the_claim_back() {
    for how in [Resets::NotAtAll, Resets::Badly, Resets::Panics] {
        let token = &mut ThreadToken::at_thread_entry();
        let world = World::configured(1, token);
        world.bench.resets(how);
        let refused = world.first().reset(token, false, soon()).unwrap_err();
        assert_eq!(refused.errno(), Errno::EIO);
        assert!(matches!(refused, OperationError::NotReset(_)), "{refused}");
        world.assert_works(token);
    }
}

#[test]
fn an_error_while_it_was_reset_is_not_undone_by_the_reset() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.resets(Resets::WithAFreezeMeanwhile);
    assert_eq!(world.first().reset(token, false, soon()), Ok(()), "it was reset all the same");
    assert_eq!(world.view().function().io_state(), IoState::Frozen);
    assert!(world.view().is_enabled() && world.zdev().work().is_none());
    // Whoever heard of it while it was reset heard a handle that is nobody's any more.
    let (fid, handle) = (Fid(FIRST), world.zdev().handle());
    let again = Event::Error { fid, handle, pec: ErrorCode::ERROR };
    assert_eq!(world.ear.heard_during().last(), Some(&(again, None)));
    *world.bench.user.lock() = Some(User::Driver);
    world.bench.resets(Resets::Well);
    assert!(matches!(world.first().event(token, &again, soon()), Carried::Recovered(Ok(_))));
    world.assert_works(token);
}

#[test]
fn what_is_in_permanent_error_is_recovered_and_not_reset() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.resets(Resets::Badly);
    world.first().recover(token, soon()).unwrap_err();
    world.bench.resets(Resets::Well);
    for probe in [true, false] {
        let refused = world.first().reset(token, probe, soon()).unwrap_err();
        assert_eq!((refused.errno(), refused), (Errno::EIO, OperationError::PermanentError));
    }
    assert_eq!(world.view().function().io_state(), IoState::Frozen);
    assert!(matches!(world.first().recover(token, soon()), Ok(Recovered::Done { .. })));
    assert_eq!(world.first().reset(token, false, soon()), Ok(()));
}

#[test]
fn a_removal_ends_a_reset_at_once() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.resets(Resets::AtTheGate);
    std::thread::scope(|scope| {
        let resetting =
            scope.spawn(|| world.first().reset(&mut ThreadToken::at_thread_entry(), false, soon()));
        world.bench.wait_for_begun(1);
        world.tear_out(token);
        let refused = resetting.join().unwrap().unwrap_err();
        assert_eq!((refused.errno(), refused), (Errno::ENODEV, OperationError::Removed));
    });
    assert_eq!((world.zdev().work(), world.zdev().handle()), (None, Handle::NONE));
}

#[test]
fn a_device_whose_gate_is_gone_is_not_enabled_again_while_it_is_still_in_its_place() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.resets(Resets::AtTheGate);
    std::thread::scope(|scope| {
        let resetting =
            scope.spawn(|| world.first().reset(&mut ThreadToken::at_thread_entry(), false, soon()));
        world.bench.wait_for_begun(1);
        // The first half of a removal.
        let _orphans = world.view().function().disconnect(token, soon());
        assert_eq!(resetting.join().unwrap(), Err(OperationError::Removed));
    });
    assert!(!world.view().is_enabled());
    assert_eq!(world.zdev().work(), None);
}

#[test]
fn a_reset_of_a_device_that_left_never_touches_the_next_one() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.resets(Resets::Hangs);
    std::thread::scope(|scope| {
        let resetting =
            scope.spawn(|| world.first().reset(&mut ThreadToken::at_thread_entry(), false, soon()));
        world.bench.wait_for_begun(1);
        world.tear_out(token);
        world.put_in(token);
        let handle = world.zdev().handle();
        world.bench.resets(Resets::Well);
        assert_eq!(resetting.join().unwrap(), Err(OperationError::Removed));
        assert_eq!(world.zdev().handle(), handle);
    });
    world.assert_works(token);
}
