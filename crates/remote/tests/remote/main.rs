//! Everything put together: a back end in a process of its own, a function of ours before it, and a driver of a guest's kind before
//! that, which must notice nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]
#![allow(clippy::disallowed_methods, reason = "tests wait as they like")]

mod forwarded;
mod replay;
mod rig;
