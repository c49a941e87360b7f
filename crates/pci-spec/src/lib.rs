//! Facts of PCI and PCI Express: registers, capability layouts, class codes, addresses, delays.
//!
//! Each module is one idea of the specification, and each register cites its section *and title*, because section
//! numbers move between revisions. Offsets are bytes. Values are little-endian on the wire; here they are plain
//! integers and bit sets, and the caller decides how they are stored.
//!
//! For every writable register there are two masks: `*_RW` (a written bit is stored) and `*_RW1C` (writing 1 clears
//! the bit, writing 0 leaves it). A bit in neither is read-only.
//!
//! What it does **not** do: it holds no configuration space, dispatches no access and knows no device. That is
//! `pci-core`.
//!
//! Concurrency: everything is `const` data, `Copy` types and pure functions.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod address;
pub mod aer;
pub mod bar;
pub mod bridge;
pub mod capability;
pub mod class;
pub mod command;
pub mod config;
pub mod delay;
pub mod extended;
pub mod status;

pub use address::Bdf;
pub use class::ClassCode;
pub use command::Command;
pub use status::Status;

/// Size of the PCI-compatible part of a function's configuration space, in bytes.
///
/// PCIe 6.0 s7.2 PCI Express Configuration Mechanisms.
pub const CONFIG_SPACE_SIZE: usize = 256;

/// Size of a PCI Express function's whole configuration space, in bytes.
///
/// PCIe 6.0 s7.2.2 PCI Express Enhanced Configuration Access Mechanism (ECAM).
pub const EXTENDED_CONFIG_SPACE_SIZE: usize = 4096;

/// Devices on one bus. PCIe 6.0 s7.3.1 Device Number.
pub const DEVICES_PER_BUS: u8 = 32;

/// Functions in one device (without ARI). PCIe 6.0 s7.2 PCI Express Configuration Mechanisms.
pub const FUNCTIONS_PER_DEVICE: u8 = 8;

/// What a read returns when nobody answers it: all bits one, cut to the width of the access.
///
/// PCIe 6.0 s2.3.2 Completion Handling Rules.
pub const ALL_ONES: u64 = u64::MAX;
