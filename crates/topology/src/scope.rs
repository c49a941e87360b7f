//! What one scan is to look at, in the present picture.

use crate::enumerate::{Assignments, Part};
use crate::scans::Area;
use crate::{Node, NodeKind, Segment, Snapshot, TopologyError};
use gate::Gate;
use pci_core::mechanism::BusRange;
use pci_spec::{Bdf, DEVICES_PER_BUS, FUNCTIONS_PER_DEVICE};
use std::sync::Arc;

/// A part of a segment; see the module's head.
pub(crate) struct Scope {
    pub(crate) part: Part,
    /// Without what a device of a bus has besides its own functions.
    area: Area,
    /// The bridge on which it depends.
    above: Option<Arc<Node>>,
    /// The last bus that is forwarded to it.
    last: u8,
}

impl Scope {
    /// All that is behind the host bridge.
    pub(crate) fn all(segment: &Segment) -> Scope {
        let area = Area { segment: segment.number(), buses: vec![BusRange::ALL], device: None };
        Scope { part: Part::All, area, above: None, last: u8::MAX }
    }

    /// What is below a bridge.
    pub(crate) fn below(snapshot: &Snapshot, at: Bdf) -> Result<Scope, TopologyError> {
        let bridge = snapshot.function(at).ok_or(TopologyError::NoFunction(at))?;
        let NodeKind::Bridge { secondary, subordinate, .. } = bridge.kind else {
            return Err(TopologyError::NoBridge(at));
        };
        if secondary <= at.bus() || subordinate < secondary {
            return Err(TopologyError::NoBus(at));
        }
        let buses = BusRange { first: secondary, last: subordinate };
        let area = Area { segment: at.segment(), buses: vec![buses], device: None };
        let part = Part::Below { bridge: at, buses };
        Ok(Scope { part, area, above: Some(bridge.clone()), last: subordinate })
    }

    /// One device of a bus that is no link.
    pub(crate) fn device(
        snapshot: &Snapshot,
        segment: &Segment,
        bus: u8,
        device: u8,
    ) -> Result<Scope, TopologyError> {
        let at = Bdf::new(segment.number(), bus, device, 0).map_err(|_| TopologyError::NoDevice(device))?;
        let above = snapshot.parent(at).cloned();
        let root = segment.bridge.buses();
        let last = match above.as_ref().map(|bridge| (bridge.kind, bridge)) {
            Some((NodeKind::Bridge { subordinate, .. }, bridge)) => {
                let port = bridge.function.config().layout().port_type();
                if port.is_some_and(|port| port.is_downstream()) {
                    return Err(TopologyError::Link(bridge.address));
                }
                subordinate
            }
            _ if bus == root.first => root.last,
            _ => return Err(TopologyError::NoFunction(at)),
        };
        let area = Area { segment: segment.number(), buses: Vec::new(), device: Some((bus, device)) };
        let part = Part::Device { bus, device, above: above.as_ref().map(|bridge| bridge.address) };
        debug_assert!(device < DEVICES_PER_BUS);
        Ok(Scope { part, area, above, last })
    }

    /// What is to be claimed, and what of it nobody uses.
    ///
    /// A device gets the buses that it has already and, for bridges that may be new, the lower half of the largest gap:
    /// others that look for numbers at the same moment find some as well.
    pub(crate) fn area(&self, assigned: &Assignments, claims: &[(Area, Gate)]) -> (Area, Option<BusRange>) {
        let Part::Device { bus, .. } = self.part else { return (self.area.clone(), None) };
        let mut area = self.area.clone();
        area.buses = assigned.buses(&self.area);
        let mut taken = assigned.beside(&self.area, bus).buses;
        taken.extend(claims.iter().flat_map(|(area, _)| &area.buses));
        taken.extend(&area.buses);
        let free =
            (bus.saturating_add(1)..=self.last).filter(|bus| !taken.iter().any(|range| range.contains(*bus)));
        let spare =
            largest_run(free).map(|run| BusRange { last: run.first + (run.last - run.first) / 2, ..run });
        area.buses.extend(spare);
        (area, spare)
    }

    /// Whether a later picture has the same bridge above.
    pub(crate) fn is_in(&self, snapshot: &Snapshot) -> bool {
        let is_there = |bridge: &Arc<Node>| {
            snapshot
                .function(bridge.address)
                .is_some_and(|node| Arc::ptr_eq(&node.function, &bridge.function) && node.kind == bridge.kind)
        };
        self.above.as_ref().is_none_or(is_there)
    }

    /// The error if it is not.
    pub(crate) fn lost(&self) -> TopologyError {
        self.above.as_ref().map_or(TopologyError::Ended(self.area.segment), |bridge| {
            TopologyError::NoFunction(bridge.address)
        })
    }
}

/// What a picture shows of an area, and the virtual functions that belong to it. Costs what that is.
pub(crate) fn nodes(snapshot: &Snapshot, area: &Area) -> Vec<Arc<Node>> {
    let mut nodes: Vec<Arc<Node>> = Vec::new();
    for range in &area.buses {
        nodes.extend(snapshot.buses(area.segment, *range).cloned());
    }
    if let Some((bus, device)) = area.device {
        for function in 0..FUNCTIONS_PER_DEVICE {
            let at = Bdf::new(area.segment, bus, device, function).ok();
            if let Some(node) = at.and_then(|at| snapshot.function(at)) {
                nodes.push(node.clone());
                nodes.extend(snapshot.virtual_functions(node.address));
            }
        }
    }
    nodes.sort_by_key(|node| node.address);
    nodes.dedup_by_key(|node| node.address);
    nodes
}

/// The longest run of consecutive numbers in an ascending list.
fn largest_run(numbers: impl Iterator<Item = u8>) -> Option<BusRange> {
    let mut runs: Vec<BusRange> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if run.last + 1 == number => run.last = number,
            _ => runs.push(BusRange { first: number, last: number }),
        }
    }
    // Of several the first.
    runs.into_iter().rev().max_by_key(|run| run.last - run.first)
}
