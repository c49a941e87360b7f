//! Complaint 11, the other half: a program's hot-plug thread frees a controller that another of its threads polls.
//!
//! The poller looks at a flag and then at the controller, and nothing says that it is still in there.

use crate::stack::Frame;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, Ordering};

/// What keeps the memory while it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A flag that says that the card is gone: as it was reported.
    ByFlag,
    /// A lock for as long as somebody polls: law 6.
    ByPoller,
}

/// A controller of a program, and whether its card is still there.
pub struct Polled {
    kept: Kept,
    removed: AtomicBool,
    polling: Mutex<()>,
    controller: Frame<u32>,
}

impl Polled {
    /// The card is there.
    pub fn new(kept: Kept) -> Polled {
        let (removed, polling) = (AtomicBool::new(false), Mutex::new(()));
        Polled { kept, removed, polling, controller: Frame::called(1) }
    }

    fn polling(&self) -> Option<loom::sync::MutexGuard<'_, ()>> {
        let lock = || self.polling.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (self.kept == Kept::ByPoller).then(lock)
    }

    /// What the controller says, if its card is there.
    pub fn poll(&self) -> Option<u32> {
        let _polling = self.polling();
        if self.removed.load(Ordering::Acquire) {
            return None;
        }
        self.controller.read(|value| *value)
    }

    /// The card was pulled: frees the controller.
    pub fn pulled(&self) {
        let _polling = self.polling();
        self.removed.store(true, Ordering::Release);
        self.controller.clone().returned();
    }
}
