//! Who has what, how much there may be of it, and that it goes when it is dropped.

use crate::harness::{Found, Function, PAGE, REGION, SIZE};
use gate::ThreadToken;
use mapping::{
    Area, Holds, MapError, MapRequest, MappingLimits, MappingReport, MappingState, Mappings, OnDisabled,
};
use std::sync::{Arc, Weak};
use std::time::Duration;

const LIMITS: MappingLimits = MappingLimits { mappings: 2, bytes: SIZE + PAGE, shared_bytes: PAGE };

#[test]
fn a_mapping_is_listed_with_its_owner_for_as_long_as_it_lives() {
    let function = Function::new();
    assert!(function.mappings.is_empty() && function.mappings.report().is_empty());
    let request = MapRequest { offset: PAGE, size: 2 * PAGE, ..function.request(OnDisabled::Fail) };
    let mapped = function.try_map(request).unwrap();
    assert_eq!(mapped.touch(0), Found::Device);
    let expected = MappingReport {
        owner: "consumer".to_owned(),
        shared: false,
        region: REGION,
        offset: PAGE,
        size: 2 * PAGE,
        state: MappingState::Live,
        faults: 1,
        zaps: 0,
        parked: false,
    };
    assert_eq!(function.mappings.report(), [expected]);
    assert!(!function.mappings.is_empty());
    drop(mapped);
    assert!(function.mappings.is_empty() && function.mappings.report().is_empty());
}

#[test]
fn a_range_that_is_not_whole_pages_of_the_memory_is_refused() {
    // VF-19
    let function = Function::new();
    let bad =
        [(0, 0), (1, PAGE), (0, PAGE + 1), (SIZE, PAGE), (PAGE, SIZE), (0u64.wrapping_sub(PAGE), 2 * PAGE)];
    for (offset, size) in bad {
        let refused =
            function.try_map(MapRequest { offset, size, ..function.request(OnDisabled::Fail) }).err();
        assert!(matches!(refused, Some(MapError::Range)), "{offset:#x} {size:#x}: {refused:?}");
    }
    assert!(function.mappings.is_empty());
}

#[test]
fn limits_are_kept_and_what_was_dropped_no_longer_counts() {
    let function = Function::with(LIMITS);
    let request = |size| MapRequest { size, ..function.request(OnDisabled::Fail) };
    for _ in 0..3 {
        let _all = function.try_map(request(SIZE)).unwrap();
        let refused = function.try_map(request(2 * PAGE)).err();
        assert!(matches!(refused, Some(MapError::Limit { what: "bytes", .. })), "{refused:?}");
        let _last = function.try_map(request(PAGE)).unwrap();
        let refused = function.try_map(request(PAGE)).err();
        assert!(matches!(refused, Some(MapError::Limit { what: "mappings", limit: 2 })), "{refused:?}");
        assert_eq!(function.mappings.report().len(), 2);
    }
}

#[test]
fn mapping_that_fails_leaves_nothing() {
    // MM-I4
    let function = Function::with(MappingLimits { mappings: 1, ..LIMITS });
    function.retire(&mut ThreadToken::at_thread_entry());
    function.gate.renew().unwrap();
    let next = Function {
        mappings: Mappings::new(
            &function.gate,
            function.enabled.clone(),
            MappingLimits { mappings: 1, ..LIMITS },
        ),
        ..function
    };
    for _ in 0..3 {
        let area = Area { offset: 1, size: PAGE, holds: Holds::Data };
        assert!(next.mappings.share("other".to_owned(), REGION, &next.memory, &[area]).is_err());
    }
    assert!(next.try_map(next.request(OnDisabled::Fail)).is_ok());
}

#[test]
fn a_mapping_can_be_dropped_in_every_state_and_leaves_nothing() {
    type Change = fn(&Function, &mut ThreadToken);
    let ways: [(&str, Change); 5] = [
        ("live", |_, _| {}),
        ("zapped", |function, token| function.enable(token, true)),
        ("disabled", |function, token| function.enable(token, false)),
        ("frozen", |function, _| assert!(function.gate.freeze())),
        ("gone", |function, token| function.retire(token)),
    ];
    for (way, change) in ways {
        for touched in [false, true] {
            let function = Function::new();
            let token = &mut ThreadToken::at_thread_entry();
            let mapped = function.map(OnDisabled::Wait(Duration::from_secs(60)));
            assert!(!touched || mapped.touch(0) == Found::Device);
            change(&function, token);
            let _ = mapped.touch(1);
            let (window, pages) = (mapped.weak(), Arc::downgrade(&mapped.pages.0));
            drop(mapped);
            assert_eq!((window.strong_count(), Weak::strong_count(&pages)), (0, 0), "{way}");
            assert!(function.mappings.is_empty());
        }
    }
}

#[test]
fn a_mapping_that_was_dropped_hears_no_more_of_the_gate_but_others_do() {
    let function = Function::new();
    let (first, second) = (function.map(OnDisabled::Fail), function.map(OnDisabled::Fail));
    let pages = first.pages.clone();
    drop(first);
    assert!(function.gate.freeze());
    assert_eq!((pages.covers(), second.pages.covers()), (0, 1));
    drop(second);
    assert!(function.gate.thaw());
    let third = function.map(OnDisabled::Fail);
    assert!(function.gate.freeze());
    assert_eq!(third.pages.covers(), 1, "subscribed again");
}

#[test]
fn a_range_stays_mapped_while_a_fault_in_it_is_being_answered() {
    let function = Function::new();
    let mapped = function.map(OnDisabled::Fail);
    let (handler, pages) = (mapped.window(), Arc::downgrade(&mapped.pages.0));
    drop(mapped);
    assert_eq!(Weak::strong_count(&pages), 1);
    handler.fault(&mut ThreadToken::at_thread_entry(), 0);
    drop(handler);
    assert_eq!(Weak::strong_count(&pages), 0);
}

#[test]
fn mm_i6_the_first_users_of_a_memory_set_it_up_once() {
    let function = Function::new();
    let files = std::thread::scope(|scope| {
        let user = || {
            // The kernel's pages, or a call for each access where it permits none.
            let mapping = function.mappings.map(function.request(OnDisabled::Fail)).map(drop);
            assert!(mapping.is_ok(), "{mapping:?}");
            function.memory.file(0).unwrap()
        };
        let users: Vec<_> = (0..8).map(|_| scope.spawn(user)).collect();
        users.into_iter().map(|user| user.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(files.iter().all(|file| Arc::ptr_eq(file, &files[0])));
    assert!(function.mappings.is_empty());
}
