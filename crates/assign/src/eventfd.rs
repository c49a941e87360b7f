//! An eventfd that a client passed for an interrupt.
//!
//! The descriptor is verified once: a pipe, socket or file in its place could block or do something else when
//! written. How it is signalled without ever blocking is the matter of module `kick`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::error::{Errno, RequestError};
use crate::kick::kick;
use crate::sever::sever;

/// A verified eventfd.
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    /// Takes over a client's descriptor.
    ///
    /// # Errors
    /// EINVAL: it is no eventfd (VF-35).
    pub(crate) fn from_client(fd: OwnedFd) -> Result<EventFd, RequestError> {
        // The kernel names what has no path; a path always begins with a slash, so no client can forge this.
        let link = rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), [0; 64])
            .map_err(|errno| Errno::from_raw(errno.raw_os_error()))
            .map_err(|errno| RequestError::new(errno, "the descriptor cannot be examined"))?;
        if link.as_bytes() != b"anon_inode:[eventfd]" {
            return Err(RequestError::new(Errno::EINVAL, "the descriptor is not an eventfd"));
        }
        // For the fall-back of `kick`; the client may clear it again.
        let flags = fcntl_getfl(&fd)?;
        fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
        Ok(EventFd(fd))
    }

    /// Adds 1 to the counter; never blocks. False: it was not delivered.
    pub(crate) fn signal(&self) -> bool {
        kick(self.0.as_fd())
    }

    /// Lets the client's eventfd go, for good. The descriptor stays until the last owner drops, and is one of nothing: for
    /// what a device that is gone may still look up.
    pub(crate) fn sever(&self) {
        if let Err(errno) = sever(self.0.as_fd()) {
            tracing::error!(%errno, "an eventfd of a client could not be cut off and stays open until its function ends");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{EventfdFlags, eventfd};

    fn count(fd: &OwnedFd) -> u64 {
        let mut count = [0; 8];
        rustix::io::read(fd, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
    }

    #[test]
    fn an_eventfd_that_was_cut_off_is_not_signalled_and_not_kept() {
        let clients = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let ours = EventFd::from_client(clients.try_clone().unwrap()).unwrap();
        assert!(ours.signal());
        assert_eq!(count(&clients), 1);
        let number = ours.0.as_raw_fd();
        for _ in 0..2 {
            ours.sever();
            ours.signal();
            assert_eq!(count(&clients), 0);
            assert_eq!(ours.0.as_raw_fd(), number);
            let link = rustix::fs::readlink(format!("/proc/self/fd/{number}"), [0; 64]).unwrap();
            assert_eq!(link.as_bytes(), b"/dev/null", "the client's file is let go");
        }
    }
}
