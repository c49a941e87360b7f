//! Waiting for the next event.

use gate::{Deadline, ThreadToken};

use super::kept::Reading;
use super::{Cursor, Filter, Inner, Journal};
use crate::control::stream::EventPage;

/// Threads that may wait for events at a time: fewer than the control socket serves, so that followers leave room for
/// commands.
pub const MAX_WAITERS: usize = crate::control::server::MAX_CLIENTS / 2;

/// So many wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_WAITERS} wait for events already; ask again without waiting (timeout_ms 0), or a little later")]
pub struct TooManyWaiters;

impl Journal {
    /// As [`Journal::read`], but waits until there is something to tell, the journal has ended, or `deadline` has passed.
    ///
    /// # Errors
    /// [`TooManyWaiters`] if there is nothing to tell yet, and no place to wait for it.
    pub fn wait(
        &self,
        token: &mut ThreadToken,
        cursor: &Cursor,
        filter: &Filter,
        limit: usize,
        deadline: Deadline,
    ) -> Result<EventPage, TooManyWaiters> {
        // Here, before it is counted.
        token.assert_holds_nothing();
        let mut journal = self.journal.lock();
        let mut reading = self.resume(&journal, cursor, filter, limit);
        if !finished(&journal, &reading, deadline) {
            if journal.waiters >= MAX_WAITERS {
                return Err(TooManyWaiters);
            }
            // Given up below, where every way out of here leads.
            journal.waiters += 1;
            while !finished(&journal, &reading, deadline) {
                if reading.next == journal.kept.last() {
                    (journal, _) = self.news.wait(journal, token, deadline);
                } else {
                    // Much to look at, and nothing that is wanted so far: others may have the lock in between.
                    drop(journal);
                    journal = self.journal.lock();
                }
                reading = journal.kept.read(reading.next, filter, limit.clamp(1, super::MAX_PAGE));
            }
            journal.waiters -= 1;
        }
        let (last, ended) = (journal.kept.last(), journal.ended);
        drop(journal);
        Ok(self.page(reading, last, ended))
    }
}

fn finished(journal: &Inner, reading: &Reading, deadline: Deadline) -> bool {
    !reading.items.is_empty() || journal.ended || deadline.remaining().is_none()
}

#[cfg(test)]
impl Journal {
    /// Threads that wait.
    pub(super) fn waiters(&self) -> usize {
        self.journal.lock().waiters
    }
}
