//! The recovery planner. Every run of every test is watched by the checker of module `checker`.
#![allow(clippy::unwrap_used, reason = "test code")]

mod aer;
mod calls;
mod checker;
mod consumers;
mod defects;
mod eeh;
mod hot_plug;
mod merge_tables;
mod oracle;
mod owner;
mod platform;
mod random;
mod reports;
