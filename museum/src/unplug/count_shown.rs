//! Complaint 2: a user that is asked to let go looks at its device first (SPDK #3205; reverted in Linux).
//!
//! Unbinding a driver holds the device's lock and waits for the user. Showing how many virtual functions a device has took
//! that lock too.

use super::held::Held;
use super::{Order, lock};
use shuttle::sync::Mutex;

/// A function that a user holds.
pub struct Function {
    order: Order,
    /// Whether a driver is bound.
    device_lock: Mutex<bool>,
    held: Held,
}

impl Function {
    /// A function with a driver and a user.
    #[must_use]
    pub fn in_use(order: Order) -> Function {
        Function { order, device_lock: Mutex::new(true), held: Held::default() }
    }

    /// Unbinds the driver, which waits for its user.
    pub fn unbind(&self) {
        let mut bound = lock(&self.device_lock);
        self.held.ask();
        self.held.wait_until_free();
        *bound = false;
    }

    /// A user that looks before it lets go.
    pub fn user(&self) {
        self.held.wait_until_asked();
        let _none = self.virtual_functions();
        self.held.let_go();
    }

    fn virtual_functions(&self) -> usize {
        if self.order == Order::AsReported {
            drop(lock(&self.device_lock));
        }
        0
    }
}
