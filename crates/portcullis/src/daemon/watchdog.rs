//! Logs waits that last too long, each once, with the whole chain of who waits for whom.
//!
//! # Concurrency
//! One thread that takes a snapshot a few times in each threshold ([`gate::waits::snapshot`] blocks nobody and enters
//! nothing, so it sees a house that is stuck). It holds nothing and nobody waits for it but the end of the daemon.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use gate::ThreadToken;
use gate::waits::{Holder, Watchdog, chain, snapshot};

/// Looks this often in a threshold, so that a wait is told soon after it has crossed.
const LOOKS: u32 = 4;
/// The longest and the shortest time between two looks.
const PERIODS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// Most waits logged at a look: one stuck function may keep any number of accesses waiting.
const MOST_LINES: usize = 8;

/// The thread; dropping it ends it.
pub(super) struct WatchdogThread {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl WatchdogThread {
    /// # Errors
    /// No thread left.
    pub(super) fn start(threshold: Duration) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread =
            std::thread::Builder::new().name("watchdog".into()).spawn(move || watch(threshold, &seen))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for WatchdogThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It ends within one look.
            let _ = thread.join();
        }
    }
}

fn watch(threshold: Duration, stop: &AtomicBool) {
    let mut token = ThreadToken::at_thread_entry();
    let mut watchdog = Watchdog::new(threshold);
    let period = (threshold / LOOKS).clamp(PERIODS.0, PERIODS.1);
    while !stop.load(Ordering::Acquire) {
        token.assert_holds_nothing();
        std::thread::park_timeout(period);
        let holders = snapshot();
        for line in lines(&holders, &watchdog.step(&holders)) {
            tracing::warn!("{line}");
        }
    }
}

/// What is logged of the waits at `crossed`: one line each, up to a bound.
fn lines(holders: &[Holder], crossed: &[usize]) -> Vec<String> {
    let words = |at: &usize| {
        let links: Vec<String> = chain(holders, *at).iter().map(ToString::to_string).collect();
        format!("a wait takes long: {}", links.join("; "))
    };
    let mut lines: Vec<String> = crossed.iter().take(MOST_LINES).map(words).collect();
    if let Some(more @ 1..) = crossed.len().checked_sub(MOST_LINES) {
        lines.push(format!("{more} more waits take long; `portcullis locks` lists them"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_grows_with_the_causes_and_not_with_those_who_wait() {
        let holder = Holder {
            thread: None,
            operation: String::from("enter config"),
            function: Some(String::from("disk0")),
            since: Some(Duration::from_millis(10_250)),
            waits_for: Some(String::from("the gate to open")),
            held_by: Vec::new(),
            wait: None,
        };
        let holders = vec![holder; 100];
        let all: Vec<usize> = (0..100).collect();
        let lines = lines(&holders, &all);
        assert_eq!(lines.len(), MOST_LINES + 1);
        assert_eq!(
            lines[0],
            "a wait takes long: enter config of disk0, waiting for the gate to open for 10250 ms"
        );
        assert_eq!(lines[MOST_LINES], "92 more waits take long; `portcullis locks` lists them");
        assert!(super::lines(&holders, &[]).is_empty());
    }
}
