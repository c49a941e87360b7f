//! Queue arithmetic: rings, heads, tails, phase and credit. Pure; guest memory and doorbells are elsewhere.
//!
//! A command is taken from a submission queue only when its completion queue has room for the answer, which is
//! reserved at once: posting can then never fail for want of room, and a host that does not read its completions
//! stalls its own queue and no other.
//!
//! NVMe 1.4 s4.1 *Submission Queue & Completion Queue Definition*.

use nvme_spec::queue::MIN_ENTRIES;

use super::limits::{PENDING_ABORTS, QUEUE_ENTRIES};
use crate::saved::{Field, Reader, Writer, fields};

/// A doorbell value that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidDoorbell;

/// What a submission queue is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SubmissionState {
    /// Commands are taken from it.
    Live,
    /// Delete I/O Submission Queue, with this command identifier, waits for its commands in flight.
    Deleting {
        /// The command that asked for it.
        cid: u16,
    },
}

impl Field for SubmissionState {
    fn put(&self, out: &mut Writer) {
        let deletion = match *self {
            Self::Live => None,
            Self::Deleting { cid } => Some(cid),
        };
        deletion.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let deletion = <Option<u16> as Field>::take(from)?;
        Some(deletion.map_or(Self::Live, |cid| Self::Deleting { cid }))
    }
}

/// A submission queue.
#[derive(Debug, Clone)]
pub(super) struct SubmissionQueue {
    /// Where it starts in guest memory.
    pub(super) base: u64,
    /// Identifier of the completion queue that gets the answers.
    pub(super) cq: u16,
    /// What it is doing.
    pub(super) state: SubmissionState,
    /// Commands taken whose answer has not been posted, Asynchronous Event Requests not counted.
    pub(super) in_flight: u32,
    entries: u32,
    head: u32,
    tail: u32,
    refused_tail: Option<u32>,
    aborts: [Option<(u32, u16)>; PENDING_ABORTS],
}

fields!(SubmissionQueue { base, cq, state, in_flight, entries, head, tail, refused_tail, aborts });

impl SubmissionQueue {
    /// An empty queue of `entries` entries, 2 to 4,096.
    pub(super) fn new(base: u64, entries: u32, cq: u16) -> Self {
        Self {
            base,
            cq,
            state: SubmissionState::Live,
            in_flight: 0,
            entries,
            head: 0,
            tail: 0,
            refused_tail: None,
            aborts: [None; PENDING_ABORTS],
        }
    }

    pub(super) fn entries(&self) -> u32 {
        self.entries
    }

    /// Whether a command waits for it to be deleted.
    pub(super) fn is_being_deleted(&self) -> bool {
        self.state != SubmissionState::Live
    }

    /// Whether this can be a queue at all, whoever says so.
    pub(super) fn is_possible(&self) -> bool {
        (MIN_ENTRIES..=QUEUE_ENTRIES).contains(&self.entries)
            && self.head < self.entries
            && self.tail < self.entries
    }

    /// Index of the next entry to take.
    #[inline]
    pub(super) fn head(&self) -> u32 {
        self.head
    }

