//! PEs that were removed and are still held (law 6).
//!
//! # Concurrency
//! One leaf lock, for a push or a look at the list: it is taken when a PE leaves the tree and when an operator asks, never by
//! a look-up or a detection. What was let go is forgotten at the next of these.

use crate::pe::{Holder, Pe, PeAddress};
use crate::plan::PeId;
use crate::ranks;
use gate::lock::Leaf;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A PE that left the tree and is still alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Which PE.
    pub id: PeId,
    /// Where it was.
    pub address: PeAddress,
    /// Since when it is out of the tree.
    pub age: Duration,
    /// Who holds it, and how often; nobody by name if a picture of the tree is all that does.
    pub holders: Vec<(Holder, u32)>,
    /// It is older than the threshold: a warning is due.
    pub overdue: bool,
}

/// The list of them.
#[derive(Default)]
pub(crate) struct Orphans {
    /// Rank: 59, orphans; a leaf. A push, or a copy of the list; no PE is dropped under it.
    removed: Leaf<ranks::Orphans, Vec<(Weak<Pe>, Duration)>>,
}

impl Orphans {
    /// Remembers what left the tree at `now`.
    pub(crate) fn add(&self, pes: &[Arc<Pe>], now: Duration) {
        if pes.is_empty() {
            return;
        }
        let mut removed = self.removed.lock();
        removed.retain(|(pe, _)| pe.strong_count() != 0);
        removed.extend(pes.iter().map(|pe| (Arc::downgrade(pe), now)));
    }

    /// Those that are still held, longest first.
    pub(crate) fn list(&self, now: Duration, threshold: Duration) -> Vec<Orphan> {
        let held: Vec<(Arc<Pe>, Duration)> = {
            let mut removed = self.removed.lock();
            removed.retain(|(pe, _)| pe.strong_count() != 0);
            removed.iter().filter_map(|(pe, since)| Some((pe.upgrade()?, *since))).collect()
        };
        let orphan = |(pe, since): (Arc<Pe>, Duration)| {
            let age = now.saturating_sub(since);
            let (id, address, holders) = (pe.id(), pe.address(), pe.holders());
            Orphan { id, address, age, holders, overdue: age > threshold }
        };
        held.into_iter().map(orphan).collect()
    }
}
