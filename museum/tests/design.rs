//! The real gate in the places of the exhibits: loom must find nothing.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p museum --release --test design`; with `LOOM_FULL=1` every schedule of
//! two threads is explored, and of three those with three preemptions. The gate's own models are in its `tests/loom.rs`.
#![cfg(loom)]

#[path = "../../crates/gate/tests/schedules/mod.rs"]
mod schedules;

use gate::{AccessKind, Deadline, Gate, Published, Reason, Refusal, ThreadToken, Wake};
use loom::sync::Arc;
use loom::thread;
use museum::ops_swap::{INJECTED, REAL};
use museum::stack::Frame;
use schedules::{three_threads, two_threads};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

const CONFIG: AccessKind = AccessKind::Config;
const RESET: Reason = Reason::Reset;

fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(3600))
}

#[test]
fn report_a_the_resets_of_two_functions_end_while_an_access_waits_for_one() {
    // CFG-I1, CFG-I2, CFG-I3
    two_threads(|| {
        let (f, g) = (Gate::new("f"), Gate::new("g"));
        let handle = f.handle();
        let token = ThreadToken::at_thread_entry();
        let (reset_of_f, reset_of_g) =
            (f.try_close(&token, RESET).unwrap(), g.try_close(&token, RESET).unwrap());
        let waiter = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let frame = Frame::called(());
            drop(handle.enter(&mut token, CONFIG, ahead()).unwrap());
            frame.returned();
        });
        drop(reset_of_f);
        drop(reset_of_g);
        waiter.join().unwrap();
    });
}

#[test]
fn report_c_the_operations_are_exchanged_under_an_access_and_freed_after_it() {
    two_threads(|| {
        // Each value is its operations and their data, in memory that is used again once nobody can be in it.
        let memory = |which: usize| Frame::called((which, which));
        let bus = Arc::new(Published::new(memory(INJECTED)));
        let same = bus.clone();
        let access = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            let reading = same.read(&token);
            let (operations, data) = reading.read(|both| *both).expect("freed under an access");
            assert_eq!(operations, data, "torn");
        });
        let mut token = ThreadToken::at_thread_entry();
        let injected = bus.replace(&mut token, memory(REAL), ahead()).unwrap();
        injected.returned();
        access.join().unwrap();
    });
}

struct Woken(Arc<AtomicUsize>);

impl Wake for Woken {
    fn wake(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn report_c_a_wake_for_one_function_leaves_the_waiters_of_another_alone() {
    // CFG-I8
    two_threads(|| {
        let (f, g) = (Gate::new("f"), Gate::new("g"));
        // A plain count: only the thread that opens a gate wakes.
        let woken = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let handles = [f.handle(), g.handle()];
        let subscriptions =
            [0, 1].map(|at| handles[at].subscribe(std::sync::Arc::new(Woken(woken[at].clone()))));
        let token = ThreadToken::at_thread_entry();
        let (reset_of_f, reset_of_g) =
            (f.try_close(&token, RESET).unwrap(), g.try_close(&token, RESET).unwrap());
        let [_, of_g] = handles;
        let waiter = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            drop(of_g.enter(&mut token, CONFIG, ahead()).unwrap());
        });
        drop(reset_of_f);
        assert_eq!([woken[0].load(Relaxed), woken[1].load(Relaxed)], [1, 0]);
        drop(reset_of_g);
        assert_eq!([woken[0].load(Relaxed), woken[1].load(Relaxed)], [1, 1]);
        waiter.join().unwrap();
        drop(subscriptions);
    });
}

#[test]
fn a_reset_a_removal_and_an_access_all_end() {
    three_threads(|| {
        let gate = Gate::new("f");
        let (second, handle) = (gate.clone(), gate.handle());
        let reset = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let _ = second.close(&mut token, RESET, ahead()).map(drop);
        });
        let reader = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            match handle.enter(&mut token, CONFIG, ahead()).map(drop) {
                Ok(()) | Err(Refusal::Gone) => {}
                Err(other) => panic!("{other}"),
            }
        });
        let mut token = ThreadToken::at_thread_entry();
        assert!(gate.retire(&mut token, ahead()).orphans.is_empty());
        reset.join().unwrap();
        reader.join().unwrap();
    });
}
