//! The exhibits: loom must find the bug in each of them.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p museum --release --test exhibits`.
#![cfg(loom)]

#[path = "../../crates/gate/tests/schedules/mod.rs"]
mod schedules;

use loom::sync::Arc;
use loom::thread;
use museum::first_use::{Bar, FirstUse};
use museum::freed_poller::{Kept, Polled};
use museum::ops_swap::Bus;
use museum::page_fault::{Fault, Handler, Mapping, PAGES};
use museum::stack_waiter::Wake;
use museum::{one_queue, stack_waiter};
use schedules::{explore, two_threads};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Loom finds something in `body`, and that is what it complains of.
fn breaks(complaint: &str, body: impl Fn() + Sync + Send + 'static) {
    let outcome = catch_unwind(AssertUnwindSafe(|| two_threads(body)));
    let found = outcome.expect_err("loom found nothing");
    let found = match (found.downcast_ref::<String>(), found.downcast_ref::<&str>()) {
        (Some(text), _) => text.as_str(),
        (None, Some(text)) => text,
        (None, None) => "",
    };
    assert!(found.contains(complaint), "loom found something else: {found}");
}

fn reset_two_functions_while_an_access_waits(wake: Wake) {
    let machine = Arc::new(stack_waiter::Machine::blocked(wake));
    let same = machine.clone();
    let waiter = thread::spawn(move || same.access(0));
    machine.unblock(0);
    machine.unblock(1);
    waiter.join().unwrap();
}

#[test]
fn report_a_a_wake_reads_the_stack_of_a_waiter_that_has_returned() {
    breaks("Causality violation", || reset_two_functions_while_an_access_waits(Wake::UnderQueueLock));
}

/// Shows that the exhibit breaks for that reason and for no other.
#[test]
fn report_a_with_the_wake_under_the_lock_of_the_flags_holds() {
    explore(None, || reset_two_functions_while_an_access_waits(Wake::UnderFlagLock));
}

#[test]
fn report_c_an_access_is_inside_operations_that_are_being_freed() {
    breaks("Causality violation", || {
        let bus = Arc::new(Bus::injected());
        let same = bus.clone();
        let access = thread::spawn(move || same.access());
        bus.restore();
        bus.free_injected();
        access.join().unwrap();
    });
}

#[test]
fn report_c_an_access_takes_the_operations_of_one_and_the_data_of_another() {
    breaks("torn", || {
        let bus = Arc::new(Bus::injected());
        let same = bus.clone();
        let access = thread::spawn(move || same.access());
        bus.restore();
        let (operations, data) = access.join().unwrap();
        assert_eq!(operations, Some(data), "torn");
    });
}

#[test]
fn report_c_a_wake_for_one_function_wakes_the_waiters_of_another() {
    breaks("woken for nothing", || {
        let machine = Arc::new(one_queue::Machine::blocked(2));
        let same = machine.clone();
        let other = thread::spawn(move || same.access(1));
        machine.unblock(0);
        machine.unblock(1);
        other.join().unwrap();
        assert_eq!(machine.woken_for_nothing(), 0, "woken for nothing");
    });
}

/// Both touch a page of one empty mapping; how each of them ended.
fn touch_on_two_threads(mapping: &Arc<Mapping>) -> [Result<(), Fault>; 2] {
    let same = mapping.clone();
    let other = thread::spawn(move || same.touch(1));
    let ours = mapping.touch(0);
    [ours, other.join().unwrap()]
}

#[test]
fn report_d_two_threads_see_an_empty_mapping_and_both_fill_it() {
    // MM-I1
    breaks("filled twice", || {
        let mapping = Arc::new(Mapping::new(Handler::AsReported, PAGES));
        let ended = touch_on_two_threads(&mapping);
        assert!(!ended.contains(&Err(Fault::Occupied)), "filled twice");
    });
}

#[test]
fn report_d_two_threads_put_one_mapping_on_the_list_twice() {
    // MM-I1
    breaks("listed twice", || {
        let mapping = Arc::new(Mapping::new(Handler::AsReported, PAGES));
        let _ended = touch_on_two_threads(&mapping);
        assert_eq!(mapping.listed(), 1, "listed twice");
    });
}

#[test]
fn report_d_a_fault_that_fails_leaves_its_mapping_on_the_list() {
    // MM-I4
    breaks("left behind", || {
        let mapping = Arc::new(Mapping::new(Handler::AsReported, 1));
        let ended = touch_on_two_threads(&mapping);
        assert!(ended.contains(&Err(Fault::NoMemory)) || ended.contains(&Err(Fault::Occupied)));
        assert_eq!(mapping.listed(), 0, "left behind");
    });
}

/// Shows that the exhibit breaks for that reason and for no other.
#[test]
fn report_d_with_the_lock_held_until_all_is_filled_or_undone_holds() {
    // MM-I1, MM-I4
    explore(None, || {
        let mapping = Arc::new(Mapping::new(Handler::Repaired, PAGES));
        assert_eq!(touch_on_two_threads(&mapping), [Ok(()), Ok(())]);
        assert_eq!((mapping.listed(), mapping.filled()), (1, PAGES));
        let failing = Arc::new(Mapping::new(Handler::Repaired, 1));
        assert!(touch_on_two_threads(&failing).contains(&Err(Fault::NoMemory)));
        assert_eq!((failing.listed(), failing.filled()), (0, 0));
    });
}

/// Both are the first users of a BAR.
fn use_on_two_threads(bar: &Arc<Bar>) {
    let same = bar.clone();
    let other = thread::spawn(move || same.mapping());
    let both = [bar.mapping(), other.join().unwrap()];
    assert!(both.iter().all(Result::is_ok), "refused its own addresses");
    assert_eq!(bar.made(), 1, "a mapping is lost");
}

#[test]
fn report_d_the_second_of_two_first_users_of_a_bar_is_refused() {
    // MM-I6
    breaks("refused its own addresses", || {
        use_on_two_threads(&Arc::new(Bar::new(FirstUse::AsReported, true)));
    });
}

#[test]
fn report_d_of_two_first_users_of_a_bar_one_loses_its_mapping() {
    // MM-I6
    breaks("a mapping is lost", || {
        use_on_two_threads(&Arc::new(Bar::new(FirstUse::AsReported, false)));
    });
}

/// Shows that the exhibit breaks for that reason and for no other.
#[test]
fn report_d_with_a_lock_over_test_and_set_up_holds() {
    // MM-I6
    explore(None, || {
        use_on_two_threads(&Arc::new(Bar::new(FirstUse::UnderLock, true)));
        use_on_two_threads(&Arc::new(Bar::new(FirstUse::UnderLock, false)));
    });
}

fn pulled_under_a_poller(kept: Kept) {
    let polled = Arc::new(Polled::new(kept));
    let same = polled.clone();
    let poller = thread::spawn(move || same.poll());
    polled.pulled();
    poller.join().unwrap();
}

#[test]
fn complaint_11_a_poller_reads_a_controller_that_is_freed() {
    // HP-12
    breaks("Causality violation", || pulled_under_a_poller(Kept::ByFlag));
}

/// Shows that the exhibit breaks for that reason and for no other.
#[test]
fn complaint_11_with_the_controller_kept_while_it_is_polled_holds() {
    // HP-12
    explore(None, || pulled_under_a_poller(Kept::ByPoller));
}
