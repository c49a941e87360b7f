//! A back end that answers everything at once, and more than that: with any status, with tags that nobody has, with events of
//! every kind; and that has no room at times.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use gate::ThreadToken;
use nvme_spec::register::{CAP_CSS_NVM, Capabilities};
use nvme_spec::{IDENTIFY_SIZE, Status, SubmissionEntry};
use rustix::event::{EventfdFlags, eventfd};

use super::super::elsewhere::{Elsewhere, Facts, Reaped, TAGS};

pub(super) struct Echo {
    facts: Facts,
    event: OwnedFd,
    /// By tag.
    there: Vec<AtomicBool>,
    settled: AtomicBool,
    calls: AtomicU32,
}

impl Echo {
    pub(super) fn new() -> Option<Self> {
        let capabilities = Capabilities::default().with_css(CAP_CSS_NVM).0;
        // Everything is offered.
        let facts = Facts { identify: [0xff; IDENTIFY_SIZE], capabilities, version: u32::MAX, max_queues: 8 };
        Some(Self {
            facts,
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?,
            there: (0..TAGS).map(|_| AtomicBool::new(false)).collect(),
            settled: AtomicBool::new(true),
            calls: AtomicU32::new(0),
        })
    }

    fn call(&self) -> u32 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }
}

impl Elsewhere for Echo {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn submit(&self, _queue: u16, tag: u16, _entry: &SubmissionEntry) -> bool {
        let room = !self.call().is_multiple_of(5);
        if room && let Some(there) = self.there.get(usize::from(tag)) {
            there.store(true, Ordering::Relaxed);
        }
        room
    }

    fn ring(&self, _token: &mut ThreadToken) {
        if !self.settled.swap(true, Ordering::Relaxed) {
            self.there.iter().for_each(|there| there.store(false, Ordering::Relaxed));
        }
    }

    fn reap(&self, reaped: &mut Vec<Reaped>) {
        let call = self.call();
        let [low, high, ..] = call.wrapping_mul(0x9e37_79b9).to_le_bytes();
        let odd = u16::from_le_bytes([low, high]);
        let before = reaped.len();
        for (tag, there) in (0..).zip(&self.there) {
            if there.swap(false, Ordering::Relaxed) {
                let status = if call.is_multiple_of(3) { Status::from_bits(odd) } else { Status::SUCCESS };
                reaped.push(Reaped::Finished { tag, dw0: call, status });
            }
        }
        // Not for ever: a controller that is told something has a turn.
        if reaped.len() > before {
            reaped.push(Reaped::Finished { tag: odd, dw0: call, status: Status::SUCCESS });
            reaped.push(Reaped::Event { dw0: call });
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    fn clear(&self) {}

    fn abandon(&self) {
        self.settled.store(false, Ordering::Relaxed);
    }

    fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    fn is_up(&self) -> bool {
        true
    }
}
