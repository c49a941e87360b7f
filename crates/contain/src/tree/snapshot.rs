//! One moment's picture of the tree.
//!
//! Immutable and shared: a later picture has what did not change in common with the earlier one ([`Radix`]). Children of a PE
//! and functions of a PE are chains of keys through the same maps, so a change of either copies a few branches however many
//! siblings there are, and a walk needs no stack.

use super::radix::Radix;
use super::walk::Walk;
use crate::address_cache::{AddressCache, BarRange, Space};
use crate::pe::{Held, Holder, Key, Pe, PeAddress, PeState};
use crate::plan::FunctionId;
use pci_core::Function;
use pci_spec::Bdf;
use std::sync::Arc;

/// A function of a PE, for as long as it is plugged. Whoever has one keeps the function reachable (law 6).
#[derive(Clone, Debug)]
pub struct PeFunction {
    /// Which one.
    pub id: FunctionId,
    /// Its place.
    pub address: Bdf,
    /// The function itself.
    pub function: Arc<Function>,
    /// Where its BARs are.
    pub bars: Vec<BarRange>,
}

/// A PE and its links.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) pe: Arc<Pe>,
    pub(super) parent: Option<Key>,
    pub(super) first_child: Option<Key>,
    pub(super) previous: Option<Key>,
    pub(super) next: Option<Key>,
    pub(super) first_function: Option<Bdf>,
}

/// A function and its links.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) function: Arc<PeFunction>,
    pub(super) pe: Key,
    pub(super) previous: Option<Bdf>,
    pub(super) next: Option<Bdf>,
}

/// The tree at one moment; cheap to clone, never changes.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(super) nodes: Radix<Node, 7>,
    pub(super) seats: Radix<Seat, 7>,
    pub(super) addresses: AddressCache,
    /// PEs that were removed while marked.
    pub(super) kept: Arc<Vec<Key>>,
}

pub(super) fn function_key(at: Bdf) -> u64 {
    u64::from(at.segment()) << 16 | u64::from(at.routing_id())
}

impl Snapshot {
    #[inline]
    pub(super) fn node(&self, key: Key) -> Option<&Node> {
        self.nodes.get(key.bits())
    }

    /// The node of a PE that is not removed.
    #[inline]
    pub(super) fn present(&self, key: Key) -> Option<&Node> {
        self.node(key).filter(|node| !node.pe.state().contains(PeState::INVALID))
    }

    pub(super) fn seat(&self, at: Bdf) -> Option<&Seat> {
        self.seats.get(function_key(at))
    }

    /// The PE at an address.
    #[must_use]
    pub fn find(&self, address: PeAddress, holder: Holder) -> Option<Held> {
        self.present(address.key()).map(|node| Held::new(node.pe.clone(), holder))
    }

    /// The PE that a function is in, and the function.
    #[must_use]
    pub fn of_function(&self, at: Bdf, holder: Holder) -> Option<(Held, Arc<PeFunction>)> {
        let seat = self.seat(at)?;
        let node = self.present(seat.pe)?;
        Some((Held::new(node.pe.clone(), holder), seat.function.clone()))
    }

    /// The PE and the function that a BAR belongs to (EEH-23).
    #[must_use]
    pub fn of_bar_address(
        &self,
        space: Space,
        address: u64,
        holder: Holder,
    ) -> Option<(Held, Arc<PeFunction>)> {
        self.of_function(self.addresses.find(space, address)?.address, holder)
    }

    /// The PE above one.
    #[must_use]
    pub fn parent(&self, address: PeAddress, holder: Holder) -> Option<Held> {
        let above = self.present(address.key())?.parent?;
        self.present(above).map(|node| Held::new(node.pe.clone(), holder))
    }

    /// The functions of a PE, the latest first.
    pub fn functions(&self, address: PeAddress) -> impl Iterator<Item = &Arc<PeFunction>> {
        let first = self.present(address.key()).and_then(|node| node.first_function);
        let seats = std::iter::successors(first.and_then(|at| self.seat(at)), |seat| self.seat(seat.next?));
        // A chain is no longer than the map.
        seats.take(self.seats.len()).map(|seat| &seat.function)
    }

    /// Every PE of the subtree of `root`, parents before children; nothing if it is not there. What is removed meanwhile may
    /// be passed by, what is there throughout is visited once, and it ends.
    pub fn walk(&self, root: PeAddress) -> Walk<'_> {
        Walk::new(self, root.key())
    }

    /// Where the BARs are, in ascending order, memory first.
    #[must_use]
    pub fn address_cache(&self) -> Vec<(BarRange, Bdf)> {
        self.addresses.ranges()
    }

    /// How many PEs there are, with those that were removed and are not collected yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The PEs above one, the nearest first.
    pub(super) fn above(&self, key: Key) -> impl Iterator<Item = Key> {
        let parent = |key: Key| self.node(key)?.parent;
        std::iter::successors(parent(key), move |key| parent(*key)).take(self.nodes.len())
    }

    /// Whether `key` is `above` or below it.
    pub(super) fn is_within(&self, key: Key, above: Key) -> bool {
        key == above || self.above(key).any(|key| key == above)
    }
}
