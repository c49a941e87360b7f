//! Report B: the host unplugs a function while its guest, which was asked to let go, still writes the region.
//!
//! ```text
//! host: power off                    guest
//! function's lock
//! asks; waits for the user ...
//!                                    is asked: puts its device to rest, with a request
//!                                    through the region: function's lock ...
//!                                    (would let go)
//! ```

use crate::unplug::held::Held;
use crate::unplug::{Order, lock};
use shuttle::sync::Mutex;

/// A function in its slot, with a guest.
pub struct Function {
    order: Order,
    /// Whether it is configured. As reported, who holds it also has the region's one buffer for a request.
    function_lock: Mutex<bool>,
    /// The lock that the buffer needs.
    request_lock: Mutex<()>,
    held: Held,
}

impl Function {
    /// It is configured, and a guest has it.
    #[must_use]
    pub fn in_use(order: Order) -> Function {
        let (function_lock, request_lock) = (Mutex::new(true), Mutex::new(()));
        Function { order, function_lock, request_lock, held: Held::default() }
    }

    /// The host: switches the slot off, which waits for the user.
    pub fn power_off(&self) {
        let mut configured = lock(&self.function_lock);
        self.held.ask();
        self.held.wait_until_free();
        *configured = false;
    }

    /// The guest: works, and puts its device to rest when it is asked to let go.
    pub fn guest(&self) {
        self.request();
        self.held.wait_until_asked();
        self.request();
        self.held.let_go();
    }

    /// A request through the region.
    fn request(&self) {
        match self.order {
            Order::AsReported => drop(lock(&self.function_lock)),
            Order::Repaired => drop(lock(&self.request_lock)),
        }
    }
}
