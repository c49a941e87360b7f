//! The present picture, and the changes of it.

use crate::enumerate::{self, Assignments, Found, Outcome, Problem, Request};
use crate::{Node, NodeKind, Segment, Snapshot, TopologyError};
use gate::{AccessKind, Closed, Deadline, Gate, Gone, InsideKind, Published, Reason, Refusal, ThreadToken};
use pci_core::{DeviceState, Presence, Time};
use pci_spec::Bdf;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a scan has changed.
#[derive(Debug, Default)]
pub struct Scanned {
    /// The functions that are new, in ascending order.
    pub added: Vec<Arc<Node>>,
    /// What is not in the picture any more, virtual functions included.
    pub removed: Removed,
    /// What did not get what it needs.
    pub problems: Vec<Problem>,
}

/// What was taken out of the picture.
#[derive(Debug, Default)]
pub struct Removed {
    /// The functions, in ascending order. Those that are not virtual are still open: closing them for good is up to whoever
    /// owns their slot.
    pub nodes: Vec<Arc<Node>>,
    /// Accesses that were still inside virtual functions at the deadline, by the function's name.
    pub orphans: Vec<(String, InsideKind)>,
}

/// All segments, and the present picture of their functions; see the crate's head.
pub struct Topology {
    current: Published<Arc<Snapshot>>,
    segments: Published<Arc<BTreeMap<u16, Arc<Segment>>>>,
    /// Who publishes has this gate closed; no access passes it, and under it nobody waits for another turn.
    turn: Gate,
    pub(crate) time: Arc<dyn Time>,
}

impl Topology {
    /// A topology without segments. Delays of the hardware go by `time`.
    #[must_use]
    pub fn new(time: Arc<dyn Time>) -> Topology {
        Topology {
            current: Published::new(Arc::default()),
            segments: Published::new(Arc::default()),
            turn: Gate::new("topology: publication"),
            time,
        }
    }

    /// The picture as it is now. Never waits.
    #[must_use]
    pub fn snapshot(&self, token: &ThreadToken) -> Arc<Snapshot> {
        self.current.read(token).clone()
    }

    /// A segment. Never waits.
    #[must_use]
    pub fn segment(&self, token: &ThreadToken, number: u16) -> Option<Arc<Segment>> {
        self.segments.read(token).get(&number).cloned()
    }

    /// Adds a segment; its functions are found by [`Topology::rescan`].
    ///
    /// # Errors
    /// [`TopologyError::SegmentExists`] or [`TopologyError::Contended`]; nothing was added.
    pub fn add_segment(
        &self,
        token: &mut ThreadToken,
        segment: Segment,
        deadline: Deadline,
    ) -> Result<(), TopologyError> {
        let number = segment.number();
        let _turn = self.take_turn(token, deadline)?;
        let mut segments = self.segments.read(token).as_ref().clone();
        if segments.contains_key(&number) {
            return Err(TopologyError::SegmentExists(number));
        }
        segments.insert(number, Arc::new(segment));
        // Readers that stay past the deadline free the old list by themselves.
        let _old = self.segments.replace(token, Arc::new(segments), deadline);
        Ok(())
    }

    /// Removes a segment and all its functions from the picture; a scan of it ends.
    ///
    /// # Errors
    /// [`TopologyError::NoSegment`] or [`TopologyError::Contended`]; nothing was removed.
    pub fn remove_segment(
        &self,
        token: &mut ThreadToken,
        number: u16,
        deadline: Deadline,
    ) -> Result<Removed, TopologyError> {
        let turn = self.take_turn(token, deadline)?;
        let mut segments = self.segments.read(token).as_ref().clone();
        let segment = segments.remove(&number).ok_or(TopologyError::NoSegment(number))?;
        let _old = self.segments.replace(token, Arc::new(segments), deadline);
        drop(turn);
        let _scan_that_ends_now = segment.turn.retire(token, deadline);
        let (removed, _) = self.publish(token, deadline, |old| {
            let gone: Vec<_> = old.segment(number).cloned().collect();
            (old.without(gone.iter().map(|node| node.address)), gone)
        })?;
        Ok(retire_virtual(token, removed, deadline))
    }

