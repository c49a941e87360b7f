#![allow(unsafe_code)] // Two threads share raw memory on purpose: that is what a ring is.
//! The floor: two threads, a shared-memory ring, and the same copy from the same amount of memory.
//!
//! The least that any disk served by another thread must do: a request is published by one store, found by polling, its data
//! copied, and its completion published by one store. No queue entries are decoded, no addresses translated. Each entry
//! carries the lap it belongs to, so that finding it and reading it are one cache miss and not two.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::pin;

/// Entries in each direction; a power of two above any depth in use.
const ENTRIES: usize = 256;

#[repr(align(128))]
struct Line<T>(T);

struct Ring {
    /// Source block in the upper half, then the destination slot, then the lap.
    requests: Line<[AtomicU64; ENTRIES]>,
    /// The slot in the upper half, then the lap.
    completions: Line<[AtomicU32; ENTRIES]>,
    stop: AtomicBool,
}

/// Where the `index`th entry lies, and the lap that it then carries; no entry of the lap before has the same.
fn place(index: u32) -> (usize, u16) {
    (index as usize % ENTRIES, ((index / ENTRIES as u32) as u16).wrapping_add(1))
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
        requests: Line([const { AtomicU64::new(0) }; ENTRIES]),
        completions: Line([const { AtomicU32::new(0) }; ENTRIES]),
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
        let (at, lap) = place(done);
        let request = ring.requests.0[at].load(Ordering::Acquire);
        if request as u16 != lap {
            std::hint::spin_loop();
            continue;
        }
        let (block, slot) = ((request >> 32) as usize, (request >> 16) as u16);
        // SAFETY: the client asks only for whole blocks inside the backing and slots inside its buffers, and leaves the slot
        // alone until its completion is published.
        unsafe {
            std::ptr::copy_nonoverlapping(
                source.0.add(block * bytes),
                target.0.add(usize::from(slot) * bytes),
                bytes,
            );
        }
        ring.completions.0[at].store(u32::from(slot) << 16 | u32::from(lap), Ordering::Release);
        done = done.wrapping_add(1);
    }
}

fn drive(ring: &Ring, load: Load) -> f64 {
    let blocks = (load.capacity / load.bytes) as u64;
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut submit = |index: u32, slot: u16| {
        let (at, lap) = place(index);
        let request = random.below(blocks) << 32 | u64::from(slot) << 16 | u64::from(lap);
        ring.requests.0[at].store(request, Ordering::Release);
    };
    let mut tail = 0_u32;
    for slot in 0..load.depth as u16 {
        submit(tail, slot);
        tail += 1;
    }
    let start = Instant::now();
    let mut seen = 0_u32;
    loop {
        let (at, lap) = place(seen);
        let completion = ring.completions.0[at].load(Ordering::Acquire);
        if completion as u16 != lap {
            std::hint::spin_loop();
            continue;
        }
        submit(tail, (completion >> 16) as u16);
        tail = tail.wrapping_add(1);
        seen = seen.wrapping_add(1);
        if seen.is_multiple_of(1024) && start.elapsed() >= load.for_time {
            return f64::from(seen) / start.elapsed().as_secs_f64();
        }
    }
}
