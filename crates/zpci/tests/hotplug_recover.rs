//! `recover` (ZP-10): what it does, what it leaves behind on every way out, and what it never touches.
#![allow(clippy::unwrap_used, reason = "test code")]

mod bay;

use bay::*;
use gate::{AccessKind, Deadline, ThreadToken};
use pci_core::{Errno, IoState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use zpci::hotplug::{OperationError, Recovered};
use zpci::{Configuration, ErrorCode, Event, Fid, Handle, Listener, Uid, View, Work};

/// The handle of a recovery that was done.
fn done(recovered: Result<Recovered, OperationError>) -> Handle {
    match recovered {
        Ok(Recovered::Done { handle }) => handle,
        other => panic!("{other:?}"),
    }
}

fn failed() -> Event {
    let handle = Handle::NONE;
    Event::Error { fid: Fid(FIRST), handle, pec: ErrorCode::RECOVERY_FAILED }
}

/// The event without its handle.
fn without_handle(event: &Event) -> Event {
    match *event {
        Event::Error { fid, pec, .. } => Event::Error { fid, handle: Handle::NONE, pec },
        other => other,
    }
}

/// Frozen, in permanent error, without a handle that is enabled, the claim given back; and told so, once.
fn assert_given_up(world: &World) {
    let view = world.view();
    assert!(view.has_failed() && !view.is_enabled());
    assert_eq!(view.function().io_state(), IoState::Frozen);
    assert_eq!(world.zdev().work(), None, "law 9");
    let heard = world.ear.heard();
    assert_eq!(heard.iter().map(without_handle).filter(|event| *event == failed()).count(), 1, "{heard:?}");
}

#[test]
fn a_recovery_disables_resets_and_enables_under_another_handle_zp_10() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let (view, old) = (world.view(), world.zdev().handle());
    assert!(old.is_enabled());
    view.function().freeze("an error");
    let handle = done(world.first().recover(token, soon()));
    assert!(handle.is_enabled() && handle != old);
    assert_eq!((world.zdev().handle(), world.zpci.by_handle(token, old).is_none()), (handle, true));
    assert!(Arc::ptr_eq(&world.view(), &view), "the device is the same");
    assert_eq!(world.bench.resets.load(Ordering::Acquire), 1);
    world.assert_works(token);
    let fid = Fid(FIRST);
    let changes: Vec<_> = world.ear.heard();
    let [Event::Handle { old: first, new: disabled, .. }, second] = changes[..] else {
        panic!("{changes:?}")
    };
    assert!(first == old && !disabled.is_enabled() && !disabled.is_none());
    assert_eq!(
        second,
        Event::Handle { fid, old: disabled, new: handle },
        "whoever listens knows the new one"
    );
}

#[test]
fn a_function_has_no_enabled_handle_while_it_is_reset() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let old = world.zdev().handle();
    world.bench.resets(Resets::AtTheGate);
    std::thread::scope(|scope| {
        let recovering = scope.spawn(|| world.first().recover(&mut ThreadToken::at_thread_entry(), soon()));
        world.bench.wait_for_begun(1);
        assert!(!world.view().is_enabled() && world.zpci.by_handle(token, old).is_none());
        assert_eq!(world.zdev().work(), Some(Work::Recovery));
        world.bench.resets(Resets::Well);
        done(recovering.join().unwrap());
    });
    world.assert_works(token);
}

#[test]
fn a_consumer_keeps_what_it_has_over_a_recovery() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let attached = world.assignment(0).attach(token).unwrap();
    done(world.first().recover(token, soon()));
    assert!(world.assignment(0).is_attached());
    world.assert_works(token);
    attached.detach(token);
}

#[test]
fn what_is_not_configured_is_left_alone_zp_10() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::empty(BUTTON, 1);
    for state in [Configuration::Reserved, Configuration::Standby] {
        assert_eq!(world.configuration(), state);
        let handle = world.zdev().handle();
        assert_eq!(world.first().recover(token, soon()), Ok(Recovered::NotConfigured));
        assert_eq!((world.zdev().handle(), world.zdev().work()), (handle, None));
        world.put_in(token);
    }
    assert_eq!(world.bench.begun.load(Ordering::Acquire), 0);
}

