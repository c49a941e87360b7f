//! Who of many functions has changed what decides where accesses go.
//!
//! Hardware that routes by the registers of its bridges asks before each access whether any has changed, with one load
//! ([`RoutingChanges::count`]), and then which ones ([`RoutingChanges::take`]), at a cost that does not depend on how many
//! there are. What a change is, a configuration space decides: see
//! [`ConfigSpace::count_routing_changes`](super::ConfigSpace::count_routing_changes).
//!
//! Concurrency: atomics only. A function is marked before the change is counted, so who sees the count finds the mark;
//! one that is marked while marks are taken is found then or the next time, never lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const WORDS: usize = 64;
const BITS: u16 = 64;

/// How many marks there are. Functions may share one: both are then looked at when either has changed.
pub const ROUTING_MARKS: u16 = 4096;

/// The changes of all functions behind one host bridge; see the module's head.
#[derive(Debug)]
pub struct RoutingChanges {
    count: AtomicU64,
    /// Which words have a bit set.
    summary: AtomicU64,
    marked: [AtomicU64; WORDS],
}

impl Default for RoutingChanges {
    fn default() -> RoutingChanges {
        RoutingChanges {
            count: AtomicU64::new(0),
            summary: AtomicU64::new(0),
            marked: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl RoutingChanges {
    /// How many changes there were.
    #[inline]
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Counts a change that is no register's.
    pub fn add(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// The mark `number`, modulo [`ROUTING_MARKS`], for one function.
    #[must_use]
    pub fn mark(self: &Arc<RoutingChanges>, number: u64) -> Arc<RoutingMark> {
        let [low, high, ..] = number.to_le_bytes();
        Arc::new(RoutingMark {
            changes: self.clone(),
            number: u16::from_le_bytes([low, high]) % ROUTING_MARKS,
        })
    }

    /// The marks of those that have changed since they were taken last, in ascending order.
    #[must_use]
    pub fn take(&self) -> Vec<u16> {
        let mut taken = Vec::new();
        for (base, word) in set_bits(self.summary.swap(0, Ordering::AcqRel)).map(|word| (word * BITS, word)) {
            if let Some(word) = self.marked.get(usize::from(word)) {
                taken.extend(set_bits(word.swap(0, Ordering::AcqRel)).map(|bit| base + bit));
            }
        }
        taken
    }

    fn note(&self, number: u16) {
        let (word, bit) = (number / BITS, number % BITS);
        if let Some(marked) = self.marked.get(usize::from(word)) {
            marked.fetch_or(1 << bit, Ordering::AcqRel);
        }
        self.summary.fetch_or(1 << word, Ordering::AcqRel);
        self.add();
    }
}

/// The bits that are set, lowest first.
fn set_bits(mut word: u64) -> impl Iterator<Item = u16> {
    std::iter::from_fn(move || {
        let bit = u16::try_from(word.trailing_zeros()).ok().filter(|bit| *bit < BITS)?;
        word &= word - 1;
        Some(bit)
    })
}

/// By what a function is known in its [`RoutingChanges`].
#[derive(Debug)]
pub struct RoutingMark {
    changes: Arc<RoutingChanges>,
    number: u16,
}

impl RoutingMark {
    /// Its number, below [`ROUTING_MARKS`].
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Whether it is one of `changes`.
    #[must_use]
    pub fn is_of(&self, changes: &Arc<RoutingChanges>) -> bool {
        Arc::ptr_eq(&self.changes, changes)
    }

    pub(super) fn note(&self) {
        self.changes.note(self.number);
    }
}
