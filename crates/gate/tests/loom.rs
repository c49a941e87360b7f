//! The gate under loom: interleavings of two and three threads, and every allowed result of a load.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p gate --release --test loom`. The device below is a loom cell: loom fails a
//! model in which a read and a write of it are not ordered, so it stands for "nothing is inside while quiesced", and it
//! fails a model in which everybody sleeps, so it stands for "no wake-up is lost". A deadline ahead never fires here.
#![cfg(loom)]
#![allow(unsafe_code)] // The device cell; the gate is what makes its accesses exclusive.

#[path = "loom/cancel.rs"]
mod cancel;
#[path = "loom/contain.rs"]
mod contain;
#[path = "loom/following.rs"]
mod following;
#[path = "loom/parked.rs"]
mod parked;
#[path = "loom/published.rs"]
mod published;
mod schedules;
#[path = "loom/sets.rs"]
mod sets;

use gate::*;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use schedules::{three_threads, two_threads};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

const CONFIG: AccessKind = AccessKind::Config;
const RESET: Reason = Reason::Reset;

fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(3600))
}

fn passed() -> Deadline {
    Deadline::after(Duration::ZERO)
}

struct Device(UnsafeCell<u32>);

// SAFETY: only touched under a pass (read) or a proof (write); loom checks that these exclude each other.
unsafe impl Sync for Device {}
// SAFETY: a number.
unsafe impl Send for Device {}

impl Device {
    fn new() -> Arc<Device> {
        Arc::new(Device(UnsafeCell::new(0)))
    }

    fn access(&self) -> u32 {
        // SAFETY: under a pass; loom checks it.
        self.0.with(|value| unsafe { *value })
    }

    fn reset(&self) {
        // SAFETY: under a proof; loom checks it.
        self.0.with_mut(|value| unsafe { *value += 1 })
    }
}

#[test]
fn an_access_never_overlaps_a_closer_and_the_closer_always_gets_its_proof() {
    // CFG-I6: also one that was past its check when the closer came.
    two_threads(|| {
        let (gate, device) = (Gate::new("f"), Device::new());
        let (handle, same) = (gate.handle(), device.clone());
        let reader = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            if let Ok(_pass) = handle.try_enter(&token, CONFIG) {
                same.access();
            }
        });
        let mut token = ThreadToken::at_thread_entry();
        let quiesced = gate.close(&mut token, RESET, ahead()).unwrap();
        device.reset();
        drop(quiesced);
        reader.join().unwrap();
    });
}

#[test]
fn a_blocked_access_gets_in_when_the_closer_leaves() {
    // CFG-I1, CFG-I3: what a waiter looks at, and the list it waits in, are under one lock, so no wake-up is lost.
    two_threads(|| {
        let (gate, device) = (Gate::new("f"), Device::new());
        let (handle, same) = (gate.handle(), device.clone());
        let reader = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let _pass = handle.enter(&mut token, CONFIG, ahead()).unwrap();
            same.access();
        });
        let mut token = ThreadToken::at_thread_entry();
        let quiesced = gate.close(&mut token, RESET, ahead()).unwrap();
        device.reset();
        drop(quiesced);
        reader.join().unwrap();
    });
}

#[test]
fn leaving_one_gate_for_another_is_seen_with_everything_done_inside() {
    two_threads(|| {
        let (gate, other, device) = (Gate::new("f"), Gate::new("g"), Device::new());
        let (handle, next, same) = (gate.handle(), other.handle(), device.clone());
        let reader = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            if let Ok(_pass) = handle.try_enter(&token, CONFIG) {
                same.access();
            }
            drop(next.try_enter(&token, CONFIG));
        });
        let mut token = ThreadToken::at_thread_entry();
        let quiesced = gate.close(&mut token, RESET, ahead()).unwrap();
        device.reset();
        drop(quiesced);
        reader.join().unwrap();
    });
}

