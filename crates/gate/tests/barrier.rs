//! A litmus test of the asymmetric barrier on real threads: what loom cannot show, since it knows no membarrier.
//!
//! Store buffering: the reader stores its flag and loads the closer's; the closer stores its flag and loads the reader's.
//! Both missing each other's store is an *overlap*: a closer with its proof while a reader is inside.
//!
//! That the test can fail is shown by `cargo xtask museum`, which takes the system call out of the barrier and runs it.
#![cfg(not(any(loom, shuttle, miri)))]
#![allow(unsafe_code)] // Pinning a thread: one libc call that reads a local struct.

use gate::barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Two values on a cache line of their own.
#[repr(align(128))]
#[derive(Default)]
struct Line(AtomicU64, AtomicU64);

#[derive(Default)]
struct Litmus {
    /// The reader's flag, and a value beside it that the closer writes so that the reader's store has to wait for the line.
    reader: Line,
    closer: Line,
    /// What the reader saw of the closer in each round.
    saw: Line,
    round: Line,
    done: Line,
    stop: AtomicBool,
}

/// Binds this thread to a CPU: a pair of threads that share one takes turns and shows nothing. Best effort.
fn pin(cpu: usize) {
    // SAFETY: the set is a plain mask of bits, for which zero is valid, and outlives the call that reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}

impl Litmus {
    fn read(&self) {
        pin(0);
        let mut round = 0;
        loop {
            while self.round.0.load(Ordering::Acquire) == round {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                std::hint::spin_loop();
            }
            round += 1;
            self.reader.0.store(round, Ordering::Release);
            barrier::light();
            self.saw.0.store(self.closer.0.load(Ordering::Acquire), Ordering::Relaxed);
            self.done.0.store(round, Ordering::Release);
        }
    }

    /// One round; true if both missed each other.
    fn close(&self, round: u64) -> bool {
        self.reader.1.store(round, Ordering::Relaxed);
        self.round.0.store(round, Ordering::Release);
        // A varying delay lets the two halves meet at every offset.
        (0..round % 64).for_each(|_| std::hint::spin_loop());
        self.closer.0.store(round, Ordering::Release);
        barrier::heavy();
        let missed_reader = self.reader.0.load(Ordering::Acquire) != round;
        while self.done.0.load(Ordering::Acquire) != round {
            std::thread::yield_now();
        }
        let missed_closer = self.saw.0.load(Ordering::Relaxed) != round;
        missed_reader && missed_closer
    }
}

/// Rounds of a run. Without the barrier a thousand are enough for an overlap; only rounds in which both threads really run
/// at once are quick, so on a machine with other work to do it takes longer to come to as many.
const ROUNDS: u64 = 500_000;

/// A flag is the number of its round. Runs for [`ROUNDS`], `limit` or until an overlap: rounds, and whether the last one
/// was one.
fn overlap(limit: Duration) -> (u64, bool) {
    let litmus = Litmus::default();
    std::thread::scope(|scope| {
        scope.spawn(|| litmus.read());
        pin(1);
        let (end, mut round, mut overlap) = (Instant::now() + limit, 0, false);
        while !overlap && round < ROUNDS && (round % 64 != 0 || Instant::now() < end) {
            round += 1;
            overlap = litmus.close(round);
        }
        litmus.stop.store(true, Ordering::Relaxed);
        (round, overlap)
    })
}

#[test]
fn a_reader_and_a_closer_never_both_miss_each_other() {
    barrier::strategy();
    let (rounds, overlap) = overlap(Duration::from_secs(30));
    if overlap {
        println!("found in round: {rounds}");
    }
    assert!(!overlap, "overlap in round {rounds} with {:?}", barrier::strategy());
    println!("rounds without: {rounds}");
}
