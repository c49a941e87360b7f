//! The chains of children and functions, changed in a picture that nobody else has yet.

use super::snapshot::{Node, PeFunction, Seat, Snapshot, function_key};
use crate::address_cache::Overlap;
use crate::pe::{Key, Pe};
use pci_spec::Bdf;
use std::sync::Arc;

impl Snapshot {
    pub(super) fn node_mut(&mut self, key: Option<Key>) -> Option<&mut Node> {
        self.nodes.get_mut(key?.bits())
    }

    fn seat_mut(&mut self, at: Option<Bdf>) -> Option<&mut Seat> {
        self.seats.get_mut(function_key(at?))
    }

    /// Puts a PE in that is not there, below `parent`.
    pub(super) fn link(&mut self, pe: Arc<Pe>, parent: Option<Key>) {
        let key = pe.address().key();
        let node =
            Node { pe, parent: None, first_child: None, previous: None, next: None, first_function: None };
        self.nodes.insert(key.bits(), node);
        self.attach(key, parent);
    }

    /// Takes a PE out that has neither children nor functions.
    pub(super) fn unlink(&mut self, key: Key) -> Option<Arc<Pe>> {
        self.detach(key);
        self.nodes.remove(key.bits()).map(|node| node.pe)
    }

    /// Puts a PE that is there below another. Behind the sibling whose address comes before it, if nothing is in between: so that
    /// a walk goes the way in which the map lies in memory, also when the tree has changed for long.
    pub(super) fn attach(&mut self, key: Key, parent: Option<Key>) {
        let previous = self.sibling_before(key, parent);
        let next = match self.node_mut(previous) {
            Some(before) => before.next.replace(key),
            None => self.node_mut(parent).and_then(|above| above.first_child.replace(key)),
        };
        if let Some(after) = self.node_mut(next) {
            after.previous = Some(key);
        }
        if let Some(node) = self.node_mut(Some(key)) {
            (node.parent, node.previous, node.next) = (parent, previous, next);
        }
    }

    /// The PE at the address right before `key`, if it is below `parent`.
    fn sibling_before(&self, key: Key, parent: Option<Key>) -> Option<Key> {
        let before = self.nodes.floor(key.bits().checked_sub(1)?)?;
        (parent.is_some() && before.parent == parent).then(|| before.pe.address().key())
    }

    /// Takes a PE from the one above it.
    pub(super) fn detach(&mut self, key: Key) {
        let Some(node) = self.node(key) else { return };
        let (parent, previous, next) = (node.parent, node.previous, node.next);
        match self.node_mut(previous) {
            Some(before) => before.next = next,
            None => {
                if let Some(above) = self.node_mut(parent) {
                    above.first_child = next;
                }
            }
        }
        if let Some(after) = self.node_mut(next) {
            after.previous = previous;
        }
    }

    /// Puts a function that is not there into a PE.
    pub(super) fn seat_in(&mut self, function: Arc<PeFunction>, pe: Key) -> Vec<Overlap> {
        let at = function.address;
        let next = self.node_mut(Some(pe)).and_then(|node| node.first_function.replace(at));
        if let Some(after) = self.seat_mut(next) {
            after.previous = Some(at);
        }
        let overlaps = self.addresses.insert(&function);
        self.seats.insert(function_key(at), Seat { function, pe, previous: None, next });
        overlaps
    }

    /// Takes a function out.
    pub(super) fn unseat(&mut self, at: Bdf) -> Option<Arc<PeFunction>> {
        let seat = self.seats.remove(function_key(at))?;
        match self.seat_mut(seat.previous) {
            Some(before) => before.next = seat.next,
            None => {
                if let Some(node) = self.node_mut(Some(seat.pe)) {
                    node.first_function = seat.next;
                }
            }
        }
        if let Some(after) = self.seat_mut(seat.next) {
            after.previous = seat.previous;
        }
        self.addresses.remove(&seat.function);
        Some(seat.function)
    }

    /// Every PE of a subtree, removed ones included, parents before children.
    pub(super) fn subtree(&self, root: Key) -> Vec<Key> {
        let mut found = vec![root];
        let mut at = 0;
        // Each round takes one PE, and each PE has one parent.
        while let Some(key) = found.get(at).copied() {
            let first = self.node(key).and_then(|node| node.first_child);
            found.extend(std::iter::successors(first, |key| self.node(*key)?.next));
            at += 1;
        }
        found
    }
}
