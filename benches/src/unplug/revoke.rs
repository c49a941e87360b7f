//! How long it takes to take a function away by force while it is busy: from the ask until it is revoked, removed and without power.
//!
//! Each thread of traffic goes round in: a write and a read of the BAR, a read of configuration space, and under one pass a DMA
//! read and a DMA write. It goes on until it meets the end of the function, then waits for the next. The one who revokes waits
//! until every thread has been round a number of times on the present function, all of it with success; then it asks for
//! the removal with no time to let go. The driver that has the function does nothing about it.
//!
//! * *busy*: one thread of traffic and the one who revokes, each on a CPU of its own.
//! * *oversub*: eight threads of traffic, wherever the scheduler puts them. A thread that loses its CPU inside a short pass
//!   keeps whoever drains the gate waiting until it is scheduled again, so this is the scheduler's figure and has no limit.
//!
//! The floor is a revocation without traffic.

use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use assign::{Assignment, DmaAccess, DmaMapFlags, DmaMapRequest};
use gate::{AccessKind, ThreadToken};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use slot::{Binding, Bound, Driver, Drivers, ProbeError, Removal};

use super::bay::{self, Socket};
use crate::figure::{Better, Figure};
use crate::pin;
use crate::stats::median;

/// Region numbers of vfio.
const BAR0: u32 = 0;
const CONFIG: u32 = 7;
const IOVA: u64 = 0x10_0000;
const DMA_BYTES: u64 = 64 << 10;
/// Revocations: in a round, and at the least.
const A_ROUND: usize = 100;
const LEAST: usize = 1_000;
/// Of those with more threads than CPUs one in so many: until all have had their turn takes most of the time.
const OVERSUBSCRIBED: usize = 5;
/// Rounds of traffic on a function before it is revoked.
const BUSY: u64 = 64;
/// Nobody is kept from working that long, even with other work on the machine.
const STALLED: Duration = Duration::from_secs(20);

/// One thread of traffic, as the others see it.
struct Worker {
    functions: Sender<Arc<Binding>>,
    /// How often it has been round, with success.
    rounds: Arc<AtomicU64>,
}

/// Gives each function to all threads of traffic.
struct Spread {
    workers: Vec<Worker>,
    memory: OwnedFd,
}

struct Bond;

impl Driver for Spread {
    fn name(&self) -> &'static str {
        "traffic"
    }

    fn probe(&self, token: &mut ThreadToken, binding: &Arc<Binding>) -> Result<Box<dyn Bound>, ProbeError> {
        self.set_up(token, binding.function()).map_err(|error| ProbeError::Failed(error.to_string()))?;
        for worker in &self.workers {
            worker.functions.send(binding.clone()).map_err(|_| ProbeError::NotMine)?;
        }
        Ok(Box::new(Bond))
    }
}

impl Spread {
    fn set_up(&self, token: &mut ThreadToken, function: &Assignment) -> Result<(), Box<dyn Error>> {
        let request = DmaMapRequest {
            flags: DmaMapFlags(DmaMapFlags::READ | DmaMapFlags::WRITE),
            offset: 0,
            iova: IOVA,
            size: DMA_BYTES,
            fd: Some(self.memory.as_fd().try_clone_to_owned()?),
        };
        function.dma_map(token, request)?;
        let command = pci_core::Command::MEMORY_SPACE | pci_core::Command::BUS_MASTER;
        let bytes = command.bits().to_le_bytes();
        Ok(function.region_write(token, CONFIG, pci_spec::config::COMMAND.into(), &bytes)?)
    }
}

impl Bound for Bond {
    fn request(&mut self, _token: &mut ThreadToken, _nth: u32) {}

    fn remove(self: Box<Self>, _token: &mut ThreadToken, _removal: Removal) {}
}

/// One round of traffic; false if any of it did not work.
fn round(token: &mut ThreadToken, function: &Assignment) -> bool {
    let mut data = [0; 4];
    let by_call = function.region_write(token, BAR0, 8, &data).is_ok()
        && function.region_read(token, BAR0, 8, &mut data).is_ok()
        && function.region_read(token, CONFIG, 0, &mut data).is_ok();
    let Ok(pass) = function.port().handle().try_enter(token, AccessKind::Dma) else { return false };
    let mut block = [0; 512];
    let dma = function.port().dma();
    let read = dma.resolve(&pass, IOVA, 512, DmaAccess::Read).and_then(|slice| slice.read_into(&mut block));
    let written = dma.resolve(&pass, IOVA, 512, DmaAccess::Write).and_then(|slice| slice.write_from(&block));
    by_call && read.is_ok() && written.is_ok()
}

