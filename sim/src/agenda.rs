//! What is to happen later, by virtual time. Of two things at one moment the one that was put down first comes first.

use std::collections::BTreeMap;
use std::time::Duration;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    entries: BTreeMap<(Duration, u64), T>,
    next: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Agenda<T> {
        Agenda { entries: BTreeMap::new(), next: 0 }
    }
}

impl<T> Agenda<T> {
    /// Puts something down.
    pub(crate) fn put(&mut self, when: Duration, what: T) {
        self.entries.insert((when, self.next), what);
        self.next += 1;
    }

    /// When the next thing is due.
    #[must_use]
    pub(crate) fn next(&self) -> Option<Duration> {
        self.entries.first_key_value().map(|((when, _), _)| *when)
    }

    /// Takes the next thing if it is due at `now`, with the time that it was put down for.
    pub(crate) fn take(&mut self, now: Duration) -> Option<(Duration, T)> {
        let entry = self.entries.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((when, _), what) = entry.remove_entry();
        Some((when, what))
    }

    /// Takes away what does not pass.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.entries.retain(|_, what| keep(what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_in_the_order_of_their_times_and_then_in_that_of_their_coming() {
        let at = Duration::from_millis;
        let mut agenda = Agenda::default();
        for (when, what) in [(2, 'c'), (1, 'a'), (1, 'b'), (9, 'z')] {
            agenda.put(at(when), what);
        }
        assert_eq!(agenda.next(), Some(at(1)));
        let due: Vec<_> = std::iter::from_fn(|| agenda.take(at(2))).collect();
        assert_eq!(due, [(at(1), 'a'), (at(1), 'b'), (at(2), 'c')]);
        assert_eq!(agenda.next(), Some(at(9)));
    }
}
