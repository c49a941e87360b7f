//! What a scan has found, put in the place of what the picture showed of the same part.

use crate::{Node, NodeKind, Snapshot};
use pci_spec::Bdf;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a scan changes in the picture.
pub(crate) struct Merged {
    pub(crate) added: Vec<Arc<Node>>,
    pub(crate) removed: Vec<Arc<Node>>,
    /// Physical functions with virtual ones that the picture does not show (any more).
    pub(crate) bereft: BTreeSet<Bdf>,
}

/// Puts what a scan has found in the place of `before`, what the picture shows of the part that was scanned; what is the
/// same stays the same node. Costs what that part does.
pub(crate) fn merge(old: &Snapshot, before: &[Arc<Node>], nodes: Vec<Arc<Node>>) -> (Snapshot, Merged) {
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
    let removed: Vec<_> = before.iter().filter(|node| !stays(node)).cloned().collect();
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
