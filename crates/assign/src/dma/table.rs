//! The table the device looks I/O addresses up in: sorted, immutable, replaced as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::DmaError;
use crate::mapping::{Mapping, Permissions};

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
}

impl Table {
    /// `entries` are sorted by address and do not overlap.
    pub(crate) fn new(entries: Box<[Entry]>) -> Table {
        Table { entries, hint: AtomicUsize::new(0) }
    }

    /// The entry that contains `iova`.
    #[inline]
    pub(crate) fn find(&self, iova: u64) -> Option<&Entry> {
        let hint = self.hint.load(Ordering::Relaxed);
        if let Some(entry) = self.entries.get(hint)
            && entry.iova <= iova
            && iova < entry.end
        {
            return Some(entry);
        }
        self.search(iova)
    }

    #[cold]
    fn search(&self, iova: u64) -> Option<&Entry> {
        let index = self.entries.partition_point(|entry| entry.end <= iova);
        let entry = self.entries.get(index).filter(|entry| entry.iova <= iova)?;
        self.hint.store(index, Ordering::Relaxed);
        Some(entry)
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
