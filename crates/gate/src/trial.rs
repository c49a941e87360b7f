//! Closing without waiting, and without refusing anybody unless it succeeds.
//!
//! A trial takes the gates as their owner would, with a mark in the word that says *not decided*. An access that meets the
//! mark takes the gate's lock and ends the trial there and then with one compare-exchange: it is let in, and the trial
//! comes to nothing. The closer looks whether all gates are empty and then decides with the same compare-exchange. So
//! either one access was let in and no gate has closed, or all gates have closed at one moment, however many there are; and
//! nobody waits for anybody.

use crate::ownership::Ownership;
use crate::state::{CoreGuard, Shared};
use crate::sync::{Arc, AtomicUsize, Ordering};
use crate::{Busy, Reason, ThreadToken, barrier};
use std::sync::Arc as StdArc;

const UNDECIDED: usize = 0;
const WON: usize = 1;
const LOST: usize = 2;

/// The outcome of one `try_close`, which the closer and the accesses that meet it race for.
pub(crate) struct Trial(AtomicUsize);

impl Trial {
    fn new() -> Trial {
        Trial(AtomicUsize::new(UNDECIDED))
    }

    /// Decides against the closer. False if it has won.
    pub(crate) fn lose(&self) -> bool {
        self.decide(LOST)
    }

    fn decide(&self, outcome: usize) -> bool {
        let decided = self.0.compare_exchange(UNDECIDED, outcome, Ordering::AcqRel, Ordering::Acquire);
        decided.is_ok() || decided == Err(outcome)
    }
}

/// Closes all of `gates` if nobody is inside, waits for or owns any of them. Fails with the place of the gate at which it
/// failed. Never waits.
pub(crate) fn try_close<'g>(
    gates: impl Iterator<Item = &'g Arc<Shared>>,
    token: &ThreadToken,
    reason: Reason,
) -> Result<Vec<Ownership>, (usize, Busy)> {
    let trial = StdArc::new(Trial::new());
    let mut owned = Vec::new();
    for (nth, shared) in gates.enumerate() {
        let core = shared.core.lock();
        may_try(shared, &core).map_err(|busy| (nth, busy))?;
        owned.push(Ownership::on_trial(shared, core, token, reason, &trial));
    }
    barrier::heavy();
    for (nth, ownership) in owned.iter().enumerate() {
        ownership.is_quiet().map_err(|busy| (nth, busy))?;
    }
    if !trial.decide(WON) {
        let entered = owned.iter().position(|ownership| ownership.is_quiet().is_err());
        return Err((entered.unwrap_or_default(), Busy::Inside));
    }
    owned.iter().for_each(Ownership::won);
    Ok(owned)
}

/// What can be told without the barrier.
fn may_try(shared: &Shared, core: &CoreGuard<'_>) -> Result<(), Busy> {
    if core.gone {
        return Err(Busy::Gone);
    }
    if let Some(owner) = &core.owner {
        return Err(Busy::Closed(owner.reason));
    }
    if !core.may_close() || !core.queue.is_empty() {
        return Err(Busy::Queued);
    }
    if core.long.any_of(core.epoch) || shared.short_inside() {
        return Err(Busy::Inside);
    }
    Ok(())
}
