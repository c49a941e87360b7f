//! What became of every handle: each names one device, and nothing once the next was given out.

use crate::machine::tally::note;
use crate::slots::journal::Journal;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zpci::{Event, Handle, Listener};

#[derive(Default)]
struct Pages {
    given: BTreeSet<Handle>,
    /// In the order in which they were given out, for those who try them all.
    known: Vec<Handle>,
    /// Another handle was told of since.
    dead: BTreeSet<Handle>,
    /// Which device answered, by its mark, and after how many resets.
    names: BTreeMap<Handle, [u8; 2]>,
}

/// See the module's head. Its lock is never held over a scheduling point.
pub(super) struct Ledger {
    journal: Arc<Journal>,
    pages: Mutex<Pages>,
}

impl Ledger {
    pub(super) fn new(journal: &Arc<Journal>) -> Arc<Ledger> {
        Arc::new(Ledger { journal: journal.clone(), pages: Mutex::default() })
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last handles that were given out, stale ones among them.
    pub(super) fn last(&self, most: usize) -> Vec<Handle> {
        self.pages().known.iter().rev().take(most).copied().collect()
    }

    pub(super) fn is_dead(&self, handle: Handle) -> bool {
        self.pages().dead.contains(&handle)
    }

    /// Something was done under `handle`, which `was_dead` before that began, and a device with this mark has answered, after
    /// so many resets if that is to be the same whenever it answers.
    pub(super) fn answered(&self, handle: Handle, was_dead: bool, mark: [u8; 2]) {
        let first = *self.pages().names.entry(handle).or_insert(mark);
        self.journal.demand(!was_dead, || format!("{handle} works after it was dead (ZIO-I3)"));
        self.journal.demand(first == mark, || format!("{handle} names two devices (law 5)"));
    }
}

impl Listener for Ledger {
    fn event(&self, event: &Event) {
        match event {
            Event::Handle { old, new, .. } => {
                let mut pages = self.pages();
                let first = new.is_none() || pages.given.insert(*new);
                if !new.is_none() {
                    pages.known.push(*new);
                }
                pages.dead.insert(*old);
                drop(pages);
                self.journal.demand(first, || format!("{new} was given out twice"));
            }
            Event::Availability { .. } => note("availability told", &Ok::<_, ()>(())),
            Event::Error { .. } => note("error told", &Ok::<_, ()>(())),
        }
    }
}
