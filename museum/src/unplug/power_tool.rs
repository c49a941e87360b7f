//! Complaint 14: a tool cuts the power after a minute while the driver still puts its device to rest (powerpc-utils #31).
//!
//! The tool has asked and waited, which is right; then it acts on the hardware, and nobody has told the driver or kept it
//! away.

use super::held::Held;
use super::{Order, lock};
use shuttle::sync::Mutex;

struct State {
    powered: bool,
    /// The driver reaches it no more, and reads all-ones.
    revoked: bool,
}

/// A card whose driver needs a while.
pub struct Card {
    order: Order,
    state: Mutex<State>,
    held: Held,
}

impl Card {
    /// The card has power and a driver.
    #[must_use]
    pub fn in_use(order: Order) -> Card {
        Card { order, state: Mutex::new(State { powered: true, revoked: false }), held: Held::default() }
    }

    /// The tool: asks, waits as long as it waits, and cuts the power.
    pub fn unplug(&self) {
        self.held.ask();
        let released = self.held.wait_until_free_or_overdue();
        if !released && self.order == Order::Repaired {
            lock(&self.state).revoked = true;
        }
        lock(&self.state).powered = false;
    }

    /// The driver: puts the device to rest, with several accesses, and lets go.
    pub fn driver(&self) {
        self.held.wait_until_asked();
        for _ in 0..3 {
            self.access();
        }
        self.held.let_go();
    }

    fn access(&self) {
        let state = lock(&self.state);
        assert!(state.powered || state.revoked, "reached without power");
    }

    /// The tool's time is up.
    pub fn clock(&self) {
        self.held.expire();
    }
}