    /// The last valid tail seen.
    pub(super) fn tail(&self) -> u32 {
        self.tail
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Takes over the tail that the doorbell shows.
    ///
    /// # Errors
    /// [`InvalidDoorbell`] once for each new value that is no index of this queue; the tail stays as it was.
    #[inline]
    pub(super) fn ring(&mut self, value: u32) -> Result<(), InvalidDoorbell> {
        if value < self.entries {
            self.tail = value;
            self.refused_tail = None;
            return Ok(());
        }
        if self.refused_tail.replace(value) == Some(value) { Ok(()) } else { Err(InvalidDoorbell) }
    }

    /// Whether `value` is the impossible tail that was reported last.
    pub(super) fn has_refused(&self, value: u32) -> bool {
        self.refused_tail == Some(value)
    }

    /// Steps past the entry at the head.
    #[inline]
    pub(super) fn advance(&mut self) {
        self.head = if self.head + 1 == self.entries { 0 } else { self.head + 1 };
    }

    /// Indexes of the entries that wait, oldest first.
    pub(super) fn waiting(&self) -> impl Iterator<Item = u32> + use<> {
        let (head, entries) = (self.head, self.entries);
        let count = (self.tail + entries - head) % entries;
        (0..count).map(move |step| (head + step) % entries)
    }

    /// Notes that the waiting entry at `index` with identifier `cid` is to be aborted when it is taken.
    /// Returns false if no more can be noted.
    pub(super) fn note_abort(&mut self, index: u32, cid: u16) -> bool {
        let wanted = Some((index, cid));
        if self.aborts.contains(&wanted) {
            return true;
        }
        match self.aborts.iter_mut().find(|place| place.is_none()) {
            Some(place) => {
                *place = wanted;
                true
            }
            None => false,
        }
    }

    /// Whether the entry taken from `index`, which says `cid`, was to be aborted. Forgets the note: whatever now
    /// stands at `index` is not the entry of the next lap.
    #[inline]
    pub(super) fn take_abort(&mut self, index: u32, cid: u16) -> bool {
        let mut found = false;
        for place in &mut self.aborts {
            if let Some((at, noted)) = *place
                && at == index
            {
                found |= noted == cid;
                *place = None;
            }
        }
        found
    }
}

/// A completion queue.
#[derive(Debug, Clone)]
pub(super) struct CompletionQueue {
    /// Where it starts in guest memory.
    pub(super) base: u64,
    /// The interrupt vector it raises; `None`: interrupts are off.
    pub(super) vector: Option<u16>,
    /// Submission queues that answer here.
    pub(super) users: u16,
    entries: u32,
    head: u32,
    tail: u32,
    phase: bool,
    reserved: u32,
    refused_head: Option<u32>,
}

fields!(CompletionQueue { base, vector, users, entries, head, tail, phase, reserved, refused_head });

/// Where a completion goes, and the phase it must carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of the entry.
    pub(super) index: u32,
    /// The phase tag.
    pub(super) phase: bool,
}

impl CompletionQueue {
    /// An empty queue of `entries` entries, 2 to 4,096.
    pub(super) fn new(base: u64, entries: u32, vector: Option<u16>) -> Self {
        Self {
            base,
            vector,
            users: 0,
            entries,
            head: 0,
            tail: 0,
            phase: true,
            reserved: 0,
            refused_head: None,
        }
    }

    pub(super) fn entries(&self) -> u32 {
        self.entries
    }

    /// Whether this can be a queue at all, whoever says so.
    pub(super) fn is_possible(&self) -> bool {
        (MIN_ENTRIES..=QUEUE_ENTRIES).contains(&self.entries)
            && self.head < self.entries
            && self.tail < self.entries
            && self.unread().saturating_add(self.reserved) < self.entries
    }

    /// Room that is kept for answers.
    pub(super) fn reserved(&self) -> u32 {
        self.reserved
    }

    pub(super) fn head(&self) -> u32 {
        self.head
    }

    /// Completions posted that the host has not acknowledged.
    #[inline]
    pub(super) fn unread(&self) -> u32 {
        if self.tail >= self.head { self.tail - self.head } else { self.tail + self.entries - self.head }
    }

