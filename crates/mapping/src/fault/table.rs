//! Which range of addresses is whose, and where somebody waits until when.

use super::Serve;
use crate::ranks;
use gate::Deadline;
use gate::lock::Leaf;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

/// The windows of one pool, by address.
#[derive(Default)]
pub(super) struct Table {
    /// Rank: 77, fault table; a leaf. Handlers look up an address while windows come and go, which no single word covers. A
    /// fault costs several microseconds in the kernel, so a free lock is not what it is slow by; and a look-up that needs
    /// no lock (`Published`) would have who unmaps wait for readers, in a destructor.
    ranges: Leaf<ranks::FaultTable, Ranges>,
    /// How many windows somebody waits in, so that a handler need not take the lock to see that there are none. Who adds one
    /// tells others afterwards, or looks itself.
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Ranges {
    by_start: BTreeMap<usize, Entry>,
    /// For each entry with a deadline: the deadline, and its start.
    due: BTreeSet<(Instant, usize)>,
}

struct Entry {
    end: usize,
    window: Weak<dyn Serve>,
    due: Option<Instant>,
    /// Faults and deadlines of it that ended in a panic.
    panics: u32,
}

/// A window, and where it is.
pub(super) struct Found {
    pub(super) window: Arc<dyn Serve>,
    /// The address of its first byte.
    pub(super) start: usize,
    /// Bytes.
    pub(super) len: usize,
}

/// What is to be done at some moment.
pub(super) enum Due {
    /// This window's deadline has come.
    Now(Found),
    /// Nothing before this moment.
    At(Instant),
    /// Nobody waits.
    Never,
}

impl Table {
    pub(super) fn insert(&self, start: usize, len: usize, window: Weak<dyn Serve>) {
        let entry = Entry { end: start + len, window, due: None, panics: 0 };
        self.change(|ranges| {
            ranges.forget_deadline(start);
            ranges.by_start.insert(start, entry);
        });
    }

    pub(super) fn remove(&self, start: usize) {
        self.change(|ranges| {
            ranges.forget_deadline(start);
            ranges.by_start.remove(&start);
        });
    }

    /// Whose `address` is; `None` if it is nobody's, or its window is about to end.
    pub(super) fn find(&self, address: usize) -> Option<Found> {
        let ranges = self.ranges.lock();
        let (start, entry) = ranges.by_start.range(..=address).next_back()?;
        if address < entry.end { entry.found(*start) } else { None }
    }

    /// Notes that somebody is left waiting in the window at `start`, at most until `deadline`.
    pub(super) fn wait_until(&self, start: usize, deadline: Deadline) {
        self.change(|ranges| ranges.note_deadline(start, deadline.instant()));
    }

    /// Whether somebody waits anywhere. Without a look at the clock, since mostly nobody does.
    pub(super) fn anybody_waits(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// What is to be done at `now`. A window is given once: note its next deadline.
    pub(super) fn due(&self, now: Instant) -> Due {
        self.change(|ranges| ranges.take_due(now))
    }

    /// Counts a panic of the window at `start`; gives the number.
    pub(super) fn count_panic(&self, start: usize) -> u32 {
        let mut ranges = self.ranges.lock();
        let entry = ranges.by_start.get_mut(&start);
        entry.map_or(0, |entry| {
            entry.panics = entry.panics.saturating_add(1);
            entry.panics
        })
    }

    /// All windows.
    pub(super) fn windows(&self) -> Vec<Arc<dyn Serve>> {
        self.ranges.lock().by_start.values().filter_map(|entry| entry.window.upgrade()).collect()
    }

    fn change<T>(&self, with: impl FnOnce(&mut Ranges) -> T) -> T {
        let mut ranges = self.ranges.lock();
        let result = with(&mut ranges);
        self.waiting.store(ranges.due.len(), Ordering::Release);
        result
    }
}

impl Ranges {
    fn forget_deadline(&mut self, start: usize) {
        if let Some(due) = self.by_start.get_mut(&start).and_then(|entry| entry.due.take()) {
            self.due.remove(&(due, start));
        }
    }

