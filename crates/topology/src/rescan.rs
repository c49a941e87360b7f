//! Scans that change the picture: of a whole segment, of what is below one bridge, of one device.
//!
//! A scan claims its part, looks, and publishes what it has found in the place of what the picture showed of that part, in one
//! step. What is elsewhere is neither looked at nor touched, and the cost is that of the part.

use crate::enumerate::{self, Found, Outcome, Problem, Request};
use crate::merge::{Merged, merge};
use crate::scans::Claim;
use crate::scope::{self, Scope};
use crate::topology::retire_virtual;
use crate::{Node, NodeKind, Scanned, Segment, Snapshot, Topology, TopologyError};
use gate::{AccessKind, CloseError, Deadline, Reason, Refusal, ThreadToken};
use pci_core::{DeviceState, Function, Presence};
use pci_spec::Bdf;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Topology {
    /// Scans a segment: functions that are new get addresses, bridges that are new get bus numbers, and the picture shows
    /// what is there now, in one step. What was there before keeps its place and goes on working meanwhile. Waits for other
    /// scans of the segment.
    ///
    /// Virtual functions stay as long as their physical function does, at its place; those of one that is gone are closed
    /// for good. What the picture does not show of a function that is there is switched off: it has moved, or was out of
    /// reach, or came with some switched on.
    ///
    /// # Errors
    /// [`TopologyError`]; the picture is as it was.
    pub fn rescan(
        &self,
        token: &mut ThreadToken,
        number: u16,
        deadline: Deadline,
    ) -> Result<Scanned, TopologyError> {
        self.scan(token, number, deadline, |_, segment| Ok(Scope::all(segment)))
    }

    /// Scans what is below the bridge at `at`, within the buses and windows that it has; otherwise as [`Topology::rescan`].
    /// Bridges that do not lead to each other are scanned at the same time.
    ///
    /// # Errors
    /// [`TopologyError`]; the picture is as it was.
    pub fn rescan_below(
        &self,
        token: &mut ThreadToken,
        at: Bdf,
        deadline: Deadline,
    ) -> Result<Scanned, TopologyError> {
        self.scan(token, at.segment(), deadline, |snapshot, _| Scope::below(snapshot, at))
    }

    /// Scans one device of a bus that is no link, with all below it; otherwise as [`Topology::rescan`]. Devices beside each
    /// other are scanned at the same time. Bridges of it get bus numbers that nobody else uses.
    ///
    /// # Errors
    /// [`TopologyError`]; the picture is as it was.
    pub fn rescan_device(
        &self,
        token: &mut ThreadToken,
        segment: u16,
        bus: u8,
        device: u8,
        deadline: Deadline,
    ) -> Result<Scanned, TopologyError> {
        self.scan(token, segment, deadline, |snapshot, segment| Scope::device(snapshot, segment, bus, device))
    }

    fn scan(
        &self,
        token: &mut ThreadToken,
        number: u16,
        deadline: Deadline,
        scope: impl Fn(&Snapshot, &Segment) -> Result<Scope, TopologyError>,
    ) -> Result<Scanned, TopologyError> {
        let segment = self.segment(token, number).ok_or(TopologyError::NoSegment(number))?;
        let (scope, claim) = self.claim(token, &segment, deadline, scope)?;
        let before = scope::nodes(&self.snapshot(token), &claim.area);
        let Segment { bridge, functions, windows, reserve, .. } = &*segment;
        let known = |at| {
            let old = before
                .binary_search_by_key(&at, |node| node.address)
                .ok()
                .and_then(|index| before.get(index));
            let both = old.zip(functions.function(at));
            both.is_some_and(|(old, new)| Arc::ptr_eq(&old.function, &new))
        };
        let part = scope.part;
        let request = Request { bridge, windows, reserve, time: &*self.time, claim: &claim, part };
        let outcome = enumerate::scan(token, &request, known).ok_or(TopologyError::Ended(number))?;
        let redecoded: Vec<_> =
            outcome.redecoded.iter().filter_map(|at| Some((*at, functions.function(*at)?))).collect();
        let published = self.publish_scan(token, &segment, &scope, &before, claim, outcome, deadline);
        // Whatever came of it, and with no claim held: those who are inside are waited for.
        let still_mapped = zap(token, redecoded, deadline);
        let (change, mut problems) = published?;
        problems.extend(still_mapped);
        let mut removed = retire_virtual(token, change.removed, deadline);
        for physical in change.bereft {
            // Left on they would answer where nobody has them. What cannot be closed now is told of when its number is set.
            if let Ok(off) = self.set_num_vfs(token, physical, 0, deadline) {
                removed.nodes.extend(off.removed.nodes);
                removed.orphans.extend(off.removed.orphans);
            }
        }
        removed.nodes.sort_by_key(|node| node.address);
        Ok(Scanned { added: change.added, removed, problems })
    }

    /// Claims what is to be scanned, as the picture shows it when nobody else scans it any more.
    fn claim<'s>(
        &self,
        token: &mut ThreadToken,
        segment: &'s Segment,
        deadline: Deadline,
        scope: impl Fn(&Snapshot, &Segment) -> Result<Scope, TopologyError>,
    ) -> Result<(Scope, Claim<'s>), TopologyError> {
        loop {
            let scope = scope(&self.snapshot(token), segment)?;
            let claim =
                segment.scans.claim(token, deadline, |assigned, claims| scope.area(assigned, claims))?;
            if scope.is_in(&self.snapshot(token)) {
                return Ok((scope, claim));
            }
            if deadline.remaining().is_none() {
                let holder = Some(Reason::OpsSwap);
                return Err(TopologyError::Contended(CloseError::Contended { holder }));
            }
        }
    }

    /// Shows what a scan has found. Lets the claim go.
    #[expect(clippy::too_many_arguments, reason = "one step of one caller")]
    fn publish_scan(
        &self,
        token: &mut ThreadToken,
        segment: &Segment,
        scope: &Scope,
        before: &[Arc<Node>],
        claim: Claim<'_>,
        outcome: Outcome,
        deadline: Deadline,
    ) -> Result<(Merged, Vec<Problem>), TopologyError> {
        let mut problems = outcome.problems;
        let mut nodes = nodes(&outcome.found, segment, &mut problems);
        nodes.extend(hidden(token, before, segment, &nodes, deadline));
        let (change, _) = self.publish(token, deadline, |old| {
            // The bridge may have been removed meanwhile, with all that is below.
            if claim.turn.is_gone() || !scope.is_in(old) {
                return (old.clone(), None);
            }
            let shown = scope::nodes(old, &claim.area);
            let (new, merged) = merge(old, &shown, nodes);
            (new, Some(merged))
        })?;
        let ended = claim.turn.is_gone();
        drop(claim);
        let lost = || if ended { TopologyError::Ended(segment.number()) } else { scope.lost() };
        Ok((change.ok_or_else(lost)?, problems))
    }
}

