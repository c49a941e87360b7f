//! Containment against everything else that opens and closes a gate.

use super::*;

/// Contains the gate and lets it go again; in between nobody is let in, unless the function is gone.
fn contain_for_a_while(handle: &Handle) -> bool {
    let token = ThreadToken::at_thread_entry();
    if handle.contain() {
        let refused = handle.try_enter(&token, CONFIG).err();
        let kept_out = matches!(refused, Some(Refusal::Frozen | Refusal::Gone | Refusal::StaleEpoch { .. }));
        assert!(kept_out, "{refused:?}");
    }
    handle.release()
}

#[test]
fn no_thaw_and_no_reset_lets_in_what_is_contained() {
    // EEH-06
    two_threads(|| {
        let (gate, device) = (Gate::new("f"), Device::new());
        let (handle, same) = (gate.handle(), device.clone());
        assert!(gate.freeze());
        let second = gate.clone();
        let resets = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let quiesced = second.close(&mut token, RESET, ahead()).unwrap();
            same.reset();
            quiesced.thaw();
            second.thaw();
        });
        assert!(handle.contain());
        let token = ThreadToken::at_thread_entry();
        assert_eq!(handle.try_enter(&token, CONFIG).err(), Some(Refusal::Frozen));
        resets.join().unwrap();
        assert_eq!(handle.try_enter(&token, CONFIG).err(), Some(Refusal::Frozen));
        assert!(handle.release());
        let _pass = handle.try_enter(&token, CONFIG).unwrap();
        device.access();
    });
}

#[test]
fn of_two_that_contain_a_function_only_the_last_lets_it_go() {
    two_threads(|| {
        let gate = Gate::new("f");
        let (handle, same) = (gate.handle(), gate.handle());
        let other = thread::spawn(move || contain_for_a_while(&same));
        let ended = contain_for_a_while(&handle);
        let ended = [ended, other.join().unwrap()];
        assert!(ended.contains(&true), "somebody was the last");
        let token = ThreadToken::at_thread_entry();
        assert!(handle.try_enter(&token, CONFIG).is_ok());
    });
}

#[test]
fn an_access_that_waits_for_a_closer_is_refused_when_the_function_is_contained() {
    // A waiter that nobody woke would sleep for good: a model in which everybody sleeps fails.
    two_threads(|| {
        let gate = Gate::new("f");
        let handle = gate.handle();
        let token = ThreadToken::at_thread_entry();
        let closed = gate.try_close(&token, RESET).unwrap().park();
        let waits = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            handle.enter(&mut token, CONFIG, ahead()).err()
        });
        assert!(gate.contain());
        assert_eq!(waits.join().unwrap(), Some(Refusal::Frozen));
        assert!(gate.release());
        drop(closed);
    });
}

#[test]
fn containing_one_device_never_reaches_the_next_in_its_place() {
    // Law 5
    two_threads(|| {
        let gate = Gate::new("f");
        let last = gate.handle();
        let contains = thread::spawn(move || {
            let ended = contain_for_a_while(&last);
            (ended, last.is_contained())
        });
        let mut token = ThreadToken::at_thread_entry();
        assert!(gate.retire(&mut token, ahead()).orphans.is_empty());
        let next = gate.renew().unwrap();
        assert!(next.try_enter(&token, CONFIG).is_ok());
        let (_ended, contained) = contains.join().unwrap();
        assert!(!contained);
        assert!(next.try_enter(&token, CONFIG).is_ok() && !next.release());
    });
}

#[test]
fn containment_holds_beside_a_freeze_a_thaw_a_close_and_a_removal() {
    three_threads(|| {
        let (gate, device) = (Gate::new("f"), Device::new());
        let (handle, same, second) = (gate.handle(), device.clone(), gate.clone());
        let contains = thread::spawn(move || contain_for_a_while(&handle));
        let freezes = thread::spawn(move || {
            second.freeze();
            second.thaw();
        });
        let mut token = ThreadToken::at_thread_entry();
        let quiesced = gate.close(&mut token, RESET, ahead()).unwrap();
        same.reset();
        quiesced.thaw();
        assert!(gate.retire(&mut token, ahead()).orphans.is_empty());
        device.reset();
        contains.join().unwrap();
        freezes.join().unwrap();
        assert!(!gate.is_contained());
        assert!(gate.renew().unwrap().try_enter(&token, CONFIG).is_ok());
    });
}
