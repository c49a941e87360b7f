//! Complaint 4: virtual functions are switched on while their physical one is removed (s390, for years).
//!
//! Removal takes the topology's lock and then the device's, to unbind its driver. Changing the number of virtual functions
//! holds the device's lock, so that the driver stays, and then changes the topology.

use super::{Order, lock};
use shuttle::sync::{Mutex, MutexGuard};

/// A machine with one physical function.
pub struct Machine {
    order: Order,
    /// Virtual functions in the topology.
    topology_lock: Mutex<u16>,
    /// Whether a driver is bound.
    device_lock: Mutex<bool>,
}

impl Machine {
    /// The function has a driver and no virtual functions.
    #[must_use]
    pub fn in_use(order: Order) -> Machine {
        Machine { order, topology_lock: Mutex::new(0), device_lock: Mutex::new(true) }
    }

    /// The function is removed, and its virtual functions with it.
    pub fn remove(&self) {
        let mut virtuals = lock(&self.topology_lock);
        *lock(&self.device_lock) = false;
        *virtuals = 0;
    }

    /// Somebody writes how many virtual functions there are to be.
    pub fn set_virtual_functions(&self, number: u16) {
        let (bound, mut virtuals) = self.device_and_topology();
        if *bound {
            *virtuals = number;
        }
    }

    fn device_and_topology(&self) -> (MutexGuard<'_, bool>, MutexGuard<'_, u16>) {
        match self.order {
            Order::AsReported => {
                let device = lock(&self.device_lock);
                (device, lock(&self.topology_lock))
            }
            Order::Repaired => {
                let topology = lock(&self.topology_lock);
                (lock(&self.device_lock), topology)
            }
        }
    }

    /// How many virtual functions are there.
    pub fn virtual_functions(&self) -> u16 {
        *lock(&self.topology_lock)
    }
}
