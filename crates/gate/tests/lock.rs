//! Ranked locks: what the compiler lets pass, and what the net under it catches while tests run.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use gate::lock::{Condvar, Leaf, Lock};
use gate::waits::Waiting;
use gate::{AccessKind, Deadline, Gate, ThreadToken};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

mod ranks {
    gate::ranks! {
        /// Comes first.
        pub Low = 10, "low", before [High, Top];
        /// Comes second.
        pub High = 20, "high", before [Top];
        /// Comes third.
        pub Top = 30, "top";
        /// A leaf.
        pub Inner = 40, "inner";
        /// Another leaf.
        pub Innermost = 41, "innermost";
    }
}

struct House {
    gate: Gate,
    low: Lock<ranks::Low, u32>,
    high: Lock<ranks::High, u32>,
    top: Lock<ranks::Top, u32>,
    inner: Leaf<ranks::Inner, u32>,
    innermost: Leaf<ranks::Innermost, u32>,
}

impl House {
    fn new() -> House {
        House {
            gate: Gate::new("f"),
            low: Lock::new(1),
            high: Lock::new(2),
            top: Lock::default(),
            inner: Leaf::new(4),
            innermost: Leaf::default(),
        }
    }
}

/// What the panic of `act` says.
fn complaint(act: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(act)).expect_err("nothing was caught");
    panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap()
}

#[test]
fn locks_are_taken_in_ascending_rank_and_a_leaf_under_all_of_them() {
    let (house, mut token) = (House::new(), ThreadToken::at_thread_entry());
    let mut low = house.low.lock(&mut token);
    let (low, place) = low.split();
    let mut high = house.high.lock(place);
    let (high, place) = high.split();
    let mut top = house.top.lock(place);
    *top = *low + *high + *house.inner.lock();
    assert_eq!(*top, 7);
}

#[test]
fn under_a_pass_locks_are_taken_too_and_freed_in_any_order() {
    let (house, token) = (House::new(), ThreadToken::at_thread_entry());
    let handle = house.gate.handle();
    let pass = handle.try_enter(&token, AccessKind::Bar).unwrap();
    for _ in 0..3 {
        let low = house.low.lock_inside(&pass);
        let high = house.high.lock_inside(&pass);
        drop(low);
        let top = house.top.lock_inside(&pass);
        drop(high);
        drop(top);
    }
    assert_eq!(house.low.look(|low| *low), 1);
}

#[test]
fn under_a_proof_locks_are_taken_too() {
    let (house, mut token) = (House::new(), ThreadToken::at_thread_entry());
    let ahead = Deadline::after(Duration::from_secs(20));
    let quiesced = house.gate.close(&mut token, gate::Reason::Reset, ahead).unwrap();
    *house.low.lock_inside(&quiesced) += 1;
    drop(quiesced);
    assert_eq!(*house.low.lock(&mut token), 2);
}

#[test]
fn a_holder_that_panics_poisons_nothing_and_frees_its_lock() {
    let mut house = House::new();
    complaint(|| {
        let mut token = ThreadToken::at_thread_entry();
        *house.low.lock(&mut token) = 7;
        let _guard = house.low.lock(&mut token);
        panic!("a holder");
    });
    let mut token = ThreadToken::at_thread_entry();
    assert_eq!(*house.low.lock(&mut token), 7);
    assert_eq!(*house.low.get_mut(), 7);
}

#[test]
fn a_condition_is_waited_for_until_it_holds_or_the_deadline() {
    let shared = Arc::new((Leaf::<ranks::Inner, u32>::new(0), Condvar::new()));
    let theirs = shared.clone();
    let worker = std::thread::spawn(move || {
        *theirs.0.lock() = 1;
        theirs.1.notify_all();
    });
    let mut token = ThreadToken::at_thread_entry();
    let mut guard = shared.0.lock();
    while *guard == 0 {
        let expired;
        (guard, expired) = shared.1.wait(guard, &mut token, Deadline::after(Duration::from_secs(20)));
        assert!(!expired);
    }
    let (guard, expired) = shared.1.wait(guard, &mut token, Deadline::after(Duration::ZERO));
    assert!(expired && *guard == 1);
    drop(guard);
    worker.join().unwrap();
}