#[test]
fn a_pass_beyond_the_slots_of_its_thread_is_drained_too() {
    two_threads(|| {
        let (gate, other, device) = (Gate::new("f"), Gate::new("g"), Device::new());
        let (handle, outer, same) = (gate.handle(), other.handle(), device.clone());
        let reader = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            let outer = outer.try_enter(&token, CONFIG).unwrap();
            if let Ok(_pass) = handle.try_enter(outer.token(), CONFIG) {
                same.access();
            }
        });
        let mut token = ThreadToken::at_thread_entry();
        let quiesced = gate.close(&mut token, RESET, ahead()).unwrap();
        device.reset();
        drop(quiesced);
        reader.join().unwrap();
    });
}

#[test]
fn a_waiting_access_is_released_when_the_function_is_removed() {
    // CFG-I4
    two_threads(|| {
        let gate = Gate::new("f");
        let handle = gate.handle();
        let mut token = ThreadToken::at_thread_entry();
        // A closer that does not leave while anybody waits.
        let closed = gate.try_close(&token, RESET).unwrap().park();
        let waiter = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            handle.enter(&mut token, CONFIG, ahead()).map(drop)
        });
        let retired = gate.retire(&mut token, passed());
        assert!(retired.orphans.iter().any(|orphan| orphan.kind == InsideKind::Proof(RESET)));
        assert_eq!(waiter.join().unwrap(), Err(Refusal::Gone));
        drop(closed);
    });
}

#[test]
fn a_waiting_closer_is_released_when_the_function_is_removed() {
    two_threads(|| {
        let gate = Gate::new("f");
        let closers_gate = gate.clone();
        let mut token = ThreadToken::at_thread_entry();
        let closed = gate.try_close(&token, RESET).unwrap().park();
        let closer = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            matches!(closers_gate.close(&mut token, RESET, ahead()), Err(CloseError::Gone))
        });
        let _ = gate.retire(&mut token, passed());
        assert!(closer.join().unwrap());
        drop(closed);
    });
}

#[test]
fn a_draining_closer_is_released_when_the_function_is_removed() {
    two_threads(|| {
        let gate = Gate::new("f");
        let (handle, closers_gate) = (gate.handle(), gate.clone());
        let mut token = ThreadToken::at_thread_entry();
        let long = handle.enter_long(&mut token, AccessKind::Dma, "read", ahead()).unwrap();
        let closer = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            matches!(closers_gate.close(&mut token, RESET, ahead()), Err(CloseError::Gone))
        });
        let _ = gate.retire(&mut token, passed());
        assert!(closer.join().unwrap());
        drop(long);
    });
}

#[test]
fn retire_waits_for_a_proof_that_is_dropped_in_time() {
    two_threads(|| {
        let (gate, device) = (Gate::new("f"), Device::new());
        let (second, same) = (gate.clone(), device.clone());
        let closer = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            if let Ok(_quiesced) = second.close(&mut token, RESET, ahead()) {
                same.reset();
            }
        });
        let mut token = ThreadToken::at_thread_entry();
        assert!(gate.retire(&mut token, ahead()).orphans.is_empty());
        device.reset();
        closer.join().unwrap();
    });
}

#[test]
fn a_waiting_access_is_refused_when_the_function_freezes() {
    two_threads(|| {
        let gate = Gate::new("f");
        let handle = gate.handle();
        let token = ThreadToken::at_thread_entry();
        let closed = gate.try_close(&token, RESET).unwrap().park();
        let waiter = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            handle.enter(&mut token, CONFIG, ahead()).map(drop)
        });
        assert!(gate.freeze());
        assert_eq!(waiter.join().unwrap(), Err(Refusal::Frozen));
        drop(closed);
    });
}

