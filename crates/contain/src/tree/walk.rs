//! The walk over a subtree (EEH-I2).
//!
//! It goes along the links of one picture, which never changes: whatever happens to the tree, each PE that is there throughout
//! is met once, and the walk ends. No lock, no stack, no allocation; it may stop anywhere and go on much later.

use super::snapshot::Snapshot;
use crate::pe::{Held, Holder, Key, Pe, PeState};
use std::sync::Arc;

/// A PE that is visited.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    pe: &'a Arc<Pe>,
    /// How many PEs are above it, up to where the walk began.
    pub depth: u32,
}

impl<'a> Visit<'a> {
    /// The PE.
    #[must_use]
    pub fn pe(&self) -> &'a Pe {
        self.pe
    }

    /// Keeps the PE beyond the walk.
    pub fn hold(&self, holder: Holder) -> Held {
        Held::new(self.pe.clone(), holder)
    }
}

/// The rest of a walk; see [`Snapshot::walk`].
#[derive(Clone, Debug)]
#[must_use = "nothing is visited until it is iterated"]
pub struct Walk<'a> {
    snapshot: &'a Snapshot,
    root: Key,
    next: Option<(Key, u32)>,
    /// PEs that it may still meet: as many as the picture has, so that it ends whatever the links say.
    left: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, root: Key) -> Walk<'a> {
        Walk { snapshot, root, next: Some((root, 0)), left: snapshot.nodes.len() }
    }

    /// Past a PE and all that is below it.
    fn past(&self, key: Key, next: Option<Key>, parent: Option<Key>, depth: u32) -> Option<(Key, u32)> {
        if key == self.root {
            return None;
        }
        if let Some(next) = next {
            return Some((next, depth));
        }
        // Up by one link a round, so no more rounds than levels.
        let (mut above, mut depth) = (parent?, depth);
        loop {
            depth = depth.checked_sub(1)?;
            if above == self.root {
                return None;
            }
            let node = self.snapshot.node(above)?;
            match node.next {
                Some(next) => return Some((next, depth)),
                None => above = node.parent?,
            }
        }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Visit<'a>;

    fn next(&mut self) -> Option<Visit<'a>> {
        // Each round passes a PE of the picture, and none twice.
        loop {
            let (key, depth) = self.next?;
            self.left = self.left.checked_sub(1)?;
            let node = self.snapshot.node(key)?;
            self.next = match node.first_child {
                Some(child) => Some((child, depth.saturating_add(1))),
                None => self.past(key, node.next, node.parent, depth),
            };
            // What is below a PE that was removed since is looked at all the same: it may have been moved before.
            if !node.pe.state().contains(PeState::INVALID) {
                return Some(Visit { pe: &node.pe, depth });
            }
        }
    }
}