    /// Scans a segment: functions that are new get addresses, bridges that are new get bus numbers, and the picture shows
    /// what is there now, in one step. What was there before keeps its place and goes on working meanwhile.
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
        let segment = self.segment(token, number).ok_or(TopologyError::NoSegment(number))?;
        let mut turn = segment.turn.close(token, Reason::OpsSwap, deadline).map_err(contended(number))?;
        let mut assigned = segment.assigned.replace(&mut turn, Assignments::default());
        let turn = turn.park();

        let before = self.snapshot(token);
        let known = |at| {
            let old = before.function(at).map(|node| &node.function);
            old.zip(segment.functions.function(at)).is_some_and(|(old, new)| Arc::ptr_eq(old, &new))
        };
        let request =
            Request { bridge: &segment.bridge, windows: &segment.windows, time: &*self.time, turn: &turn };
        let outcome = enumerate::scan(token, &request, &mut assigned, known);
        let redecoded = outcome.iter().flat_map(|outcome| &outcome.redecoded);
        let redecoded: Vec<_> =
            redecoded.filter_map(|at| Some((*at, segment.functions.function(*at)?))).collect();
        let published = self.publish_scan(token, &segment, &before, (turn, assigned), outcome, deadline);
        // Whatever came of it, and with no turn held: those who are inside are waited for.
        let still_mapped: Vec<_> = redecoded
            .into_iter()
            .filter(|(_, function)| function.zap_mappings(token, deadline).is_err())
            .map(|(at, _)| Problem::StillMapped(at))
            .collect();
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

    /// Keeps the addresses that a scan has given, and shows what it has found. Lets the segment's turn go.
    fn publish_scan(
        &self,
        token: &mut ThreadToken,
        segment: &Segment,
        before: &Snapshot,
        (turn, assigned): (Closed, Assignments),
        outcome: Option<Outcome>,
        deadline: Deadline,
    ) -> Result<(Merged, Vec<Problem>), TopologyError> {
        let number = segment.number();
        let mut turn = turn.resume(token).map_err(|Gone| TopologyError::Ended(number))?;
        let _empty = segment.assigned.replace(&mut turn, assigned);
        let _turn = turn.park();
        let outcome = outcome.ok_or(TopologyError::Ended(number))?;
        let mut problems = outcome.problems;
        let mut nodes = nodes(&outcome.found, segment, &mut problems);
        nodes.extend(hidden(token, before, segment, &nodes, deadline));
        let (change, _) = self.publish(token, deadline, |old| merge(old, number, nodes))?;
        Ok((change, problems))
    }

    /// Takes a function out of the picture, with its virtual functions and all that is below it. The virtual functions
    /// are closed for good (HP-18).
    ///
    /// # Errors
    /// [`TopologyError`]; the picture is as it was.
    pub fn remove(
        &self,
        token: &mut ThreadToken,
        at: Bdf,
        deadline: Deadline,
    ) -> Result<Removed, TopologyError> {
        let (removed, _) = self.publish(token, deadline, |old| {
            let mut gone = Vec::new();
            if let Some(node) = old.function(at) {
                gone.push(node.clone());
                gone.extend(old.virtual_functions(at));
                gone.extend(old.below(node));
            }
            gone.sort_by_key(|node| node.address);
            gone.dedup_by_key(|node| node.address);
            (old.without(gone.iter().map(|node| node.address)), gone)
        })?;
        if removed.is_empty() {
            return Err(TopologyError::NoFunction(at));
        }
        Ok(retire_virtual(token, removed, deadline))
    }

