//! The present picture, and the changes of it.

use crate::enumerate::Problem;
use crate::{Node, NodeKind, Segment, Snapshot, TopologyError};
use gate::{Closed, Deadline, Gate, InsideKind, Published, Reason, ThreadToken};
use pci_core::Time;
use pci_spec::Bdf;
use std::collections::BTreeMap;
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
        segment.scans.end(token, deadline);
        let (removed, _) = self.publish(token, deadline, |old| {
            let gone: Vec<_> = old.segment(number).cloned().collect();
            (old.without(gone.iter().map(|node| node.address)), gone)
        })?;
        Ok(retire_virtual(token, removed, deadline))
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
