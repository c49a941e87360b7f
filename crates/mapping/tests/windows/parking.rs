//! Loads that wait: for how long, and who wakes them. Time is told, not waited for.

use crate::harness::{DEVICE, Found, Function, Mapped, SIZE, ahead};
use gate::{ThreadToken, Wake};
use mapping::{MappingError, OnDisabled};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
/// Longer than any closer keeps a gate.
const LONG: Duration = Duration::from_secs(600);

/// Lets so much time pass that the deadline has come. False: nobody waits for one.
fn pass_deadline(mapped: &Mapped) -> bool {
    let window = mapped.window();
    let Some(deadline) = window.deadline() else { return false };
    window.expire(deadline.instant());
    true
}

#[test]
fn a_load_waits_while_the_gate_is_closed_and_is_woken_when_it_reopens() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let token = &mut ThreadToken::at_thread_entry();
    let closed = function.close(token);
    assert_eq!((mapped.touch(0), mapped.touch(1)), (Found::Waits, Found::Waits));
    assert!(mapped.mapping.report().parked);
    drop(closed);
    assert!(!mapped.pages.waits(0) && !mapped.pages.waits(1));
    assert_eq!((mapped.touch(0), mapped.touch(1)), (Found::Device, Found::Device));
    assert!(!mapped.mapping.report().parked);
    assert_eq!(mapped.window().deadline(), None);
}

#[test]
fn whoever_waits_keeps_no_closer_waiting() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Wait(LIMIT));
    let token = &mut ThreadToken::at_thread_entry();
    function.enable(token, false);
    assert_eq!(mapped.touch(0), Found::Waits);
    assert!(function.gate.status().inside.is_empty());
    drop(function.close(token));
}

#[test]
fn a_disabled_region_that_is_waited_for_is_found_when_it_is_enabled() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Wait(LIMIT));
    let token = &mut ThreadToken::at_thread_entry();
    function.enable(token, false);
    assert_eq!(mapped.touch(0), Found::Waits);
    let deadline = mapped.window().deadline().unwrap();
    assert!(deadline.instant() <= Instant::now() + LIMIT);
    drop(function.close(token));
    assert!(!mapped.pages.waits(0), "whatever has closed the gate, it looks again");
    assert_eq!(mapped.touch(0), Found::Waits);
    assert_eq!(mapped.window().deadline(), Some(deadline), "which gives it no more time");
    function.enable(token, true);
    assert_eq!(mapped.touch(0), Found::Device);
}

#[test]
fn a_load_that_has_waited_for_too_long_fails_and_the_next_one_finds_the_region_when_it_is_back() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Wait(LIMIT));
    let token = &mut ThreadToken::at_thread_entry();
    function.enable(token, false);
    assert_eq!(mapped.touch(0), Found::Waits);
    mapped.window().expire(Instant::now());
    assert!(mapped.pages.waits(0), "its time is not up");
    assert!(pass_deadline(&mapped));
    assert!(!mapped.pages.waits(0));
    assert_eq!((mapped.touch(0), mapped.read(0)), (Found::Failed, Err(MappingError::TimedOut)));
    function.enable(token, true);
    assert_eq!((mapped.touch(0), mapped.touch(1)), (Found::Device, Found::Device));
    assert!(mapped.read(0).is_ok());
}

#[test]
fn no_time_at_all_is_a_failure_at_once() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Wait(Duration::ZERO));
    function.enable(&mut ThreadToken::at_thread_entry(), false);
    assert_eq!((mapped.touch(0), mapped.read(0)), (Found::Failed, Err(MappingError::TimedOut)));
}

#[test]
fn a_gate_that_stays_closed_is_not_waited_for_for_ever_and_leaves_no_failure_behind() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let token = &mut ThreadToken::at_thread_entry();
    let closed = function.close(token);
    assert_eq!(mapped.touch(0), Found::Waits);
    let deadline = mapped.window().deadline().unwrap().instant();
    assert!(
        (Instant::now() + LIMIT..Instant::now() + LONG).contains(&deadline),
        "longer than the longest reset"
    );
    assert!(pass_deadline(&mapped));
    assert_eq!((mapped.touch(0), mapped.read(0)), (Found::Failed, Err(MappingError::TimedOut)));
    drop(closed);
    // What was poisoned without a pass was true of a closed gate only.
    assert_eq!((mapped.touch(0), mapped.touch(1)), (Found::Device, Found::Device));
    assert!(mapped.read(0).is_ok());
}

#[test]
fn a_zap_forgives_those_whose_time_was_up() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Wait(LIMIT));
    let token = &mut ThreadToken::at_thread_entry();
    function.enable(token, false);
    assert_eq!(mapped.touch(0), Found::Waits);
    assert!(pass_deadline(&mapped));
    function.enable(token, false);
    assert_eq!(mapped.touch(0), Found::Waits);
}