/// The net exists where debug assertions do.
#[cfg(debug_assertions)]
mod net {
    use super::*;

    #[test]
    fn two_locks_of_one_pass_in_the_wrong_order_are_caught() {
        let (house, token) = (House::new(), ThreadToken::at_thread_entry());
        let handle = house.gate.handle();
        let pass = handle.try_enter(&token, AccessKind::Bar).unwrap();
        let words = complaint(|| {
            let _high = house.high.lock_inside(&pass);
            let _low = house.low.lock_inside(&pass);
        });
        assert_eq!(words, "lock `low` (rank 10) is taken while `high` (rank 20) is held");
        // Nothing is left behind: the right order still goes.
        let _low = house.low.lock_inside(&pass);
        let _high = house.high.lock_inside(&pass);
    }

    #[test]
    fn two_locks_of_one_rank_are_caught() {
        let (one, other) = (House::new(), House::new());
        let token = ThreadToken::at_thread_entry();
        let handle = one.gate.handle();
        let pass = handle.try_enter(&token, AccessKind::Bar).unwrap();
        let words = complaint(|| {
            let _one = one.low.lock_inside(&pass);
            let _other = other.low.lock_inside(&pass);
        });
        assert_eq!(words, "lock `low` (rank 10) is taken while `low` (rank 10) is held");
    }

    #[test]
    fn a_lock_behind_a_callback_is_caught() {
        let (house, mut token) = (House::new(), ThreadToken::at_thread_entry());
        let callback: Box<dyn Fn() -> u32 + '_> = Box::new(|| house.low.look(|low| *low));
        assert_eq!(callback(), 1);
        let words = complaint(|| {
            let _high = house.high.lock(&mut token);
            callback();
        });
        assert_eq!(words, "lock `low` (rank 10) is taken while `high` (rank 20) is held");
    }

    #[test]
    fn nothing_is_taken_under_a_leaf() {
        let house = House::new();
        let leaf = complaint(|| {
            let _inner = house.inner.lock();
            let _innermost = house.innermost.lock();
        });
        assert_eq!(leaf, "lock `innermost` is taken under `inner`, which is a leaf");
        let gate = complaint(|| {
            let _inner = house.inner.lock();
            house.gate.status();
        });
        assert_eq!(gate, "lock `gate` is taken under `inner`, which is a leaf");
    }

    #[test]
    fn a_wait_under_a_leaf_is_caught() {
        let (house, mut token) = (House::new(), ThreadToken::at_thread_entry());
        let ahead = Deadline::after(Duration::from_secs(20));
        let words = complaint(|| {
            let _inner = house.inner.lock();
            let _waiting = Waiting::new(&mut token, "test", None, "nothing");
        });
        assert_eq!(words, "a thread waits while it holds lock `inner` (rank 40)");
        let (other, condition) = (Leaf::<ranks::Innermost, ()>::new(()), Condvar::new());
        let words = complaint(|| {
            house.high.look(|_| {
                // What a closure keeps from the types.
                let guard = other.lock();
                let _ = condition.wait(guard, &mut token, ahead);
            });
        });
        assert_eq!(words, "lock `innermost` is taken under `high`, which is a leaf");
    }

    #[test]
    fn a_guard_that_was_forgotten_is_caught_at_the_next_wait() {
        let (house, mut token) = (House::new(), ThreadToken::at_thread_entry());
        let handle = house.gate.handle();
        let ahead = Deadline::after(Duration::from_secs(20));
        let parked = house.gate.close(&mut token, gate::Reason::Reset, ahead).unwrap().park();
        let words = complaint(|| {
            std::mem::forget(house.low.lock(&mut token));
            let _ = handle.enter(&mut token, AccessKind::Bar, ahead);
        });
        assert_eq!(words, "a thread waits while it holds lock `low` (rank 10)");
        drop(parked);
    }
}
