//! A litmus test of the asymmetric barrier on real threads: what loom cannot show, since it knows no membarrier.
//!
//! Store buffering: the reader stores its flag and loads the closer's; the closer stores its flag and loads the reader's.
//! Both missing each other's store is an *overlap*: a closer with its proof while a reader is inside.
#![cfg(not(any(loom, miri)))]

use gate::barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, compiler_fence};
use std::time::{Duration, Instant};

#[repr(align(128))]
struct Alone<T>(T);

struct Litmus {
    reader: Alone<AtomicU64>,
    closer: Alone<AtomicU64>,
    /// What the reader saw of the closer in each round.
    saw: Alone<AtomicU64>,
    round: Alone<AtomicU64>,
    done: Alone<AtomicU64>,
    stop: AtomicBool,
}

/// Rounds and overlaps in `time`. Both threads start each round together; a round's flag is its number.
fn overlaps(time: Duration, heavy: fn()) -> (u64, u64) {
    let zero = || Alone(AtomicU64::new(0));
    let litmus = Litmus {
        reader: zero(),
        closer: zero(),
        saw: zero(),
        round: zero(),
        done: zero(),
        stop: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            loop {
                while litmus.round.0.load(Ordering::Acquire) == round {
                    if litmus.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    std::hint::spin_loop();
                }
                round += 1;
                litmus.reader.0.store(round, Ordering::Release);
                barrier::light();
                litmus.saw.0.store(litmus.closer.0.load(Ordering::Acquire), Ordering::Relaxed);
                litmus.done.0.store(round, Ordering::Release);
            }
        });
        let (end, mut round, mut overlaps) = (Instant::now() + time, 0, 0);
        while Instant::now() < end {
            for _ in 0..64 {
                round += 1;
                litmus.round.0.store(round, Ordering::Release);
                // A varying delay lets the two halves meet at every offset.
                (0..round % 64).for_each(|_| std::hint::spin_loop());
                litmus.closer.0.store(round, Ordering::Release);
                heavy();
                let missed_reader = litmus.reader.0.load(Ordering::Acquire) != round;
                while litmus.done.0.load(Ordering::Acquire) != round {
                    std::thread::yield_now();
                }
                let missed_closer = litmus.saw.0.load(Ordering::Relaxed) != round;
                overlaps += u64::from(missed_reader && missed_closer);
            }
        }
        litmus.stop.store(true, Ordering::Relaxed);
        (round, overlaps)
    })
}

#[test]
fn a_reader_and_a_closer_never_both_miss_each_other() {
    barrier::strategy();
    let (rounds, overlaps) = overlaps(Duration::from_secs(1), barrier::heavy);
    println!("{overlaps} overlaps in {rounds} rounds with {:?}", barrier::strategy());
    assert_eq!(overlaps, 0, "of {rounds} rounds");
}

/// Shows that the litmus test can fail; needs two cores that run at once, so it is run by hand or on a quiet machine.
#[test]
#[ignore = "needs two idle cores: cargo test -p gate --release --test barrier -- --ignored --nocapture"]
fn without_the_heavy_barrier_they_do() {
    assert_eq!(
        barrier::strategy(),
        barrier::Strategy::Membarrier,
        "this kernel has no membarrier to leave out"
    );
    let (rounds, overlaps) = overlaps(Duration::from_secs(2), || compiler_fence(Ordering::SeqCst));
    println!("{overlaps} overlaps in {rounds} rounds without");
    assert!(overlaps > 0, "none in {rounds} rounds");
}
