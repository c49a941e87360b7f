//! The hardware of a recovery, over emulated hardware that routes by its bridges' registers: what a reset takes away is really out
//! of reach, and time is virtual.
#![allow(clippy::disallowed_types)] // The hardware's own locks guard plain values; no code under test takes part in them.
#![allow(clippy::disallowed_methods)] // A test thread waits for threads that it has started.

mod closed;
mod coming_back;
mod hardware;
mod reach;
mod removal;
mod sight;
mod slots;
