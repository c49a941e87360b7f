//! How the worker parks and is woken.
//!
//! Parking is a Dekker protocol: the worker says that it is parked and then looks for work once more; whoever makes
//! work makes it visible and then looks whether the worker is parked. With a full fence between the two halves of each
//! side at least one sees the other. The waker that finds the worker parked takes the flag and writes the eventfd, so
//! a burst of doorbells costs one system call.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use gate::{ThreadToken, Wake};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// What the worker parks on.
#[derive(Debug)]
pub(super) struct Waker {
    event: OwnedFd,
    parked: AtomicBool,
}

impl Waker {
    /// # Errors
    /// No descriptor left.
    pub(super) fn new() -> rustix::io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event, parked: AtomicBool::new(false) })
    }

    /// Wakes the worker if it is parked. Call it after the work is visible.
    #[inline]
    pub(super) fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::AcqRel) {
            // The counter cannot overflow: the worker reads it each time it parks. A lost wake-up is bounded by the
            // time-out of the park.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// Parks until [`Waker::notify`], until `other` is readable, or for as long as `look` says. It is asked after the
    /// flag is up, so that it cannot miss what it is not woken for; `None`: there is something to do. Says whether `other`
    /// is readable.
    pub(super) fn park(
        &self,
        token: &mut ThreadToken,
        other: Option<BorrowedFd<'_>>,
        look: impl FnOnce(&mut ThreadToken) -> Option<Duration>,
    ) -> bool {
        self.parked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let mut others = false;
        if let Some(longest) = look(token) {
            token.assert_holds_nothing();
            let timeout = Timespec::try_from(longest).ok();
            let event = PollFd::new(&self.event, PollFlags::IN);
            let woken =
                |fds: &[PollFd<'_>], nth: usize| fds.get(nth).is_some_and(|fd| !fd.revents().is_empty());
            // An interruption or an error is a wake-up without a reason; the worker looks and comes back.
            let notified = match other {
                Some(other) => {
                    let mut fds = [event, PollFd::from_borrowed_fd(other, PollFlags::IN)];
                    let any = poll(&mut fds, timeout.as_ref()).is_ok();
                    others = any && woken(&fds, 1);
                    any && woken(&fds, 0)
                }
                None => {
                    let mut fds = [event];
                    poll(&mut fds, timeout.as_ref()).is_ok() && woken(&fds, 0)
                }
            };
            if notified {
                // A write that comes only now wakes the next park, once and for nothing.
                let _ = rustix::io::read(self.event.as_fd(), &mut [0; 8]);
            }
        }
        self.parked.store(false, Ordering::Relaxed);
        others
    }
}

impl Wake for Waker {
    fn wake(&self) {
        self.notify();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_worker_that_finds_work_does_not_park() {
        let mut token = ThreadToken::at_thread_entry();
        let waker = Waker::new().unwrap();
        let before = std::time::Instant::now();
        waker.park(&mut token, None, |_| None);
        assert!(before.elapsed() < LONG / 2);
    }

    #[test]
    fn no_wake_up_is_lost_between_looking_and_parking() {
        let waker = Arc::new(Waker::new().unwrap());
        let work = Arc::new(AtomicU32::new(0));
        let (their_waker, their_work) = (Arc::clone(&waker), Arc::clone(&work));
        let maker = std::thread::spawn(move || {
            for round in 1..=2000 {
                while their_work.load(Ordering::Acquire) != 0 {
                    std::thread::yield_now();
                }
                their_work.store(round, Ordering::Release);
                their_waker.notify();
            }
        });
        let mut token = ThreadToken::at_thread_entry();
        let mut seen = 0;
        while seen < 2000 {
            let before = std::time::Instant::now();
            waker.park(&mut token, None, |_| (work.load(Ordering::Acquire) == 0).then_some(LONG));
            assert!(before.elapsed() < LONG, "a wake-up was lost");
            let round = work.swap(0, Ordering::AcqRel);
            assert!(round == 0 || round == seen + 1);
            seen = seen.max(round);
        }
        maker.join().unwrap();
    }
}
