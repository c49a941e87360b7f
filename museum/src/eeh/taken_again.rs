//! What upstream did in the end, and what it met at once (Linux 6.17, repaired in December 2025).
//!
//! ```text
//! recovery
//! lock of hot-plug
//! asks which bus its PE is on, as everybody else does: lock of hot-plug ... (its own)
//! ```

use crate::unplug::{Order, lock};
use shuttle::sync::{Mutex, MutexGuard};

/// A machine with one PE.
pub struct Machine {
    order: Order,
    /// Every change of what is plugged is under it, and now every recovery is as well.
    rescan_lock: Mutex<Option<u8>>,
}

impl Machine {
    /// The PE is on bus 1.
    #[must_use]
    pub fn new(order: Order) -> Machine {
        Machine { order, rescan_lock: Mutex::new(Some(1)) }
    }

    /// The bus of the PE, for whoever wants to know.
    pub fn bus(&self) -> Option<u8> {
        *lock(&self.rescan_lock)
    }

    /// The same for who has the lock.
    fn bus_under(held: &MutexGuard<'_, Option<u8>>) -> Option<u8> {
        **held
    }

    /// Recovers the PE, if it is still there; whether it was.
    pub fn recover(&self) -> bool {
        let held = lock(&self.rescan_lock);
        let bus = match self.order {
            Order::AsReported => self.bus(),
            Order::Repaired => Machine::bus_under(&held),
        };
        bus.is_some()
    }

    /// The card is pulled.
    pub fn pull(&self) {
        *lock(&self.rescan_lock) = None;
    }
}