#[test]
fn the_second_of_two_recoveries_does_nothing_zp_10() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.resets(Resets::AtTheGate);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| world.first().recover(&mut ThreadToken::at_thread_entry(), soon()));
        world.bench.wait_for_begun(1);
        let handle = world.zdev().handle();
        assert_eq!(world.first().recover(token, soon()), Ok(Recovered::AlreadyRunning));
        assert_eq!((world.zdev().handle(), world.zdev().work()), (handle, Some(Work::Recovery)));
        world.bench.resets(Resets::Well);
        done(first.join().unwrap());
    });
    assert_eq!(world.bench.resets.load(Ordering::Acquire), 1);
    done(world.first().recover(token, soon()));
    assert_eq!(world.bench.resets.load(Ordering::Acquire), 2, "one after the other is two");
}

#[test]
fn a_recovery_beside_other_work_is_refused_and_not_taken_for_done() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    for work in [Work::Reset, Work::SetFunction] {
        let claim = world.zdev().begin(work).unwrap();
        let refused = world.first().recover(token, soon()).unwrap_err();
        assert_eq!((refused.errno(), refused), (Errno::EIO, OperationError::Contended));
        drop(claim);
    }
    done(world.first().recover(token, soon()));
}

#[test]
fn whatever_goes_wrong_leaves_the_function_frozen_marked_and_told_of_and_the_claim_given_back() {
    for how in [Resets::Badly, Resets::Panics, Resets::WithAFreezeMeanwhile] {
        let token = &mut ThreadToken::at_thread_entry();
        let world = World::configured(1, token);
        world.bench.resets(how);
        let refused = world.first().recover(token, soon()).unwrap_err();
        assert_eq!(refused.errno(), Errno::EIO);
        assert!(matches!(refused, OperationError::GivenUp(_)), "{refused}");
        assert_given_up(&world);
        // ZP-08: it is the operator's now, who may try again.
        world.bench.resets(Resets::Well);
        done(world.first().recover(token, soon()));
        world.assert_works(token);
    }
}

#[test]
fn who_hears_of_a_failure_finds_the_claim_given_back() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.resets(Resets::Badly);
    world.first().recover(token, soon()).unwrap_err();
    let heard = world.ear.heard_during();
    let at_failure: Vec<_> = heard.iter().filter(|(event, _)| without_handle(event) == failed()).collect();
    assert!(matches!(at_failure[..], [(_, None)]), "{heard:?}");
    assert!(heard.iter().any(|(_, work)| *work == Some(Work::Recovery)), "and it was claimed before");
}

#[test]
fn a_device_whose_gate_is_gone_is_not_enabled_again_while_it_is_still_in_its_place() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.resets(Resets::AtTheGate);
    std::thread::scope(|scope| {
        let recovering = scope.spawn(|| world.first().recover(&mut ThreadToken::at_thread_entry(), soon()));
        world.bench.wait_for_begun(1);
        // The first half of a removal.
        let _orphans = world.view().function().disconnect(token, soon());
        assert_eq!(recovering.join().unwrap(), Err(OperationError::Removed));
    });
    assert!(!world.view().is_enabled() && !world.view().has_failed());
    assert_eq!(world.zdev().work(), None);
}

/// Where instructions and accesses stand: frozen, failed, enabled.
fn standing(view: &View) -> (bool, bool, bool) {
    (view.function().io_state() == IoState::Frozen, view.has_failed(), view.is_enabled())
}

fn assert_untouched(world: &World, token: &mut ThreadToken, deadline: Deadline) {
    let (view, before) = (world.view(), world.zdev().handle());
    let was = standing(&view);
    let refused = world.first().recover(token, deadline).unwrap_err();
    assert!(matches!(refused, OperationError::NotRecovered(_)), "{refused}");
    assert_eq!(refused.errno(), Errno::EIO);
    assert_eq!(standing(&view), was);
    assert!(world.zdev().handle() != before && view.is_named(world.zdev().handle()));
    assert_eq!(world.zdev().work(), None, "law 9");
    let heard = world.ear.heard();
    assert!(heard.iter().all(|event| matches!(event, Event::Handle { .. })), "{heard:?}");
}

