//! Complaint 9: somebody who knows nothing of the unplug keeps the device in use (SPDK #595, #690, #1616, #1816; Kata #1669).
//!
//! A worker of a virtual machine has the memory of its process, and with that the device's mapping, until the machine is
//! shut down. The machine is shut down when the unplug has returned. The unplug returns when the mapping is gone.

use super::Order;
use super::held::Held;

/// A function that somebody holds.
pub struct Function {
    order: Order,
    held: Held,
    /// What the worker waits for.
    machine: Held,
}

impl Function {
    /// The worker holds it.
    #[must_use]
    pub fn in_use(order: Order) -> Function {
        Function { order, held: Held::default(), machine: Held::default() }
    }

    /// Unplugs the function, and shuts the virtual machine down. Whether the worker had to be revoked.
    pub fn unplug_and_shut_down(&self) -> bool {
        self.held.ask();
        let revoked = match self.order {
            Order::AsReported => {
                self.held.wait_until_free();
                false
            }
            Order::Repaired => !self.held.wait_until_free_or_overdue(),
        };
        self.machine.let_go();
        revoked
    }

    /// Lets go when the machine is shut down.
    pub fn worker(&self) {
        self.machine.wait_until_free();
        self.held.let_go();
    }

    /// The time of the unplug is up.
    pub fn clock(&self) {
        self.held.expire();
    }
}
