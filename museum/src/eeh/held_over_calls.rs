//! The lock of hot-plug, held by a recovery that calls a driver and by an unplug that waits for a user, who both need it to answer.
//!
//! ```text
//! recovery, or unplug              user
//! lock of hot-plug
//! calls, or asks to let go ...
//!                                  looks at its device, or at what is plugged: lock of hot-plug ...
//! ```
//!
//! The author of the report argued against that lock for this reason.

use crate::unplug::held::Held;
use crate::unplug::{Order, lock};
use shuttle::sync::Mutex;

/// A machine with one PE, which somebody has.
pub struct Machine {
    order: Order,
    /// Whether the card is in.
    rescan_lock: Mutex<bool>,
    /// What the user is asked for when there is an error.
    answer: Held,
    /// What it is asked for when the card is to go.
    device: Held,
}

impl Machine {
    /// The card is in, and its device is in use.
    #[must_use]
    pub fn in_use(order: Order) -> Machine {
        Machine { order, rescan_lock: Mutex::new(true), answer: Held::default(), device: Held::default() }
    }

    /// Calls whoever has the device, and waits for the answer.
    pub fn recover(&self) {
        let held = (self.order == Order::AsReported).then(|| lock(&self.rescan_lock));
        self.answer.ask();
        self.answer.wait_until_free();
        drop(held);
    }

    /// Asks whoever has the device to let go, and takes the card out.
    pub fn unplug(&self) {
        let held = (self.order == Order::AsReported).then(|| lock(&self.rescan_lock));
        self.device.ask();
        self.device.wait_until_free();
        *held.unwrap_or_else(|| lock(&self.rescan_lock)) = false;
    }

    fn looks(&self) -> bool {
        *lock(&self.rescan_lock)
    }

    /// The user is told of the error, and looks at its device before it answers.
    pub fn answers(&self) {
        self.answer.wait_until_asked();
        let _still_there = self.looks();
        self.answer.let_go();
    }

    /// The user is asked for its device, and looks at it before it lets go.
    pub fn lets_go(&self) {
        self.device.wait_until_asked();
        let _still_there = self.looks();
        self.device.let_go();
    }
}
