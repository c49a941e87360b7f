//! Waits that are ended from outside. A model has no clock: a cancel is also how a deadline passes at any moment.

use super::*;

#[test]
fn an_access_that_waits_gives_up_when_it_is_cancelled() {
    // CFG-I8
    two_threads(|| {
        let gate = Gate::new("f");
        let mut token = ThreadToken::at_thread_entry();
        let closed = gate.try_close(&token, RESET).unwrap().park();
        let canceller = token.canceller();
        let other = thread::spawn(move || canceller.cancel());
        let handle = gate.handle();
        let refused = handle.enter(&mut token, CONFIG, ahead()).map(drop);
        assert_eq!(refused, Err(Refusal::Blocked(RESET)));
        other.join().unwrap();
        drop(closed);
        assert!(handle.enter(&mut token, CONFIG, ahead()).is_ok(), "an open gate needs no wait");
    });
}

#[test]
fn a_closer_that_waits_for_its_turn_gives_up_when_it_is_cancelled() {
    two_threads(|| {
        let gate = Gate::new("f");
        let mut token = ThreadToken::at_thread_entry();
        let closed = gate.try_close(&token, RESET).unwrap().park();
        let canceller = token.canceller();
        let other = thread::spawn(move || canceller.cancel());
        let refused = gate.close(&mut token, RESET, ahead()).err();
        assert!(matches!(refused, Some(CloseError::Contended { holder: Some(RESET) })));
        other.join().unwrap();
        drop(closed);
    });
}

#[test]
fn a_drain_and_a_removal_give_up_when_they_are_cancelled() {
    two_threads(|| {
        let gate = Gate::new("f");
        let mut token = ThreadToken::at_thread_entry();
        let handle = gate.handle();
        let long = handle.enter_long(&mut token, AccessKind::Dma, "read", ahead()).unwrap();
        let canceller = token.canceller();
        let other = thread::spawn(move || canceller.cancel());
        let refused = gate.close(&mut token, RESET, ahead()).err();
        assert!(matches!(refused, Some(CloseError::Drain { .. })));
        assert!(handle.try_enter(&token, CONFIG).is_ok(), "the gate is as it was");
        assert_eq!(gate.retire(&mut token, ahead()).orphans.len(), 1);
        other.join().unwrap();
        drop(long);
    });
}

#[test]
fn a_deadline_that_passes_at_any_moment_leaves_the_gate_as_it_was() {
    three_threads(|| {
        let (gate, device) = (Gate::new("f"), Device::new());
        let (handle, same) = (gate.handle(), device.clone());
        let reader = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let pass = handle.enter(&mut token, CONFIG, ahead()).unwrap();
            same.access();
            drop(pass);
        });
        let mut token = ThreadToken::at_thread_entry();
        let canceller = token.canceller();
        let clock = thread::spawn(move || canceller.cancel());
        match gate.close(&mut token, RESET, ahead()) {
            Ok(_quiesced) => device.reset(),
            Err(CloseError::Drain { inside }) => assert!(!inside.is_empty()),
            Err(other) => panic!("{other}"),
        }
        clock.join().unwrap();
        reader.join().unwrap();
        assert!(token.rearm());
        drop(gate.close(&mut token, RESET, passed()).unwrap());
    });
}
