//! Advanced Features capability: function level reset for conventional PCI.
//!
//! PCI-SIG ECN "Advanced Capabilities for Conventional PCI", section "Advanced Features Capability".

use super::id;

/// Capability identifier.
pub const ID: u8 = id::ADVANCED_FEATURES;
/// Value of the length register, which is also the length of the capability, in bytes.
pub const LENGTH: u8 = 6;

/// Offset of the length, 1 byte, read-only.
pub const LENGTH_REGISTER: u16 = 0x02;
/// Offset of the capabilities register, 1 byte, read-only: [`Capabilities`].
pub const CAPABILITIES: u16 = 0x03;
/// Offset of the control register, 1 byte; only [`INITIATE_FLR`], which reads 0.
pub const CONTROL: u16 = 0x04;
/// Offset of the status register, 1 byte, read-only; only [`TRANSACTIONS_PENDING`].
pub const STATUS: u16 = 0x05;

bitflags::bitflags! {
    /// What the capability offers; a function level reset needs both.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Capabilities: u8 {
        /// Says whether transactions are pending.
        const TRANSACTIONS_PENDING = 1 << 0;
        /// Has a function level reset.
        const FUNCTION_LEVEL_RESET = 1 << 1;
    }
}

/// Bit of the control register: writing 1 starts a function level reset.
pub const INITIATE_FLR: u8 = 1 << 0;
/// Bit of the status register: requests are not completed yet.
pub const TRANSACTIONS_PENDING: u8 = 1 << 0;
