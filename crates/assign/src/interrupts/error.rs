//! The consumer's error notifier: index ERR of vfio (VF-30, VF-35).
//!
//! Offered only where somebody asks for it: QEMU answers it by stopping the machine.
//!
//! Concurrency: an error is signalled when the function is frozen already and gives no passes, so the eventfd is published
//! beside the gate. Signalling takes no lock (VF-36).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gate::{Deadline, Published, ThreadToken};

use crate::error::RequestError;
use crate::eventfd::EventFd;

/// What the consumer wired to its error notifier.
pub(super) struct ErrorNotifier {
    offered: AtomicBool,
    wired: Published<Option<Arc<EventFd>>>,
}

impl ErrorNotifier {
    pub(super) fn new() -> ErrorNotifier {
        ErrorNotifier { offered: AtomicBool::new(false), wired: Published::new(None) }
    }

    /// Before a consumer can ask how many vectors there are.
    pub(super) fn offer(&self) {
        self.offered.store(true, Ordering::Release);
    }

    pub(super) fn is_offered(&self) -> bool {
        self.offered.load(Ordering::Acquire)
    }

    /// Exchanges the eventfd. The old one is closed by its last user.
    pub(super) fn wire(&self, token: &mut ThreadToken, wired: Option<Arc<EventFd>>, deadline: Deadline) {
        // Signalling never blocks: who still reads the old one at the deadline is about to drop it.
        drop(self.wired.replace(token, wired, deadline));
    }

    /// False: the consumer has wired nothing, or it was not delivered.
    pub(super) fn signal(&self, token: &ThreadToken) -> bool {
        self.wired.read(token).as_ref().is_some_and(|wired| wired.signal())
    }

    /// Signals for the consumer's test of its own wiring.
    pub(super) fn loop_back(&self, token: &ThreadToken, chosen: bool) -> Result<(), RequestError> {
        let wired = self.wired.read(token);
        let wired = wired.as_ref().ok_or(RequestError::invalid("nothing to signal"))?;
        if chosen {
            wired.signal();
        }
        Ok(())
    }
}
