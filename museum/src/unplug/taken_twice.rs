//! Complaint 5: recovery takes the topology's lock and removes a function (Linux 6.17, Dec 2025).
//!
//! The recovery of a frozen slot was made to hold the lock of the topology from end to end. Functions whose drivers know
//! nothing of recovery are removed for its time, by a function that takes that lock itself.

use super::{Order, lock};
use shuttle::sync::Mutex;

/// A slot that is frozen.
pub struct Slot {
    order: Order,
    /// Functions in the topology.
    topology_lock: Mutex<usize>,
}

impl Slot {
    /// A frozen slot with one function whose driver knows nothing of recovery.
    #[must_use]
    pub fn frozen(order: Order) -> Slot {
        Slot { order, topology_lock: Mutex::new(1) }
    }

    /// Takes the function away, resets the slot and brings it back.
    pub fn recover(&self) {
        let mut functions = lock(&self.topology_lock);
        match self.order {
            Order::AsReported => self.remove(),
            Order::Repaired => Slot::remove_locked(&mut functions),
        }
        *functions += 1;
    }

    /// The function goes.
    pub fn remove(&self) {
        Slot::remove_locked(&mut lock(&self.topology_lock));
    }

    fn remove_locked(functions: &mut usize) {
        *functions = functions.saturating_sub(1);
    }
}
