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

impl Range {
    /// Bytes.
    pub(super) fn size(self) -> u64 {
        self.last.saturating_sub(self.base).saturating_add(1)
    }
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

/// What a bridge gets at least whose devices come and go, so that one that is plugged in later finds room: a bridge with a
/// hot-plug slot, or with a conventional bus below it. Where it does not fit beside what is there, the bridge gets less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// Bus numbers, at least 1.
    pub buses: u8,
    /// Bytes of I/O ports; a window is a multiple of 4 KiB.
    pub io: u64,
    /// Bytes of memory below 4 GiB; a window is a multiple of 1 MiB.
    pub memory: u64,
    /// Bytes of 64-bit memory; a window is a multiple of 1 MiB.
    pub memory64: u64,
}

impl Default for Reserve {
    /// What Linux gives: one bus, 4 KiB of ports, 2 MiB of memory of either kind.
    fn default() -> Reserve {
        Reserve { buses: 1, io: 4 << 10, memory: 2 << 20, memory64: 2 << 20 }
    }
}

impl Reserve {
    /// Bytes in a space, as a window has them; 0 if they are more than there can be.
    pub(super) fn get(&self, space: Space) -> u64 {
        let bytes = match space {
            Space::Io => self.io,
            Space::Memory => self.memory,
            Space::Memory64 => self.memory64,
        };
        bytes.checked_next_multiple_of(space.granularity()).unwrap_or(0)
    }
}

/// What of a range is not taken yet.
#[derive(Clone)]
pub(super) struct Free(Vec<Range>);

impl Free {
    pub(super) fn new(range: Option<Range>) -> Free {
        Free(range.into_iter().filter(|range| range.base <= range.last).collect())
    }

    /// Takes whatever of a range is free.
    pub(super) fn cut(&mut self, taken: Range) {
        let pieces = self.0.iter().flat_map(|free| {
            let below =
                taken.base.checked_sub(1).map(|last| Range { base: free.base, last: last.min(free.last) });
            let above =
                taken.last.checked_add(1).map(|base| Range { base: base.max(free.base), last: free.last });
            below.into_iter().chain(above).filter(|range| range.base <= range.last)
        });
        self.0 = pieces.collect();
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
