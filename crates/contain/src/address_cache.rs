//! Whose BAR an address is in (EEH-23).
//!
//! A part of the tree's picture: it is swapped with it, found in without lock or allocation, and never behind it. Addresses
//! are those of the machine, memory and I/O ports apart.

use crate::tree::PeFunction;
use crate::tree::radix::Radix;
use pci_spec::Bdf;
use std::sync::Arc;

/// Which addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Memory.
    Memory,
    /// I/O ports.
    Io,
}

/// The addresses of a BAR, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarRange {
    /// Which addresses.
    pub space: Space,
    /// The first.
    pub first: u64,
    /// The last; a range that ends before it begins has no addresses.
    pub last: u64,
}

/// A range that was left out because another function has a part of it; the operator is to be warned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// What was left out.
    pub range: BarRange,
    /// Who has a part of it.
    pub with: Bdf,
}

#[derive(Clone, Debug)]
struct Entry {
    range: BarRange,
    function: Arc<PeFunction>,
}

/// The ranges of all functions; see the module's head.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddressCache {
    memory: Radix<Entry, 13>,
    io: Radix<Entry, 13>,
}

impl AddressCache {
    fn space(&self, space: Space) -> &Radix<Entry, 13> {
        match space {
            Space::Memory => &self.memory,
            Space::Io => &self.io,
        }
    }

    fn space_mut(&mut self, space: Space) -> &mut Radix<Entry, 13> {
        match space {
            Space::Memory => &mut self.memory,
            Space::Io => &mut self.io,
        }
    }

    pub(crate) fn find(&self, space: Space, address: u64) -> Option<&Arc<PeFunction>> {
        let entry = self.space(space).floor(address)?;
        (address <= entry.range.last).then_some(&entry.function)
    }

    /// Adds the ranges of a function, and names those that it does not because they are somebody's.
    pub(crate) fn insert(&mut self, function: &Arc<PeFunction>) -> Vec<Overlap> {
        let mut overlaps = Vec::new();
        for &range in &function.bars {
            if range.first > range.last {
                continue;
            }
            // Ranges lie apart, so that with the highest start is the only one that can reach in.
            let other = self.space(range.space).floor(range.last);
            if let Some(other) = other.filter(|other| other.range.last >= range.first) {
                overlaps.push(Overlap { range, with: other.function.address });
                continue;
            }
            self.space_mut(range.space).insert(range.first, Entry { range, function: function.clone() });
        }
        overlaps
    }

    pub(crate) fn remove(&mut self, function: &Arc<PeFunction>) {
        for range in &function.bars {
            let entries = self.space_mut(range.space);
            // What was left out is not there to be taken, and what is there instead stays.
            let own =
                |entry: &Entry| Arc::ptr_eq(&entry.function, function) && entry.range.first == range.first;
            if entries.floor(range.first).is_some_and(own) {
                entries.remove(range.first);
            }
        }
    }

    /// All ranges in ascending order, memory first.
    pub(crate) fn ranges(&self) -> Vec<(BarRange, Bdf)> {
        let mut ranges = Vec::with_capacity(self.memory.len() + self.io.len());
        for space in [&self.memory, &self.io] {
            space.for_each(|entry| ranges.push((entry.range, entry.function.address)));
        }
        ranges
    }
}
