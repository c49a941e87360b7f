//! The executor of recoveries, against scripted platforms, parties and models, on a virtual clock.
#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "what a test waits for is its own")]

mod calls;
mod consumers;
mod defects;
mod dma;
mod gates;
mod hot_plug;
mod paths;
mod random;
mod script;
mod world;
