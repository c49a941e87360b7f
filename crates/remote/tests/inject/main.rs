//! Faults injected into real functions, as a consumer finds them.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "test code")]

mod accesses;
mod back_end;
mod bench;
mod memory;
mod nvme;
mod signals;
mod taps;
