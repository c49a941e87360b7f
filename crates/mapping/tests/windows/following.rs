//! Freeze, thaw, removal and what comes after it (law 5).

use crate::harness::{Found, Function, PAGE, ahead};
use gate::{AccessKind, Reason, ThreadToken};
use mapping::{MapError, MappingError, MappingLimits, MappingState, Mappings, OnDisabled};
use std::sync::atomic::Ordering;

#[test]
fn a_freeze_shows_all_ones_when_it_returns_and_a_thaw_ends_that() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    assert_eq!(mapped.touch(0), Found::Device);
    assert!(function.gate.freeze());
    assert_eq!((mapped.touch(0), mapped.touch(1)), (Found::AllOnes, Found::AllOnes));
    assert_eq!((mapped.state(), mapped.read(0)), (MappingState::Frozen, Err(MappingError::Frozen)));
    assert!(function.gate.thaw());
    assert_eq!((mapped.state(), mapped.pages.present()), (MappingState::Live, 0));
    assert_eq!((mapped.touch(0), mapped.touch(1)), (Found::Device, Found::Device));
    assert!(mapped.read(0).is_ok());
}

#[test]
fn who_freezes_may_hold_a_pass() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let token = ThreadToken::at_thread_entry();
    let handle = function.gate.handle();
    let pass = handle.try_enter(&token, AccessKind::Bar).unwrap();
    assert!(handle.freeze());
    assert_eq!(mapped.touch(0), Found::AllOnes);
    drop(pass);
}

#[test]
fn a_page_that_is_populated_late_never_shows_through_a_freeze() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let gate = function.gate.clone();
    mapped.pages.during_populate(move || assert!(gate.freeze()));
    assert_eq!(mapped.touch(0), Found::AllOnes);
    assert_eq!((mapped.pages.present(), mapped.mapping.report().faults), (0, 0));
}

#[test]
fn a_freeze_that_has_ended_while_a_page_was_populated_does_no_harm() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let gate = function.gate.clone();
    mapped.pages.during_populate(move || assert!(gate.freeze() && gate.thaw()));
    assert_eq!(mapped.touch(0), Found::Device);
    assert_eq!(mapped.state(), MappingState::Live);
}

#[test]
fn a_load_that_waits_when_the_function_freezes_finds_all_ones() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let token = &mut ThreadToken::at_thread_entry();
    let closed = function.close(token);
    assert_eq!(mapped.touch(0), Found::Waits);
    assert!(function.gate.freeze());
    assert!(!mapped.pages.waits(0), "it was woken");
    assert_eq!(mapped.touch(0), Found::AllOnes);
    drop(closed);
    assert_eq!(mapped.touch(0), Found::AllOnes, "still frozen");
}

#[test]
fn a_function_that_is_thawed_under_a_closer_stays_covered_until_it_opens() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    assert!(function.gate.freeze());
    let token = &mut ThreadToken::at_thread_entry();
    let closed = function.close(token);
    assert!(function.gate.thaw());
    assert_eq!(mapped.touch(0), Found::AllOnes);
    drop(closed);
    assert_eq!(mapped.touch(0), Found::Device);
}

#[test]
fn a_close_and_a_zap_while_frozen_leave_the_cover_where_it_is() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    assert!(function.gate.freeze());
    let token = &mut ThreadToken::at_thread_entry();
    let held = function.gate.close_short(token, Reason::Remap, ahead()).unwrap();
    function.mappings.zap(&held);
    drop(held);
    assert_eq!((mapped.touch(0), mapped.pages.covers()), (Found::AllOnes, 1));
    assert!(function.close(token).thaw());
    assert_eq!(mapped.touch(0), Found::Device);
}

#[test]
fn a_range_that_cannot_be_uncovered_stays_covered_and_is_tried_again() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    assert!(function.gate.freeze());
    mapped.pages.0.uncover_fails.store(true, Ordering::SeqCst);
    assert!(function.gate.thaw());
    assert_eq!((mapped.touch(0), mapped.state()), (Found::AllOnes, MappingState::Frozen));
    assert_eq!(mapped.read(0), Err(MappingError::NoMemory));
    mapped.pages.0.uncover_fails.store(false, Ordering::SeqCst);
    assert!(mapped.read(0).is_ok(), "an access has tried again");
    assert_eq!(mapped.state(), MappingState::Live);
}

