//! Several gates closed at once, and closers that hold passes.

use super::*;
use crate::schedules::explore;

/// Two gates, in the order in which closers take their turns.
fn in_order() -> (Gate, Gate) {
    (Gate::new("first"), Gate::new("last"))
}

#[test]
fn accesses_of_no_gate_overlap_a_closer_of_all() {
    two_threads(|| {
        let (one, other) = (Gate::new("one"), Gate::new("other"));
        let devices = (Device::new(), Device::new());
        let (handles, same) = ((one.handle(), other.handle()), devices.clone());
        let reader = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            if let Ok(_pass) = handles.0.try_enter(&token, CONFIG) {
                same.0.access();
            }
            if let Ok(_pass) = handles.1.try_enter(&token, CONFIG) {
                same.1.access();
            }
        });
        let mut token = ThreadToken::at_thread_entry();
        let set = close_all(&[other.clone(), one.clone(), other], &mut token, RESET, ahead()).unwrap();
        assert_eq!(set.iter().count(), 2, "a gate that is named twice is closed once");
        devices.0.reset();
        devices.1.reset();
        drop(set);
        reader.join().unwrap();
    });
}

#[test]
fn closers_of_overlapping_sets_named_in_opposite_orders_never_deadlock() {
    // Two threads, but a bound of three takes half a minute.
    three_threads(|| {
        let (one, other, device) = (Gate::new("one"), Gate::new("other"), Device::new());
        let (set, same) = ([other.clone(), one.clone()], device.clone());
        let second = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let _set = close_all(&set, &mut token, RESET, ahead()).unwrap();
            same.reset();
        });
        let mut token = ThreadToken::at_thread_entry();
        let set = close_all(&[one, other], &mut token, RESET, ahead()).unwrap();
        device.reset();
        drop(set);
        second.join().unwrap();
        assert_eq!(device.access(), 2);
    });
}

#[test]
fn a_closer_of_a_set_and_closers_of_each_of_its_gates_never_deadlock() {
    // Three closers switch at every lock anyway; more preemptions take minutes.
    explore(Some(1), || {
        let (one, other) = (Gate::new("one"), Gate::new("other"));
        let devices = (Device::new(), Device::new());
        let singles = [(one.clone(), devices.0.clone()), (other.clone(), devices.1.clone())];
        let singles = singles.map(|(gate, device)| {
            thread::spawn(move || {
                let mut token = ThreadToken::at_thread_entry();
                let _quiesced = gate.close(&mut token, RESET, ahead()).unwrap();
                device.reset();
            })
        });
        let mut token = ThreadToken::at_thread_entry();
        let set = close_all(&[other, one], &mut token, RESET, ahead()).unwrap();
        devices.0.reset();
        devices.1.reset();
        drop(set);
        singles.into_iter().for_each(|single| single.join().unwrap());
    });
}

#[test]
fn while_a_set_waits_for_a_turn_no_access_of_its_other_gates_is_refused() {
    two_threads(|| {
        let (first, last) = in_order();
        let mut token = ThreadToken::at_thread_entry();
        let closed = last.try_close(&token, RESET).unwrap().park();
        let handle = first.handle();
        let reader = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            assert!(handle.try_enter(&token, CONFIG).is_ok());
        });
        let failed = close_all(&[first.clone(), last.clone()], &mut token, RESET, passed()).unwrap_err();
        assert_eq!(failed.gate.name(), last.name());
        assert!(matches!(failed.cause, CloseError::Contended { .. }));
        reader.join().unwrap();
        assert!(first.try_close(&token, RESET).is_ok(), "the turn was given back");
        drop(closed);
    });
}

#[test]
fn a_closer_gets_the_turn_that_a_set_gives_back() {
    two_threads(|| {
        let (first, last) = in_order();
        let mut token = ThreadToken::at_thread_entry();
        let closed = last.try_close(&token, RESET).unwrap().park();
        let set = [first.clone(), last];
        let closer = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            assert!(close_all(&set, &mut token, RESET, passed()).is_err());
        });
        drop(first.close(&mut token, RESET, ahead()).unwrap());
        closer.join().unwrap();
        drop(closed);
    });
}

/// The removal of one gate ends the wait for the turn at another, whichever comes first.
fn removal_ends_the_wait_for_a_turn(gates: impl Fn() -> (Gate, Gate) + Send + Sync + 'static) {
    two_threads(move || {
        let (held, removed) = gates();
        let mut token = ThreadToken::at_thread_entry();
        let closed = held.try_close(&token, RESET).unwrap().park();
        let set = [held, removed.clone()];
        let closer = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let failed = close_all(&set, &mut token, RESET, ahead()).unwrap_err();
            assert_eq!(failed.gate.name(), set[1].name());
            assert!(matches!(failed.cause, CloseError::Gone));
        });
        assert!(removed.retire(&mut token, ahead()).orphans.is_empty());
        closer.join().unwrap();
        drop(closed);
    });
}

