//! Errors that the platform tells of while somebody works on the function already: none is lost, and none destroys that work (ZP-07,
//! ZP-10).
#![allow(clippy::unwrap_used, reason = "test code")]

mod bay;

use bay::*;
use gate::{Canceller, Deadline, ThreadToken};
use pci_core::IoState;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};
use zpci::hotplug::{Carried, OperationError, Recovered};
use zpci::{ErrorCode, Event, Handle, User, View, Work};

/// With one function, which a driver has.
fn driven(token: &mut ThreadToken) -> World {
    let world = World::configured(1, token);
    *world.bench.user.lock() = Some(User::Driver);
    world
}

fn error(world: &World, token: &mut ThreadToken, handle: Handle, deadline: Deadline) -> Carried {
    let event = Event::Error { fid: world.zdev().fid(), handle, pec: ErrorCode::ERROR };
    world.first().event(token, &event, deadline)
}

fn is_frozen(world: &World) -> bool {
    world.view().function().io_state() == IoState::Frozen
}

fn begun(world: &World) -> usize {
    world.bench.begun.load(Ordering::Acquire)
}

fn assert_recovered(carried: &Carried) {
    assert!(matches!(carried, Carried::Recovered(Ok(Recovered::Done { .. }))), "{carried:?}");
}

fn assert_ignored(carried: &Carried) {
    assert!(matches!(carried, Carried::Ignored), "{carried:?}");
}

/// Whether the thread of that name waits for a claim.
fn waits(name: &str) -> bool {
    gate::waits::snapshot().iter().any(|holder| {
        holder.operation == "claim of a zPCI function"
            && holder.thread.as_ref().is_some_and(|thread| thread.name == name)
    })
}

/// Another thread carries out an error, and waits for who works on the function.
fn told<'a>(
    scope: &'a Scope<'a, '_>,
    world: &'a World,
    name: &str,
) -> (ScopedJoinHandle<'a, Carried>, Canceller) {
    let (say, canceller) = mpsc::channel();
    let handle = world.zdev().handle();
    let carry_out = move || {
        let token = &mut ThreadToken::at_thread_entry();
        say.send(token.canceller()).unwrap();
        error(world, token, handle, soon())
    };
    let carrying = std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, carry_out).unwrap();
    until(|| waits(name));
    (carrying, canceller.recv().unwrap())
}

#[test]
fn an_error_beside_other_work_waits_for_that_and_is_recovered_from_then() {
    let token = &mut ThreadToken::at_thread_entry();
    for work in [Work::Recovery, Work::Reset, Work::SetFunction] {
        let world = driven(token);
        let claim = world.zdev().begin(work).unwrap();
        std::thread::scope(|scope| {
            let (carrying, _) = told(scope, &world, &format!("error beside {work:?}"));
            assert!(!is_frozen(&world), "a freeze now would be in the way of the other");
            // Another handle is no reset.
            claim.renew(token, true).unwrap();
            assert_eq!(begun(&world), 0);
            drop(claim);
            assert_recovered(&carrying.join().unwrap());
        });
        assert_eq!(begun(&world), 1);
        world.assert_works(token);
    }
}

#[test]
fn an_error_in_the_middle_of_a_recovery_does_not_fail_it_and_is_recovered_from_after_it() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = driven(token);
    world.bench.resets(Resets::AtTheGate);
    std::thread::scope(|scope| {
        let recovering = scope.spawn(|| world.first().recover(&mut ThreadToken::at_thread_entry(), soon()));
        world.bench.wait_for_begun(1);
        let (carrying, _) = told(scope, &world, "error in a recovery");
        world.bench.resets(Resets::Well);
        assert!(matches!(recovering.join().unwrap(), Ok(Recovered::Done { .. })));
        assert_recovered(&carrying.join().unwrap());
    });
    assert_eq!(begun(&world), 2, "the first had begun before the error came");
    world.assert_works(token);
}

#[test]
fn an_error_that_comes_with_a_freeze_in_the_middle_of_a_slots_reset_is_recovered_from() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = driven(token);
    world.bench.resets(Resets::AtTheGate);
    std::thread::scope(|scope| {
        let resetting =
            scope.spawn(|| world.first().reset(&mut ThreadToken::at_thread_entry(), false, soon()));
        world.bench.wait_for_begun(1);
        until(|| world.view().function().gate().status().owner.is_some());
        world.view().function().freeze("the device found itself broken");
        let (carrying, _) = told(scope, &world, "error in a reset");
        world.bench.resets(Resets::Well);
        assert_eq!(resetting.join().unwrap(), Ok(()));
        assert_recovered(&carrying.join().unwrap());
    });
    assert!(!is_frozen(&world));
    world.assert_works(token);
}

/// Another error is carried out on another thread while somebody looks at this one, and `after` that. What became of this one.
fn beside_another(
    world: &Arc<World>,
    token: &mut ThreadToken,
    after: impl FnOnce(&World) + Send + 'static,
) -> Carried {
    let (there, handle) = (Arc::clone(world), world.zdev().handle());
    let another = move || {
        let carry_out = move || {
            let token = &mut ThreadToken::at_thread_entry();
            assert_recovered(&error(&there, token, handle, soon()));
            after(&there);
        };
        std::thread::spawn(carry_out).join().unwrap();
    };
    *world.bench.meanwhile.lock() = Some(Box::new(another));
    error(world, token, handle, soon())
}

