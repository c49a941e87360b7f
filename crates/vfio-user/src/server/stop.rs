//! Ends a server from another thread.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, write};

/// A switch that is thrown once. Clones are the same switch; any number of servers may watch it.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Never read, so that it stays readable for every watcher once it has been written.
    event: Arc<OwnedFd>,
}

impl Stop {
    /// A switch that has not been thrown.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn new() -> Result<Stop, Errno> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Stop { event: Arc::new(event) })
    }

    /// Throws the switch. Does not wait for the servers to end.
    pub fn stop(&self) {
        // The only failure is a counter that is full, and then it is readable already.
        let _ = write(&self.event, &1u64.to_ne_bytes());
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
