//! The table the device looks I/O addresses up in: sorted, immutable, replaced as a whole.
//!
//! A table with a tap never has a good hint, so every lookup of the device comes the slow way, where the tap is asked; without
//! one the question is never put.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::DmaError;
use crate::mapping::{Mapping, Permissions};
use crate::tap::DmaTap;

/// What the device wants to do with the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaAccess {
    /// The device reads the consumer's memory.
    Read,
    /// The device writes it.
    Write,
    /// Both.
    ReadWrite,
}

impl DmaAccess {
    /// Whether bytes may be copied out of the memory.
    pub(crate) fn reads(self) -> bool {
        self != DmaAccess::Write
    }

    /// Whether bytes may be copied into the memory.
    pub(crate) fn writes(self) -> bool {
        self != DmaAccess::Read
    }
}

/// One mapping of the consumer's.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) iova: u64,
    /// The address after the last byte.
    pub(crate) end: u64,
    pub(crate) permissions: Permissions,
    /// Nothing for a range mapped without a file.
    pub(crate) mapping: Option<Arc<Mapping>>,
}

/// Entries sorted by address, none overlapping.
#[derive(Default)]
pub(crate) struct Table {
    entries: Box<[Entry]>,
    /// Where the last lookup ended: queues and their data tend to lie in one mapping. A wrong hint costs a search.
    hint: AtomicUsize,
    tap: Option<Arc<dyn DmaTap>>,
}

/// An index that no entry has.
const NO_HINT: usize = usize::MAX;

impl Table {
    /// `entries` are sorted by address and do not overlap.
    pub(crate) fn new(entries: Box<[Entry]>, tap: Option<Arc<dyn DmaTap>>) -> Table {
        let hint = if tap.is_some() { NO_HINT } else { 0 };
        Table { entries, hint: AtomicUsize::new(hint), tap }
    }

    /// The entry that contains `iova`, where the device accesses `len` bytes.
    #[inline]
    pub(crate) fn find(&self, iova: u64, len: u64, access: DmaAccess) -> Result<&Entry, DmaError> {
        match self.hinted(iova) {
            Some(entry) => Ok(entry),
            None => self.search(iova, len, access),
        }
    }

    /// The entry that contains `iova`, for who is not the device.
    #[inline]
    pub(crate) fn find_untapped(&self, iova: u64) -> Result<&Entry, DmaError> {
        match self.hinted(iova) {
            Some(entry) => Ok(entry),
            None => self.search_untapped(iova),
        }
    }

    #[inline]
    fn hinted(&self, iova: u64) -> Option<&Entry> {
        let entry = self.entries.get(self.hint.load(Ordering::Relaxed))?;
        (entry.iova <= iova && iova < entry.end).then_some(entry)
    }

    #[cold]
    fn search(&self, iova: u64, len: u64, access: DmaAccess) -> Result<&Entry, DmaError> {
        let entry = self.search_untapped(iova)?;
        let len = len.min(entry.end - iova);
        match &self.tap {
            Some(tap) if tap.fails(iova, len, access) => Err(DmaError::Injected),
            _ => Ok(entry),
        }
    }

    #[cold]
    fn search_untapped(&self, iova: u64) -> Result<&Entry, DmaError> {
        let index = self.entries.partition_point(|entry| entry.end <= iova);
        let entry = self.entries.get(index).filter(|entry| entry.iova <= iova).ok_or(DmaError::NotMapped)?;
        if self.tap.is_none() {
            self.hint.store(index, Ordering::Relaxed);
        }
        Ok(entry)
    }
}

impl Entry {
    /// Whether the directions are permitted.
    #[inline]
    pub(crate) fn permit(&self, access: DmaAccess) -> Result<(), DmaError> {
        let refused = access.reads() && !self.permissions.read || access.writes() && !self.permissions.write;
        if refused { Err(DmaError::Denied) } else { Ok(()) }
    }

    pub(crate) fn size(&self) -> u64 {
        self.end - self.iova
    }

    /// Bytes of address space this entry uses in this process.
    pub(crate) fn mapped_bytes(&self) -> u64 {
        self.mapping.as_ref().map_or(0, |mapping| mapping.len())
    }
}
