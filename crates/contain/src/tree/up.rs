//! Looking up from a PE, for any context: what detection asks (EEH-07).

use super::{PeTree, Snapshot};
use crate::pe::{Held, Holder, Pe, PeAddress, PeState};
use gate::ThreadToken;
use std::sync::Arc;

impl PeTree {
    /// Looks at the present picture where it is, without a reference to it: no lock, no allocation, and nothing of the tree is
    /// freed here. `look` returns soon and waits for nobody.
    pub fn look<R>(&self, token: &ThreadToken, look: impl FnOnce(&Snapshot) -> R) -> R {
        let current = self.current.read(token);
        look(&current)
    }
}

impl Snapshot {
    /// The PE at an address and those above it, the nearest first; nothing if it is not there.
    pub fn up(&self, address: PeAddress) -> impl Iterator<Item = &Pe> {
        self.chain(address).map(|pe| &**pe)
    }

    /// As [`Snapshot::up`], each PE held.
    pub fn up_held(&self, address: PeAddress, holder: Holder) -> impl Iterator<Item = Held> {
        self.chain(address).map(move |pe| Held::new(pe.clone(), holder))
    }

    /// Whether a PE failed for good and is still here, removed or not.
    #[must_use]
    pub fn has_failed(&self, address: PeAddress) -> bool {
        self.node(address.key()).is_some_and(|node| node.pe.state().contains(PeState::REMOVED))
    }

    fn chain(&self, address: PeAddress) -> impl Iterator<Item = &Arc<Pe>> {
        let own = self.present(address.key()).map(|_| address.key());
        let above = own.into_iter().flat_map(|key| self.above(key));
        own.into_iter().chain(above).filter_map(|key| self.present(key)).map(|node| &node.pe)
    }
}
