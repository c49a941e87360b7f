//! Faults: what they are answered with, and when.

use crate::harness::{Found, Function, PAGE, ahead, elsewhere};
use gate::{Busy, Deadline, Reason, ThreadToken};
use mapping::{MappingError, OnDisabled, PagesError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

#[test]
fn mm_i1_threads_that_fault_on_one_page_all_succeed_and_there_is_one_mapping() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let window = mapped.window();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    assert_eq!(mapped.pages.touch(&window, 1), Found::Device);
                    // Also of a page that is present by now: events may come twice.
                    window.fault(&mut ThreadToken::at_thread_entry(), PAGE);
                }
            });
        }
    });
    assert_eq!(mapped.pages.present(), 1);
    assert_eq!(function.mappings.report().len(), 1);
}

#[test]
fn mm_i1_a_page_that_is_populated_by_two_at_the_same_moment_is_populated() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let (window, pages) = (mapped.window(), mapped.pages.clone());
    mapped.pages.during_populate(move || assert_eq!(pages.touch(&window, 0), Found::Device));
    assert_eq!(mapped.touch(0), Found::Device);
    assert_eq!(mapped.pages.populates(), 2);
}

#[test]
fn mm_i2_a_page_is_populated_inside_the_gate_and_only_while_its_region_can_be_reached() {
    // VF-18, VF-20
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let inside = Arc::new(AtomicUsize::new(0));
    let (gate, seen) = (function.gate.clone(), inside.clone());
    mapped.pages.during_populate(move || {
        seen.store(gate.status().inside.len(), Ordering::SeqCst);
        let refused = elsewhere(|token| gate.try_close(token, Reason::Reset).err());
        assert_eq!(refused, Some(Busy::Inside), "a closer has to wait");
    });
    assert_eq!(mapped.touch(0), Found::Device);
    assert_eq!(inside.load(Ordering::SeqCst), 1);
    assert!(function.gate.status().inside.is_empty());
    function.enable(&mut ThreadToken::at_thread_entry(), false);
    assert_eq!(mapped.touch(0), Found::Failed);
    assert_eq!(mapped.pages.populates(), 1, "nothing is made present while it is disabled");
}

#[test]
fn mm_i3_after_a_zap_nothing_is_present_until_it_is_touched_again() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    assert_eq!((mapped.touch(0), mapped.touch(3)), (Found::Device, Found::Device));
    let token = &mut ThreadToken::at_thread_entry();
    let held = function.close(token);
    function.mappings.zap(&held);
    assert_eq!(mapped.pages.present(), 0);
    assert_eq!(mapped.touch(0), Found::Waits, "and while the gate is closed nothing comes back");
    drop(held);
    assert_eq!(mapped.touch(0), Found::Device);
}

#[test]
fn mm_i3_a_zap_that_was_given_up_is_done_as_soon_as_the_gate_can_be_closed() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let token = &mut ThreadToken::at_thread_entry();
    assert_eq!(mapped.touch(0), Found::Device);
    let closed = function.close(token).park();
    function.mappings.zap_later();
    let soon = Deadline::after(Duration::from_millis(1));
    assert!(function.mappings.settle(token, soon).is_err(), "somebody has the gate");
    assert_eq!(mapped.pages.present(), 1);
    drop(closed);
    function.mappings.settle(token, ahead()).unwrap();
    assert_eq!((mapped.pages.present(), mapped.mapping.report().zaps), (0, 1));
    assert_eq!(mapped.touch(0), Found::Device);
}

#[test]
fn a_zap_that_is_owed_is_paid_once_by_whoever_is_first() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let token = &mut ThreadToken::at_thread_entry();
    let held = function.close(token);
    function.mappings.zap_later();
    function.mappings.zap(&held);
    drop(held);
    function.mappings.settle(token, ahead()).unwrap();
    assert_eq!(mapped.mapping.report().zaps, 1);
    // Of a function that is gone there is nothing to be zapped.
    function.retire(token);
    function.mappings.zap_later();
    function.mappings.settle(token, ahead()).unwrap();
    assert_eq!(mapped.touch(0), Found::AllOnes);
}

#[test]
fn mm_i5_a_disabled_region_fails_at_once_and_enabling_it_ends_that() {
    // VF-17, VF-20: SIGBUS, not a hang and not stale data.
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let token = &mut ThreadToken::at_thread_entry();
    assert_eq!(mapped.touch(1), Found::Device);
    for _ in 0..3 {
        function.enable(token, false);
        assert_eq!((mapped.touch(1), mapped.touch(2)), (Found::Failed, Found::Failed));
        assert_eq!(mapped.read(PAGE), Err(MappingError::Disabled));
        function.enable(token, true);
        assert_eq!((mapped.touch(1), mapped.touch(2)), (Found::Device, Found::Device));
        assert!(mapped.read(PAGE).is_ok());
    }
}

#[test]
fn mm_i4_a_fault_that_fails_leaves_nothing_and_the_next_access_tries_again() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    mapped.pages.fail_populate(Some(PagesError::NoMemory));
    assert_eq!(mapped.touch(0), Found::Failed);
    let report = mapped.mapping.report();
    assert_eq!((mapped.pages.present(), report.faults, report.parked), (0, 0, false));
    assert!(function.gate.status().inside.is_empty());
    assert_eq!(mapped.read(0), Err(MappingError::NoMemory));
    mapped.pages.fail_populate(None);
    assert_eq!(mapped.touch(0), Found::Device, "the error was told once");
    assert!(mapped.read(0).is_ok());
}

#[test]
fn a_fault_is_counted_when_it_was_answered_with_memory() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    assert_eq!((mapped.touch(0), mapped.touch(1)), (Found::Device, Found::Device));
    let token = &mut ThreadToken::at_thread_entry();
    function.enable(token, false);
    assert_eq!(mapped.touch(0), Found::Failed);
    let report = mapped.mapping.report();
    assert_eq!((report.faults, report.zaps), (2, 1));
}
