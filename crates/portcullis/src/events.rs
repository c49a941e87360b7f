//! What happened to the functions: to the log, rate-limited, and to a bounded history for `portcullis event list`.
//!
//! A client decides how often most events happen, so neither the log nor the memory may follow it: each function
//! keeps its latest [`HISTORY`] events, and each kind of a function's events is logged as [`crate::log`] limits it.
//!
//! Lock: `journal` (rank 85, a leaf). Events arrive with no other lock held, and nothing is called under it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use assign::{Event, EventSink};
use gate::lock::Leaf;

use crate::config::size::format_size;
use crate::control::report::EventEntry;
use crate::log::Bucket;
use crate::ranks;

/// Events kept for each function.
pub const HISTORY: usize = 64;
/// Functions with a history; more than a daemon has slots.
const MAX_FUNCTIONS: usize = 2 * crate::config::MAX_SLOTS;
/// Target of the log lines.
pub(crate) const TARGET: &str = "portcullis::events";
/// Longest text kept of one event, in bytes.
const MAX_TEXT: usize = 512;

/// The sink of all functions of a daemon.
#[derive(Debug, Default)]
pub struct Journal {
    /// Rank: 85, journal; a leaf. Strings are kept, which no atomic can.
    journal: Leaf<ranks::Journal, Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sequence: u64,
    functions: BTreeMap<String, History>,
}

impl Inner {
    /// Virtual functions come and go, and their histories outlive them: beyond the bound a new function displaces the
    /// history that has been silent longest. No client can make functions.
    fn make_room_for(&mut self, function: &str) {
        if self.functions.len() < MAX_FUNCTIONS || self.functions.contains_key(function) {
            return;
        }
        let last = |history: &History| history.entries.back().map_or(0, |entry| entry.sequence);
        let silent = self.functions.iter().min_by_key(|(_, history)| last(history));
        if let Some(name) = silent.map(|(name, _)| name.clone()) {
            self.functions.remove(&name);
        }
    }
}

#[derive(Debug, Default)]
struct History {
    entries: VecDeque<EventEntry>,
    limits: BTreeMap<&'static str, Bucket>,
}

impl Journal {
    /// The events of `function`, or of all, oldest first.
    pub fn entries(&self, function: Option<&str>) -> Vec<EventEntry> {
        let journal = self.journal.lock();
        let chosen = journal.functions.iter().filter(|(name, _)| function.is_none_or(|f| f == *name));
        let mut entries: Vec<_> = chosen.flat_map(|(_, history)| history.entries.iter().cloned()).collect();
        entries.sort_by_key(|entry| entry.sequence);
        entries
    }

    /// Keeps an event and says whether to log it, as [`Bucket::take`].
    fn keep(&self, function: &str, kind: &'static str, text: String, now: Instant) -> Option<u64> {
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut journal = self.journal.lock();
        journal.sequence += 1;
        let sequence = journal.sequence;
        journal.make_room_for(function);
        let history = journal.functions.entry(function.to_owned()).or_default();
        if history.entries.len() >= HISTORY {
            history.entries.pop_front();
        }
        history.entries.push_back(EventEntry {
            sequence,
            at_ms: u64::try_from(at_ms).unwrap_or(u64::MAX),
            function: function.to_owned(),
            kind: kind.to_owned(),
            text,
        });
        history.limits.entry(kind).or_insert_with(|| Bucket::new(now)).take(now)
    }
}

impl EventSink for Journal {
    fn event(&self, function: &str, event: Event) {
        let (kind, bad, text) = words(&event);
        let text = cut(text);
        let Some(left_out) = self.keep(function, kind, text.clone(), Instant::now()) else { return };
        if left_out > 0 {
            tracing::warn!(target: TARGET, function, kind, left_out, "too many events of this kind; some were not logged");
        }
        if bad {
            tracing::warn!(target: TARGET, function, kind, "{text}");
        } else {
            tracing::info!(target: TARGET, function, kind, "{text}");
        }
    }
}

/// An event's kind, whether an operator should look at it, and its words.
fn words(event: &Event) -> (&'static str, bool, String) {
    match event {
        Event::ClientAttached => ("client-attached", false, "a client attached".into()),
        Event::AttachRefused { reason } => {
            ("attach-refused", true, format!("a client was sent away: {reason}"))
        }
        Event::ClientDetached { orphans: 0 } => ("client-detached", false, "the client left".into()),
        Event::ClientDetached { orphans } => {
            ("client-detached", true, format!("the client left; DMA still holds {orphans} of its mappings"))
        }
        Event::DmaUnmapTimedOut { iova, size, in_flight } => (
            "dma-unmap-timed-out",
            true,
            format!(
                "unmapping {size} bytes at {iova:#x} failed, since {in_flight} accesses did not end; \
                 the client may already reuse that memory, so the function was frozen"
            ),
        ),
        Event::DmaOrphaned { iova, size, held } => (
            "dma-orphaned",
            true,
            format!("the mapping of {size} bytes at {iova:#x} is gone, but {held} accesses still hold it"),
        ),
        Event::Frozen { reason } => ("frozen", true, format!("frozen: {reason}")),
        Event::Reset { reason } => ("reset", false, format!("reset: {reason}")),
        Event::NotReset { detail } => ("not-reset", true, format!("not reset: {detail}")),
        Event::PowerChanged { from, to } => ("power", false, format!("power state {from} to {to}")),
        Event::PowerNotChanged { detail } => ("power", true, format!("power state not changed: {detail}")),
        Event::Operator { detail } => ("operator", false, format!("by an operator: {detail}")),
        Event::Notice { detail } => ("notice", true, detail.clone()),
        Event::NotShared { region, bytes, detail } => (
            "not-shared",
            true,
            format!(
                "{} of region {region} are served by messages instead of being mapped: {detail}",
                format_size(*bytes)
            ),
        ),
        Event::DeviceFault { detail } => ("device-fault", true, format!("device fault: {detail}")),
        other => ("other", true, format!("{other:?}")),
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_is_bounded_for_each_function_and_keeps_the_latest() {
        let journal = Journal::default();
        journal.event("quiet", Event::ClientAttached);
        for _ in 0..10 * HISTORY {
            journal.event("noisy", Event::ClientAttached);
        }
        assert_eq!(
            journal.entries(Some("quiet")).len(),
            1,
            "a noisy function displaces nobody else's events"
        );
        let noisy = journal.entries(Some("noisy"));
        assert_eq!(noisy.len(), HISTORY);
        assert_eq!(noisy.last().unwrap().sequence, 1 + 10 * HISTORY as u64);
        assert_eq!(journal.entries(None).len(), HISTORY + 1);
    }

    #[test]
    fn a_function_beyond_the_bound_displaces_the_one_silent_longest() {
        let journal = Journal::default();
        for n in 0..2 * MAX_FUNCTIONS {
            journal.event(&format!("f{n}"), Event::ClientAttached);
            journal.event("f0", Event::ClientAttached);
        }
        assert_eq!(journal.entries(Some("f0")).len(), HISTORY);
        assert_eq!(journal.entries(None).len(), HISTORY + MAX_FUNCTIONS - 1);
        let newest = format!("f{}", 2 * MAX_FUNCTIONS - 1);
        assert_eq!((journal.entries(Some("f1")).len(), journal.entries(Some(&newest)).len()), (0, 1));
    }
}
