//! The exhibits: loom must find the bug in each of them.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p museum --release --test exhibits`.
#![cfg(loom)]

#[path = "../../crates/gate/tests/schedules/mod.rs"]
mod schedules;

use loom::sync::Arc;
use loom::thread;
use museum::ops_swap::Bus;
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
