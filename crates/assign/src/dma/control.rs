//! The truth about one function's mappings, which the device's table is a copy of.
//!
//! A mapping that a relay follows is *arriving* until the relay has it and *leaving* until the relay has let it go. It keeps its
//! addresses then, so that about one address the relay is asked one thing at a time; and no request can take it away that has not
//! seen it come.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::table::{Entry, Table};
use crate::error::{Errno, RequestError};
use crate::limits::Limits;
use crate::mapping::Mapping;
use crate::tap::DmaTap;

/// The mappings by address, and their sums, which change together.
#[derive(Default)]
pub(super) struct Control {
    entries: BTreeMap<u64, Kept>,
    bytes: u64,
    /// Mappings that left the map while I/O held them; those that are gone by now are swept out at the next addition.
    orphans: Vec<Weak<Mapping>>,
    /// Whom the device's table asks.
    tap: Option<Arc<dyn DmaTap>>,
}

struct Kept {
    entry: Entry,
    standing: Standing,
}

/// Where a mapping is on its way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The relay is being told of it.
    Arriving,
    /// Here.
    Here,
    /// The relay is being told of its end.
    Leaving,
}

impl Control {
    /// Mappings, and the bytes of memory mapped.
    pub(super) fn usage(&self) -> (usize, u64) {
        (self.entries.len(), self.bytes)
    }

    /// Whether a mapping may be entered.
    pub(super) fn admit(
        &self,
        iova: u64,
        end: u64,
        has_memory: bool,
        limits: &Limits,
    ) -> Result<(), RequestError> {
        if self.overlapping(iova, end).next().is_some() {
            return Err(RequestError::new(Errno::EEXIST, "the range overlaps a mapping"));
        }
        if self.entries.len() >= limits.dma_maps {
            return Err(RequestError::new(Errno::ENOSPC, "too many DMA mappings (limit dma_maps)"));
        }
        let bytes = if has_memory { self.bytes.saturating_add(end - iova) } else { self.bytes };
        if bytes > limits.dma_bytes {
            return Err(RequestError::new(Errno::ENOSPC, "too much memory mapped (limit dma_bytes)"));
        }
        Ok(())
    }

    /// Entries that share a byte with `iova..end`, highest first. Nothing overlaps, so ends ascend with starts.
    fn overlapping(&self, iova: u64, end: u64) -> impl Iterator<Item = &Kept> {
        self.entries.range(..end).rev().map(|(_, kept)| kept).take_while(move |kept| kept.entry.end > iova)
    }

    pub(super) fn insert(&mut self, entry: Entry, standing: Standing) {
        self.bytes += entry.mapped_bytes();
        self.entries.insert(entry.iova, Kept { entry, standing });
    }

    /// The relay has it.
    pub(super) fn arrived(&mut self, iova: u64) {
        if let Some(kept) = self.entries.get_mut(&iova) {
            kept.standing = Standing::Here;
        }
    }

    pub(super) fn remove(&mut self, iova: u64) -> Option<Entry> {
        let entry = self.entries.remove(&iova)?.entry;
        self.bytes -= entry.mapped_bytes();
        Some(entry)
    }

    pub(super) fn remember_orphan(&mut self, mapping: &Arc<Mapping>) {
        self.orphans.retain(|orphan| orphan.strong_count() > 0);
        self.orphans.push(Arc::downgrade(mapping));
    }

    /// Mappings that left while I/O held them, as far as that has not ended.
    pub(super) fn orphans(&self) -> Vec<Arc<Mapping>> {
        self.orphans.iter().filter_map(Weak::upgrade).collect()
    }

    /// Marks what makes up `iova..end`, or all there is, as leaving: address and bytes of each.
    pub(super) fn begin_leaving(
        &mut self,
        range: Option<(u64, u64)>,
    ) -> Result<Vec<(u64, u64)>, RequestError> {
        let leaving = match range {
            Some((iova, end)) => self.within(iova, end)?,
            None => self.entries.values().filter_map(here).collect(),
        };
        for (iova, _) in &leaving {
            if let Some(kept) = self.entries.get_mut(iova) {
                kept.standing = Standing::Leaving;
            }
        }
        Ok(leaving)
    }

    fn within(&self, iova: u64, end: u64) -> Result<Vec<(u64, u64)>, RequestError> {
        let mut within = Vec::new();
        for kept in self.overlapping(iova, end) {
            if kept.entry.iova < iova || kept.entry.end > end {
                return Err(RequestError::invalid("the range splits a mapping"));
            }
            within.extend(here(kept));
        }
        if within.is_empty() {
            return Err(RequestError::new(Errno::ENOENT, "nothing is mapped there"));
        }
        Ok(within)
    }

    /// Takes out what was marked.
    pub(super) fn finish_leaving(&mut self, leaving: &[(u64, u64)]) -> Vec<Entry> {
        leaving.iter().filter_map(|(iova, _)| self.remove(*iova)).collect()
    }

    /// Exchanges the tap; the old one is to be dropped outside of the lock.
    pub(super) fn exchange_tap(&mut self, tap: Option<Arc<dyn DmaTap>>) -> Option<Arc<dyn DmaTap>> {
        std::mem::replace(&mut self.tap, tap)
    }

    /// What the device is to see.
    pub(super) fn table(&self) -> Table {
        Table::new(self.entries.values().map(|kept| kept.entry.clone()).collect(), self.tap.clone())
    }
}

fn here(kept: &Kept) -> Option<(u64, u64)> {
    (kept.standing == Standing::Here).then(|| (kept.entry.iova, kept.entry.size()))
}