#[test]
fn an_error_that_is_told_twice_is_recovered_from_once() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = Arc::new(driven(token));
    assert_ignored(&beside_another(&world, token, |_| {}));
    assert_eq!(begun(&world), 1);
    world.assert_works(token);
}

#[test]
fn a_freeze_that_is_there_after_somebody_elses_recovery_is_recovered_from() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = Arc::new(driven(token));
    let freeze = |world: &World| assert!(world.view().function().freeze("another error"));
    assert_recovered(&beside_another(&world, token, freeze));
    assert_eq!(begun(&world), 2);
    world.assert_works(token);
}

#[test]
fn an_error_that_somebodys_reset_did_not_end_is_recovered_from() {
    let token = &mut ThreadToken::at_thread_entry();
    for how in [Resets::NotAtAll, Resets::Badly] {
        let world = Arc::new(driven(token));
        let (there, handle) = (Arc::clone(&world), world.zdev().handle());
        let another = move || {
            let reset = move || {
                there.bench.resets(how);
                let token = &mut ThreadToken::at_thread_entry();
                there.first().reset(token, false, soon()).unwrap_err();
                there.bench.resets(Resets::Well);
            };
            std::thread::spawn(reset).join().unwrap();
        };
        *world.bench.meanwhile.lock() = Some(Box::new(another));
        assert_recovered(&error(&world, token, handle, soon()));
        world.assert_works(token);
    }
}

#[test]
fn an_error_for_which_there_is_no_time_leaves_the_function_frozen_and_says_so() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = driven(token);
    let claim = world.zdev().begin(Work::SetFunction).unwrap();
    let carried = error(&world, token, world.zdev().handle(), Deadline::after(Duration::from_millis(1)));
    assert!(matches!(carried, Carried::Contained), "{carried:?}");
    assert!(is_frozen(&world) && !world.view().has_failed());
    assert_eq!(world.zdev().work(), Some(Work::SetFunction), "the claim is whose it was");
    drop(claim);
    assert_recovered(&error(&world, token, world.zdev().handle(), soon()));
    world.assert_works(token);
}

#[test]
fn the_wait_of_an_error_can_be_cancelled() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = driven(token);
    let _claim = world.zdev().begin(Work::Reset).unwrap();
    std::thread::scope(|scope| {
        let (carrying, canceller) = told(scope, &world, "error that is cancelled");
        let begin = Instant::now();
        canceller.cancel();
        let carried = carrying.join().unwrap();
        assert!(begin.elapsed() < LONG / 2);
        assert!(matches!(carried, Carried::Contained), "{carried:?}");
    });
    assert!(is_frozen(&world));
}

#[test]
fn a_removal_ends_the_wait_of_an_error_which_is_not_the_next_devices() {
    let token = &mut ThreadToken::at_thread_entry();
    for another_comes in [false, true] {
        let world = driven(token);
        let _claim = world.zdev().begin(Work::Reset).unwrap();
        std::thread::scope(|scope| {
            let (carrying, _) = told(scope, &world, &format!("error of what leaves {another_comes}"));
            world.tear_out(token);
            if another_comes {
                world.put_in(token);
            }
            assert_ignored(&carrying.join().unwrap());
        });
        assert_eq!((begun(&world), world.zdev().work()), (0, None));
        if another_comes {
            world.assert_works(token);
        }
    }
}

#[test]
fn an_error_of_a_device_that_was_exchanged_is_not_the_next_ones_even_if_the_last_ones_gate_is_there_still() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = driven(token);
    let last = world.view();
    let _claim = world.zdev().begin(Work::Reset).unwrap();
    std::thread::scope(|scope| {
        let (carrying, _) = told(scope, &world, "error of what was exchanged");
        let next = View::new(world.zdev(), &assignment("next"), 128);
        let handle = world.zdev().bring_in(token, next);
        assert_ignored(&carrying.join().unwrap());
        assert_eq!((world.zdev().handle(), begun(&world)), (handle, 0));
    });
    assert_eq!(last.function().io_state(), IoState::Normal);
    assert!(!is_frozen(&world));
}

#[test]
fn an_error_of_what_was_given_up_meanwhile_is_not_recovered_from() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = driven(token);
    let claim = world.zdev().begin(Work::Recovery).unwrap();
    std::thread::scope(|scope| {
        let (carrying, _) = told(scope, &world, "error of what is given up");
        world.zdev().fail();
        drop(claim);
        assert_ignored(&carrying.join().unwrap());
    });
    assert_eq!(begun(&world), 0);
}

#[test]
fn an_error_that_the_unit_could_do_nothing_about_leaves_the_function_frozen_and_not_given_up() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = driven(token);
    world.bench.resets(Resets::NotAtAll);
    let carried = error(&world, token, world.zdev().handle(), soon());
    assert!(matches!(carried, Carried::Recovered(Err(OperationError::NotRecovered(_)))), "{carried:?}");
    assert!(is_frozen(&world) && !world.view().has_failed());
    world.bench.resets(Resets::Well);
    assert_recovered(&error(&world, token, world.zdev().handle(), soon()));
    world.assert_works(token);
}
