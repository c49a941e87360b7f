//! An eventfd that a client passed for an interrupt.
//!
//! The descriptor is verified once: a pipe, socket or file in its place could block or do something else when
//! written. How it is signalled without ever blocking is the matter of module `kick`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::error::{Errno, RequestError};
use crate::kick::kick;

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
}
