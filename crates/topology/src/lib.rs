//! Where functions are: segments, buses, bridges, multi-function devices, virtual functions.
//!
//! * [`Snapshot`] is one moment's picture; it never changes, and whoever holds one keeps every function in it reachable.
//! * [`Topology`] publishes the present one and changes it: [`enumerate`] finds what is behind a host bridge, virtual
//!   functions are switched on and off, functions are removed. Readers never lock and never wait.
//! * [`fabric`] is emulated hardware below a host bridge.
//!
//! What this crate does **not** do: resets, power, slots and their state machines, and anything with the functions that it
//! finds.
//!
//! # Concurrency
//! A change is worked out first and published last, in one step. Who publishes has the topology's turn, a gate that is
//! held for that moment and under which no other turn is waited for; a scan has a claim to the part that it looks at, and a
//! change of virtual functions the gate of the physical function. So segments, slots and functions never wait for each
//! other, and no lock is held over any of it: the one there is ([`ranks`]) is a leaf, for claims and addresses.

// Law 1: whatever waits takes `&mut ThreadToken`; see clippy.toml.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod enumerate;
mod error;
pub mod fabric;
mod merge;
mod radix;
pub mod ranks;
mod rescan;
mod scans;
mod scope;
mod segment;
mod snapshot;
mod sr_iov;
mod topology;

pub use error::{NumVfsError, TopologyError};
pub use segment::Segment;
pub use sr_iov::VirtualFunctions;
pub use topology::{Removed, Scanned, Topology};

pub use snapshot::{Node, NodeKind, Snapshot};
