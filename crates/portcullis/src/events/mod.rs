//! What happened, in one order: to the log, rate-limited, and to a bounded and numbered history that can be followed.
//!
//! The [`Journal`] gets the events of functions (as their [`EventSink`]), of slots ([`Journal::slot`]) and of virtual
//! machines ([`Journal::vm`]). All are numbered from 1 on by the moment at which they arrive, so the order of what happened
//! to a slot and to its function is the order of their numbers.
//!
//! A client decides how often most events happen, so neither the log nor the memory may follow it: of all events the
//! latest are kept, and of each subject the latest in any case (`kept` has the rule and its reason), and each kind of a
//! subject's events is logged as [`crate::log`] limits it.
//!
//! **Nothing is lost silently.** Numbers have no holes, so a reader that was too slow sees which are missing, and gets a
//! [`Gap`] in their place. A reader brings its place with it, and the journal knows nothing of readers: a slow one costs no
//! memory. Each start of a daemon has a stream of its own, with a name, so that a reader notices that numbers begin again.
//!
//! What it does **not** do: nothing is stored beyond the life of the process, and no event is lost to make room for a
//! reader or waits for one.
//!
//! # Concurrency
//! One lock: `journal` (rank 85, a leaf). Events arrive with no other lock held, and nothing is called under it. Who reads
//! holds it for a bounded number of events at a time. Who waits for an event waits at [`Journal::wait`] with nothing held, with
//! a deadline, and is woken by every event and by [`Journal::end`]; at most [`MAX_WAITERS`] threads wait.

mod filter;
mod kept;
pub mod kinds;
mod wait;
mod words;

#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use assign::{Event, EventSink};
use gate::lock::{Condvar, Leaf};

use crate::control::stream::{EventEntry, EventPage, Gap, Severity, StreamItem, Subject};
use crate::ranks;
pub use filter::Filter;
use kept::{Item, Kept, Reading, Source};
pub use kept::{RING, SHARE};
pub use wait::{MAX_WAITERS, TooManyWaiters};
use words::{Words, words};

/// Target of the log lines.
pub(crate) const TARGET: &str = "portcullis::events";
/// Longest text kept of one event, in bytes.
const MAX_TEXT: usize = 512;
/// Longest name of a subject that is kept, in bytes; slots and functions have shorter ones.
const MAX_NAME: usize = 128;
/// Most events in one answer, so that it has room in a reply however they are written.
pub const MAX_PAGE: usize = 512;

/// All events of a daemon.
#[derive(Debug)]
pub struct Journal {
    /// Another one for each journal, so that numbers of two daemons are not mistaken for each other.
    stream: String,
    /// Rank: 85, journal; a leaf. Strings are kept, which no atomic can.
    journal: Leaf<ranks::Journal, Inner>,
    /// There is another event, or the end.
    news: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    kept: Kept,
    /// Threads in [`Journal::wait`].
    waiters: usize,
    ended: bool,
}

/// Where a reader goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The stream that it has read so far, if any.
    pub stream: Option<String>,
    /// The number up to which it has read; `None`: only what comes from now on.
    pub after: Option<u64>,
}

impl Default for Journal {
    fn default() -> Self {
        // Its keys are random; the clock would do unless it is set back.
        let random = RandomState::new().build_hasher().finish();
        Self { stream: format!("{random:016x}"), journal: Leaf::default(), news: Condvar::new() }
    }
}

impl Journal {
    /// Something happened to a slot. `kind` is one of [`kinds::slot`]; `text` is for people.
    pub fn slot(&self, slot: &str, kind: &'static str, severity: Severity, text: impl Into<String>) {
        let words = Words { kind, source: Source::Operator, severity, text: text.into() };
        self.record(Subject::Slot(cut(slot.to_owned(), MAX_NAME)), words);
    }

    /// Something happened to a virtual machine. `kind` is one of [`kinds::vm`]; `text` is for people.
    pub fn vm(&self, vm: &str, kind: &'static str, severity: Severity, text: impl Into<String>) {
        let words = Words { kind, source: Source::Operator, severity, text: text.into() };
        self.record(Subject::Vm(cut(vm.to_owned(), MAX_NAME)), words);
    }

