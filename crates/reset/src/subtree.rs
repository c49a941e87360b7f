//! The reset of everything below a bridge, step by step, with all gates closed (RST-14).

use crate::act::MethodError;
use crate::facts::Facts;
use crate::hold::Hold;
use crate::probe::CxlPort;
use crate::ready::answers;
use crate::saved::SavedState;
use crate::secondary::{BusTimes, Secondary};
use crate::sequence::{finish, prepare};
use gate::Gone;
use pci_spec::Bdf;

/// A function below the bridge.
pub(crate) struct Below<'a> {
    pub(crate) at: Bdf,
    pub(crate) facts: Option<&'a Facts>,
    /// The functions right below it, if it is a bridge.
    pub(crate) children: Vec<Bdf>,
}

/// What to reset.
pub(crate) struct Subtree<'a> {
    pub(crate) bridge: Bdf,
    pub(crate) facts: &'a Facts,
    pub(crate) children: &'a [Bdf],
    /// Every bridge before what is below it.
    pub(crate) below: &'a [Below<'a>],
    /// Through the bridge's hot-plug slot, which covers all that is below.
    pub(crate) slot: bool,
}

impl Subtree<'_> {
    /// What messages call the reset.
    fn after(&self) -> &'static str {
        if self.slot { "slot reset" } else { "bus reset" }
    }
}

/// Resets it: all are told and saved from the top down, the bus is reset, and all are restored from the top down,
/// each bridge being given its time before what is below it is touched. A function that is removed meanwhile is left
/// out.
///
/// Answers how many registers have another value than before.
///
/// # Errors
/// [`MethodError`]: the bus was not reset, or something on it does not answer. What answers is restored all the same.
pub(crate) fn reset(hold: &mut dyn Hold, tree: &Subtree<'_>) -> Result<usize, MethodError> {
    if CxlPort::read(hold, tree.bridge, tree.facts) == CxlPort::Masked {
        return Err(MethodError::Next);
    }
    let saved: Vec<Result<SavedState, Gone>> =
        tree.below.iter().map(|below| prepare(hold, below.at, below.facts)).collect();
    let done = wire(hold, tree, BusTimes::default(), |_| {});
    put_back(hold, tree, &saved, done)
}

/// Resets the bus, and does something while the reset is asserted.
///
/// # Errors
/// [`MethodError`], as [`reset`].
pub(crate) fn wire(
    hold: &mut dyn Hold,
    tree: &Subtree<'_>,
    times: BusTimes,
    during: impl FnOnce(&mut dyn Hold),
) -> Result<(), MethodError> {
    let after = tree.after();
    let Subtree { bridge, facts, children, slot, .. } = *tree;
    let secondary = Secondary { bridge, facts, children, after, times };
    let done = if slot { secondary.reset_slot_and(hold, during) } else { secondary.reset_and(hold, during) };
    Ok(done?)
}

/// Restores what is below the bridge from the top down, each bridge being given its time before what is below it is
/// touched. `done` is what came of the reset; answers how many registers have another value than before.
///
/// # Errors
/// [`MethodError`], as [`reset`].
pub(crate) fn put_back(
    hold: &mut dyn Hold,
    tree: &Subtree<'_>,
    saved: &[Result<SavedState, Gone>],
    done: Result<(), MethodError>,
) -> Result<usize, MethodError> {
    let mut done = done;
    let mut different = 0;
    for (below, saved) in tree.below.iter().zip(saved) {
        let Ok(saved) = saved else { continue };
        let Ok(count) = finish(hold, below.at, below.facts, saved, done.is_ok()) else { continue };
        different += count;
        // With the bridge on top gone there is nothing to wait for.
        if done != Err(MethodError::Gone) {
            done = done.and(wait_below(hold, below, tree.after()));
        }
    }
    if hold.is_gone(tree.bridge) { Err(MethodError::Gone) } else { done.map(|()| different) }
}

/// Gives a bridge that is below the one that was reset its time (PWR-08).
fn wait_below(hold: &mut dyn Hold, below: &Below<'_>, after: &'static str) -> Result<(), MethodError> {
    let Some(facts) = below.facts.filter(|facts| facts.bridge) else { return Ok(()) };
    if !answers(hold, below.at) {
        // Nothing that is below it can be reached; that it does not answer is known already.
        return Ok(());
    }
    let times = BusTimes::default();
    let secondary = Secondary { bridge: below.at, facts, children: &below.children, after, times };
    match secondary.wait(hold).map_err(MethodError::from) {
        // It was removed with all that is below it, after the reset had been done.
        Err(MethodError::Gone) => Ok(()),
        done => done,
    }
}
