//! The DMA map: which of the consumer's memory the device may reach, and how it copies from and to it.

mod control;
mod map;
mod request;
#[allow(unsafe_code, reason = "copies from and to memory shared with a client")]
mod slice;
mod table;

pub(crate) use map::closing;
pub use map::{DmaMap, Unmapped};
pub use request::{DmaMapFlags, DmaMapRequest};
pub use slice::{GuestSlice, HeldSlice};
pub use table::DmaAccess;
