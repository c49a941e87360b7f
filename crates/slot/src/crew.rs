//! Who drives slots, and when.

use crate::controller::Controller;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Supplies the threads that drive slots. Neither call waits or drives on the caller's thread, which may hold anything.
pub trait Crew: Send + Sync {
    /// Something is to be done: has [`Controller::drive`] called soon. Called once for each time that this is needed. Calls
    /// [`Controller::overdue`] now and then while the slot is driven.
    fn wake(&self, controller: &Arc<Controller>);

    /// Has [`Controller::drive`] called at `when` by the slot's clock; too early does no harm, too late does. Of several times that were
    /// said of one slot, the earliest counts.
    fn wake_at(&self, controller: &Weak<Controller>, when: Duration);

    /// Whether somebody drives who was woken. If not, whoever waits for a slot's end drives it, and is held up by what it calls.
    fn drives(&self) -> bool {
        true
    }
}

/// Nobody: whoever made the slot drives it. For benchmarks, simulation and model checking.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByHand;

impl Crew for ByHand {
    fn wake(&self, _controller: &Arc<Controller>) {}

    fn wake_at(&self, _controller: &Weak<Controller>, _when: Duration) {}

    fn drives(&self) -> bool {
        false
    }
}
