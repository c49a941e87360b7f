//! What a pass costs: enter and leave against the same loop with no lock, at one and at two threads.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use gate::{AccessKind, Gate, Handle, ThreadToken};

use crate::figure::{Better, Figure};
use crate::pin;
use crate::stats::median;

const PASSES: u64 = 4_000_000;

/// The access that the pass protects: a load of something the compiler cannot see through.
#[inline(always)]
fn access(device: &AtomicU64) {
    black_box(device.load(Ordering::Relaxed));
}

/// Nanoseconds per turn of `body`, on `threads` threads at once.
fn per_turn(threads: usize, body: impl Fn(&ThreadToken, u64) + Sync) -> f64 {
    let mut each: Vec<f64> = std::thread::scope(|scope| {
        let spawned: Vec<_> = (0..threads)
            .map(|cpu| {
                let body = &body;
                scope.spawn(move || {
                    let _ = pin::to_cpu(cpu);
                    let token = ThreadToken::at_thread_entry();
                    let start = Instant::now();
                    body(&token, PASSES);
                    start.elapsed().as_nanos() as f64 / PASSES as f64
                })
            })
            .collect();
        spawned.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN)).collect()
    });
    median(&mut each)
}

fn passes(handle: &Handle, device: &AtomicU64, token: &ThreadToken, turns: u64) {
    for _ in 0..turns {
        if let Ok(pass) = handle.try_enter(token, AccessKind::Bar) {
            access(device);
            drop(pass);
        }
    }
}

/// Runs the interleaved rounds.
pub(crate) fn run(rounds: usize) -> Vec<Figure> {
    let gate = Gate::new("bench");
    let handle = gate.handle();
    let device = AtomicU64::new(7);
    [("over_nothing_1t_ns", 1), ("over_nothing_2t_ns", 2)]
        .map(|(figure, threads)| {
            let (mut floor, mut ours) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                floor.push(per_turn(threads, |_, turns| (0..turns).for_each(|_| access(&device))));
                ours.push(per_turn(threads, |token, turns| passes(&handle, &device, token, turns)));
            }
            let (floor, ours) = (median(&mut floor), median(&mut ours));
            Figure {
                figure,
                value: ours - floor,
                unit: "ns over",
                limit: 3.0,
                better: Better::Lower,
                ours,
                floor,
                peer: None,
                raw_unit: "ns",
                peer_is: None,
            }
        })
        .into()
}
