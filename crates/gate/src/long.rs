//! The long passes inside a gate: a slab whose size is the most that were inside at once.

use crate::clock::Stamp;
use crate::{AccessKind, Epoch, Inside, InsideKind};

/// One long pass, as the operator sees it.
struct Entry {
    kind: AccessKind,
    what: &'static str,
    epoch: Epoch,
    since: Stamp,
}

/// Where a long pass is in the table; given back when it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LongId(usize);

#[derive(Default)]
pub(crate) struct LongTable {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// Entries per epoch: one pair for the epoch that lives, one for each that left orphans.
    counts: Vec<(Epoch, usize)>,
}

impl LongTable {
    pub(crate) fn insert(&mut self, epoch: Epoch, kind: AccessKind, what: &'static str) -> LongId {
        match self.counts.iter_mut().find(|(counted, _)| *counted == epoch) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((epoch, 1)),
        }
        let entry = Some(Entry { kind, what, epoch, since: Stamp::now() });
        if let Some(index) = self.free.pop() {
            self.entries[index] = entry;
            return LongId(index);
        }
        self.entries.push(entry);
        LongId(self.entries.len() - 1)
    }

    /// Takes a pass out. True if it was the last of its epoch.
    pub(crate) fn remove(&mut self, id: LongId) -> bool {
        let Some(entry) = self.entries.get_mut(id.0).and_then(Option::take) else { return false };
        self.free.push(id.0);
        let Some(at) = self.counts.iter().position(|(epoch, _)| *epoch == entry.epoch) else { return false };
        self.counts[at].1 -= 1;
        let last = self.counts[at].1 == 0;
        if last {
            self.counts.swap_remove(at);
        }
        last
    }

    pub(crate) fn any_of(&self, epoch: Epoch) -> bool {
        self.counts.iter().any(|(counted, _)| *counted == epoch)
    }

    /// Describes the passes of `epoch`, or of all epochs.
    pub(crate) fn describe(&self, epoch: Option<Epoch>) -> impl Iterator<Item = Inside> {
        self.entries
            .iter()
            .flatten()
            .filter(move |entry| epoch.is_none_or(|wanted| wanted == entry.epoch))
            .map(|entry| Inside {
                kind: InsideKind::Long(entry.kind),
                what: entry.what.to_owned(),
                age: Some(entry.since.age()),
                epoch: Some(entry.epoch),
            })
    }
}
