//! The changes of a tree, worked out on a picture that nobody else has yet.
//!
//! What is refused is refused before the first mark is set, so that a refusal changes nothing.

use super::error::TreeError;
use super::snapshot::{PeFunction, Snapshot};
use crate::address_cache::Overlap;
use crate::pe::{Key, MARKS, Pe, PeAddress, PeKind, PeState};
use crate::plan::PeId;
use pci_spec::Bdf;
use std::sync::Arc;

/// A PE that is to be put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewPe {
    /// Its place.
    pub address: PeAddress,
    /// What it stands for.
    pub kind: PeKind,
    /// The PE above it; `None` for a host bridge, and only for one.
    pub parent: Option<PeAddress>,
}

/// What was taken out of the tree.
#[derive(Debug, Default)]
pub struct RemovedPes {
    /// The functions that were in them.
    pub functions: Vec<Arc<PeFunction>>,
    /// PEs that are out.
    pub unlinked: usize,
    /// PEs that are marked, or above one that is: they are *invalid*, and collected when the marks are gone (EEH-I5).
    pub kept: Vec<PeAddress>,
}

/// A picture in the making, with what is to be done when it is published.
pub(super) struct Draft {
    pub(super) snapshot: Snapshot,
    /// Removed PEs that are put in again.
    revived: Vec<Arc<Pe>>,
    /// PEs that are out of it.
    pub(super) unlinked: Vec<Arc<Pe>>,
}

impl Draft {
    pub(super) fn of(snapshot: &Snapshot) -> Draft {
        Draft { snapshot: snapshot.clone(), revived: Vec::new(), unlinked: Vec::new() }
    }

    /// After it was published: what was put in again is visible.
    pub(super) fn published(&self) {
        for pe in &self.revived {
            pe.state.clear(PeState::INVALID);
        }
    }

    fn is_present(&self, key: Key) -> bool {
        self.snapshot.present(key).is_some() || self.revived.iter().any(|pe| pe.address().key() == key)
    }

    fn require(&self, address: PeAddress) -> Result<Key, TreeError> {
        let key = address.key();
        if self.is_present(key) { Ok(key) } else { Err(TreeError::NoPe(address)) }
    }

    /// Puts a PE in, or the same one again that was removed while a recovery had it (EEH-13): its budget goes on (EEH-I6).
    pub(super) fn insert(&mut self, new: NewPe, id: PeId) -> Result<Arc<Pe>, TreeError> {
        let is_root = new.kind == PeKind::Phb;
        if is_root != new.address.number().is_none() || is_root != new.parent.is_none() {
            return Err(TreeError::Misplaced(new.address));
        }
        let key = new.address.key();
        if self.is_present(key) {
            return Err(TreeError::PeExists(new.address));
        }
        let parent = new.parent.map(|parent| self.require(parent)).transpose()?;
        if let Some(node) = self.snapshot.node(key) {
            let pe = node.pe.clone();
            // Elsewhere it would be a move of what a recovery has.
            if pe.kind() != new.kind || node.parent != parent {
                return Err(TreeError::Recovering(new.address));
            }
            self.revived.push(pe.clone());
            return Ok(pe);
        }
        let pe = Arc::new(Pe::new(id, new.address, new.kind));
        self.snapshot.link(pe.clone(), parent);
        Ok(pe)
    }

    /// Takes a PE out with all that is below it.
    pub(super) fn remove(&mut self, address: PeAddress) -> Result<RemovedPes, TreeError> {
        let root = self.require(address)?;
        let mut removed = RemovedPes::default();
        let mut kept = Vec::new();
        // Children before parents: who has a child left stays.
        for key in self.snapshot.subtree(root).into_iter().rev() {
            while let Some(at) = self.snapshot.node(key).and_then(|node| node.first_function) {
                // Each round takes one function out of the chain.
                let Some(function) = self.snapshot.unseat(at) else { break };
                removed.functions.push(function);
            }
            let Some(node) = self.snapshot.node(key) else { continue };
            let marked = node.pe.state.invalidate();
            if marked || node.first_child.is_some() {
                removed.kept.push(node.pe.address());
                kept.push(key);
            } else {
                removed.unlinked += 1;
                self.unlinked.extend(self.snapshot.unlink(key));
            }
        }
        if !kept.is_empty() {
            Arc::make_mut(&mut self.snapshot.kept).extend(kept);
        }
        Ok(removed)
    }

    /// Takes out what was removed and is not marked any more.
    pub(super) fn collect(&mut self) {
        if self.snapshot.kept.is_empty() {
            return;
        }
        let mut kept = self.snapshot.kept.as_ref().clone();
        kept.sort_unstable();
        kept.dedup();
        // A round without progress is the last; each other round takes one at least.
        loop {
            let before = kept.len();
            kept.retain(|key| self.is_still_kept(*key));
            if kept.len() == before {
                break;
            }
        }
        self.snapshot.kept = Arc::new(kept);
    }

    /// Whether a removed PE has to stay; takes it out otherwise.
    fn is_still_kept(&mut self, key: Key) -> bool {
        // What this very change puts in again is still invalid until it is published.
        if self.is_present(key) {
            return false;
        }
        let Some(node) = self.snapshot.node(key) else { return false };
        let state = node.pe.state();
        // No mark can come after it was removed, so none that is not seen here.
        if state.intersects(MARKS) || node.first_child.is_some() {
            return true;
        }
        self.unlinked.extend(self.snapshot.unlink(key));
        false
    }

    /// Puts a PE with all that is below it below another.
    pub(super) fn move_below(&mut self, address: PeAddress, parent: PeAddress) -> Result<(), TreeError> {
        let key = self.require(address)?;
        let above = self.require(parent)?;
        if address.number().is_none() {
            return Err(TreeError::Misplaced(address));
        }
        if self.snapshot.is_within(above, key) {
            return Err(TreeError::Loop(address));
        }
        for below in self.snapshot.subtree(key) {
            let node = self.snapshot.node(below);
            if node.is_some_and(|node| node.pe.state().intersects(MARKS)) {
                return Err(TreeError::Recovering(address));
            }
        }
        self.snapshot.detach(key);
        self.snapshot.attach(key, Some(above));
        Ok(())
    }

    /// Puts a function into a PE; gives the ranges that somebody else has.
    pub(super) fn seat(
        &mut self,
        function: Arc<PeFunction>,
        address: PeAddress,
    ) -> Result<Vec<Overlap>, TreeError> {
        let key = self.require(address)?;
        if self.snapshot.seat(function.address).is_some() {
            return Err(TreeError::FunctionExists(function.address));
        }
        Ok(self.snapshot.seat_in(function, key))
    }

    /// Takes a function out of its PE.
    pub(super) fn unseat(&mut self, at: Bdf) -> Result<Arc<PeFunction>, TreeError> {
        self.snapshot.unseat(at).ok_or(TreeError::NoFunction(at))
    }
}