    /// Whether there is room for one more completion.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.unread() + self.reserved + 1 < self.entries
    }

    /// Reserves room for one completion; false if there is none.
    #[inline]
    pub(super) fn reserve(&mut self) -> bool {
        let free = self.has_room();
        self.reserved += u32::from(free);
        free
    }

    /// Gives a reservation back.
    pub(super) fn release(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// The place of the next completion, for which room was reserved.
    #[inline]
    pub(super) fn post(&mut self) -> Place {
        self.reserved = self.reserved.saturating_sub(1);
        let place = Place { index: self.tail, phase: self.phase };
        self.tail += 1;
        if self.tail == self.entries {
            self.tail = 0;
            self.phase = !self.phase;
        }
        place
    }

    /// Takes over the head that the doorbell shows. Returns whether it moved.
    ///
    /// # Errors
    /// [`InvalidDoorbell`] once for each new value that is no index of this queue, or lies beyond what was
    /// posted; the head stays as it was.
    #[inline]
    pub(super) fn ring(&mut self, value: u32) -> Result<bool, InvalidDoorbell> {
        if value == self.head {
            return Ok(false);
        }
        if value < self.entries {
            let step = if value >= self.head { value - self.head } else { value + self.entries - self.head };
            if step <= self.unread() {
                self.head = value;
                self.refused_head = None;
                return Ok(true);
            }
        }
        if self.refused_head.replace(value) == Some(value) { Ok(false) } else { Err(InvalidDoorbell) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_beyond_the_queue_is_reported_once_and_changes_nothing() {
        let mut queue = SubmissionQueue::new(0, 4, 1);
        assert_eq!(queue.ring(2), Ok(()));
        assert_eq!(queue.ring(4), Err(InvalidDoorbell));
        assert_eq!(queue.ring(4), Ok(()), "the same value again is no news");
        assert_eq!(queue.ring(u32::MAX), Err(InvalidDoorbell));
        assert_eq!(queue.tail(), 2);
    }

    #[test]
    fn entries_are_taken_in_order_around_the_ring() {
        let mut queue = SubmissionQueue::new(0, 3, 1);
        queue.ring(2).unwrap();
        queue.advance();
        queue.advance();
        assert!(queue.is_empty());
        queue.ring(1).unwrap();
        assert_eq!(queue.waiting().collect::<Vec<_>>(), [2, 0]);
        queue.advance();
        assert_eq!(queue.head(), 0);
    }

    #[test]
    fn an_abort_hits_the_noted_entry_only_and_only_once() {
        let mut queue = SubmissionQueue::new(0, 8, 1);
        assert!(queue.note_abort(3, 77));
        assert!(!queue.take_abort(2, 77));
        assert!(queue.take_abort(3, 77));
        assert!(!queue.take_abort(3, 77));
        assert!(queue.note_abort(3, 77));
        assert!(!queue.take_abort(3, 78), "another command stands there now");
        assert!(!queue.take_abort(3, 77));
        for index in 0..4 {
            assert!(queue.note_abort(index, 1));
        }
        assert!(!queue.note_abort(4, 1));
        assert!(queue.note_abort(0, 1), "noted already");
    }

    #[test]
    fn room_is_reserved_before_a_command_is_taken() {
        let mut queue = CompletionQueue::new(0, 3, None);
        assert!(queue.reserve());
        assert!(queue.reserve());
        assert!(!queue.reserve(), "one entry stays empty");
        queue.post();
        assert!(!queue.reserve(), "posted, but not read");
        assert_eq!(queue.ring(1), Ok(true));
        assert!(queue.reserve());
        queue.release();
        assert!(queue.reserve());
    }

    #[test]
    fn the_phase_changes_with_each_lap() {
        let mut queue = CompletionQueue::new(0, 2, None);
        let mut phases = Vec::new();
        for head in [1, 0, 1, 0] {
            assert!(queue.reserve());
            let place = queue.post();
            phases.push((place.index, place.phase));
            assert_eq!(queue.ring(head), Ok(true));
        }
        assert_eq!(phases, [(0, true), (1, true), (0, false), (1, false)]);
    }

    #[test]
    fn a_head_beyond_what_was_posted_is_reported_once_and_changes_nothing() {
        let mut queue = CompletionQueue::new(0, 8, None);
        assert!(queue.reserve());
        queue.post();
        assert_eq!(queue.ring(2), Err(InvalidDoorbell));
        assert_eq!(queue.ring(2), Ok(false));
        assert_eq!(queue.ring(8), Err(InvalidDoorbell));
        assert_eq!(queue.head(), 0);
        assert_eq!(queue.ring(1), Ok(true));
        assert_eq!(queue.ring(0), Err(InvalidDoorbell), "backwards is beyond");
    }
}
