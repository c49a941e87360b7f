//! In which PE a function belongs (EEH-05). Pure.

use crate::pe::{PeAddress, PeKind};
use crate::tree::NewPe;
use pci_spec::Bdf;
use topology::{Node, NodeKind, Snapshot};

/// The PE of a function, and the PEs that it is below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The PE.
    pub pe: NewPe,
    /// Those above it, the host bridge first.
    above: Vec<NewPe>,
}

impl Place {
    /// The PEs above and the PE itself, each after the one above it.
    pub fn chain(&self) -> impl Iterator<Item = &NewPe> {
        self.above.iter().chain([&self.pe])
    }

    fn below(self, address: PeAddress, kind: PeKind) -> Place {
        let parent = Some(self.pe.address);
        let mut above = self.above;
        above.push(self.pe);
        Place { pe: NewPe { address, kind, parent }, above }
    }

    fn host_bridge(segment: u16) -> Place {
        let pe = NewPe { address: PeAddress::phb(segment), kind: PeKind::Phb, parent: None };
        Place { pe, above: Vec::new() }
    }
}

/// How many bridges may be above one another: more than a segment has buses.
const DEEPEST: u32 = 256;

/// The place of a function:
///
/// * all functions on a bus below a bridge share the PE of that bus, which is below the PE of the bridge's own bus;
/// * on a root bus a device has a PE with all its functions, and bridges are in that of the host bridge: without them nothing below
///   can be reached;
/// * a virtual function has a PE of its own, below that of its physical function.
#[must_use]
pub fn place(topology: &Snapshot, node: &Node) -> Place {
    match node.kind {
        NodeKind::Virtual { physical } => {
            let above = match topology.function(physical) {
                // Not a virtual one in its turn: so this goes one step down.
                Some(physical) if !matches!(physical.kind, NodeKind::Virtual { .. }) => {
                    place(topology, physical)
                }
                _ => Place::host_bridge(node.address.segment()),
            };
            above.below(PeAddress::of(node.address), PeKind::Vf)
        }
        NodeKind::Bridge { .. } => bus(topology, node.address, DEEPEST),
        NodeKind::Endpoint => {
            let bus = bus(topology, node.address, DEEPEST);
            match topology.parent(node.address) {
                Some(_) => bus,
                None => bus.below(device(node.address), PeKind::Device),
            }
        }
    }
}

/// The PE of the bus that a function is on: of a root bus, the host bridge's.
fn bus(topology: &Snapshot, at: Bdf, deepest: u32) -> Place {
    let Some((bridge, deepest)) = topology.parent(at).zip(deepest.checked_sub(1)) else {
        return Place::host_bridge(at.segment());
    };
    let secondary = match bridge.kind {
        NodeKind::Bridge { secondary, .. } => secondary,
        NodeKind::Endpoint | NodeKind::Virtual { .. } => at.bus(),
    };
    let address = PeAddress::new(at.segment(), u16::from(secondary) << 8);
    bus(topology, bridge.address, deepest).below(address, PeKind::Bus)
}

fn device(at: Bdf) -> PeAddress {
    // The routing ID of function 0, if functions are numbered in three bits.
    PeAddress::new(at.segment(), at.routing_id() & !7)
}
