//! Who drives, and when.

use gate::ThreadToken;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Something that is driven from one end to the next by whichever thread comes along, one at a time: a slot, a recovery.
///
/// Who drives calls foreign code, which may hang. So a thread drives with a ticket, which [`Driven::overdue`] makes void when a call is past
/// its time; then another thread drives on.
pub trait Driven: Send + Sync {
    /// For people; threads that drive it have this name.
    fn name(&self) -> &str;

    /// Now, by its own clock: the one that [`Crew::wake_at`] means.
    fn now(&self) -> Duration;

    /// Carries out on this thread everything that is due; answers how long it is then until its timer is due, if it has one. Returns at
    /// once if another thread drives. Announces its timer by [`Crew::wake_at`] itself.
    ///
    /// # Panics
    /// In builds with debug assertions, if this thread holds a pass or a lock (law 1).
    fn drive(&self, token: &mut ThreadToken) -> Option<Duration>;

    /// Takes it away from a thread whose call is past its time at `now`, and has somebody else [woken](Crew::wake) to go on. Answers
    /// when this is to be looked at next; nothing, if no call is under way that it could be taken away from. Never waits.
    fn overdue(&self, now: Duration) -> Option<Duration>;
}

/// Supplies the threads that drive. Neither call waits or drives on the caller's thread, which may hold anything.
pub trait Crew: Send + Sync {
    /// Something is to be done: has [`Driven::drive`] called soon. Called once for each time that this is needed. Calls
    /// [`Driven::overdue`] now and then while it is driven.
    fn wake(&self, driven: &Arc<dyn Driven>);

    /// Has [`Driven::drive`] called at `when` by its clock; too early does no harm, too late does. Of several times that were
    /// said of one, the earliest counts.
    fn wake_at(&self, driven: &Weak<dyn Driven>, when: Duration);

    /// Whether somebody drives who was woken. If not, whoever waits for the end drives, and is held up by what is called.
    fn drives(&self) -> bool {
        true
    }
}

/// Nobody: whoever made it drives it. For benchmarks, simulation and model checking.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByHand;

impl Crew for ByHand {
    fn wake(&self, _driven: &Arc<dyn Driven>) {}

    fn wake_at(&self, _driven: &Weak<dyn Driven>, _when: Duration) {}

    fn drives(&self) -> bool {
        false
    }
}