/// Takes away what is mapped of functions whose memory was switched off for a moment.
fn zap(token: &mut ThreadToken, functions: Vec<(Bdf, Arc<Function>)>, deadline: Deadline) -> Vec<Problem> {
    let left = functions.into_iter().filter(|(_, function)| function.zap_mappings(token, deadline).is_err());
    left.map(|(at, _)| Problem::StillMapped(at)).collect()
}

/// The functions that were found, as the picture shows them.
fn nodes(found: &[Found], segment: &Segment, problems: &mut Vec<Problem>) -> Vec<Arc<Node>> {
    let mut nodes = Vec::new();
    let mut left: Vec<&Found> = found.iter().collect();
    while let Some(found) = left.pop() {
        left.extend(found.bridge.iter().flat_map(|bridge| &bridge.below));
        let Some(function) = segment.functions.function(found.at) else {
            problems.push(Problem::NotDriven(found.at));
            continue;
        };
        let kind = found.bridge.as_ref().map_or(NodeKind::Endpoint, |bridge| NodeKind::Bridge {
            secondary: bridge.secondary,
            subordinate: bridge.subordinate,
            slot: bridge.hot_plug,
        });
        nodes.push(Arc::new(Node { address: found.at, function, kind }));
    }
    nodes
}

/// The functions of the picture that a scan has not found although they are there. A scan takes no gates, so a function
/// that is being reset, or is below a bridge that is, or has no power, gives it all-ones: absence is believed only of a
/// function that is open, under a pass of its own (law 3).
fn hidden(
    token: &mut ThreadToken,
    before: &[Arc<Node>],
    segment: &Segment,
    found: &[Arc<Node>],
    deadline: Deadline,
) -> Vec<Arc<Node>> {
    let found: BTreeSet<Bdf> = found.iter().map(|node| node.address).collect();
    let missing = before
        .iter()
        .filter(|node| !found.contains(&node.address) && !matches!(node.kind, NodeKind::Virtual { .. }));
    missing.filter(|node| is_there(token, segment, node, deadline)).cloned().collect()
}

fn is_there(token: &mut ThreadToken, segment: &Segment, node: &Node, deadline: Deadline) -> bool {
    let function = &node.function;
    if function.device_state() == DeviceState::D3Cold {
        return !function.handle().is_gone();
    }
    match function.handle().enter(token, AccessKind::Config, deadline) {
        Ok(pass) => {
            // It may have lost its power while this waited.
            let presence = segment.bridge.presence(pass.token(), node.address);
            presence != Presence::Absent || function.device_state() == DeviceState::D3Cold
        }
        Err(Refusal::Blocked(_) | Refusal::Frozen) => true,
        Err(Refusal::Gone | Refusal::StaleEpoch { .. }) => false,
    }
}
