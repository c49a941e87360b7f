//! Ranked locks, leaves and the record of waits under loom, beside gates.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p gate --release --test loom_locks`. loom fails a model in which everybody
//! sleeps (an order of locks that can deadlock, a wake-up that is lost) and one in which a lock does not order what it
//! protects.
#![cfg(loom)]
#![allow(unsafe_code)] // The cells that loom watches; the locks are what makes their accesses exclusive.

use gate::lock::{Condvar, Leaf, Lock};
use gate::waits::snapshot;
use gate::{AccessKind, Deadline, Gate, Reason, ThreadToken};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use std::time::Duration;

mod ranks {
    gate::ranks! {
        /// Comes first.
        pub Low = 60, "low", before [High];
        /// Comes second.
        pub High = 61, "high";
        /// A leaf.
        pub Inner = 70, "inner";
    }
}

fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(body);
}

fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(3600))
}

/// A number that loom watches: a lock that does not keep others out fails the model.
struct Watched(UnsafeCell<u32>);

// SAFETY: only touched under the lock around it; loom checks it.
unsafe impl Send for Watched {}

impl Watched {
    fn new() -> Watched {
        Watched(UnsafeCell::new(0))
    }

    fn add(&mut self) -> u32 {
        // SAFETY: the lock is held; loom checks it.
        self.0.with_mut(|value| unsafe {
            *value += 1;
            *value
        })
    }
}

#[test]
fn ranked_locks_exclude_each_other_and_their_order_cannot_deadlock() {
    model(|| {
        let low = Arc::new(Lock::<ranks::Low, Watched>::new(Watched::new()));
        let high = Arc::new(Lock::<ranks::High, Watched>::new(Watched::new()));
        let both = |low: &Lock<ranks::Low, Watched>, high: &Lock<ranks::High, Watched>| {
            let mut token = ThreadToken::at_thread_entry();
            let mut low = low.lock(&mut token);
            let (value, place) = low.split();
            value.add();
            high.lock(place).add()
        };
        let (their_low, their_high) = (low.clone(), high.clone());
        let other = thread::spawn(move || both(&their_low, &their_high));
        let sum = both(&low, &high) + other.join().unwrap();
        assert_eq!(sum, 3, "one came first and one second");
    });
}

#[test]
fn a_condition_of_a_leaf_loses_no_wake_up() {
    model(|| {
        let shared = Arc::new((Leaf::<ranks::Inner, bool>::new(false), Condvar::new()));
        let theirs = shared.clone();
        let setter = thread::spawn(move || {
            *theirs.0.lock() = true;
            theirs.1.notify_all();
        });
        let mut token = ThreadToken::at_thread_entry();
        let mut guard = shared.0.lock();
        while !*guard {
            (guard, _) = shared.1.wait(guard, &mut token, ahead());
        }
        drop(guard);
        setter.join().unwrap();
    });
}

#[test]
fn a_lock_taken_inside_a_gate_does_not_keep_the_closer_from_its_proof() {
    model(|| {
        let gate = Gate::new("f");
        let lock = Arc::new(Lock::<ranks::Low, Watched>::new(Watched::new()));
        let (handle, theirs) = (gate.handle(), lock.clone());
        let reader = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let pass = handle.enter(&mut token, AccessKind::Bar, ahead()).unwrap();
            theirs.lock_inside(&pass).add();
        });
        let mut token = ThreadToken::at_thread_entry();
        let quiesced = gate.close(&mut token, Reason::Reset, ahead()).unwrap();
        lock.lock_inside(&quiesced).add();
        drop(quiesced);
        reader.join().unwrap();
        assert_eq!(lock.lock(&mut token).add(), 3);
    });
}

#[test]
fn when_all_have_what_they_waited_for_no_wait_is_written_down() {
    model(|| {
        let gate = Gate::new("f");
        let handle = gate.handle();
        let reader = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            drop(handle.enter(&mut token, AccessKind::Bar, ahead()).unwrap());
            assert!(snapshot().iter().all(|holder| holder.operation != "enter BAR"));
        });
        let mut token = ThreadToken::at_thread_entry();
        drop(gate.close(&mut token, Reason::Reset, ahead()).unwrap());
        reader.join().unwrap();
        assert!(snapshot().is_empty());
    });
}

#[test]
#[should_panic(expected = "lock `low` (rank 60) is taken while `high` (rank 61) is held")]
fn the_net_is_there_under_loom_too() {
    model(|| {
        let (low, high) = (Lock::<ranks::Low, u32>::new(0), Lock::<ranks::High, u32>::new(0));
        let token = ThreadToken::at_thread_entry();
        let gate = Gate::new("f");
        let handle = gate.handle();
        let pass = handle.try_enter(&token, AccessKind::Bar).unwrap();
        let _high = high.lock_inside(&pass);
        let _low = low.lock_inside(&pass);
    });
}
