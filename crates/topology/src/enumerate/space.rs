//! Address spaces, and the ranges of them that a host bridge forwards.

use std::fmt;

/// An address space as bridges divide it. PCIe 6.0 s7.5.1.3 *Type 1 Configuration Space Header*: a bridge has one window in
/// each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// I/O ports.
    Io,
    /// Memory below 4 GiB.
    Memory,
    /// Memory for BARs of 64 bits. They share the prefetchable window whether or not they are prefetchable, as PCI Express
    /// allows: PCIe 6.0 s7.5.1.2.1 *Base Address Registers*, implementation note "Additional Guidance on the Prefetchable
    /// Bit in Memory Space BARs".
    Memory64,
}

impl Space {
    pub(super) const ALL: [Space; 3] = [Space::Io, Space::Memory, Space::Memory64];

    /// Granularity of a bridge's window, in bytes.
    pub(super) const fn granularity(self) -> u64 {
        match self {
            Space::Io => pci_spec::bridge::IO_GRANULARITY,
            Space::Memory | Space::Memory64 => pci_spec::bridge::MEMORY_GRANULARITY,
        }
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Space::Io => "I/O space",
            Space::Memory => "memory below 4 GiB",
            Space::Memory64 => "64-bit memory",
        })
    }
}

/// A range of addresses, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The lowest address.
    pub base: u64,
    /// The highest address.
    pub last: u64,
}

/// The addresses that a host bridge forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// I/O ports, within 64 KiB.
    pub io: Range,
    /// Memory below 4 GiB.
    pub memory: Range,
    /// Memory anywhere.
    pub memory64: Range,
}

impl Default for Windows {
    /// 60 KiB of ports, about 2 GiB below 4 GiB, and 63.5 TiB from 512 GiB on.
    fn default() -> Windows {
        Windows {
            io: Range { base: 0x1000, last: 0xffff },
            memory: Range { base: 0x8000_0000, last: 0xfebf_ffff },
            memory64: Range { base: 1 << 39, last: (1 << 46) - 1 },
        }
    }
}

impl Windows {
    pub(super) fn get(&self, space: Space) -> Range {
        match space {
            Space::Io => self.io,
            Space::Memory => self.memory,
            Space::Memory64 => self.memory64,
        }
    }
}

/// What of a range is not taken yet.
pub(super) struct Free(Vec<Range>);

impl Free {
    pub(super) fn new(range: Option<Range>) -> Free {
        Free(range.into_iter().filter(|range| range.base <= range.last).collect())
    }

    /// Takes a certain range; false if some of it is not free.
    pub(super) fn take(&mut self, taken: Range) -> bool {
        let around = |free: &Range| free.base <= taken.base && taken.last <= free.last;
        let Some(index) = self.0.iter().position(around) else { return false };
        let free = self.0.remove(index);
        if taken.last < free.last {
            self.0.insert(index, Range { base: taken.last + 1, last: free.last });
        }
        if free.base < taken.base {
            self.0.insert(index, Range { base: free.base, last: taken.base - 1 });
        }
        true
    }

    /// Takes the lowest range of `size` bytes at a multiple of `align`, a power of two.
    pub(super) fn allocate(&mut self, size: u64, align: u64) -> Option<Range> {
        let fitting = self.0.iter().find_map(|free| {
            let base = free.base.checked_next_multiple_of(align)?;
            let last = base.checked_add(size.checked_sub(1)?)?;
            (last <= free.last).then_some(Range { base, last })
        })?;
        self.take(fitting).then_some(fitting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_not_given_again_and_gaps_are_filled() {
        let mut free = Free::new(Some(Range { base: 0x1000, last: 0x4fff }));
        assert!(free.take(Range { base: 0x2000, last: 0x2fff }));
        assert!(!free.take(Range { base: 0x2800, last: 0x37ff }));
        assert_eq!(free.allocate(0x2000, 0x1000), Some(Range { base: 0x3000, last: 0x4fff }));
        assert_eq!(free.allocate(0x800, 0x1000), Some(Range { base: 0x1000, last: 0x17ff }));
        assert_eq!(free.allocate(0x1000, 0x1000), None);
        assert_eq!(free.allocate(0x800, 0x800), Some(Range { base: 0x1800, last: 0x1fff }));
        assert_eq!(free.allocate(1, 1), None);
        assert_eq!(free.allocate(0, 1), None);
    }
}