#[test]
fn a_try_close_that_fails_refuses_nobody() {
    two_threads(|| {
        let (gate, device) = (Gate::new("f"), Device::new());
        let (handle, same) = (gate.handle(), device.clone());
        let reader = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            match handle.try_enter(&token, CONFIG) {
                Ok(_pass) => {
                    same.access();
                    true
                }
                Err(_) => false,
            }
        });
        let token = ThreadToken::at_thread_entry();
        let closed = gate.try_close(&token, RESET).map(|_quiesced| device.reset()).is_ok();
        let entered = reader.join().unwrap();
        assert!(closed || entered, "busy and refused at once");
    });
}

#[test]
fn two_closers_take_turns() {
    two_threads(|| {
        let (gate, device) = (Gate::new("f"), Device::new());
        let (second, same) = (gate.clone(), device.clone());
        let closer = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let _quiesced = second.close(&mut token, RESET, ahead()).unwrap();
            same.reset();
        });
        let mut token = ThreadToken::at_thread_entry();
        let quiesced = gate.close(&mut token, RESET, ahead()).unwrap();
        device.reset();
        drop(quiesced);
        closer.join().unwrap();
        assert_eq!(device.access(), 2);
    });
}

#[test]
fn an_attempt_never_overtakes_an_access_that_waits() {
    two_threads(|| {
        let gate = Gate::new("f");
        let handle = gate.handle();
        let entered = std::sync::Arc::new(AtomicBool::new(false));
        let of_reader = entered.clone();
        let token = ThreadToken::at_thread_entry();
        let first = gate.try_close(&token, RESET).unwrap();
        let reader = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let _pass = handle.enter(&mut token, CONFIG, ahead()).unwrap();
            of_reader.store(true, Relaxed);
        });
        let waited = gate.status().waiting_accesses == 1;
        drop(first);
        let overtook = gate.try_close(&token, RESET).is_ok_and(|_quiesced| !entered.load(Relaxed));
        assert!(!(waited && overtook));
        reader.join().unwrap();
    });
}

#[test]
fn two_closers_and_a_waiting_access_all_get_in() {
    three_threads(|| {
        let (gate, device) = (Gate::new("f"), Device::new());
        let (second, same) = (gate.clone(), device.clone());
        let (handle, read) = (gate.handle(), device.clone());
        let closer = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let _quiesced = second.close(&mut token, RESET, ahead()).unwrap();
            same.reset();
        });
        let reader = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let _pass = handle.enter(&mut token, CONFIG, ahead()).unwrap();
            read.access();
        });
        let mut token = ThreadToken::at_thread_entry();
        let quiesced = gate.close(&mut token, RESET, ahead()).unwrap();
        device.reset();
        drop(quiesced);
        closer.join().unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn an_access_that_waits_when_a_closer_leaves_gets_in_before_the_next_closer() {
    three_threads(|| {
        let gate = Gate::new("f");
        let (second, handle) = (gate.clone(), gate.handle());
        // Plain flags of the test: every use is ordered by the gate, and loom need not explore them.
        let flags = std::sync::Arc::new((AtomicBool::new(false), AtomicBool::new(false)));
        let (of_closer, of_reader) = (flags.clone(), flags.clone());
        let token = ThreadToken::at_thread_entry();
        let first = gate.try_close(&token, RESET).unwrap();
        let closer = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let _quiesced = second.close(&mut token, RESET, ahead()).unwrap();
            let (waited, entered) = (&of_closer.0, &of_closer.1);
            assert!(entered.load(Relaxed) || !waited.load(Relaxed), "overtook an access that waited before");
        });
        let reader = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let _pass = handle.enter(&mut token, CONFIG, ahead()).unwrap();
            of_reader.1.store(true, Relaxed);
        });
        flags.0.store(gate.status().waiting_accesses == 1, Relaxed);
        drop(first);
        closer.join().unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn a_close_waits_for_a_long_pass_that_ends_on_another_thread() {
    two_threads(|| {
        let (gate, device) = (Gate::new("f"), Device::new());
        let (handle, same) = (gate.handle(), device.clone());
        let worker = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let long = handle.enter_long(&mut token, AccessKind::Dma, "read", ahead()).unwrap();
            same.access();
            drop(long);
        });
        let mut token = ThreadToken::at_thread_entry();
        let quiesced = gate.close(&mut token, RESET, ahead()).unwrap();
        device.reset();
        drop(quiesced);
        worker.join().unwrap();
    });
}

