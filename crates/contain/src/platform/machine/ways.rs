//! By which resets everything that is recovered is reached, and nothing else: pure.

use pci_spec::Bdf;
use std::collections::BTreeMap;
use std::sync::Arc;
use topology::{Node, NodeKind, Snapshot};

/// One reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// Of everything below this bridge.
    Bus(Bdf),
    /// Of this function, with its virtual functions.
    Function(Bdf),
}

/// What is to be reset, by its places.
pub(super) type Nodes = BTreeMap<Bdf, Arc<Node>>;

/// The resets that reach all of `nodes`: the bus that they share if nobody else is on it, else each of them by itself.
pub(super) fn ways(snapshot: &Snapshot, nodes: &Nodes) -> Vec<Way> {
    let mut tops: BTreeMap<Option<Bdf>, Vec<&Arc<Node>>> = BTreeMap::new();
    for node in nodes.values() {
        let above = snapshot.parent(node.address).map(|bridge| bridge.address);
        if above.is_none_or(|above| !nodes.contains_key(&above)) {
            tops.entry(above).or_default().push(node);
        }
    }
    let mut ways = Vec::new();
    for (above, tops) in tops {
        match above.and_then(|above| snapshot.function(above)) {
            Some(bridge) if all_below(snapshot, bridge, nodes) => ways.push(Way::Bus(bridge.address)),
            _ => ways.extend(tops.into_iter().filter_map(|top| apart(nodes, top))),
        }
    }
    ways
}

/// The resets that reach the functions right below a bridge one by one, as its bus does not survive one (RST-15).
pub(super) fn one_by_one(snapshot: &Snapshot, bridge: Bdf, nodes: &Nodes) -> Vec<Way> {
    let is_below =
        |node: &&Arc<Node>| snapshot.parent(node.address).is_some_and(|above| above.address == bridge);
    nodes.values().filter(is_below).filter_map(|node| apart(nodes, node)).collect()
}

/// A bridge keeps its own state over a reset of what is below it, and has no other reset; a virtual function is reset with its
/// physical one.
fn apart(nodes: &Nodes, node: &Node) -> Option<Way> {
    match node.kind {
        NodeKind::Bridge { .. } => Some(Way::Bus(node.address)),
        NodeKind::Virtual { physical } if nodes.contains_key(&physical) => None,
        NodeKind::Virtual { .. } | NodeKind::Endpoint => Some(Way::Function(node.address)),
    }
}

fn all_below(snapshot: &Snapshot, bridge: &Node, nodes: &Nodes) -> bool {
    let mine = |node: &Arc<Node>| {
        nodes.get(&node.address).is_some_and(|mine| Arc::ptr_eq(&mine.function, &node.function))
    };
    snapshot.below(bridge).iter().all(|node| mine(node) || node.function.handle().is_gone())
}
