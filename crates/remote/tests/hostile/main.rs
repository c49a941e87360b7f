//! A malicious back end never harms the VM: the whole stack between a client like a VM's and a server that is honest until it is not.
//!
//! * `between` stands before an honest server of ours and corrupts the messages that it is told to; `lies` says how;
//! * `vm` is the VM's side: it asks for everything that a VM asks for, and each answer must come in time and be the right one, all-ones
//!   or an error; what it has not mapped stays as it is;
//! * `up`: lies of a back end that is in use; `again`: lies when it is connected to again;
//! * `belongings` counts threads, descriptors and memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]
#![allow(clippy::disallowed_methods, reason = "tests wait as they like")]

mod again;
mod belongings;
mod between;
mod lies;
mod message;
#[path = "../rig/mod.rs"]
mod rig;
#[allow(dead_code, reason = "the other tests use the rest of it")]
#[path = "../remote/rig.rs"]
mod stack;
mod up;
mod vm;
