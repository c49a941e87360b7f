//! Which commands are at the back end: pure accounting, without memory that anybody shares, I/O or time.
//!
//! A command is known by its *tag*. It is *under way* from [`Journal::submit`] until it is *answered*: by a completion, by a
//! refusal, or because the guest gave everything up. An answer waits until [`Journal::take`] hands it out, and only then is the
//! tag free again. So whatever back ends do, each tag that was submitted is handed out exactly once.
//!
//! Each back end, and each life of its controller, is a *generation*. A completion counts only if it is of the generation
//! that the command was last given to, and of its queue: anything else is a [`Stray`].
//!
//! The journal keeps a copy of each command, since the ring it went through can be written by the back end (law 7).
//!
//! What it does **not** do: it does not know when the old back end has ended; who calls [`Journal::replay`] does.

use std::collections::VecDeque;

use nvme_spec::{Status, SubmissionEntry};

use super::policy::Repeat;

/// Queue number of the admin queue.
pub const ADMIN: u16 = 0;

/// An answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whose.
    pub tag: u16,
    /// Dword 0 of the completion; 0 in an answer that no back end gave.
    pub dw0: u32,
    /// How the command ended.
    pub status: Status,
}

/// A completion that answers nothing: what it names is not under way on this queue in this generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stray;

/// What a new back end was given of what the last one left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Commands that were submitted again.
    pub re_executed: u32,
    /// Commands that were answered with an error instead.
    pub refused: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Free,
    UnderWay { generation: u32 },
    Answered,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    standing: Standing,
    repeat: Repeat,
    queue: u16,
    /// Counts submissions, so that a replay keeps their order.
    number: u64,
    entry: SubmissionEntry,
}

impl Record {
    fn free() -> Self {
        let entry = SubmissionEntry::default();
        Self { standing: Standing::Free, repeat: Repeat::Never, queue: ADMIN, number: 0, entry }
    }
}

/// The commands elsewhere. Everything is allocated at the start.
#[derive(Debug)]
pub struct Journal {
    records: Box<[Record]>,
    answers: VecDeque<Answer>,
    /// Room for the tags under way, in the order of their submission.
    order: Vec<u16>,
    generation: u32,
    number: u64,
    under_way: usize,
}

impl Journal {
    /// A journal for tags `0..tags`, of which none is in use.
    #[must_use]
    pub fn new(tags: u16) -> Self {
        let count = usize::from(tags);
        Self {
            records: vec![Record::free(); count].into_boxed_slice(),
            answers: VecDeque::with_capacity(count),
            order: Vec::with_capacity(count),
            generation: 0,
            number: 0,
            under_way: 0,
        }
    }

    /// The generation that commands are given to now.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Commands that have no answer yet.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// Whether nothing is under way and every answer was handed out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.under_way == 0 && self.answers.is_empty()
    }

    /// Notes a command that is about to be given to the present generation on `queue`. False: the tag is in use or out of
    /// range, and nothing was noted.
    #[inline]
    pub fn submit(&mut self, queue: u16, tag: u16, entry: &SubmissionEntry) -> bool {
        let Some(record) = self.records.get_mut(usize::from(tag)) else { return false };
        if record.standing != Standing::Free {
            return false;
        }
        *record = Record {
            standing: Standing::UnderWay { generation: self.generation },
            repeat: Repeat::of(queue == ADMIN, entry),
            queue,
            number: self.number,
            entry: *entry,
        };
        self.number += 1;
        self.under_way += 1;
        true
    }

    /// Notes a command that is answered at once and goes nowhere. False as with [`Journal::submit`].
    pub fn refuse(&mut self, tag: u16, status: Status) -> bool {
        let Some(record) = self.records.get_mut(usize::from(tag)) else { return false };
        if record.standing != Standing::Free {
            return false;
        }
        record.standing = Standing::Answered;
        self.answers.push_back(Answer { tag, dw0: 0, status });
        true
    }

    /// A completion came from `queue` of `generation`. Gives the command that it answers; its tag is free again, and the
    /// answer is the caller's to hand out.
    ///
    /// # Errors
    /// [`Stray`]: nothing changed.
    #[inline]
    pub fn complete(&mut self, generation: u32, queue: u16, tag: u16) -> Result<&SubmissionEntry, Stray> {
        let record = self.records.get_mut(usize::from(tag)).ok_or(Stray)?;
        if record.queue != queue || record.standing != (Standing::UnderWay { generation }) {
            return Err(Stray);
        }
        record.standing = Standing::Free;
        self.under_way -= 1;
        Ok(&record.entry)
    }

    /// Hands out an answer that no back end gave; its tag is free again.
    pub fn take(&mut self) -> Option<Answer> {
        let answer = self.answers.pop_front()?;
        if let Some(record) = self.records.get_mut(usize::from(answer.tag)) {
            record.standing = Standing::Free;
        }
        Some(answer)
    }

    /// From now on commands are given to the next generation, and completions of the present one answer only what was given to
    /// it: nothing of what is under way is answered by the new one before [`Journal::replay`].
    pub fn begin_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    /// Decides about everything that an older generation left: it is given to the present one, in the order of its submission,
    /// by `give` (queue and command; false: it was not taken), or answered. `writes`: nothing that an older back end still does can land late, or that
    /// was accepted.
    ///
    /// The old back end's completions were taken before, and it cannot complete anything any more.
    pub fn replay(&mut self, writes: bool, mut give: impl FnMut(u16, &SubmissionEntry) -> bool) -> Replayed {
        let present = Standing::UnderWay { generation: self.generation };
        let mut done = Replayed::default();
        let mut order = self.older();
        for tag in order.drain(..) {
            let Some(record) = self.records.get_mut(usize::from(tag)) else { continue };
            let again = match record.repeat {
                Repeat::Harmless => true,
                Repeat::Write => writes,
                Repeat::Never => false,
            };
            if again && give(record.queue, &record.entry) {
                record.standing = present;
                done.re_executed += 1;
            } else {
                let status = record.repeat.refusal();
                self.answer(tag, status);
                done.refused += 1;
            }
        }
        self.order = order;
        done
    }

    /// The guest has given everything up and nothing of it is at work any more: whatever is under way, or waits to be taken, is
    /// forgotten, and every tag is free. Says how many had no answer.
    pub fn forget(&mut self) -> u32 {
        self.begin_generation();
        let forgotten = u32::try_from(self.under_way).unwrap_or(u32::MAX);
        for record in &mut self.records {
            record.standing = Standing::Free;
        }
        self.answers.clear();
        self.under_way = 0;
        forgotten
    }

    /// Tags under way that the present generation was not given, in the order of their submission.
    fn older(&mut self) -> Vec<u16> {
        let mut order = std::mem::take(&mut self.order);
        let present = self.generation;
        let old = |record: &Record| matches!(record.standing, Standing::UnderWay { generation } if generation != present);
        let tags = (0..=u16::MAX).zip(self.records.iter()).filter(|(_, record)| old(record));
        order.extend(tags.map(|(tag, _)| tag));
        order.sort_unstable_by_key(|&tag| {
            self.records.get(usize::from(tag)).map_or(0, |record| record.number)
        });
        order
    }

    fn answer(&mut self, tag: u16, status: Status) {
        if let Some(record) = self.records.get_mut(usize::from(tag)) {
            record.standing = Standing::Answered;
            self.under_way -= 1;
            self.answers.push_back(Answer { tag, dw0: 0, status });
        }
    }
}
