//! A link to a back end: what it does, and what no back end can do to it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../rig/mod.rs"]
mod rig;

mod cases;

mod asked;
mod calls;
mod ends;
mod hostile;
mod order;
mod peer;
