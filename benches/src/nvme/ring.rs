#![allow(unsafe_code)] // Two threads share raw memory on purpose: that is what a ring is.
//! The floor: two threads, a shared-memory ring, and the same copy from the same amount of memory.
//!
//! The least that any disk served by another thread must do: a request is published by one store, found by polling, its data
//! copied, and its completion published by one store. No queue entries are decoded, no addresses translated.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::pin;

/// Entries in each direction; a power of two above any depth in use.
const ENTRIES: usize = 256;

#[repr(align(128))]
struct Line<T>(T);

struct Ring {
    /// Source block in the high half, destination slot in the low half.
    requests: [AtomicU64; ENTRIES],
    completions: [AtomicU32; ENTRIES],
    submitted: Line<AtomicU32>,
    completed: Line<AtomicU32>,
    stop: AtomicBool,
}

struct Memory(*mut u8);
// SAFETY: the two threads only touch it through the ring's protocol: a slot belongs to the server from its request to its completion.
unsafe impl Sync for Memory {}

/// What is asked of the ring (and of ours): `depth` reads of `bytes` in flight, at random blocks of `capacity` bytes.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) bytes: usize,
    pub(crate) depth: usize,
    pub(crate) capacity: usize,
    pub(crate) for_time: Duration,
}

/// A small generator (xorshift64*), the same for all contenders.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) % limit
    }
}

/// Runs `load` for its time; operations per second.
pub(crate) fn run(load: Load, server_cpu: usize, client_cpu: usize) -> f64 {
    let mut backing = vec![0x5a_u8; load.capacity];
    let mut buffers = vec![0_u8; load.bytes * load.depth];
    let ring = Ring {
        requests: [const { AtomicU64::new(0) }; ENTRIES],
        completions: [const { AtomicU32::new(0) }; ENTRIES],
        submitted: Line(AtomicU32::new(0)),
        completed: Line(AtomicU32::new(0)),
        stop: AtomicBool::new(false),
    };
    let (source, target) = (Memory(backing.as_mut_ptr()), Memory(buffers.as_mut_ptr()));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = pin::to_cpu(server_cpu);
            serve(&ring, &source, &target, load.bytes);
        });
        let _ = pin::to_cpu(client_cpu);
        let rate = drive(&ring, load);
        ring.stop.store(true, Ordering::Release);
        rate
    })
}

fn serve(ring: &Ring, source: &Memory, target: &Memory, bytes: usize) {
    let mut done = 0_u32;
    while !ring.stop.load(Ordering::Relaxed) {
        let until = ring.submitted.0.load(Ordering::Acquire);
        if until == done {
            std::hint::spin_loop();
        }
        while done != until {
            let at = done as usize % ENTRIES;
            let request = ring.requests[at].load(Ordering::Relaxed);
            let (block, slot) = ((request >> 32) as usize, request as u32);
            // SAFETY: the client asks only for whole blocks inside the backing and slots inside its buffers, and leaves the slot
            // alone until its completion is published.
            unsafe {
                std::ptr::copy_nonoverlapping(source.0.add(block * bytes), target.0.add(slot as usize * bytes), bytes);
            }
            ring.completions[at].store(slot, Ordering::Relaxed);
            done = done.wrapping_add(1);
            ring.completed.0.store(done, Ordering::Release);
        }
    }
}

fn drive(ring: &Ring, load: Load) -> f64 {
    let blocks = (load.capacity / load.bytes) as u64;
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut submit = |at: u32, slot: u32| {
        let request = random.below(blocks) << 32 | u64::from(slot);
        ring.requests[at as usize % ENTRIES].store(request, Ordering::Relaxed);
    };
    let mut tail = 0_u32;
    for slot in 0..load.depth as u32 {
        submit(tail, slot);
        tail += 1;
    }
    ring.submitted.0.store(tail, Ordering::Release);
    let start = Instant::now();
    let mut seen = 0_u32;
    let mut operations = 0_u64;
    loop {
        let until = ring.completed.0.load(Ordering::Acquire);
        if until == seen {
            std::hint::spin_loop();
            continue;
        }
        while seen != until {
            let slot = ring.completions[seen as usize % ENTRIES].load(Ordering::Relaxed);
            submit(tail, slot);
            tail = tail.wrapping_add(1);
            seen = seen.wrapping_add(1);
            operations += 1;
            if operations.is_multiple_of(1024) && start.elapsed() >= load.for_time {
                return operations as f64 / start.elapsed().as_secs_f64();
            }
        }
        ring.submitted.0.store(tail, Ordering::Release);
    }
}
