//! Facts of NVM Express: registers, commands, status codes, data structures.
//!
//! After NVM Express Base Specification 1.4 (whose NVM command set is chapter 6), with the few additions of 2.0 that keep
//! the layouts compatible. Each item cites a section *and title*, or the title alone, since section numbers move.
//!
//! Structures that cross memory are `#[repr(C)]`, made of [`zerocopy::little_endian`] integers and bytes: alignment 1, no
//! padding, and any bytes are a valid value, so hostile memory can be read as one without a check. Fields are named by the
//! specification's abbreviations. Counts that the specification stores less one are documented as *0's based* and kept so;
//! where a method undoes that, its name says `count` or `entries`.
//!
//! What it does **not** do: no queue, no command execution, no access to memory or registers. That is `models`.
//!
//! Concurrency: everything is `const` data, plain values and pure functions.
#![no_std]

#[cfg(test)]
extern crate std;

#[macro_use]
mod macros;

pub mod command;
pub mod doorbell;
pub mod dsm;
pub mod event;
pub mod feature;
pub mod identify;
pub mod io;
pub mod log;
pub mod opcode;
pub mod prp;
pub mod queue;
pub mod register;
pub mod status;

pub use command::{CompletionEntry, SubmissionEntry};
pub use doorbell::Doorbell;
pub use opcode::{AdminOpcode, NvmOpcode};
pub use prp::PageSize;
pub use status::Status;

/// Version 1.4.0, as in the VS register and Identify Controller VER. NVMe Base 1.4 s3.1.2 VS - Version.
pub const VERSION_1_4: u32 = 0x0001_0400;

/// Namespace ID that means "all namespaces". NVMe Base 1.4 s6.1 Namespaces.
pub const NSID_ALL: u32 = 0xffff_ffff;
/// Namespace ID that means "no namespace". NVMe Base 1.4 s6.1 Namespaces.
pub const NSID_NONE: u32 = 0;

/// Size of every Identify structure, in bytes. NVMe Base 1.4 s5.15 Identify command.
pub const IDENTIFY_SIZE: usize = 4096;