#[test]
fn a_function_that_its_unit_did_not_touch_is_as_it_was_under_another_handle() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.resets(Resets::NotAtAll);
    assert_untouched(&world, token, soon());
    world.assert_works(token);
    world.view().function().freeze("an error");
    assert_untouched(&world, token, soon());
    world.bench.resets(Resets::Badly);
    world.first().recover(token, soon()).unwrap_err();
    assert_given_up(&world);
    world.bench.resets(Resets::NotAtAll);
    assert_untouched(&world, token, soon());
    world.bench.resets(Resets::Well);
    done(world.first().recover(token, soon()));
    world.assert_works(token);
}

#[test]
fn an_access_that_does_not_leave_by_the_deadline_leaves_the_function_as_it_was() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let handle = world.view().function().handle().clone();
    let inside = handle.enter_long(token, AccessKind::Dma, "an access", soon()).unwrap();
    assert_untouched(&world, token, Deadline::after(Duration::from_millis(1)));
    drop(inside);
    done(world.first().recover(token, soon()));
}

#[test]
fn an_error_in_the_middle_of_a_recovery_is_recovered_from_too() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.resets(Resets::AtTheGate);
    std::thread::scope(|scope| {
        let recovering = scope.spawn(|| world.first().recover(&mut ThreadToken::at_thread_entry(), soon()));
        world.bench.wait_for_begun(1);
        until(|| world.view().function().gate().status().owner.is_some());
        world.view().function().freeze("another error");
        world.bench.resets(Resets::Well);
        done(recovering.join().unwrap());
    });
    assert_eq!(world.bench.begun.load(Ordering::Acquire), 2);
    world.assert_works(token);
}

#[test]
fn a_function_that_is_frozen_after_each_of_three_resets_is_given_up() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.resets(Resets::WithAFreezeMeanwhile);
    let refused = world.first().recover(token, soon()).unwrap_err();
    assert!(matches!(refused, OperationError::GivenUp(_)), "{refused}");
    assert_eq!(world.bench.begun.load(Ordering::Acquire), 3);
    assert_given_up(&world);
}

/// Freezes the function whenever it is enabled, so many times.
struct FreezesOnceEnabled(Arc<View>, AtomicUsize);

impl Listener for FreezesOnceEnabled {
    fn event(&self, event: &Event) {
        let enabled = matches!(event, Event::Handle { new, .. } if new.is_enabled());
        let left = |left: usize| left.checked_sub(1);
        if enabled && self.1.fetch_update(Ordering::AcqRel, Ordering::Acquire, left).is_ok() {
            self.0.function().freeze("at the last moment");
        }
    }
}

#[test]
fn an_error_at_the_last_moment_of_a_recovery_is_not_left_to_nobody() {
    let token = &mut ThreadToken::at_thread_entry();
    for errors in 1..=3 {
        let world = World::configured(1, token);
        let freezes = FreezesOnceEnabled(world.view(), AtomicUsize::new(errors));
        let _listening = world.zpci.listen(Arc::new(freezes));
        let recovered = world.first().recover(token, soon());
        if errors < 3 {
            done(recovered);
            world.assert_works(token);
        } else {
            assert!(matches!(recovered, Err(OperationError::GivenUp(_))), "{recovered:?}");
            assert_given_up(&world);
        }
        assert_eq!(world.bench.begun.load(Ordering::Acquire), 3.min(errors + 1));
    }
}

#[test]
fn a_removal_ends_a_recovery_at_once() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.resets(Resets::AtTheGate);
    let view = world.view();
    std::thread::scope(|scope| {
        let recovering = scope.spawn(|| world.first().recover(&mut ThreadToken::at_thread_entry(), soon()));
        world.bench.wait_for_begun(1);
        // Without `resets(Well)`: nothing but the removal ends it.
        world.tear_out(token);
        let refused = recovering.join().unwrap().unwrap_err();
        assert_eq!((refused.errno(), refused), (Errno::ENODEV, OperationError::Removed));
    });
    assert_eq!((world.configuration(), world.zdev().work()), (Configuration::Reserved, None));
    assert!(!view.has_failed(), "a card that is pulled is no card that fails");
    assert!(!world.ear.heard().iter().any(|event| without_handle(event) == failed()));
}

