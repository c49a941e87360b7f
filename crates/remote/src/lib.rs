//! Another vfio-user server as a device source: a function in front of it, which outlives it.
//!
//! The server (the *back end*) may be any: SPDK, libvfio-user, another Portcullis. Consumers have a function of ours with its gate,
//! its configuration space and its interrupts; what they ask for is forwarded, and when the back end dies, hangs or answers
//! nonsense they keep the function.
//!
//! What this crate does not do: it opens no listening socket and knows no slots. It tells whoever owns the function what happened to
//! the back end, and the owner decides what the consumer sees of that.

pub mod config;
pub mod fence;
pub mod forward;
pub mod inject;
pub mod life;
pub mod link;
pub mod nvme;
pub mod picture;
pub mod ranks;
pub mod relay;
mod remote;
pub mod restart;

pub use self::remote::{OpenError, Remote, Status, Told, Watch};