#[test]
fn a_long_pass_taken_under_a_short_one_is_never_missed() {
    two_threads(|| {
        let (gate, device) = (Gate::new("f"), Device::new());
        let (handle, same) = (gate.handle(), device.clone());
        let worker = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            let long = match handle.try_enter(&token, CONFIG) {
                Ok(pass) => pass.long(AccessKind::Dma, "read"),
                Err(_) => return,
            };
            same.access();
            drop(long);
        });
        let mut token = ThreadToken::at_thread_entry();
        let quiesced = gate.close(&mut token, RESET, ahead()).unwrap();
        device.reset();
        drop(quiesced);
        worker.join().unwrap();
    });
}

#[test]
fn leaving_races_with_retire_and_the_end_of_the_gate() {
    // CFG-I2, CFG-I4: who wakes and who waits touch the gate's memory only, and each of them pins it.
    two_threads(|| {
        let (gate, device) = (Gate::new("f"), Device::new());
        let (handle, same) = (gate.handle(), device.clone());
        let reader = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            if let Ok(_pass) = handle.try_enter(&token, CONFIG) {
                same.access();
            }
            // The last reference to the gate may be this handle.
        });
        let mut token = ThreadToken::at_thread_entry();
        let retired = gate.retire(&mut token, ahead());
        assert!(retired.orphans.is_empty());
        device.reset();
        drop(gate);
        reader.join().unwrap();
    });
}

#[test]
fn a_stale_handle_never_reaches_the_next_device() {
    two_threads(|| {
        let gate = Gate::new("f");
        let handle = gate.handle();
        let reader = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            let entered = handle.try_enter(&token, CONFIG).is_ok();
            let again = handle.try_enter(&token, CONFIG).is_ok();
            assert!(entered || !again, "a retired handle entered");
        });
        let mut token = ThreadToken::at_thread_entry();
        let _ = gate.retire(&mut token, ahead());
        let next = gate.renew().unwrap();
        assert!(next.try_enter(&token, CONFIG).is_ok());
        reader.join().unwrap();
    });
}

#[test]
fn a_cell_is_replaced_while_nobody_reads_it() {
    two_threads(|| {
        let gate = Gate::new("f");
        let cell = Arc::new(GateCell::new(&gate, 1_u32));
        let (handle, same) = (gate.handle(), cell.clone());
        let reader = thread::spawn(move || {
            let token = ThreadToken::at_thread_entry();
            if let Ok(pass) = handle.try_enter(&token, CONFIG) {
                let value = *same.get(&pass);
                assert!(value == 1 || value == 2);
            }
        });
        let mut token = ThreadToken::at_thread_entry();
        let mut quiesced = gate.close_short(&mut token, Reason::DmaUnmap, ahead()).unwrap();
        assert_eq!(cell.replace(&mut quiesced, 2), 1);
        drop(quiesced);
        reader.join().unwrap();
    });
}

#[test]
fn a_close_whose_deadline_has_passed_puts_the_gate_back_and_wakes_whom_it_kept_waiting() {
    two_threads(|| {
        let gate = Gate::new("f");
        let handle = gate.handle();
        let reader = thread::spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let long = handle.enter_long(&mut token, AccessKind::Dma, "read", ahead()).unwrap();
            drop(handle.enter(&mut token, CONFIG, ahead()).unwrap());
            drop(long);
        });
        let mut token = ThreadToken::at_thread_entry();
        match gate.close(&mut token, RESET, passed()) {
            Ok(quiesced) => drop(quiesced),
            Err(CloseError::Drain { inside }) => assert!(!inside.is_empty()),
            Err(other) => panic!("{other}"),
        }
        reader.join().unwrap();
    });
}
