//! Log lines that a guest can cause, held down to one line per kind and second.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use super::outbox::Note;

/// Milliseconds between two lines of one kind.
const INTERVAL_MS: u64 = 1000;

/// When each kind was last logged, and what was swallowed since.
#[derive(Debug)]
pub(super) struct Log {
    since: Instant,
    /// Milliseconds after `since` from which on the next line may come.
    next_ms: [AtomicU64; Note::ALL.len()],
    swallowed: [AtomicU32; Note::ALL.len()],
}

impl Log {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), next_ms: Default::default(), swallowed: Default::default() }
    }

    /// Logs what was noted, as far as it is due. Says whether a failure of the backing was among that.
    pub(super) fn report(&self, function: &str, counts: &[u32; Note::ALL.len()]) -> bool {
        let mut backing_failed = false;
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        for (note, count) in Note::ALL.into_iter().zip(counts) {
            if *count == 0 {
                continue;
            }
            if let Some(times) = self.due(note, *count, now) {
                tracing::warn!(function, times, "{}", text(note));
                backing_failed |= note == Note::Backing;
            }
        }
        backing_failed
    }

    /// How often a kind was noted since its last line, if a line is due.
    fn due(&self, note: Note, count: u32, now_ms: u64) -> Option<u32> {
        let next = self.next_ms.get(note as usize)?;
        let swallowed = self.swallowed.get(note as usize)?;
        let allowed = next.load(Ordering::Relaxed);
        let claimed = now_ms >= allowed
            && next
                .compare_exchange(allowed, now_ms + INTERVAL_MS, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if claimed {
            return Some(swallowed.swap(0, Ordering::Relaxed).saturating_add(count));
        }
        swallowed.fetch_add(count, Ordering::Relaxed);
        None
    }
}

fn text(note: Note) -> &'static str {
    match note {
        Note::InvalidDoorbell => "the guest wrote an impossible doorbell; it was told and the write ignored",
        Note::QueueMemory => {
            "the guest's queues are in memory that cannot be reached; the controller stopped until it is reset"
        }
        Note::Configuration => "the guest enabled the controller with a configuration that it does not offer",
        Note::DoorbellMemory => {
            "the system has no memory for the doorbells; the controller stopped until it is reset"
        }
        Note::Backing => "the backing failed a command; the guest was told",
        Note::Access => "the guest accessed a register with an unsupported size or alignment; ignored",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_backing_is_told_once_in_the_interval() {
        let log = Log::new();
        let mut counts = [0; Note::ALL.len()];
        counts[Note::Access as usize] = 1;
        assert!(!log.report("test", &counts));
        counts[Note::Backing as usize] = 1;
        assert!(log.report("test", &counts));
        assert!(!log.report("test", &counts));
    }

    #[test]
    fn a_kind_is_logged_once_a_second_and_counts_what_it_swallowed() {
        let log = Log::new();
        assert_eq!(log.due(Note::Backing, 1, 0), Some(1));
        assert_eq!(log.due(Note::Backing, 5, 10), None);
        assert_eq!(log.due(Note::Backing, 5, 999), None);
        assert_eq!(log.due(Note::Access, 1, 999), Some(1), "another kind");
        assert_eq!(log.due(Note::Backing, 1, 1000), Some(11));
    }
}
