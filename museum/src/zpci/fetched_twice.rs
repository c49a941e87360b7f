//! Report B: two threads of a guest write requests into the region at once.
//!
//! ```text
//! one                                other
//! copies its request to the buffer
//! looks at the buffer: it is valid
//!                                    copies another request to the buffer
//! request lock
//! carries out what is in the buffer
//! ```
//!
//! What is carried out is the other's request, whether that was valid or not. The memory of the buffer is behind a lock of its
//! own here, so that what fails is the request and not the checker.

use crate::unplug::{Order, lock};
use shuttle::sync::Mutex;

/// The longest load, in bytes.
const LONGEST: u16 = 8;

/// A load of so many bytes to that address of the guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Where the data is to go.
    pub address: u64,
    /// In bytes.
    pub length: u16,
}

impl Load {
    fn is_valid(self) -> bool {
        self.address.is_multiple_of(8) && (1..=LONGEST).contains(&self.length)
    }
}

/// A region with room for one request.
pub struct Region {
    order: Order,
    buffer: Mutex<Load>,
    request_lock: Mutex<()>,
}

impl Region {
    /// Nothing was asked for so far.
    #[must_use]
    pub fn new(order: Order) -> Region {
        let buffer = Mutex::new(Load { address: 0, length: 0 });
        Region { order, buffer, request_lock: Mutex::new(()) }
    }

    /// Has a load done; what was carried out, or nothing if the request was refused.
    ///
    /// # Panics
    /// What is carried out is not valid.
    pub fn write(&self, request: Load) -> Option<Load> {
        *lock(&self.buffer) = request;
        if !self.fetch(request).is_valid() {
            return None;
        }
        let _one_at_a_time = lock(&self.request_lock);
        let fetched = self.fetch(request);
        assert!(fetched.is_valid(), "never checked: {fetched:?}");
        Some(fetched)
    }

    /// The request to look at: the one in the buffer, or the caller's own copy.
    fn fetch(&self, own: Load) -> Load {
        match self.order {
            Order::AsReported => *lock(&self.buffer),
            Order::Repaired => own,
        }
    }
}
