//! The ISM-like function: as its registers show it, between consumers that do not trust each other, under its driver.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "test code; patterns of bytes")]

mod apart;
mod commands;
mod driver;
mod hostile;
mod moves;
mod party;
mod recovery;
mod region;
mod rig;
