//! The EEH operations of vfio: every row of their table, and every error.
#![allow(clippy::disallowed_types, reason = "test code shares its notes under plain mutexes")]

mod assigned;
mod decode;
mod house;
mod ops;
mod state;