    /// The earlier one counts, so there is one for each window, however many wait in it.
    fn note_deadline(&mut self, start: usize, deadline: Instant) {
        let Some(entry) = self.by_start.get_mut(&start) else { return };
        if entry.due.is_some_and(|due| due <= deadline) {
            return;
        }
        if let Some(later) = entry.due.replace(deadline) {
            self.due.remove(&(later, start));
        }
        self.due.insert((deadline, start));
    }

    fn take_due(&mut self, now: Instant) -> Due {
        // Each round takes one out, and those that are skipped have ended.
        while let Some((due, start)) = self.due.first().copied() {
            if due > now {
                return Due::At(due);
            }
            self.forget_deadline(start);
            if let Some(found) = self.by_start.get(&start).and_then(|entry| entry.found(start)) {
                return Due::Now(found);
            }
        }
        Due::Never
    }
}

impl Entry {
    fn found(&self, start: usize) -> Option<Found> {
        Some(Found { window: self.window.upgrade()?, start, len: self.end - start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gate::ThreadToken;
    use std::time::Duration;

    struct Nothing;

    impl Serve for Nothing {
        fn fault(&self, _: &mut ThreadToken, _: u64) -> Option<Deadline> {
            None
        }

        fn expire(&self, _: Instant) -> Option<Deadline> {
            None
        }

        fn abandon(&self) {}
    }

    fn with(starts: &[usize]) -> (Table, Vec<Arc<dyn Serve>>) {
        let table = Table::default();
        let windows = starts.iter().map(|start| {
            let window: Arc<dyn Serve> = Arc::new(Nothing);
            table.insert(*start, 0x2000, Arc::downgrade(&window));
            window
        });
        let windows = windows.collect();
        (table, windows)
    }

    #[test]
    fn an_address_is_found_in_its_own_range_only() {
        let (table, mut windows) = with(&[0x1_0000, 0x1_2000, 0x2_0000]);
        let start = |address| table.find(address).map(|found| found.start);
        assert_eq!(start(0xffff), None);
        assert_eq!(start(0x1_0000), Some(0x1_0000));
        assert_eq!(start(0x1_1fff), Some(0x1_0000));
        assert_eq!(start(0x1_2000), Some(0x1_2000));
        assert_eq!(start(0x1_4000), None);
        windows.remove(1);
        assert_eq!(start(0x1_2000), None, "its window has ended");
        table.remove(0x2_0000);
        assert_eq!(start(0x2_0000), None);
    }

    #[test]
    fn the_earliest_deadline_comes_first_and_once() {
        let (table, _windows) = with(&[0x1_0000, 0x2_0000]);
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        assert!(matches!(table.due(now), Due::Never));
        table.wait_until(0x1_0000, Deadline::at(later(9)));
        table.wait_until(0x2_0000, Deadline::at(later(5)));
        table.wait_until(0x1_0000, Deadline::at(later(3)));
        table.wait_until(0x1_0000, Deadline::at(later(7)));
        assert!(matches!(table.due(now), Due::At(at) if at == later(3)));
        assert!(matches!(table.due(later(6)), Due::Now(found) if found.start == 0x1_0000));
        assert!(matches!(table.due(later(6)), Due::Now(found) if found.start == 0x2_0000));
        assert!(matches!(table.due(later(600)), Due::Never));
    }

    #[test]
    fn the_deadline_of_a_window_that_ended_is_forgotten() {
        let (table, mut windows) = with(&[0x1_0000, 0x2_0000]);
        let now = Instant::now();
        table.wait_until(0x1_0000, Deadline::at(now));
        table.wait_until(0x2_0000, Deadline::at(now));
        windows.remove(0);
        table.remove(0x2_0000);
        assert!(matches!(table.due(now + Duration::from_secs(1)), Due::Never));
        assert!(!table.anybody_waits());
    }
}
