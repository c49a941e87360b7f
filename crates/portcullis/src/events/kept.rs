//! Which events are kept, and how they are read. Neither clock nor lock nor thread.
//!
//! Events are numbered from 1 on, without holes. One is kept as long as either of two wants it:
//!
//! * the *ring*: the latest [`RING`] of all, so that a follower that falls behind by less loses nothing;
//! * its *share*: the latest [`SHARE`] of the same subject and the same source.
//!
//! A client decides how often most events of its function happen. What it can push out is the ring and its own share: the
//! events of slots, virtual machines and other functions, and what operators did to this function, have shares it does
//! not reach. So what is kept has holes, and they can be seen: the numbers in them are missing.
//!
//! Within a share events are let go oldest first, so what is kept of a share is always its latest. That is how a reader
//! who wants some subjects only is spared the gaps of others: it is shown a hole only if one of its shares has lost an
//! event above the hole's beginning.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::filter::Filter;
use crate::control::stream::{EventEntry, Gap, Subject};
use crate::log::Bucket;

/// The latest events of all that are kept.
pub const RING: u64 = 4096;
/// The latest events of one subject and source that are kept in any case.
pub const SHARE: usize = 64;
/// Shares; more than a daemon has functions and slots.
pub(super) const MAX_SHARES: usize = 4 * crate::config::MAX_SLOTS;
/// Most events that one reading looks at, so that nobody who has an event to record waits for long.
pub(super) const MAX_LOOKED_AT: usize = 1024;

/// Who decides how often an event happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// A client or its guest, as often as it likes.
    Consumer,
    /// An operator, or the hardware.
    Operator,
}

/// Whose share an event is in.
pub(super) type ShareKey = (Subject, Source);

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The number of the newest event, which is always kept.
    last: u64,
    events: BTreeMap<u64, (Arc<EventEntry>, ShareKey)>,
    shares: BTreeMap<ShareKey, Share>,
    /// The highest number that was let go of a share that is itself forgotten.
    forgotten: u64,
}

#[derive(Debug, Default)]
struct Share {
    /// Numbers of its latest events, ascending.
    latest: VecDeque<u64>,
    /// The highest of its numbers that was let go.
    lost: u64,
    /// Of the log, for each kind.
    limits: BTreeMap<&'static str, Bucket>,
}

/// An element of what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Event(Arc<EventEntry>),
    Gap(Gap),
}

/// What one reading found, and up to which number it looked.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) items: Vec<Item>,
    pub(super) next: u64,
}

impl Kept {
    /// The number of the newest event; 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Numbers an event and keeps it. Answers what was kept, and whether to log it, as [`Bucket::take`].
    pub(super) fn record(
        &mut self,
        key: ShareKey,
        kind: &'static str,
        mut entry: EventEntry,
        now: Instant,
    ) -> (Arc<EventEntry>, Option<u64>) {
        self.make_room_for(&key);
        self.last += 1;
        entry.sequence = self.last;
        let entry = Arc::new(entry);
        self.events.insert(self.last, (Arc::clone(&entry), key.clone()));
        let share = self.shares.entry(key).or_default();
        let log = share.limits.entry(kind).or_insert_with(|| Bucket::new(now)).take(now);
        share.latest.push_back(self.last);
        let from_share = if share.latest.len() > SHARE { share.latest.pop_front() } else { None };
        if let Some(number) = from_share.filter(|number| !self.in_ring(*number)) {
            self.let_go(number);
        }
        let from_ring = self.last.checked_sub(RING).filter(|number| !self.in_share(*number));
        if let Some(number) = from_ring {
            self.let_go(number);
        }
        (entry, log)
    }

    /// Events with numbers above `after` that `filter` wants, at most `limit` of them, and gaps where some are missing.
    /// Its length and its time are bounded; the next reading goes on where it ended.
    pub(super) fn read(&self, after: u64, filter: &Filter, limit: usize) -> Reading {
        let lost = self.lost(filter);
        let mut reading = Reading { items: Vec::new(), next: after.min(self.last) };
        let mut found = 0;
        for (number, (entry, _)) in self.events.range(reading.next + 1..).take(MAX_LOOKED_AT) {
            if found == limit {
                break;
            }
            let expected = reading.next + 1;
            if expected < *number && expected <= lost {
                reading.miss(*number - expected, *number);
            }
            reading.next = *number;
            if filter.wants(entry) {
                reading.items.push(Item::Event(Arc::clone(entry)));
                found += 1;
            }
        }
        reading
    }

    /// Whether anything is known of one of the subjects.
    pub(super) fn knows(&self, filter: &Filter) -> bool {
        self.shares.keys().any(|(subject, _)| filter.is_about(subject))
    }

    /// The highest number of an event that is not kept and that `filter` might have wanted.
    fn lost(&self, filter: &Filter) -> u64 {
        let Some(subjects) = filter.subjects() else { return u64::MAX };
        let sources = [Source::Consumer, Source::Operator];
        let keys = subjects.iter().flat_map(|subject| sources.map(|source| (subject.clone(), source)));
        keys.filter_map(|key| Some(self.shares.get(&key)?.lost)).fold(self.forgotten, u64::max)
    }

    fn in_ring(&self, number: u64) -> bool {
        self.last - number < RING
    }

    fn in_share(&self, number: u64) -> bool {
        let share = self.events.get(&number).and_then(|(_, key)| self.shares.get(key));
        share.and_then(|share| share.latest.front()).is_some_and(|oldest| *oldest <= number)
    }

    fn let_go(&mut self, number: u64) {
        let Some((_, key)) = self.events.remove(&number) else { return };
        let lost = self.shares.get_mut(&key).map_or(&mut self.forgotten, |share| &mut share.lost);
        *lost = number.max(*lost);
    }

    /// Virtual functions come and go, and their shares outlive them: beyond the bound a new one displaces the share that
    /// has been silent longest. No client can make subjects.
    fn make_room_for(&mut self, key: &ShareKey) {
        if self.shares.len() < MAX_SHARES || self.shares.contains_key(key) {
            return;
        }
        let silent = self.shares.iter().min_by_key(|(_, share)| share.latest.back().copied());
        let silent = silent.map(|(key, _)| key.clone());
        let Some(share) = silent.and_then(|key| self.shares.remove(&key)) else { return };
        self.forgotten = self.forgotten.max(share.lost);
        for number in share.latest {
            // The ring lets go of the others in its turn.
            if !self.in_ring(number) {
                self.let_go(number);
            }
        }
    }
}

impl Reading {
    /// Two gaps with nothing between them that was wanted are one.
    fn miss(&mut self, count: u64, next: u64) {
        if let Some(Item::Gap(Gap { missed: Some(missed), next: up_to, .. })) = self.items.last_mut() {
            *missed += count;
            *up_to = next;
        } else {
            self.items.push(Item::Gap(Gap { missed: Some(count), next, restarted: false }));
        }
    }
}
