//! Calls to parties that have not been answered.

use crate::plan::{Call, FunctionId};
use std::collections::BTreeMap;
use std::time::Duration;

/// A call whose answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Out {
    pub(super) function: FunctionId,
    pub(super) call: Call,
    pub(super) until: Duration,
}

/// By their numbers, none of which comes twice: an answer that is late finds nothing.
#[derive(Debug, Default)]
pub(super) struct Calls {
    last: u64,
    out: BTreeMap<u64, Out>,
}

impl Calls {
    /// Every call has the same time, so that the first to begin is the first to be overdue.
    pub(super) fn begin(&mut self, out: Out) -> u64 {
        self.last += 1;
        self.out.insert(self.last, out);
        self.last
    }

    /// It was answered, or will not be.
    pub(super) fn end(&mut self, number: u64) -> Option<Out> {
        self.out.remove(&number)
    }

    /// Nobody waits for this function's answers any more.
    pub(super) fn forget(&mut self, function: FunctionId) {
        self.out.retain(|_, out| out.function != function);
    }

    /// Takes out one that is overdue.
    pub(super) fn overdue(&mut self, now: Duration) -> Option<Out> {
        let first = self.out.first_entry()?;
        (first.get().until <= now).then(|| first.remove())
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.out.first_key_value().map(|(_, out)| out.until)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Out> {
        self.out.values()
    }
}
