//! Which slot a function is in.

use crate::tree::PeFunction;
use slot::Controller;
use std::sync::Arc;

/// The slots of a machine, as far as functions have to be taken out of them.
pub trait Slots: Send + Sync {
    /// The slot whose card the function is on; `None` if it is on none. Waits for nothing.
    fn slot_of(&self, function: &PeFunction) -> Option<Arc<Controller>>;
}

/// No slots.
impl Slots for () {
    fn slot_of(&self, _function: &PeFunction) -> Option<Arc<Controller>> {
        None
    }
}
