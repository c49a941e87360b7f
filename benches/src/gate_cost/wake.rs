//! What it costs to wake one function while many others have blocked waiters.
//!
//! Three processes, so that their rounds can be interleaved. In ours 10,000 other functions are blocked, each with a thread
//! that really waits in its gate. In the floor one is, and the other 9,999 threads are parked outside any gate: what is
//! compared is blocked functions, not what a kernel and its caches make of many threads. That is the peer's part, a
//! process with one blocked function and no more threads. Measured is the closer's side: reopening a gate that one more thread waits
//! at, system call included.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gate::{AccessKind, Closed, Deadline, Gate, Reason, ThreadToken};

use super::{MANY, futex_hash};
use crate::figure::{Better, Figure};
use crate::pin;
use crate::stats::median;

/// Wake-ups of one round.
const WAKES: usize = 100;
/// Enough for a thread that only waits; 10,000 of them are 640 MiB of addresses and a fifth of that of memory.
const STACK: usize = 64 << 10;

fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(3600))
}

/// A process with some functions blocked.
struct World {
    child: Child,
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

impl World {
    fn start(blocked: usize, idle: usize) -> Result<World, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["wake", &blocked.to_string(), &idle.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (ask, answer) = pipes.ok_or("the process has no pipes")?;
        let mut world = World { child, ask, answer: BufReader::new(answer) };
        // The first round warms up, and says that all threads wait.
        world.round()?;
        Ok(world)
    }

    /// Nanoseconds per wake-up.
    fn round(&mut self) -> Result<f64, Box<dyn Error>> {
        self.ask.write_all(b"\n")?;
        let mut line = String::new();
        self.answer.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Its threads never end by themselves.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the interleaved rounds.
///
/// # Errors
/// A process does not start or ends early: the machine does not bear that many threads.
pub(super) fn figure(rounds: usize) -> Result<Figure, Box<dyn Error>> {
    let (mut one, mut many, mut alone) =
        (World::start(1, MANY - 1)?, World::start(MANY, 0)?, World::start(1, 0)?);
    let (mut with_one, mut with_many, mut growth, mut empty) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (floor, ours) = (one.round()?, many.round()?);
        growth.push(ours / floor);
        with_one.push(floor);
        with_many.push(ours);
        empty.push(alone.round()?);
    }
    Ok(Figure {
        figure: "wake_growth_10000",
        value: median(&mut growth),
        unit: "x of one",
        limit: 1.2,
        better: Better::Lower,
        ours: median(&mut with_many),
        floor: median(&mut with_one),
        peer: Some(median(&mut empty)),
        raw_unit: "ns",
        peer_is: Some("one blocked function in a process without the other threads"),
    })
}

/// The process: blocks `blocked` functions, parks `idle` threads, then answers each line with the cost of a wake-up, in nanoseconds.
///
/// # Errors
/// The threads cannot be started, or the pipes break.
pub(crate) fn serve(blocked: usize, idle: usize) -> Result<(), Box<dyn Error>> {
    // Of the same size in both processes.
    futex_hash::make_room_for(MANY);
    let mut token = ThreadToken::at_thread_entry();
    let gates: Vec<Gate> = (0..blocked).map(|index| Gate::new(format!("other {index}"))).collect();
    // Closed before the threads exist: a close looks at every thread, a wake-up does not.
    let closed: Result<Vec<Closed>, _> =
        gates.iter().map(|gate| Ok(gate.close(&mut token, Reason::Reset, ahead())?.park())).collect();
    let _closed = closed.map_err(|error: gate::CloseError| error.to_string())?;
    let arrived = Arc::new(AtomicU64::new(0));
    for gate in &gates {
        let (handle, arrived) = (gate.handle(), arrived.clone());
        std::thread::Builder::new().stack_size(STACK).spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            arrived.fetch_add(1, Ordering::Relaxed);
            drop(handle.enter(&mut token, AccessKind::Config, ahead()));
        })?;
    }
    for _ in 0..idle {
        let arrived = arrived.clone();
        std::thread::Builder::new().stack_size(STACK).spawn(move || {
            let _token = ThreadToken::at_thread_entry();
            arrived.fetch_add(1, Ordering::Relaxed);
            loop {
                std::thread::park();
            }
        })?;
    }
    until(|| arrived.load(Ordering::Relaxed) == (blocked + idle) as u64);
    // A status looks at every thread, so not all gates are asked; the others' threads are a few instructions behind.
    for gate in gates.iter().rev().step_by(500) {
        until(|| gate.status().waiting_accesses == 1);
    }
    rounds(&mut token)
}

/// Closes [`WAKES`] more functions, each with a waiter, and reopens them one after the other. A close looks at the records of
/// all threads and leaves the caches cold, so the reopenings do not follow it one by one.
fn rounds(token: &mut ThreadToken) -> Result<(), Box<dyn Error>> {
    let gates: Vec<Gate> = (0..WAKES).map(|index| Gate::new(format!("woken {index}"))).collect();
    let entered = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let wait_at = |gate: &Gate| {
            let (handle, entered) = (gate.handle(), &entered);
            scope.spawn(move || {
                let _ = pin::to_cpu(1);
                let mut token = ThreadToken::at_thread_entry();
                while handle.enter(&mut token, AccessKind::Config, ahead()).map(drop).is_ok() {
                    entered.fetch_add(1, Ordering::Relaxed);
                    // Until the gate is closed again.
                    std::thread::park();
                }
            })
        };
        let waiters: Vec<_> = gates.iter().map(wait_at).collect();
        pin::to_cpu(0)?;
        for line in std::io::stdin().lines() {
            line?;
            let mut closed = Vec::with_capacity(WAKES);
            for gate in &gates {
                closed.push(gate.close(token, Reason::Reset, ahead())?.park());
            }
            waiters.iter().for_each(|waiter| waiter.thread().unpark());
            gates.iter().for_each(|gate| until(|| gate.status().waiting_accesses == 1));
            let before = entered.load(Ordering::Relaxed);
            let mut samples = Vec::with_capacity(WAKES);
            for closed in closed {
                let start = Instant::now();
                drop(closed);
                samples.push(start.elapsed().as_nanos() as f64);
            }
            until(|| entered.load(Ordering::Relaxed) >= before + WAKES as u64);
            println!("{}", median(&mut samples));
            std::io::stdout().flush()?;
        }
        // The waiters end when they find their gates gone.
        for (gate, waiter) in gates.iter().zip(&waiters) {
            let _ = gate.retire(token, ahead());
            waiter.thread().unpark();
        }
        Ok(())
    })
}

/// Waits without leaving the processor to others for longer than it takes to look again.
fn until(done: impl Fn() -> bool) {
    while !done() {
        std::thread::sleep(Duration::from_micros(20));
    }
}
