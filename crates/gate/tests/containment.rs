//! Containment: a freeze that is counted, and that no thaw and no reset ends. What needs every interleaving is in
//! `loom/contain.rs`.
#![cfg(not(any(loom, shuttle)))]

use gate::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const CONFIG: AccessKind = AccessKind::Config;

/// Long enough for a loaded machine; a test that needs it to pass has failed.
fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

fn now() -> Deadline {
    Deadline::after(Duration::ZERO)
}

#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_contained_gate_is_frozen_until_the_last_of_those_who_contain_it_lets_it_go() {
    let (gate, mut token) = (Gate::new("f"), ThreadToken::at_thread_entry());
    let handle = gate.handle();
    assert!(!handle.release(), "nobody contains it");
    assert!(handle.contain() && gate.contain());
    assert_eq!(handle.enter(&mut token, CONFIG, ahead()).err(), Some(Refusal::Frozen));
    assert!(!handle.release(), "somebody else still does");
    let status = gate.status();
    assert_eq!((status.state, status.contained), (GateState::Frozen, 1));
    assert!(gate.is_contained() && handle.is_contained());
    assert!(gate.release());
    assert!(!gate.release(), "never below none");
    assert!(!gate.is_contained() && gate.status().contained == 0);
    assert!(handle.enter(&mut token, CONFIG, now()).is_ok());
}

#[test]
fn no_thaw_ends_containment() {
    // Neither an operator's, nor a client's, nor that of who has reset the function.
    let (gate, mut token) = (Gate::new("f"), ThreadToken::at_thread_entry());
    let handle = gate.handle();
    assert!(gate.contain());
    assert!(!gate.thaw() && !handle.thaw());
    assert!(!gate.close(&mut token, Reason::Reset, now()).unwrap().thaw());
    assert_eq!(gate.status().state, GateState::Frozen);
    assert!(gate.release());
    assert_eq!(gate.status().state, GateState::Open);
}

#[test]
fn what_was_frozen_when_it_was_contained_is_let_go_with_it() {
    let gate = Gate::new("f");
    assert!(gate.freeze());
    assert!(gate.contain());
    assert!(!gate.freeze(), "nothing changes");
    assert!(gate.release());
    assert_eq!(gate.status().state, GateState::Open);
}

#[test]
fn who_has_a_gate_closed_keeps_it_when_it_is_contained_and_when_it_is_let_go() {
    let (gate, mut token) = (Gate::new("f"), ThreadToken::at_thread_entry());
    let handle = gate.handle();
    let closed = gate.close(&mut token, Reason::Recovery, now()).unwrap().park();
    assert!(gate.contain());
    assert_eq!(handle.try_enter(&token, CONFIG).err(), Some(Refusal::Frozen));
    let quiesced = closed.resume(&mut token).unwrap();
    assert!(!quiesced.thaw());
    assert_eq!(gate.status().state, GateState::Frozen, "contained while it was closed");
    let closed = gate.close(&mut token, Reason::Recovery, now()).unwrap().park();
    assert!(gate.release());
    assert_eq!(
        handle.try_enter(&token, CONFIG).err(),
        Some(Refusal::Blocked(Reason::Recovery)),
        "the closer goes on"
    );
    drop(closed);
    assert!(handle.try_enter(&token, CONFIG).is_ok());
}

#[test]
fn a_freeze_after_containment_was_let_go_outlives_the_closer_who_found_the_gate_contained() {
    let (gate, mut token) = (Gate::new("f"), ThreadToken::at_thread_entry());
    assert!(gate.contain());
    let quiesced = gate.close(&mut token, Reason::Recovery, now()).unwrap();
    assert!(gate.release());
    assert!(gate.freeze());
    assert!(!quiesced.thaw());
    assert_eq!(gate.status().state, GateState::Frozen);
}

#[test]
fn a_removal_forgets_containment_and_the_next_device_knows_nothing_of_it() {
    // CFG-18: nothing leads out of gone.
    let (gate, mut token) = (Gate::new("f"), ThreadToken::at_thread_entry());
    let last = gate.handle();
    assert!(last.contain() && last.contain());
    let _ = gate.retire(&mut token, now());
    assert!(!last.contain() && !last.release() && !last.is_contained());
    assert_eq!((gate.status().state, gate.status().contained), (GateState::Gone, 0));
    let next = gate.renew().unwrap();
    assert!(!last.contain() && !last.release());
    assert!(next.try_enter(&token, CONFIG).is_ok());
    assert!(next.contain());
    assert!(!last.release(), "of the device before");
    assert!(!last.is_contained() && next.is_contained());
    assert!(next.release());
}

#[test]
fn subscribers_hear_of_the_first_that_contains_and_of_the_last_that_lets_go() {
    let gate = Gate::new("f");
    let wake = Arc::new(Counted::default());
    let _subscription = gate.handle().subscribe(wake.clone());
    let calls = || wake.0.load(Ordering::SeqCst);
    assert!(gate.contain() && calls() == 1);
    assert!(gate.contain() && calls() == 1, "nothing has changed");
    assert!(!gate.release() && calls() == 1);
    assert!(gate.release() && calls() == 2);
    gate.freeze();
    assert_eq!(calls(), 3);
    assert!(gate.contain() && calls() == 3, "it was frozen already");
}
