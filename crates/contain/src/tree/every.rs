//! All PEs of a picture, for lists and for a search that cannot be told where to begin.

use super::Snapshot;
use crate::pe::{Held, Holder, PeAddress, PeState};

impl Snapshot {
    /// Every PE that is not removed, in ascending order of address, and where the one above it is.
    #[must_use]
    pub fn every(&self, holder: Holder) -> Vec<(Held, Option<PeAddress>)> {
        let mut found = Vec::with_capacity(self.nodes.len());
        self.nodes.for_each(|node| {
            if !node.pe.state().contains(PeState::INVALID) {
                let above = node.parent.and_then(|key| self.node(key)).map(|node| node.pe.address());
                found.push((Held::new(node.pe.clone(), holder), above));
            }
        });
        found
    }
}
