//! What a mechanism reports as it happens.

use crate::access::{ConfigAddress, Width};

/// Something about a mechanism that the operator wants to know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BridgeEvent {
    /// A bridge that writes only whole dwords was asked for a narrower write, the first one to this function: it may
    /// corrupt adjacent bits that are cleared by writing 1 (CFG-05).
    NarrowWrite {
        /// The register that was to be written.
        at: ConfigAddress,
        /// The width asked for.
        width: Width,
    },
}

/// Who is told of them.
///
/// Called under a pass of the function and under no lock of this crate, so it never waits.
pub trait BridgeObserver: Send + Sync {
    /// Something happened.
    fn event(&self, event: &BridgeEvent);
}