#[test]
fn a_region_that_is_disabled_when_its_function_thaws_stays_covered_until_it_is_enabled() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let token = &mut ThreadToken::at_thread_entry();
    function.enable(token, false);
    assert!(function.gate.freeze() && function.gate.thaw());
    assert_eq!((mapped.touch(0), mapped.state()), (Found::AllOnes, MappingState::Frozen));
    assert_eq!(mapped.read(0), Err(MappingError::Disabled), "it is no longer frozen");
    // Closers that enable nothing, and zaps.
    drop(function.close(token));
    function.enable(token, false);
    assert_eq!((mapped.touch(0), mapped.pages.covers()), (Found::AllOnes, 1));
    function.enable(token, true);
    assert_eq!((mapped.touch(0), mapped.state()), (Found::Device, MappingState::Live));
    assert!(mapped.read(0).is_ok());
}

#[test]
fn a_region_that_is_enabled_in_a_freeze_is_back_at_the_thaw() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let token = &mut ThreadToken::at_thread_entry();
    function.enable(token, false);
    assert!(function.gate.freeze());
    function.enable(token, true);
    assert_eq!(mapped.touch(0), Found::AllOnes);
    assert!(function.gate.thaw());
    assert_eq!(mapped.touch(0), Found::Device);
}

#[test]
fn law_5_a_window_of_the_last_epoch_never_shows_the_next_device() {
    let function = Function::new();
    let old = function.map(OnDisabled::Fail);
    assert_eq!(old.touch(0), Found::Device);
    let token = &mut ThreadToken::at_thread_entry();
    function.retire(token);
    assert_eq!((old.touch(0), old.touch(1)), (Found::AllOnes, Found::AllOnes));
    assert_eq!((old.state(), old.read(PAGE)), (MappingState::Gone, Err(MappingError::Gone)));
    let handle = function.gate.renew().unwrap();
    let next = Function {
        mappings: Mappings::new(&function.gate, function.enabled.clone(), MappingLimits::default()),
        ..function
    };
    let new = next.map(OnDisabled::Fail);
    assert_eq!((new.touch(0), old.touch(0)), (Found::Device, Found::AllOnes));
    assert!(handle.freeze() && handle.thaw());
    drop(next.close(token));
    old.window().look();
    old.window().fault(token, 0);
    assert_eq!((old.touch(0), old.state()), (Found::AllOnes, MappingState::Gone));
    assert_eq!((new.touch(0), new.state()), (Found::Device, MappingState::Live));
}

#[test]
fn a_function_that_is_removed_while_frozen_stays_covered_for_ever() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let token = &mut ThreadToken::at_thread_entry();
    assert!(function.gate.freeze());
    function.retire(token);
    function.gate.renew().unwrap();
    mapped.window().look();
    assert_eq!(
        (mapped.touch(0), mapped.state(), mapped.pages.covers()),
        (Found::AllOnes, MappingState::Gone, 1)
    );
}

#[test]
fn a_load_that_waits_when_the_function_is_removed_finds_all_ones() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Wait(std::time::Duration::from_secs(60)));
    let token = &mut ThreadToken::at_thread_entry();
    function.enable(token, false);
    assert_eq!(mapped.touch(0), Found::Waits);
    function.retire(token);
    assert!(!mapped.pages.waits(0));
    assert_eq!(mapped.touch(0), Found::AllOnes);
}

#[test]
fn what_is_mapped_while_the_function_is_frozen_is_covered_from_the_start() {
    let function = Function::new();
    assert!(function.gate.freeze());
    let mapped = function.map(OnDisabled::Fail);
    assert_eq!((mapped.touch(0), mapped.state()), (Found::AllOnes, MappingState::Frozen));
    assert!(function.gate.thaw());
    assert_eq!(mapped.touch(0), Found::Device);
}

#[test]
fn nothing_is_mapped_of_a_function_that_is_gone() {
    let function = Function::new();
    function.retire(&mut ThreadToken::at_thread_entry());
    for renewed in [false, true] {
        assert!(!renewed || function.gate.renew().is_some());
        let refused = function.try_map(function.request(OnDisabled::Fail)).err();
        assert!(matches!(refused, Some(MapError::Gone)), "{refused:?}");
        assert!(function.mappings.is_empty());
    }
}