    /// Publishes what `change` makes of the present picture, in one step.
    pub(crate) fn publish<R>(
        &self,
        token: &mut ThreadToken,
        deadline: Deadline,
        change: impl FnOnce(&Snapshot) -> (Snapshot, R),
    ) -> Result<(R, Arc<Snapshot>), TopologyError> {
        let _turn = self.take_turn(token, deadline)?;
        let (snapshot, result) = change(&self.snapshot(token));
        let snapshot = Arc::new(snapshot);
        // The new picture is in place either way; readers that stay past the deadline free the old one by themselves.
        let _old = self.current.replace(token, snapshot.clone(), deadline);
        Ok((result, snapshot))
    }

    fn take_turn(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<Closed, TopologyError> {
        let turn = self.turn.close(token, Reason::OpsSwap, deadline);
        Ok(turn.map_err(TopologyError::Contended)?.park())
    }
}

fn contended(segment: u16) -> impl Fn(gate::CloseError) -> TopologyError {
    move |error| match error {
        gate::CloseError::Gone => TopologyError::Ended(segment),
        error => TopologyError::Contended(error),
    }
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
    before: &Snapshot,
    segment: &Segment,
    found: &[Arc<Node>],
    deadline: Deadline,
) -> Vec<Arc<Node>> {
    let found: BTreeSet<Bdf> = found.iter().map(|node| node.address).collect();
    let missing = before
        .segment(segment.number())
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

struct Merged {
    added: Vec<Arc<Node>>,
    removed: Vec<Arc<Node>>,
    /// Physical functions with virtual ones that the picture does not show (any more).
    bereft: BTreeSet<Bdf>,
}

/// Puts what a scan has found in the place of what the picture shows of a segment; what is the same stays the same node.
fn merge(old: &Snapshot, segment: u16, nodes: Vec<Arc<Node>>) -> (Snapshot, Merged) {
    let found: BTreeMap<Bdf, Arc<Node>> = nodes.into_iter().map(|node| (node.address, node)).collect();
    let same_function =
        |node: &Node| found.get(&node.address).is_some_and(|new| Arc::ptr_eq(&new.function, &node.function));
    let stays = |node: &Node| match node.kind {
        NodeKind::Virtual { physical } => {
            old.function(physical).is_some_and(|physical| same_function(physical))
                && !found.contains_key(&node.address)
        }
        _ => same_function(node),
    };
    let removed: Vec<_> = old.segment(segment).filter(|node| !stays(node)).cloned().collect();
    // One of them has given way to something else at its address.
    let bereft = removed.iter().filter_map(|node| match node.kind {
        NodeKind::Virtual { physical } => Some(physical).filter(|physical| found.contains_key(physical)),
        _ => None,
    });
    let was = |node: &Node| {
        old.function(node.address).is_some_and(|old| Arc::ptr_eq(&old.function, &node.function))
    };
    let added: Vec<_> = found.values().filter(|node| !was(node)).cloned().collect();
    // One that has moved, was out of reach for a while, or was never ours.
    let left_on = added.iter().filter(|node| node.function.config().sr_iov().is_some_and(|vfs| vfs.enabled));
    let bereft = bereft.chain(left_on.map(|node| node.address)).collect();
    let changed: Vec<_> = found
        .values()
        .filter(|node| old.function(node.address).is_none_or(|old| !was(node) || old.kind != node.kind))
        .cloned()
        .collect();
    let new = old.without(removed.iter().map(|node| node.address)).with(changed);
    (new, Merged { added, removed, bereft })
}

/// Closes the virtual functions among what was taken out for good, and names what is still inside.
pub(crate) fn retire_virtual(token: &mut ThreadToken, nodes: Vec<Arc<Node>>, deadline: Deadline) -> Removed {
    let mut orphans = Vec::new();
    for node in &nodes {
        if matches!(node.kind, NodeKind::Virtual { .. }) {
            let retired = node.function.gate().retire(token, deadline);
            let name = node.function.name();
            orphans.extend(retired.orphans.into_iter().map(|inside| (name.to_owned(), inside.kind)));
        }
    }
    Removed { nodes, orphans }
}
