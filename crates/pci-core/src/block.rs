//! Devices whose BARs take blocks: how they say so, and how they refuse one.
//!
//! A block is one write of up to a few kilobytes that arrives as a whole; a processor that has no such write cannot make it
//! out of plain ones. What a block means is the device's, how long one may be is whose who brings it (`zpci`).

use thiserror::Error;

/// How consumers reach the BARs and the ROM of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BarAccess {
    /// By reads and writes of any width, and by blocks.
    #[default]
    Plain,
    /// By loads and whole blocks. Plain reads and writes, and stores that are no block, are refused.
    BlockStore,
}

/// Why a device did not take a block; nothing of it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BlockRefused {
    /// The device has no room for what the block asks for now.
    #[error("the device is out of resources")]
    NoResources,
    /// The device takes no such block there, or what the block is for cannot be reached.
    #[error("the device did not accept it")]
    NotAccepted,
}
