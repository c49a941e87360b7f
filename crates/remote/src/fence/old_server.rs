//! The fence of one server: its process, and what the next server says of it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, Ordering};

use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, pidfd_send_signal};

use super::{Fence, How, Known};

/// Nobody has said anything; otherwise the number of a [`How`].
const SILENT: u8 = 0;

/// A server that is, or was, connected.
#[derive(Debug)]
pub struct OldServer {
    /// Its process, where that can be known.
    process: Option<OwnedFd>,
    pid: Option<i32>,
    /// What was said of it; written once, [`SILENT`] until then.
    said: AtomicU8,
    /// Readable for ever once something was said: who waits here is woken by it.
    bell: OwnedFd,
}

impl OldServer {
    /// The server behind `process`, a pidfd. `pid` is what an operator is shown.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn new(pid: Option<i32>, process: Option<OwnedFd>) -> Result<OldServer, Errno> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(OldServer { process, pid, said: AtomicU8::new(SILENT), bell })
    }

    /// A fence where there was no server before: over.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn never() -> Result<OldServer, Errno> {
        let never = OldServer::new(None, None)?;
        never.say_over(How::Never);
        Ok(never)
    }

    /// Its process ID, where that is known.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// Somebody who knows says that it is over. The first word counts.
    pub fn say_over(&self, how: How) {
        if self.said.compare_exchange(SILENT, word(how), Ordering::AcqRel, Ordering::Acquire).is_ok() {
            // The counter is 0, and is never read: it cannot overflow.
            let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
        }
    }

    /// Kills its process (`SIGKILL`), unless that is this one. Returns whether there was one to kill.
    ///
    /// # Errors
    /// `EPERM`: the process belongs to somebody else.
    pub fn kill(&self) -> Result<bool, Errno> {
        let own = Pid::as_raw(Some(getpid()));
        let Some(process) = self.process.as_ref().filter(|_| self.pid != Some(own)) else { return Ok(false) };
        match pidfd_send_signal(process, Signal::KILL) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// As [`Fence::wait`], and ends also when `other` is readable.
    pub fn wait_or(
        &self,
        token: &mut ThreadToken,
        other: Option<BorrowedFd<'_>>,
        deadline: Deadline,
    ) -> bool {
        let _waiting = Waiting::new(token, "fence", None, "the old back end to end");
        loop {
            let (Known::Alive, Some(process)) = (self.known(), &self.process) else { return true };
            let Some(left) = deadline.remaining() else { return false };
            let timeout = Timespec::try_from(left).ok();
            let fd = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
            let mut fds =
                [fd(self.bell.as_fd()), fd(process.as_fd()), fd(other.unwrap_or(self.bell.as_fd()))];
            let ready = poll(&mut fds, timeout.as_ref());
            let is_other = other.is_some() && !fds[2].revents().is_empty();
            // An interruption is looked at like a wake-up; any other error will not get better.
            if is_other || matches!(ready, Err(errno) if errno != Errno::INTR) {
                return self.known() != Known::Alive;
            }
        }
    }

    /// Whether the process has ended: its pidfd is readable then, also while nobody has waited for it as its parent.
    fn has_ended(process: &OwnedFd) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now));
        matches!(ready, Ok(count) if count > 0)
    }
}

impl Fence for OldServer {
    fn known(&self) -> Known {
        if let Some(how) = how(self.said.load(Ordering::Acquire)) {
            return Known::Over(how);
        }
        match &self.process {
            Some(process) if OldServer::has_ended(process) => Known::Ended,
            Some(_) => Known::Alive,
            None => Known::Unknown,
        }
    }

    fn wait(&self, token: &mut ThreadToken, deadline: Deadline) -> bool {
        self.wait_or(token, None, deadline)
    }
}

const fn word(how: How) -> u8 {
    match how {
        How::Never => 1,
        How::Server => 2,
        How::Same => 3,
    }
}

const fn how(word: u8) -> Option<How> {
    match word {
        1 => Some(How::Never),
        2 => Some(How::Server),
        3 => Some(How::Same),
        _ => None,
    }
}
