//! What windows decide, against pages that a test scripts: each interleaving that matters is brought about by a call at the
//! right place, not by luck. Every other interleaving is shuttle's.
//!
//! MM-I1 to MM-I6 are the invariants of report D; VF-16 to VF-20 what vfio does.
#![cfg(not(any(loom, shuttle)))]
#![allow(unsafe_code, reason = "fake pages are real memory, so that accesses really fail")]
#![allow(clippy::disallowed_types, reason = "a test's own locks")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accesses;
mod accounts;
mod faults;
mod following;
mod harness;
mod parking;
mod shares;
mod trapped;
