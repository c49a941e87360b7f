//! Slots that are plugged and unplugged while everything else happens, where every schedule has to end; and the same slots in
//! the s390 view, with all that can be done to a function there; and errors of functions in a tree of PEs that changes meanwhile.
//!
//! Run with `RUSTFLAGS="--cfg shuttle" cargo test -p museum --release --test unplug`. The controllers of the slots, what is
//! assigned, the resets, the topology, the functions and what `zpci` makes of them are the real ones. Complaints that the names cite are those of
//! `museum::unplug`, where the checker finds what they are about.
#![cfg(shuttle)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test code; clippy exempts only functions marked as tests"
)]

mod eeh;
mod machine;
mod random;
mod slots;
mod zpci;
