//! The NVMe controller under a guest in the same process: everything a driver can see, and some that it should not do.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test's lengths are its own")]

mod admin;
mod elsewhere;
mod guest;
mod interrupts;
mod io;
mod lifecycle;
mod recovery;
