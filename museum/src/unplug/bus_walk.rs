//! Complaint 6: an error is told to a function while its interrupts are set up and its bus is reset (Linux, 2025).
//!
//! ```text
//! error is handled                   interrupts are set up            hot reset
//! bus lock (walks the bus)
//!                                    interrupt lock
//!                                                                     memory lock
//! signals: interrupt lock ...
//!                                    memory lock ...
//!                                                                     bus lock (walks it) ...
//! ```
//!
//! The bus lock is one for many readers, but a reader waits behind a writer that waits; it is exclusive here.

use super::{Order, lock};
use shuttle::sync::Mutex;

/// A bus with one function.
pub struct Bus {
    order: Order,
    bus_lock: Mutex<()>,
    /// Whether somebody wants to be told of errors.
    interrupt_lock: Mutex<bool>,
    memory_lock: Mutex<()>,
}

impl Bus {
    /// The function's user wants to be told of errors.
    #[must_use]
    pub fn in_use(order: Order) -> Bus {
        let (bus_lock, memory_lock) = (Mutex::new(()), Mutex::new(()));
        Bus { order, bus_lock, interrupt_lock: Mutex::new(true), memory_lock }
    }

    /// Tells every function on the bus of an error; whether there was one that wanted to know.
    pub fn error(&self) -> bool {
        let bus = lock(&self.bus_lock);
        if self.order == Order::Repaired {
            // Who is to be told is looked up without a lock that anybody waits under.
            drop(bus);
        }
        *lock(&self.interrupt_lock)
    }

    /// The user sets up its interrupts.
    pub fn set_interrupts(&self) {
        let mut wanted = lock(&self.interrupt_lock);
        let _memory = lock(&self.memory_lock);
        *wanted = true;
    }

    /// Resets the bus, with the memory of its functions out of reach.
    pub fn hot_reset(&self) {
        let _memory = lock(&self.memory_lock);
        drop(lock(&self.bus_lock));
    }
}
