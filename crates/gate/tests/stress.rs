//! The gate on real threads, for ThreadSanitizer: `cargo xtask tsan`.
//!
//! The sanitizer sees orderings, not outcomes: the devices here are plain memory, so an access that the gate does not
//! order with a closer is a data race that is reported whether or not it did harm in this run. It knows no membarrier, so
//! all of this runs on fences. As plain tests these say little; they run with `cargo test` so that they stay true.
#![cfg(not(any(loom, shuttle, miri)))]
#![allow(unsafe_code)] // The device's memory; the gate is what makes its accesses exclusive.
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

use gate::*;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const RESET: Reason = Reason::Reset;
/// Closes of each test. Readers run as long as the closer does.
const ROUNDS: u64 = 3000;

/// Only a hang reaches it.
fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// Memory that nothing but the gate guards.
struct Device(UnsafeCell<[u64; 8]>);

// SAFETY: read under a pass, written under a proof, which exclude each other; ThreadSanitizer checks it.
unsafe impl Sync for Device {}

impl Device {
    fn new() -> Device {
        Device(UnsafeCell::new([0; 8]))
    }

    fn access(&self) {
        // SAFETY: under a pass.
        let value = unsafe { *self.0.get() };
        assert!(value.iter().all(|word| *word == value[0]), "torn: {value:?}");
    }

    fn reset(&self) {
        // SAFETY: under a proof.
        unsafe { (*self.0.get()).iter_mut().for_each(|word| *word += 1) };
    }
}

/// The sanitizer knows no membarrier. The first gate or token makes the choice, so each test begins with this.
fn with_fences() {
    assert!(barrier::choose(barrier::Strategy::Fences), "another choice was made in this process");
}

/// Runs `close` for [`ROUNDS`] rounds beside `readers`, which run until it has ended.
fn beside(readers: &[&(dyn Fn(&mut ThreadToken) + Sync)], mut close: impl FnMut(&mut ThreadToken)) {
    let (stop, turns) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for reader in readers {
            scope.spawn(|| {
                let mut token = ThreadToken::at_thread_entry();
                while !stop.load(Relaxed) {
                    reader(&mut token);
                    turns.fetch_add(1, Relaxed);
                }
            });
        }
        let mut token = ThreadToken::at_thread_entry();
        for round in 0..ROUNDS {
            // Not faster than the readers, or they would be in none of the rounds.
            while turns.load(Relaxed) < round {
                std::thread::yield_now();
            }
            close(&mut token);
        }
        stop.store(true, Relaxed);
    });
}

#[test]
fn accesses_and_resets_are_ordered() {
    with_fences();
    let (gate, device) = (Gate::new("f"), Device::new());
    let handle = gate.handle();
    let short = |token: &mut ThreadToken| {
        if let Ok(_pass) = handle.try_enter(token, AccessKind::Bar) {
            device.access();
        }
    };
    let waiting = |token: &mut ThreadToken| {
        let _pass = handle.enter(token, AccessKind::Config, ahead()).unwrap();
        device.access();
    };
    beside(&[&short, &waiting], |token| {
        let _quiesced = gate.close(token, RESET, ahead()).unwrap();
        device.reset();
    });
}

#[test]
fn nested_and_long_accesses_and_resets_are_ordered() {
    with_fences();
    let (gate, other, device) = (Gate::new("f"), Gate::new("g"), Device::new());
    let (handle, outer) = (gate.handle(), other.handle());
    let nested = |token: &mut ThreadToken| {
        let outside = [(); 6].map(|()| outer.try_enter(token, AccessKind::Bar).unwrap());
        if let Ok(_pass) = handle.try_enter(outside[0].token(), AccessKind::Bar) {
            device.access();
        }
    };
    let long = |token: &mut ThreadToken| {
        let long = handle.enter_long(token, AccessKind::Dma, "read", ahead()).unwrap();
        device.access();
        drop(long);
    };
    beside(&[&nested, &long], |token| {
        let _quiesced = gate.close(token, RESET, ahead()).unwrap();
        device.reset();
    });
}

#[test]
fn attempts_to_close_and_accesses_are_ordered() {
    with_fences();
    let (gate, device) = (Gate::new("f"), Device::new());
    let handle = gate.handle();
    let access = |token: &mut ThreadToken| {
        if let Ok(_pass) = handle.try_enter(token, AccessKind::Bar) {
            device.access();
        }
    };
    beside(&[&access, &access], |token| {
        if let Ok(_quiesced) = gate.try_close(token, RESET) {
            device.reset();
        }
    });
}

#[test]
fn a_removed_device_and_the_next_one_are_ordered() {
    with_fences();
    let (gate, device) = (Gate::new("f"), Device::new());
    let access = |token: &mut ThreadToken| {
        let handle = gate.handle();
        if let Ok(_pass) = handle.try_enter(token, AccessKind::Bar) {
            device.access();
        }
    };
    beside(&[&access, &access], |token| {
        assert!(gate.retire(token, ahead()).orphans.is_empty());
        device.reset();
        assert!(gate.renew().is_some());
    });
}

#[test]
fn a_cell_and_its_replacements_are_ordered() {
    with_fences();
    let gate = Gate::new("f");
    let (handle, cell) = (gate.handle(), GateCell::new(&gate, vec![0_u64; 8]));
    let read = |token: &mut ThreadToken| {
        if let Ok(pass) = handle.try_enter(token, AccessKind::Dma) {
            let value = cell.get(&pass);
            assert!(value.iter().all(|word| *word == value[0]));
        }
    };
    let mut round = 0;
    beside(&[&read, &read], |token| {
        round += 1;
        let mut quiesced = gate.close_short(token, Reason::DmaUnmap, ahead()).unwrap();
        drop(cell.replace(&mut quiesced, vec![round; 8]));
    });
}

fn replace_beside_readers<const FENCED: bool>(published: &Published<Vec<u64>, FENCED>) {
    let read = |token: &mut ThreadToken| {
        let value = published.read(token);
        assert!(value.iter().all(|word| *word == value[0]));
    };
    let mut round = 0;
    beside(&[&read, &read], |token| {
        round += 1;
        drop(published.replace(token, vec![round; 8], ahead()).unwrap());
    });
}

#[test]
fn a_published_value_and_its_replacements_are_ordered() {
    with_fences();
    replace_beside_readers(&Published::new(vec![0_u64; 8]));
}

#[test]
fn a_published_value_whose_readers_pay_for_the_barrier_and_its_replacements_are_ordered() {
    with_fences();
    replace_beside_readers(&Published::fenced(vec![0_u64; 8]));
}

/// For `cargo xtask tsan`, to see that the sanitizer is on and reports what nothing orders. The threads wait for each other by a
/// relaxed count: one that had ended before the other began might be ordered with it by the way threads are made.
#[test]
#[ignore = "a race on purpose"]
fn a_planted_race() {
    let (device, running) = (Device::new(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                running.fetch_add(1, Relaxed);
                while running.load(Relaxed) < 2 {
                    std::hint::spin_loop();
                }
                (0..ROUNDS).for_each(|_| device.reset());
            });
        }
    });
}
