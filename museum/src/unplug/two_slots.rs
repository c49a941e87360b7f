//! Complaint 3: two slots are unplugged while the process that has both devices dies (Linux 6.6 and 6.12, every time).
//!
//! There is one lock for every change of the topology of a machine. Whoever holds it waits for the user of *its* device.
//!
//! ```text
//! port's thread of A      port's thread of B        the dying process has A and B
//! reset lock of A         reset lock of B
//!                         topology lock
//!                         lets its reset lock go
//!                         waits for B's user ...
//! topology lock ...
//!                                                   closes A: a reset, for which it takes the
//!                                                   reset lock of A ...
//!                                                   (would close B)
//! ```

use super::held::Held;
use super::{Order, lock};
use shuttle::sync::Mutex;

/// A slot and what its user holds.
#[derive(Default)]
struct Slot {
    reset_lock: Mutex<()>,
    held: Held,
}

/// A machine with two slots, whose devices one process has.
pub struct Machine {
    order: Order,
    topology_lock: Mutex<()>,
    slots: [Slot; 2],
}

impl Machine {
    /// Both slots are in use.
    #[must_use]
    pub fn in_use(order: Order) -> Machine {
        Machine { order, topology_lock: Mutex::new(()), slots: Default::default() }
    }

    /// The port's thread of a slot: the card goes.
    pub fn unplug(&self, slot: usize) {
        let slot = &self.slots[slot];
        let port = lock(&slot.reset_lock);
        let _topology = match self.order {
            Order::AsReported => {
                let topology = lock(&self.topology_lock);
                // What repaired the first complaint.
                drop(port);
                topology
            }
            Order::Repaired => {
                drop(port);
                lock(&self.topology_lock)
            }
        };
        slot.held.ask();
        slot.held.wait_until_free();
    }

    /// The process dies: its files are closed one after the other, each with a reset.
    pub fn process_dies(&self) {
        for slot in &self.slots {
            let reset = lock(&slot.reset_lock);
            shuttle::thread::yield_now();
            drop(reset);
            slot.held.let_go();
        }
    }
}
