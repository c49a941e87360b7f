//! What an access costs: enter and leave against no lock, an atomic count, a reader-writer lock and a global mutex.
#![allow(clippy::disallowed_types, reason = "the locks are what is compared with")]

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use gate::{AccessKind, Gate, Handle, ThreadToken};
use parking_lot::{Mutex, RwLock};

use crate::figure::{Better, Figure};
use crate::pin;
use crate::stats::median;

const TURNS: u64 = 4_000_000;
/// A contended lock is a hundred times slower, and its rounds are that much shorter.
const PEER_TURNS: u64 = 1_000_000;

/// What protects the access.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contender {
    Nothing,
    Gate,
    AtomicCount,
    RwLock,
    Mutex,
}

const CONTENDERS: [Contender; 5] =
    [Contender::Nothing, Contender::Gate, Contender::AtomicCount, Contender::RwLock, Contender::Mutex];

/// What is protected, by each of them.
struct World {
    device: AtomicU64,
    handle: Handle,
    count: AtomicU64,
    rwlock: RwLock<()>,
    mutex: Mutex<()>,
}

impl World {
    /// The access: a load of something the compiler cannot see through.
    #[inline(always)]
    fn access(&self) {
        black_box(self.device.load(Ordering::Relaxed));
    }

    fn turns(&self, contender: Contender, token: &ThreadToken, turns: u64) {
        match contender {
            Contender::Nothing => (0..turns).for_each(|_| self.access()),
            Contender::Gate => {
                for _ in 0..turns {
                    if let Ok(pass) = self.handle.try_enter(token, AccessKind::Bar) {
                        self.access();
                        drop(pass);
                    }
                }
            }
            Contender::AtomicCount => {
                for _ in 0..turns {
                    self.count.fetch_add(1, Ordering::AcqRel);
                    self.access();
                    self.count.fetch_sub(1, Ordering::AcqRel);
                }
            }
            Contender::RwLock => {
                for _ in 0..turns {
                    let _read = self.rwlock.read();
                    self.access();
                }
            }
            Contender::Mutex => {
                for _ in 0..turns {
                    let _lock = self.mutex.lock();
                    self.access();
                }
            }
        }
    }

    /// Nanoseconds per access, on `threads` threads at once.
    fn per_access(&self, contender: Contender, threads: usize) -> f64 {
        let turns = match contender {
            Contender::Nothing | Contender::Gate => TURNS,
            Contender::AtomicCount | Contender::RwLock | Contender::Mutex => PEER_TURNS,
        };
        // Together, or a short round of one is over before the other begins.
        let begin = Barrier::new(threads);
        let begin = &begin;
        let mut each: Vec<f64> = std::thread::scope(|scope| {
            let run = |cpu| {
                scope.spawn(move || {
                    let _ = pin::to_cpu(cpu);
                    let token = ThreadToken::at_thread_entry();
                    begin.wait();
                    let start = Instant::now();
                    self.turns(contender, &token, turns);
                    start.elapsed().as_nanos() as f64 / turns as f64
                })
            };
            let spawned: Vec<_> = (0..threads).map(run).collect();
            spawned.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN)).collect()
        });
        median(&mut each)
    }
}

/// The figures at one and at two threads.
pub(super) fn figures(rounds: usize) -> Vec<Figure> {
    let gate = Gate::new("bench");
    let world = World {
        device: AtomicU64::new(7),
        handle: gate.handle(),
        count: AtomicU64::new(0),
        rwlock: RwLock::new(()),
        mutex: Mutex::new(()),
    };
    [1, 2].into_iter().flat_map(|threads| at(&world, threads, rounds)).collect()
}

fn at(world: &World, threads: usize, rounds: usize) -> [Figure; 4] {
    let mut samples = CONTENDERS.map(|_| Vec::new());
    for _ in 0..rounds {
        for (contender, samples) in CONTENDERS.into_iter().zip(&mut samples) {
            samples.push(world.per_access(contender, threads));
        }
    }
    let [nothing, ours, count, rwlock, mutex] = samples.map(|mut samples| median(&mut samples));
    let one = threads == 1;
    let name = |at_one, at_two| if one { at_one } else { at_two };
    let over = Figure {
        figure: name("over_nothing_1t_ns", "over_nothing_2t_ns"),
        value: ours - nothing,
        unit: "ns over",
        limit: 3.0,
        better: Better::Lower,
        ours,
        floor: nothing,
        peer: None,
        raw_unit: "ns",
        peer_is: None,
    };
    let against = |figure, peer: f64, limit, peer_is| Figure {
        figure,
        value: peer / ours,
        unit: "x cheaper",
        limit,
        better: Better::Higher,
        ours,
        floor: nothing,
        peer: Some(peer),
        raw_unit: "ns",
        peer_is: Some(peer_is),
    };
    [
        over,
        against(
            name("vs_rwlock_1t", "vs_rwlock_2t"),
            rwlock,
            if one { 5.0 } else { 20.0 },
            "parking_lot::RwLock, read",
        ),
        against(name("vs_atomic_count_1t", "vs_atomic_count_2t"), count, 1.0, "one atomic count"),
        against(name("vs_mutex_1t", "vs_mutex_2t"), mutex, 1.0, "one global parking_lot::Mutex"),
    ]
}