#[test]
fn a_freeze_ends_every_wait() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Wait(LIMIT));
    let token = &mut ThreadToken::at_thread_entry();
    function.enable(token, false);
    assert_eq!(mapped.touch(0), Found::Waits);
    assert!(function.gate.freeze());
    assert_eq!(mapped.touch(0), Found::AllOnes);
    assert!(!pass_deadline(&mapped));
    assert!(function.gate.thaw());
    assert_eq!(mapped.touch(0), Found::AllOnes, "covered until it is enabled");
    function.enable(token, true);
    assert_eq!(mapped.touch(0), Found::Device);
}

/// What an access finds that begins now, and that waits until `change` has happened.
fn read_across(mapped: &Mapped, change: impl FnOnce()) -> Result<u8, MappingError> {
    thread::scope(|scope| {
        let reader = scope.spawn(|| mapped.mapping.read::<u8>(&mut ThreadToken::at_thread_entry(), 0));
        let deadline = ahead();
        while !mapped.mapping.report().parked {
            assert!(deadline.remaining().is_some(), "nobody waits");
            thread::yield_now();
        }
        change();
        reader.join().unwrap()
    })
}

#[test]
fn an_access_that_may_wait_and_meets_a_cover_waits_for_its_end() {
    type Change = fn(&Function, &mut ThreadToken);
    let ways: [(Change, Result<u8, MappingError>); 3] = [
        (|function, token| function.enable(token, true), Ok(DEVICE)),
        (|function, _| assert!(function.gate.freeze()), Err(MappingError::Frozen)),
        (|function, token| function.retire(token), Err(MappingError::Gone)),
    ];
    for (change, expected) in ways {
        let function = Function::new();
        let mapped = function.map(OnDisabled::Wait(LIMIT));
        let token = &mut ThreadToken::at_thread_entry();
        function.enable(token, false);
        assert!(function.gate.freeze() && function.gate.thaw());
        assert_eq!(read_across(&mapped, || change(&function, token)), expected);
        assert!(!mapped.mapping.report().parked);
    }
}

#[test]
fn an_access_that_waits_for_the_end_of_a_cover_fails_when_its_time_is_up() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Wait(Duration::from_millis(1)));
    function.enable(&mut ThreadToken::at_thread_entry(), false);
    assert!(function.gate.freeze() && function.gate.thaw());
    assert_eq!(mapped.read(0), Err(MappingError::TimedOut));
}

#[test]
fn an_access_that_meets_a_cover_under_a_closer_waits_for_the_gate() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    assert!(function.gate.freeze());
    let token = &mut ThreadToken::at_thread_entry();
    let closed = function.close(token);
    assert!(function.gate.thaw());
    assert_eq!(read_across(&mapped, || drop(closed)), Ok(DEVICE));
}

/// Touches a page from where it is told that the gate has changed, before the mapping is told.
struct First(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for First {
    fn wake(&self) {
        let then = self.0.lock().unwrap().take();
        if let Some(then) = then {
            then();
        }
    }
}

#[test]
fn whoever_waits_is_woken_also_if_another_load_is_answered_before_the_gates_news_arrive() {
    let function = Function::new();
    let first = Arc::new(First(Mutex::new(None)));
    let _subscription = function.gate.handle().subscribe(first.clone());
    let mapped = function.map(OnDisabled::Fail);
    let token = &mut ThreadToken::at_thread_entry();
    let closed = function.close(token);
    assert_eq!(mapped.touch(0), Found::Waits);
    let (window, pages) = (mapped.window(), mapped.pages.clone());
    *first.0.lock().unwrap() = Some(Box::new(move || assert_eq!(pages.touch(&window, 1), Found::Device)));
    drop(closed);
    assert_eq!(mapped.pages.present(), 1, "the other one was first");
    assert!(!mapped.pages.waits(0), "it would wait for ever");
}

#[test]
fn a_load_that_comes_between_a_freeze_and_its_news_finds_all_ones() {
    let function = Function::new();
    let first = Arc::new(First(Mutex::new(None)));
    let _subscription = function.gate.handle().subscribe(first.clone());
    let mapped = function.map(OnDisabled::Fail);
    let (window, pages) = (mapped.window(), mapped.pages.clone());
    *first.0.lock().unwrap() = Some(Box::new(move || assert_eq!(pages.touch(&window, 0), Found::AllOnes)));
    assert!(function.gate.freeze());
    assert_eq!((mapped.touch(1), mapped.pages.covers()), (Found::AllOnes, 1));
}

#[test]
fn all_pages_of_a_window_are_waited_for_together() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Wait(LIMIT));
    let token = &mut ThreadToken::at_thread_entry();
    function.enable(token, false);
    let pages = SIZE / crate::harness::PAGE;
    assert!((0..pages).all(|page| mapped.touch(page) == Found::Waits));
    assert!(pass_deadline(&mapped));
    assert!((0..pages).all(|page| mapped.touch(page) == Found::Failed));
    assert!(!pass_deadline(&mapped), "one deadline for all");
}
