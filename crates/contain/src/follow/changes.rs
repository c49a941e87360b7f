//! What is different between the tree and the topology.

use super::place::{Place, place};
use crate::pe::{Holder, PeAddress};
use crate::tree::{PeFunction, Snapshot};
use std::collections::BTreeSet;
use std::sync::Arc;
use topology::Node;

/// A function that is in the topology.
pub(super) struct Present {
    pub(super) node: Arc<Node>,
    pub(super) place: Place,
}

/// What left and what came. A function that is somewhere else now has done both.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) left: Vec<Arc<PeFunction>>,
    /// Bridges before what is below them, physical functions before their virtual ones.
    pub(super) came: Vec<Present>,
    /// In the same PE as before, which is below another one now; in the order of what came.
    pub(super) moved: Vec<(Arc<PeFunction>, Present)>,
}

impl Changes {
    pub(super) fn between(tree: &Snapshot, topology: &topology::Snapshot) -> Changes {
        let mut changes = Changes::default();
        for (pe, _) in tree.every(Holder::Lookup) {
            for function in tree.functions(pe.address()) {
                if !is_at(topology, function, pe.address()) {
                    changes.left.push(function.clone());
                }
            }
        }
        let left: BTreeSet<_> = changes.left.iter().map(|function| function.address).collect();
        for node in topology.iter() {
            let found = tree.of_function(node.address, Holder::Lookup);
            let stays = found.filter(|_| !left.contains(&node.address));
            let place = place(topology, node);
            match stays {
                None => changes.came.push(Present { node: node.clone(), place }),
                Some((pe, function)) if !is_below(tree, pe.address(), &place) => {
                    changes.moved.push((function, Present { node: node.clone(), place }));
                }
                Some(_) => {}
            }
        }
        changes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty() && self.came.is_empty() && self.moved.is_empty()
    }
}

/// Whether a function is still what is at its address, and belongs in the PE that it is in.
fn is_at(topology: &topology::Snapshot, function: &PeFunction, pe: PeAddress) -> bool {
    let node = topology.function(function.address);
    node.is_some_and(|node| {
        let same = Arc::ptr_eq(&node.function, &function.function);
        // One that was removed and is still in the picture has left.
        same && place(topology, node).pe.address == pe
    })
}

/// Whether a PE is below those that it belongs below.
fn is_below(tree: &Snapshot, pe: PeAddress, place: &Place) -> bool {
    let above: Vec<PeAddress> = tree.up(pe).map(crate::pe::Pe::address).collect();
    above.into_iter().rev().eq(place.chain().map(|pe| pe.address))
}

/// PEs without a function in them or below, each before the one above it.
pub(super) fn empty_pes(tree: &Snapshot) -> Vec<PeAddress> {
    let mut used = BTreeSet::new();
    let all = tree.every(Holder::Lookup);
    for (pe, _) in &all {
        if tree.functions(pe.address()).next().is_some() {
            used.extend(tree.up(pe.address()).map(crate::pe::Pe::address));
        }
    }
    let mut empty: Vec<_> = all
        .iter()
        .map(|(pe, _)| (tree.up(pe.address()).count(), pe.address()))
        .filter(|(_, address)| !used.contains(address))
        .collect();
    empty.sort_unstable_by(|one, other| other.cmp(one));
    empty.into_iter().map(|(_, address)| address).collect()
}
