//! The release of a port that has contained an error, which was a reset of what is below (AER-08).
//!
//! PCIe 6.0 s6.2.11 *Downstream Port Containment*, s7.9.14 *DPC Extended Capability*.

use crate::act::MethodError;
use crate::hold::Hold;
use crate::link::Link;
use crate::secondary::{BusTimes, Secondary};
use crate::subtree::Subtree;
use gate::Gone;
use pci_core::ResetKind;
use pci_spec::Bdf;
use pci_spec::extended::{dpc, id};
use std::time::Duration;

/// Between two looks.
const POLL: Duration = Duration::from_millis(10);

/// Waits until the link is inactive and the port no longer busy, releases it, and gives what is below its time.
///
/// # Errors
/// [`MethodError::Next`]: it is no such port, it does not answer or it stays busy; or what is below does not answer in time.
pub(crate) fn port(
    hold: &mut dyn Hold,
    tree: &Subtree<'_>,
    link_inactive: Duration,
    root_port_busy: Duration,
) -> Result<(), MethodError> {
    let Subtree { bridge, facts, children, .. } = *tree;
    let capability = facts.extended.iter().find(|found| found.id == id::DPC).ok_or(MethodError::Next)?;
    let status = capability.at + dpc::STATUS;
    let link = Link::below(hold, bridge, facts).filter(|link| link.reports);
    // What is below was reset by it: who is emulated does not see that on the wire.
    for below in tree.below {
        hold.reset_emulated(below.at, ResetKind::DeviceReset);
    }
    // A link that stays up is released all the same, as there is nothing else to do about it.
    let _inactive = wait(hold, bridge, link_inactive, |hold| !link.is_some_and(|link| link.is_active(hold)))?;
    let busy = dpc::Status::ROOT_PORT_BUSY.bits();
    if !wait(hold, bridge, root_port_busy, |hold| hold.read_word(bridge, status) & busy == 0)? {
        return Err(MethodError::Next);
    }
    hold.write_word(bridge, status, dpc::STATUS_RW1C);
    let times = BusTimes::default();
    Ok(Secondary { bridge, facts, children, after: "containment", times }.wait(hold)?)
}

/// Looks until `done`, for at most `limit`; whether it was.
fn wait(
    hold: &mut dyn Hold,
    at: Bdf,
    limit: Duration,
    done: impl Fn(&mut dyn Hold) -> bool,
) -> Result<bool, Gone> {
    let mut waited = Duration::ZERO;
    while !done(hold) {
        if waited >= limit {
            return Ok(false);
        }
        hold.pass(at, POLL)?;
        waited += POLL;
    }
    Ok(true)
}
