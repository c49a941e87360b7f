//! The NVMe driver over back ends that die: the journal against a model, and all of it against controllers of our own.
#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(clippy::disallowed_methods, reason = "a test waits as it likes")]
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test fails by panicking")]

mod back_end;
mod deaths;
mod guest;
mod hostile;
mod journal;
mod others;
mod resets;
mod wires;