/// Traffic on one function after the other, until there is no other.
fn traffic(functions: &Receiver<Arc<Binding>>, rounds: &AtomicU64, stop: &AtomicBool) {
    let token = &mut ThreadToken::at_thread_entry();
    while let Ok(binding) = functions.recv() {
        let function = binding.function();
        while !function.is_gone() && !stop.load(Ordering::Relaxed) {
            if round(token, function) {
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Ends the traffic on every way out.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until every worker has been round so often.
fn until_busy(rounds: &[Arc<AtomicU64>]) -> Result<(), Box<dyn Error>> {
    let begun: Vec<u64> = rounds.iter().map(|rounds| rounds.load(Ordering::Relaxed)).collect();
    let start = Instant::now();
    for (rounds, begun) in rounds.iter().zip(begun) {
        while rounds.load(Ordering::Relaxed) < begun + BUSY {
            if start.elapsed() > STALLED {
                return Err("a thread of traffic gets nothing done".into());
            }
            thread::yield_now();
        }
    }
    Ok(())
}

/// Microseconds of each of so many revocations under so many threads of traffic; with `pinned`, the one who revokes is on CPU 0
/// and the traffic on CPU 1.
fn revocations(count: usize, threads: usize, pinned: bool) -> Result<Vec<f64>, Box<dyn Error>> {
    let stop = AtomicBool::new(false);
    let stop = &stop;
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 0..threads {
            let (functions, come) = channel();
            let rounds = Arc::new(AtomicU64::new(0));
            workers.push(Worker { functions, rounds: rounds.clone() });
            scope.spawn(move || match pinned.then(|| pin::to_cpu(1)).transpose() {
                Ok(_) => traffic(&come, &rounds, stop),
                Err(error) => eprintln!("bench: no CPU 1 for the traffic: {error}"),
            });
        }
        let revoker = scope.spawn(move || {
            let _ends_the_traffic = Stop(stop);
            revoke(workers, count, pinned).map_err(|error| error.to_string())
        });
        Ok(revoker.join().map_err(|_| "the one who revokes panicked")??)
    })
}

fn revoke(workers: Vec<Worker>, count: usize, pinned: bool) -> Result<Vec<f64>, Box<dyn Error>> {
    if pinned {
        pin::to_cpu(0)?;
    }
    let token = &mut ThreadToken::at_thread_entry();
    let rounds: Vec<_> = workers.iter().map(|worker| worker.rounds.clone()).collect();
    let memory = memfd_create("bench-revoke", MemfdFlags::CLOEXEC)?;
    ftruncate(&memory, DMA_BYTES)?;
    let drivers = Drivers::new();
    drivers.add(Arc::new(Spread { workers, memory }));
    let sockets = bay::machine(token, 1, 1, &drivers)?;
    let socket: &Socket = sockets.first().ok_or("no slot")?;
    let mut took = Vec::with_capacity(count);
    socket.insert(token)?;
    loop {
        until_busy(&rounds)?;
        let start = Instant::now();
        socket.unplug(token, Duration::ZERO)?;
        took.push(start.elapsed().as_nanos() as f64 / 1e3);
        if took.len() >= count {
            return Ok(took);
        }
        socket.plug(token)?;
    }
}

/// What 99 of 100 do not exceed; sorts.
fn p99(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get((samples.len() * 99 / 100).min(samples.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// Revokes under one thread of traffic, and under eight.
///
/// # Errors
/// The machine has no two CPUs, a slot's operation fails, or traffic gets nothing done.
pub(super) fn figures(rounds: usize) -> Result<Vec<Figure>, Box<dyn Error>> {
    let count = (rounds * A_ROUND).max(LEAST);
    let floor = median(&mut revocations(count, 0, true)?);
    let figure = |figure, limit, mut took: Vec<f64>| Figure {
        figure,
        value: p99(&mut took) / 1e3,
        unit: "ms",
        limit,
        better: Better::Lower,
        ours: median(&mut took),
        floor,
        peer: None,
        raw_unit: "us",
        peer_is: None,
    };
    Ok(vec![
        figure("revoke_busy_p99_ms", 1.0, revocations(count, 1, true)?),
        figure("revoke_oversub_p99_ms", f64::INFINITY, revocations(count / OVERSUBSCRIBED, 8, false)?),
    ])
}
