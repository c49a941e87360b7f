//! Who has come how far, who waits for whom to come along, and who is stuck.
#![allow(clippy::disallowed_types, reason = "any mutex will do for the test's own threads")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Who makes no step for so long is stuck. A step takes milliseconds on a machine that is busy with other things.
const STUCK: Duration = Duration::from_secs(30);

/// How far a thread has come.
#[derive(Default)]
pub(crate) struct Steps {
    steps: AtomicU64,
    rounds: AtomicU64,
    at: AtomicU64,
    ended: AtomicBool,
    rounds_made: Arc<Rounds>,
}

/// Where threads wait for the rounds of others.
#[derive(Default)]
struct Rounds {
    mutex: Mutex<()>,
    made: Condvar,
}

impl Steps {
    /// A step begins, for the next access; `at` is where.
    pub(crate) fn step(&self, at: u64) {
        self.at.store(at, Ordering::Relaxed);
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// A round has been made.
    pub(crate) fn round(&self) {
        self.rounds.fetch_add(1, Ordering::SeqCst);
        self.tell();
    }

    /// Waits until others have come so far.
    pub(crate) fn wait_until(&self, come: impl Fn() -> bool) {
        let mut guard = self.rounds_made.mutex.lock().unwrap_or_else(PoisonError::into_inner);
        while !come() {
            guard = self.rounds_made.made.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn tell(&self) {
        drop(self.rounds_made.mutex.lock());
        self.rounds_made.made.notify_all();
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    pub(crate) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::SeqCst)
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

/// How often what happened.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, other: Tally) {
        for (what, count) in other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }
}

/// Threads, and the thread that waits for them.
pub(crate) struct Watch {
    watched: Vec<Watched>,
    ends: (Sender<usize>, Receiver<usize>),
    rounds_made: Arc<Rounds>,
}

struct Watched {
    name: String,
    steps: Arc<Steps>,
    thread: Option<JoinHandle<Tally>>,
}

impl Watch {
    pub(crate) fn new() -> Watch {
        Watch { watched: Vec::new(), ends: channel(), rounds_made: Arc::default() }
    }

    /// Of a thread that is yet to be started.
    pub(crate) fn expect(&self) -> Arc<Steps> {
        Arc::new(Steps { rounds_made: Arc::clone(&self.rounds_made), ..Steps::default() })
    }

    pub(crate) fn start(
        &mut self,
        name: String,
        steps: Arc<Steps>,
        run: impl FnOnce(&Steps) -> Tally + Send + 'static,
    ) {
        let end = End { nth: self.watched.len(), sender: self.ends.0.clone(), steps: Arc::clone(&steps) };
        let thread = std::thread::Builder::new().name(name.clone()).spawn(move || run(&end.steps)).unwrap();
        self.watched.push(Watched { name, steps, thread: Some(thread) });
    }

    /// Waits until all have ended.
    ///
    /// # Panics
    /// If one panics, or is stuck; the others are left to the end of the process then.
    pub(crate) fn wait_for_all(mut self) -> Tally {
        let mut tally = Tally::default();
        let mut seen: Vec<_> = self.watched.iter().map(|_| (0, Instant::now())).collect();
        while self.watched.iter().any(|watched| watched.thread.is_some()) {
            match self.ends.1.recv_timeout(Duration::from_secs(1)) {
                Ok(nth) => match self.watched[nth].thread.take().unwrap().join() {
                    Ok(counted) => tally.add(counted),
                    Err(panic) => std::panic::resume_unwind(panic),
                },
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            for (watched, seen) in self.watched.iter().zip(&mut seen) {
                let steps = watched.steps.steps();
                if steps != seen.0 {
                    *seen = (steps, Instant::now());
                }
                let stuck = watched.thread.is_some() && seen.1.elapsed() > STUCK;
                assert!(!stuck, "stuck for {STUCK:?}:\n{}", self.describe());
            }
        }
        tally
    }

    fn describe(&self) -> String {
        let line = |watched: &Watched| {
            let (name, Steps { steps, rounds, at, ended, .. }) = (&watched.name, &*watched.steps);
            format!("  {name}: step {steps:?}, round {rounds:?}, at page {at:?}, ended: {ended:?}\n")
        };
        self.watched.iter().map(line).collect()
    }
}

/// Says that a thread ends, also if it panics.
struct End {
    nth: usize,
    sender: Sender<usize>,
    steps: Arc<Steps>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.steps.ended.store(true, Ordering::SeqCst);
        self.steps.tell();
        let _ = self.sender.send(self.nth);
    }
}
