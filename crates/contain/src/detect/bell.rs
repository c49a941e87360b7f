//! An alarm that a thread waits at.

use super::Alarm;
use gate::{Deadline, ThreadToken};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// How long a wait goes on after its thread was cancelled, at most.
const LOOK: Duration = Duration::from_millis(50);

/// An eventfd that nobody else has: raising it is one system call, which no lock of this process and no client can hold up.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// A bell that is silent.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn new() -> io::Result<Arc<Bell>> {
        Ok(Arc::new(Bell(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?)))
    }

    /// Waits until the bell was raised since the last wait, and silences it; false at the deadline, or if this thread's waits
    /// were cancelled.
    ///
    /// # Panics
    /// In builds with debug assertions, if this thread holds a pass or a lock (law 1).
    pub fn wait(&self, token: &mut ThreadToken, deadline: Deadline) -> bool {
        token.assert_holds_nothing();
        loop {
            if self.take() {
                return true;
            }
            let Some(left) = deadline.remaining().filter(|_| !token.is_cancelled()) else { return false };
            // A failure is an interruption; the loop looks again in any case, and ends at the deadline.
            let wait = Timespec::try_from(left.min(LOOK)).ok();
            let _looked_again = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], wait.as_ref());
        }
    }

    fn take(&self) -> bool {
        rustix::io::read(&self.0, &mut [0; 8]).is_ok()
    }
}

impl Alarm for Bell {
    fn raise(&self) {
        // A counter at its maximum is raised enough.
        let raised = rustix::io::write(&self.0, &1u64.to_ne_bytes());
        debug_assert!(matches!(raised, Ok(_) | Err(Errno::AGAIN)), "{raised:?}");
    }
}
