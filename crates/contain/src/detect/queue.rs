//! The signs that wait to be taken up.

use crate::pe::Held;
use crate::plan::{Flavour, FunctionId};
use crossbeam_queue::ArrayQueue;
use pci_core::ErrorSign;
use pci_spec::Bdf;
use std::sync::atomic::{AtomicBool, Ordering};

/// An error of a PE. It keeps the PE alive (EEH-I8).
#[derive(Debug)]
pub(crate) struct Sign {
    pub(crate) pe: Held,
    /// The function that it was noticed at.
    pub(crate) function: Option<(FunctionId, Bdf)>,
    /// `None` if it is not known any more.
    pub(crate) sign: Option<ErrorSign>,
    pub(crate) flavour: Flavour,
}

/// Signs in the order in which they came (EEH-I8: Linux takes the last one first). Bounded; neither end waits.
#[derive(Debug)]
pub(super) struct Queue {
    signs: ArrayQueue<Sign>,
    overflowed: AtomicBool,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Queue {
        Queue { signs: ArrayQueue::new(capacity.max(1)), overflowed: AtomicBool::new(false) }
    }

    /// False if it was full: the sign is forgotten, and that there was one is not.
    pub(super) fn push(&self, sign: Sign) -> bool {
        let pushed = self.signs.push(sign).is_ok();
        if !pushed {
            self.overflowed.store(true, Ordering::Release);
        }
        pushed
    }

    pub(super) fn pop(&self) -> Option<Sign> {
        self.signs.pop()
    }

    /// Whether signs were forgotten since the last time. Ask when the queue is empty: what is forgotten later is seen the next time.
    pub(super) fn take_overflow(&self) -> bool {
        self.overflowed.swap(false, Ordering::AcqRel)
    }

    pub(super) fn has_some(&self) -> bool {
        !self.signs.is_empty() || self.overflowed.load(Ordering::Acquire)
    }
}
