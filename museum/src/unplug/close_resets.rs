//! Complaint 1: cards are pulled while their user closes them (SPDK #1275; repaired in Linux after three years).
//!
//! The port's thread keeps resets of its slot away while it acts on a removal, and unbinds the driver meanwhile. Whoever
//! closes the device as its last user resets it, with the device's lock held.
//!
//! ```text
//! port's thread                      user
//! reset lock, as one of many
//!                                    closes: device lock
//! unbinds: device lock ...
//!                                    resets the slot: reset lock, alone ...
//! ```

use super::{Order, lock};
use shuttle::sync::{Mutex, RwLock};
use std::sync::PoisonError;

/// A slot and the device in it.
pub struct Slot {
    order: Order,
    reset_lock: RwLock<()>,
    /// Whether a driver is bound.
    device_lock: Mutex<bool>,
}

impl Slot {
    /// A slot whose device has a driver and a user.
    #[must_use]
    pub fn in_use(order: Order) -> Slot {
        Slot { order, reset_lock: RwLock::new(()), device_lock: Mutex::new(true) }
    }

    /// The port's thread: the card was pulled.
    pub fn pulled(&self) {
        let reset_lock = || self.reset_lock.read().unwrap_or_else(PoisonError::into_inner);
        let port = reset_lock();
        match self.order {
            Order::AsReported => self.unbind(),
            Order::Repaired => {
                drop(port);
                self.unbind();
                drop(reset_lock());
            }
        }
    }

    fn unbind(&self) {
        *lock(&self.device_lock) = false;
    }

    /// The last user closes the device, which resets the slot.
    pub fn close(&self) {
        let bound = lock(&self.device_lock);
        if *bound {
            drop(self.reset_lock.write().unwrap_or_else(PoisonError::into_inner));
        }
    }
}