    /// Events that are kept and that `filter` wants, oldest first, at most `limit` of them (and at most [`MAX_PAGE`]). May
    /// have found none yet while its `next` is still less than its `last`. Waits for nothing.
    pub fn read(&self, cursor: &Cursor, filter: &Filter, limit: usize) -> EventPage {
        let journal = self.journal.lock();
        let reading = self.resume(&journal, cursor, filter, limit);
        let (last, ended) = (journal.kept.last(), journal.ended);
        drop(journal);
        self.page(reading, last, ended)
    }

    /// All events that are kept and that `filter` wants, oldest first, without what is added meanwhile.
    pub fn list(&self, filter: &Filter) -> Vec<EventEntry> {
        let until = self.journal.lock().kept.last();
        let mut list = Vec::new();
        let mut after = 0;
        while after < until {
            let reading = self.journal.lock().kept.read(after, filter, MAX_PAGE);
            after = reading.next;
            list.extend(reading.items.into_iter().filter_map(|item| match item {
                Item::Event(event) => Some((*event).clone()),
                Item::Gap(_) => None,
            }));
        }
        list
    }

    /// Whether the journal has had events about one of the filter's subjects, and still knows of it.
    pub fn knows(&self, filter: &Filter) -> bool {
        self.journal.lock().kept.knows(filter)
    }

    /// The daemon ends: wakes everybody who waits, and nobody waits any more.
    pub fn end(&self) {
        self.journal.lock().ended = true;
        self.news.notify_all();
    }

    /// A first reading at `cursor`.
    fn resume(&self, journal: &Inner, cursor: &Cursor, filter: &Filter, limit: usize) -> Reading {
        let limit = limit.clamp(1, MAX_PAGE);
        let last = journal.kept.last();
        let elsewhere = cursor.stream.as_ref().is_some_and(|stream| *stream != self.stream);
        match cursor.after {
            None if !elsewhere => Reading { items: Vec::new(), next: last },
            Some(after) if !elsewhere && after <= last => journal.kept.read(after, filter, limit),
            // Its numbers are those of an earlier daemon.
            _ => {
                let mut reading = journal.kept.read(0, filter, limit);
                let anew = Gap { missed: None, next: 1, restarted: true };
                reading.items.insert(0, Item::Gap(anew));
                reading
            }
        }
    }

    fn page(&self, reading: Reading, last: u64, ended: bool) -> EventPage {
        let item = |item| match item {
            Item::Event(event) => StreamItem::Event((*event).clone()),
            Item::Gap(gap) => StreamItem::Gap { gap },
        };
        EventPage {
            stream: self.stream.clone(),
            items: reading.items.into_iter().map(item).collect(),
            next: reading.next,
            last,
            ended,
        }
    }

    fn record(&self, subject: Subject, Words { kind, source, severity, text }: Words) {
        debug_assert!(kinds::is_known(kind), "{kind} is not in events/kinds.rs");
        let text = cut(text, MAX_TEXT);
        let mut journal = self.journal.lock();
        // Under the lock, so that times rise with the numbers as far as the clock allows.
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let entry = EventEntry {
            sequence: 0,
            at_ms: u64::try_from(at).unwrap_or(u64::MAX),
            subject: subject.clone(),
            kind: kind.to_owned(),
            severity,
            text,
        };
        let (entry, log) = journal.kept.record((subject, source), kind, entry, Instant::now());
        let awaited = journal.waiters > 0;
        drop(journal);
        if awaited {
            self.news.notify_all();
        }
        if let Some(left_out) = log {
            write_down(&entry, left_out);
        }
    }
}

impl EventSink for Journal {
    fn event(&self, function: &str, event: Event) {
        self.record(Subject::Function(cut(function.to_owned(), MAX_NAME)), words(&event));
    }
}

/// One line of the log, and one before it if others were left out.
fn write_down(EventEntry { subject, kind, severity, text, .. }: &EventEntry, left_out: u64) {
    let (function, slot, vm) = match subject {
        Subject::Function(name) => (Some(name), None, None),
        Subject::Slot(name) => (None, Some(name), None),
        Subject::Vm(name) => (None, None, Some(name)),
    };
    if left_out > 0 {
        tracing::warn!(
            target: TARGET, function, slot, vm, kind, left_out, "too many events of this kind; some were not logged"
        );
    }
    match severity {
        Severity::Warning => tracing::warn!(target: TARGET, function, slot, vm, kind, "{text}"),
        Severity::Info => tracing::info!(target: TARGET, function, slot, vm, kind, "{text}"),
    }
}

fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(end);
    }
    text
}
