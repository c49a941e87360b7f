//! What the owner of a slot supplies: the port, and what is on the card.

use crate::effect::{Lamp, Removal};
use assign::Assignment;
use gate::{Deadline, ThreadToken};
use std::sync::Arc;

/// The port of a slot and the place of its functions.
///
/// Every call is made by the thread that drives the slot, one after the other, with nothing held, and returns by its deadline. One
/// that does not is left behind: the slot goes on as if it had failed, and is not switched on again until it has returned.
/// [`Hardware::unconfigure`], [`Hardware::cut_power`] and
/// the indicators may be called while an earlier call is left behind.
pub trait Hardware: Send + Sync {
    /// Gives the slot power; true if it has some, also if it had before (HP-08).
    fn apply_power(&self, token: &mut ThreadToken, deadline: Deadline) -> bool;

    /// Takes the power.
    fn cut_power(&self, token: &mut ThreadToken, deadline: Deadline);

    /// Sets the power indicator. Waits for nothing.
    fn power_lamp(&self, lamp: Lamp);

    /// Sets the attention indicator. Waits for nothing.
    fn attention_lamp(&self, lamp: Lamp);

    /// Finds what is on the card: 1 to 8 functions in ascending order, each in a new epoch of its gate (law 5). They are built fully,
    /// then put into the topology, then returned (law 8).
    ///
    /// # Errors
    /// Why it cannot be brought into the topology, for people; nothing of it is left there (law 9).
    fn configure(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<Vec<Arc<Assignment>>, String>;

    /// Takes `functions` out of the topology, highest first (HP-01), then out of the hardware. Their gates are retired already; of an
    /// orderly removal bus mastering and system errors are off and INTx is disabled (HP-13).
    fn unconfigure(
        &self,
        token: &mut ThreadToken,
        functions: &[Arc<Assignment>],
        removal: Removal,
        deadline: Deadline,
    );
}
