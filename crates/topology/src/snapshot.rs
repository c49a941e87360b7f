//! One moment's picture of the functions and the buses they are on.
//!
//! Immutable and shared: a later picture has what did not change in common with the earlier one ([`Radix`]), so its cost is
//! that of the change and not that of the machine. Whoever holds a picture keeps every function in it reachable (law 6).

use crate::radix::Radix;
use pci_core::Function;
use pci_core::mechanism::BusRange;
use pci_spec::Bdf;
use pci_spec::extended::sr_iov;
use std::sync::Arc;

/// A function at its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Segment, bus, device, function.
    pub address: Bdf,
    /// The function itself.
    pub function: Arc<Function>,
    /// What it is.
    pub kind: NodeKind,
}

/// What a function is to the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A function with nothing below it.
    Endpoint,
    /// A bridge, with the buses behind it.
    Bridge {
        /// The bus right below; 0 for a bridge that got no bus numbers.
        secondary: u8,
        /// The highest bus below.
        subordinate: u8,
        /// It has a hot-plug slot, which holds everything on the secondary bus.
        slot: bool,
    },
    /// A virtual function.
    Virtual {
        /// The function that it belongs to.
        physical: Bdf,
    },
}

/// The functions at one moment; cheap to clone, never changes.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    nodes: Radix<Arc<Node>>,
    /// The bridge above each bus, by the key of the bus.
    above: Radix<Arc<Node>>,
}

impl Snapshot {
    /// A picture of `nodes`. Of two at one address the later one counts.
    pub fn of(nodes: impl IntoIterator<Item = Node>) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for node in nodes {
            snapshot.put(Arc::new(node));
        }
        snapshot
    }

    /// This picture with `nodes` added, in place of those at their addresses. Shares all the rest.
    #[must_use]
    pub fn with(&self, nodes: impl IntoIterator<Item = Arc<Node>>) -> Snapshot {
        let mut snapshot = self.clone();
        for node in nodes {
            snapshot.put(node);
        }
        snapshot
    }

    /// This picture without the functions at `addresses`. Shares all the rest.
    #[must_use]
    pub fn without(&self, addresses: impl IntoIterator<Item = Bdf>) -> Snapshot {
        let mut snapshot = self.clone();
        for at in addresses {
            snapshot.take(at);
        }
        snapshot
    }

    fn put(&mut self, node: Arc<Node>) {
        self.take(node.address);
        if let NodeKind::Bridge { secondary, .. } = node.kind
            && secondary > node.address.bus()
        {
            self.above.insert(bus_key(node.address.segment(), secondary), node.clone());
        }
        self.nodes.insert(key(node.address), node);
    }

    fn take(&mut self, at: Bdf) {
        let Some(old) = self.nodes.remove(key(at)) else { return };
        if let NodeKind::Bridge { secondary, .. } = old.kind {
            let bus = bus_key(at.segment(), secondary);
            // Another bridge may have been given the same bus.
            if self.above.get(bus).is_some_and(|above| above.address == at) {
                self.above.remove(bus);
            }
        }
    }

    /// The function at an address.
    #[must_use]
    pub fn function(&self, at: Bdf) -> Option<&Arc<Node>> {
        self.nodes.get(key(at))
    }

    /// The bridge above a function, whether or not there is one at `at`; `None` on a root bus. The bridge above a virtual
    /// function is the one above its physical function, also where its own bus number is a later one.
    #[must_use]
    pub fn parent(&self, at: Bdf) -> Option<&Arc<Node>> {
        let bus = match self.function(at).map(|node| node.kind) {
            Some(NodeKind::Virtual { physical }) => physical.bus(),
            _ => at.bus(),
        };
        self.above.get(bus_key(at.segment(), bus))
    }

    /// The functions on one bus, in ascending order.
    pub fn bus(&self, segment: u16, bus: u8) -> impl Iterator<Item = &Arc<Node>> {
        let first = bus_key(segment, bus);
        self.nodes.range(first, first | 0xff)
    }

    /// The functions on a range of buses, in ascending order.
    pub(crate) fn buses(&self, segment: u16, buses: BusRange) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.range(bus_key(segment, buses.first), bus_key(segment, buses.last) | 0xff)
    }

    /// The functions of one segment, in ascending order.
    pub fn segment(&self, segment: u16) -> impl Iterator<Item = &Arc<Node>> {
        let first = u32::from(segment) << 16;
        self.nodes.range(first, first | 0xffff)
    }

    /// Everything below a bridge, each bridge before what is below it.
    ///
    /// Those are the functions on its buses in ascending order, since a bus has a higher number than the bridge above it
    /// is on.
    #[must_use]
    pub fn below(&self, bridge: &Node) -> Vec<Arc<Node>> {
        let NodeKind::Bridge { secondary, subordinate, .. } = bridge.kind else { return Vec::new() };
        if secondary <= bridge.address.bus() {
            return Vec::new();
        }
        let segment = bridge.address.segment();
        self.nodes.range(bus_key(segment, secondary), bus_key(segment, subordinate) | 0xff).cloned().collect()
    }

    /// The virtual functions of a function, in ascending order.
    #[must_use]
    pub fn virtual_functions(&self, physical: Bdf) -> Vec<Arc<Node>> {
        // They follow their physical function, no further than the last that it can have.
        let sr_iov = self.function(physical).and_then(|node| node.function.config().sr_iov_layout());
        let Some(layout) = sr_iov else { return Vec::new() };
        let index = layout.total_vfs.saturating_sub(1);
        let last = sr_iov::routing_id(physical.routing_id(), layout.first_offset, layout.stride, index);
        let last = Bdf::from_routing_id(physical.segment(), last.unwrap_or(u16::MAX));
        let range = self.nodes.range(key(physical), key(last));
        range.filter(|node| node.kind == (NodeKind::Virtual { physical })).cloned().collect()
    }

    /// All functions in ascending order of address.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.range(0, u32::MAX)
    }

    /// How many functions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn key(at: Bdf) -> u32 {
    u32::from(at.segment()) << 16 | u32::from(at.routing_id())
}

fn bus_key(segment: u16, bus: u8) -> u32 {
    u32::from(segment) << 16 | u32::from(bus) << 8
}
