//! Base address registers: which windows a function has and how large they are.
//!
//! PCIe 6.0 s7.5.1.2.1 *Base Address Registers*, s7.5.1.2.4 *Expansion ROM Base Address Register*. A size is a
//! power of two, and the address bits that cannot be written are what tells it: software writes all-ones and reads
//! the mask back (CAP-08). Nothing here moves a window or knows what lies behind it.

use super::LayoutError;
use pci_spec::bar::{self, Kind};
use pci_spec::config;
use std::fmt;

/// Which window of a function: BAR 0 to 5, or the expansion ROM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BarIndex(u8);

impl BarIndex {
    /// The expansion ROM, numbered after the six BARs as vfio numbers its regions (VF-13).
    pub const ROM: BarIndex = BarIndex(6);

    /// BAR `index`, or the ROM for 6; nothing for larger numbers.
    #[must_use]
    pub const fn new(index: u8) -> Option<BarIndex> {
        if index <= Self::ROM.0 { Some(BarIndex(index)) } else { None }
    }

    /// The number, 0 to 6.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Offset of the register in configuration space, in bytes.
    #[must_use]
    pub const fn register(self) -> u16 {
        match config::bar_offset(self.0 as usize) {
            Some(offset) => offset,
            None => config::ROM_BAR,
        }
    }
}

impl fmt::Display for BarIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ROM { f.write_str("ROM") } else { write!(f, "BAR {}", self.0) }
    }
}

/// What kind of address space a BAR asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BarKind {
    /// Memory below 4 GiB, not prefetchable.
    Memory32,
    /// Memory anywhere, not prefetchable; uses this BAR and the next.
    Memory64,
    /// Memory anywhere, reads without side effects; uses this BAR and the next.
    Memory64Prefetchable,
    /// I/O ports.
    Io,
}

impl BarKind {
    /// Whether the register takes two BAR positions.
    #[must_use]
    pub const fn is_64bit(self) -> bool {
        self.encoding().registers() == 2
    }

    /// Whether the window lies in memory space, and so is decoded only while COMMAND.MEM is set.
    #[must_use]
    pub const fn is_memory(self) -> bool {
        !matches!(self, BarKind::Io)
    }

    const fn encoding(self) -> Kind {
        match self {
            BarKind::Memory32 => Kind::Memory32 { prefetchable: false },
            BarKind::Memory64 => Kind::Memory64 { prefetchable: false },
            BarKind::Memory64Prefetchable => Kind::Memory64 { prefetchable: true },
            BarKind::Io => Kind::Io,
        }
    }
}

/// One window of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarLayout {
    /// Which BAR; for a 64-bit one, its lower register.
    pub index: BarIndex,
    /// Its address space and width.
    pub kind: BarKind,
    /// Its size in bytes, a power of two.
    pub size: u64,
}

impl BarLayout {
    /// The dwords of the register, low half first, as (value after reset, writable bits).
    pub(super) fn dwords(&self) -> impl Iterator<Item = (u32, u32)> {
        let kind = self.kind.encoding();
        let (value, writable) = (u64::from(kind.low_bits()), kind.address_mask(self.size));
        [(low(value), low(writable)), (high(value), high(writable))].into_iter().take(kind.registers())
    }

    pub(super) fn check(&self) -> Result<(), LayoutError> {
        let position = usize::from(self.index.get()) + self.kind.encoding().registers();
        if position > config::BAR_COUNT {
            return Err(LayoutError::BarPosition(self.index));
        }
        if !self.kind.encoding().allows_size(self.size) {
            return Err(LayoutError::BarSize { index: self.index, size: self.size });
        }
        Ok(())
    }
}

/// The size as the ROM register holds it.
pub(super) fn check_rom(size: u64) -> Result<u32, LayoutError> {
    let fits = size.is_power_of_two() && (bar::ROM_MIN_SIZE..=bar::ROM_MAX_SIZE).contains(&size);
    let narrow = u32::try_from(size).ok().filter(|_| fits);
    narrow.ok_or(LayoutError::BarSize { index: BarIndex::ROM, size })
}

/// The low half of a register pair.
fn low(pair: u64) -> u32 {
    u32::try_from(pair & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

/// The high half of a register pair.
fn high(pair: u64) -> u32 {
    low(pair >> 32)
}
