//! What a machine is made with.

use std::ops::RangeInclusive;

/// What a machine is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bits of a handle's generation, 1 to 19: how often a function can be enabled and disabled before it needs another index. Fewer are
    /// for tests of handles that run out.
    pub generation_bits: u32,
    /// The groups that functions can be in.
    pub groups: Vec<Group>,
    /// Addresses that functions can be given for DMA.
    pub dma: RangeInclusive<u64>,
}

/// What the functions of a group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its number.
    pub id: u8,
    /// Bytes of the longest block store (ZP-14).
    pub max_store: u16,
    /// How many address spaces for DMA each can have; one at least.
    pub dma_spaces: u8,
    /// Where a function writes to raise an interrupt by message.
    pub msi_address: u64,
    /// How many interrupts each can have.
    pub max_interrupts: u16,
    /// How often counters are written, in milliseconds; 0: never.
    pub update_interval_ms: u16,
    /// The architecture's version.
    pub version: u8,
    /// A translation that becomes valid need not be announced.
    pub has_refresh: bool,
    /// Memory I/O without a handle can be enabled.
    pub has_mio: bool,
}

impl Default for Group {
    fn default() -> Group {
        Group {
            id: 0,
            max_store: 128,
            dma_spaces: 1,
            msi_address: 0xfe00_0000_0000_0000,
            max_interrupts: 2048,
            update_interval_ms: 0,
            version: 1,
            has_refresh: false,
            has_mio: true,
        }
    }
}

impl Default for Settings {
    /// One group, and all of the addresses below 2^48 but the first 4 GiB.
    fn default() -> Settings {
        Settings {
            generation_bits: 19,
            groups: vec![Group::default()],
            dma: 0x1_0000_0000..=0xffff_ffff_ffff,
        }
    }
}
