//! PCI LOAD, PCI STORE and PCI STORE BLOCK against a function in front of a fake device (ZP-12 to ZP-14).

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]
#![allow(clippy::disallowed_types, reason = "what a fake device remembers is its own")]

mod busy;
mod conditions;
mod config;
mod copies;
mod handles;
mod world;
