//! One handler: reads faults and hands them to their windows, or waits until it is its turn.

use super::crew::Crew;
use super::table::{Due, Found};
use gate::ThreadToken;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Making present so many bytes takes a few microseconds.
const SHORT: usize = 64 << 10;
/// It looks each so many reads whether there is a second fault. To look takes a hundredth of a fault, and who takes two has
/// the second one wait, perhaps with another who reads at leisure.
const LOOK: u32 = 16;
/// Who has found no second fault so many times in a row is not needed, if others read too.
const SLACK: u32 = 64;
/// Windows whose deadline has come are served before faults, but not more than this many in a row.
const MOST_DUE: usize = 16;

/// A handler at work.
struct Handler {
    crew: Arc<Crew>,
    /// Whose fault or deadline it is at.
    serving: Option<Found>,
    /// It has a token, and reads faults.
    reading: bool,
    /// A fault that was read together with another one.
    next: Option<usize>,
    reads: u32,
    /// Times in a row that it looked for a second fault and there was none.
    singles: u32,
}

/// The life of a handler's thread.
pub(super) fn run(crew: Arc<Crew>) {
    let mut handler = Handler { crew, serving: None, reading: false, next: None, reads: 0, singles: 0 };
    let mut token = ThreadToken::at_thread_entry();
    // What it was at is in `handler`, nothing else outlives the panic.
    while catch_unwind(AssertUnwindSafe(|| handler.work(&mut token))).is_err() {}
    handler.crew.end(handler.reading);
}

impl Handler {
    /// Works until the end.
    fn work(&mut self, token: &mut ThreadToken) {
        if let Some(serving) = self.serving.take() {
            self.crew.recover(&serving);
        }
        while !self.crew.has_ended() {
            if let Err(error) = self.turn(token) {
                tracing::error!(%error, "faults cannot be read");
                self.crew.give_up();
            }
        }
    }

    /// One fault, or one wait.
    fn turn(&mut self, token: &mut ThreadToken) -> io::Result<()> {
        if let Some(address) = self.next.take() {
            self.serve(token, address);
        } else if self.reading {
            self.read(token)?;
        } else {
            let patience = self.expire();
            self.reading = self.crew.wait(patience)? && self.crew.take_over();
            if self.reading && self.crew.table().anybody_waits() {
                // It may have been the only one who watched.
                self.crew.tell();
            }
        }
        Ok(())
    }

    /// Waits for faults, and answers one.
    fn read(&mut self, token: &mut ThreadToken) -> io::Result<()> {
        self.reads = self.reads.wrapping_add(1);
        let look = self.reads.is_multiple_of(LOOK);
        let [first, second] = self.crew.uffd().read(look)?;
        self.next = second;
        if second.is_some() {
            self.singles = 0;
            self.crew.invite();
        } else if look {
            self.singles += 1;
        }
        if self.singles >= SLACK {
            self.singles = 0;
            self.reading = !self.crew.leave();
        }
        if let Some(address) = first {
            self.serve(token, address);
        }
        Ok(())
    }

    /// Before what takes longer than to wake another one.
    fn pass_on(&mut self) {
        if std::mem::take(&mut self.reading) {
            self.crew.pass_on();
        }
        if let Some(address) = self.next.take() {
            // Whoever waits there faults again, and another one reads that.
            self.wake(address);
        }
    }

    fn wake(&self, address: usize) {
        let page = rustix::param::page_size();
        self.crew.uffd().wake(address - address % page, page);
    }

    fn serve(&mut self, token: &mut ThreadToken, address: usize) {
        let Some(found) = self.crew.table().find(address) else {
            // Its window is about to be unmapped, or was and the addresses are another's by now, who faults again; or it is
            // the bell.
            self.wake(address);
            return;
        };
        if found.len > SHORT {
            self.pass_on();
        }
        let serving = self.serving.insert(found);
        let start = serving.start;
        let deadline = serving.window.fault(token, (address - start) as u64);
        if let Some(deadline) = deadline {
            self.crew.table().wait_until(start, deadline);
            if self.reading {
                // Who reads watches no deadlines.
                self.crew.tell();
            }
        }
        // This may be the last who has the window, and then the range is unmapped here.
        self.serving = None;
    }

    /// Does what is due by now, and gives the time until something is due again.
    fn expire(&mut self) -> Option<Duration> {
        for _ in 0..MOST_DUE {
            if !self.crew.table().anybody_waits() {
                return None;
            }
            let now = Instant::now();
            match self.crew.table().due(now) {
                Due::Never => return None,
                Due::At(moment) => return Some(moment.saturating_duration_since(now)),
                Due::Now(found) => {
                    let serving = self.serving.insert(found);
                    let start = serving.start;
                    let next = serving.window.expire(now);
                    if let Some(deadline) = next {
                        self.crew.table().wait_until(start, deadline);
                    }
                    self.serving = None;
                }
            }
        }
        Some(Duration::ZERO)
    }
}
