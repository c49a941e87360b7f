//! How accesses reach the device: the one thing that an access asks beforehand, for all kinds of device that are not plain.

use crate::block::BarAccess;
use crate::device::Device;
use std::sync::atomic::{AtomicU8, Ordering};

/// Reached by loads and whole blocks only.
const BLOCKS: u8 = 1 << 0;
/// Its accesses are waited for.
const WAITS: u8 = 1 << 1;
/// Somebody judges accesses before they get in.
const TAPPED: u8 = 1 << 2;

/// One byte beside what every access reads, so that all of it costs a plain device one compare.
pub(super) struct Way(AtomicU8);

impl Way {
    /// As the device says, which is not asked again.
    pub(super) fn to(device: &dyn Device) -> Way {
        let blocks = match device.bar_access() {
            BarAccess::Plain => 0,
            BarAccess::BlockStore => BLOCKS,
        };
        let waits = if device.waits().is_some() { WAITS } else { 0 };
        Way(AtomicU8::new(blocks | waits))
    }

    /// Nothing is special about it. A tap that is being installed is seen by the accesses that come after.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.get() == 0
    }

    /// Whether plain accesses under a pass reach the device.
    #[inline]
    pub(super) fn takes_plain(&self) -> bool {
        self.get() & (BLOCKS | WAITS) == 0
    }

    pub(super) fn waits(&self) -> bool {
        self.get() & WAITS != 0
    }

    #[inline]
    pub(super) fn is_tapped(&self) -> bool {
        self.get() & TAPPED != 0
    }

    /// For good.
    pub(super) fn tapped(&self) {
        self.0.fetch_or(TAPPED, Ordering::Release);
    }

    /// Relaxed: who sees the tap's bit looks for the tap behind a `OnceLock`, which orders itself.
    #[inline]
    fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}