#[test]
fn a_set_that_waits_for_a_turn_is_released_when_a_later_gate_is_removed() {
    removal_ends_the_wait_for_a_turn(in_order);
}

#[test]
fn a_set_that_waits_for_a_turn_is_released_when_an_earlier_gate_is_removed() {
    removal_ends_the_wait_for_a_turn(|| {
        let (first, last) = in_order();
        (last, first)
    });
}

#[test]
fn a_set_that_drains_one_gate_is_released_when_another_is_removed() {
    // CFG-I4
    two_threads(|| {
        let (first, last) = in_order();
        let mut token = ThreadToken::at_thread_entry();
        let long = first.handle().enter_long(&mut token, AccessKind::Dma, "read", ahead()).unwrap();
        let set = [first, last.clone()];
        let closer = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let failed = close_all(&set, &mut token, RESET, ahead()).unwrap_err();
            assert_eq!(failed.gate.name(), set[1].name());
        });
        assert!(last.retire(&mut token, ahead()).orphans.is_empty());
        closer.join().unwrap();
        drop(long);
    });
}

#[test]
fn a_parked_set_that_waits_is_released_when_any_of_its_gates_is_removed() {
    two_threads(|| {
        let (first, last) = in_order();
        let mut token = ThreadToken::at_thread_entry();
        let mut parked = try_close_all(&[first.clone(), last.clone()], &token, RESET).unwrap().park();
        let closer = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            assert_eq!(parked.wait(&mut token, ahead()), Err(Gone));
            assert_eq!(parked.forget_gone(), 1);
            assert!(parked.resume(&mut token).unwrap().proof(&first).is_some());
        });
        assert!(last.retire(&mut token, ahead()).orphans.is_empty());
        closer.join().unwrap();
    });
}

#[test]
fn a_try_of_all_gates_that_fails_refuses_nobody() {
    two_threads(|| {
        let (one, other) = (Gate::new("one"), Gate::new("other"));
        let device = Device::new();
        let (handles, same) = ((one.handle(), other.handle()), device.clone());
        let reader = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            let enter = |handle: &Handle| handle.try_enter(&token, CONFIG).map(|_pass| same.access()).is_ok();
            enter(&handles.0) & enter(&handles.1)
        });
        let token = ThreadToken::at_thread_entry();
        let closed = try_close_all(&[one, other], &token, RESET).map(|_set| device.reset()).is_ok();
        let entered = reader.join().unwrap();
        assert!(closed || entered, "busy and refused at once");
    });
}

#[test]
fn of_two_tries_at_overlapping_sets_at_most_one_succeeds_and_nothing_is_left_closed() {
    two_threads(|| {
        let (one, other, device) = (Gate::new("one"), Gate::new("other"), Device::new());
        let (set, same) = ([other.clone(), one.clone()], device.clone());
        let second = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            let _ = try_close_all(&set, &token, RESET).map(|_set| same.reset());
        });
        let token = ThreadToken::at_thread_entry();
        let _ = try_close_all(&[one.clone(), other.clone()], &token, RESET).map(|_set| device.reset());
        second.join().unwrap();
        assert!(try_close_all(&[one, other], &token, RESET).is_ok());
    });
}

#[test]
fn two_closers_that_hold_passes_of_each_others_gates_both_go_on() {
    two_threads(|| {
        let gates = (Gate::new("one"), Gate::new("other"));
        let devices = (Device::new(), Device::new());
        let (theirs, same) = (gates.clone(), devices.clone());
        let second = thread::spawn(move || {
            let (token, handle) = (ThreadToken::at_thread_entry(), theirs.1.handle());
            let Ok(pass) = handle.try_enter(&token, CONFIG) else { return };
            same.1.access();
            let _ = theirs.0.try_close(pass.token(), RESET).map(|_quiesced| same.0.reset());
        });
        let (token, handle) = (ThreadToken::at_thread_entry(), gates.0.handle());
        if let Ok(pass) = handle.try_enter(&token, CONFIG) {
            devices.0.access();
            let _ = gates.1.try_close(pass.token(), RESET).map(|_quiesced| devices.1.reset());
        }
        second.join().unwrap();
    });
}

#[test]
fn a_closer_that_came_during_a_try_gets_in_when_it_fails() {
    two_threads(|| {
        let (first, last) = in_order();
        let single = first.clone();
        let closer = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            drop(single.close(&mut token, RESET, ahead()).unwrap());
        });
        let token = ThreadToken::at_thread_entry();
        let handle = last.handle();
        // Keeps the second gate busy, when the first is on trial already.
        let _pass = handle.try_enter(&token, CONFIG).unwrap();
        assert!(try_close_all(&[first, last.clone()], &token, RESET).is_err());
        closer.join().unwrap();
    });
}
