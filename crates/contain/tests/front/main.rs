//! Detection, the front of containment, and following the topology. Recoveries are carried out by a script, but in `through`.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]
#![allow(clippy::disallowed_types, reason = "test code shares its notes under plain mutexes")]

mod again;
mod budget;
mod detection;
mod follow;
mod freeze;
mod hot_plug;
mod left;
mod no_lock;
mod operate;
mod order;
mod rig;
mod script;
mod special;
mod through;
