//! The I/O region in this process: its errors, row by row, and its promises (ZIO-I1 to ZIO-I5).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]

mod errors;
mod promises;
mod world;