#[test]
fn switching_the_slot_off_waits_for_no_recovery() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.resets(Resets::Hangs);
    std::thread::scope(|scope| {
        let recovering = scope.spawn(|| world.first().recover(&mut ThreadToken::at_thread_entry(), soon()));
        world.bench.wait_for_begun(1);
        assert_eq!(world.power(token, false), Some(slot::Finished::Done));
        assert_eq!(world.configuration(), Configuration::Standby);
        assert_eq!(world.zdev().work(), None, "its claim went with its device");
        world.bench.resets(Resets::Well);
        assert_eq!(recovering.join().unwrap(), Err(OperationError::Removed));
    });
}

/// Starts a recovery that hangs in its unit, exchanges the card under it, has it go on as `end`, and gives what came of it. What the
/// next device is like afterwards is as it was before.
fn over_an_exchange(end: Resets) -> OperationError {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.resets(Resets::Hangs);
    std::thread::scope(|scope| {
        let recovering = scope.spawn(|| world.first().recover(&mut ThreadToken::at_thread_entry(), soon()));
        world.bench.wait_for_begun(1);
        world.tear_out(token);
        world.put_in(token);
        assert_eq!(world.configuration(), Configuration::Configured);
        let (next, handle) = (world.view(), world.zdev().handle());
        assert!(handle.is_enabled());
        world.ear.heard();
        world.bench.resets(end);
        let error = recovering.join().unwrap().unwrap_err();
        assert_eq!((world.zdev().handle(), next.handle()), (handle, handle), "its handle");
        assert!(!next.has_failed(), "its mark");
        assert_eq!(next.function().io_state(), IoState::Normal, "its gate");
        assert_eq!(world.ear.heard(), [], "nobody was told anything of it");
        assert_eq!(world.zdev().work(), None);
        world.assert_works(token);
        error
    })
}

#[test]
fn a_recovery_of_a_device_that_left_never_touches_the_next_one() {
    assert_eq!(over_an_exchange(Resets::Well), OperationError::Removed);
}

#[test]
fn the_next_device_can_be_recovered_while_the_last_ones_recovery_hangs() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    world.bench.resets(Resets::Hangs);
    std::thread::scope(|scope| {
        let recovering = scope.spawn(|| world.first().recover(&mut ThreadToken::at_thread_entry(), soon()));
        world.bench.wait_for_begun(1);
        world.tear_out(token);
        world.put_in(token);
        // The unit's next reset is its own affair: the one that hangs is in there still.
        let claim = world.zdev().begin(Work::Reset).expect("the claim of a device that left is void");
        world.bench.resets(Resets::Well);
        assert_eq!(recovering.join().unwrap(), Err(OperationError::Removed));
        assert_eq!(world.zdev().work(), Some(Work::Reset), "and its end gives nobody else's back");
        drop(claim);
    });
    done(world.first().recover(token, soon()));
    world.assert_works(token);
}

#[test]
fn a_virtual_function_is_recovered_like_any_other() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let zdev = world.zpci.add_virtual(world.zdev(), 1, Fid(0x99), Uid::NONE).unwrap();
    let function = assignment("vf").function().clone();
    let old = zdev.bring_in(token, View::of_function(&zdev, function, 128));
    let slot = world.first().of_virtual(zdev.clone());
    let handle = done(slot.recover(token, soon()));
    assert!(handle.is_enabled() && handle != old && zdev.handle() == handle);
    assert_eq!(world.bench.resets.load(Ordering::Acquire), 1);
}

#[test]
fn a_virtual_function_that_leaves_while_it_is_recovered_is_no_failure() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::configured(1, token);
    let zdev = world.zpci.add_virtual(world.zdev(), 1, Fid(0x99), Uid::NONE).unwrap();
    let function = assignment("vf").function().clone();
    zdev.bring_in(token, View::of_function(&zdev, function, 128));
    world.ear.heard();
    // Its unit does not find it any more, and its gate is not gone yet.
    world.bench.resets(Resets::NotAtAll);
    let refused = world.first().of_virtual(zdev.clone()).recover(token, soon()).unwrap_err();
    assert!(matches!(refused, OperationError::NotRecovered(_)), "{refused}");
    assert_eq!(standing(&zdev.view().unwrap()), (false, false, true));
    let heard = world.ear.heard();
    assert!(heard.iter().all(|event| matches!(event, Event::Handle { .. })), "{heard:?}");
}
