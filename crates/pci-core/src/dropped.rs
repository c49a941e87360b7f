//! Counts of the accesses that did not reach a function.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many accesses were answered with all-ones or dropped, since the function was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Configuration reads answered with all-ones.
    pub config_reads: u64,
    /// Configuration writes dropped.
    pub config_writes: u64,
    /// Reads of BARs, the ROM and the device's own regions answered with all-ones.
    pub bar_reads: u64,
    /// Writes of them dropped.
    pub bar_writes: u64,
}

/// The counters behind [`Dropped`]. They are statistics: no order between them is promised.
#[derive(Debug, Default)]
pub(crate) struct DropCounters {
    pub(crate) config_reads: Counter,
    pub(crate) config_writes: Counter,
    pub(crate) bar_reads: Counter,
    pub(crate) bar_writes: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl DropCounters {
    pub(crate) fn snapshot(&self) -> Dropped {
        Dropped {
            config_reads: self.config_reads.get(),
            config_writes: self.config_writes.get(),
            bar_reads: self.bar_reads.get(),
            bar_writes: self.bar_writes.get(),
        }
    }
}
