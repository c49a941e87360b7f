//! The shadow queues of one generation: rings in memory that the back end reaches, and how its doorbells are rung.
//!
//! Each generation has memory of its own, so whatever an old back end still writes to its own is read by nobody. A completion is
//! copied once and is a claim: which queue it came through is known here, everything else in it is checked (law 7). Rings that
//! once had a claim which is false are *void*: nothing of theirs is believed any more.

use std::sync::atomic::Ordering;

use models::nvme::host::Ring;
use nvme_spec::{AdminOpcode, CompletionEntry, Doorbell, SubmissionEntry};
use rustix::io::Errno;
use vfio_user::client::{MappedArea, SharedMemory};

use super::layout::{Layout, MAX_QUEUES};

/// Asynchronous Event Requests that are kept at the back end at most.
pub const EVENTS: u16 = 4;
/// Command identifier of the first of them; tags are below.
pub const FIRST_EVENT: u16 = 0xff00;
/// Doorbells that can be due at once.
pub const DUE: usize = 2 * (MAX_QUEUES as usize + 1);

/// How doorbells are rung.
#[derive(Debug)]
pub enum Doorbells {
    /// By a message each.
    Posted,
    /// By a store; the area covers the doorbells of all queues.
    Mapped(MappedArea),
}

/// Doorbells to be rung by messages: offset in BAR 0, and value.
#[derive(Debug)]
pub struct Due {
    list: [(u64, u32); DUE],
    count: usize,
}

impl Due {
    fn push(&mut self, offset: u64, value: u32) {
        if let Some(place) = self.list.get_mut(self.count) {
            *place = (offset, value);
            self.count += 1;
        }
    }

    /// Whether there is none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Offset in BAR 0 and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.list.iter().take(self.count).copied()
    }
}

#[derive(Debug)]
struct Pair {
    ring: Ring,
    /// Commands that the ring holds at most: one less than entries.
    room: u16,
    /// Entries of the submission ring.
    entries: u16,
    /// Entries by which the completion ring is longer.
    slack: u16,
    /// Commands without a completion.
    in_flight: u16,
    /// Tail that the back end was told last.
    told_tail: u16,
    /// Completions taken since the back end was told the head.
    untold: u16,
}

/// Shadow queues.
#[derive(Debug)]
pub struct Rings {
    memory: SharedMemory,
    generation: u32,
    pairs: Vec<Pair>,
    doorbells: Doorbells,
    stride: u8,
    /// Every completion's head is told at once: the back end's interrupt pin follows it.
    eager: bool,
    void: bool,
    /// Which event requests are at the back end.
    events: [bool; EVENTS as usize],
}

impl Rings {
    /// Empty rings in new memory, with doorbells that are rung by messages.
    ///
    /// # Errors
    /// No memory.
    pub fn new(layout: &Layout, stride: u8) -> Result<Self, Errno> {
        let memory = SharedMemory::new(layout.length())?;
        let pair = |qid| {
            let (submission, completion) = layout.pair(qid);
            Pair {
                ring: Ring::new(qid, submission, completion),
                room: submission.entries - 1,
                entries: submission.entries,
                slack: completion.entries - submission.entries,
                in_flight: 0,
                told_tail: 0,
                untold: 0,
            }
        };
        let pairs = (0..=layout.queues()).map(pair).collect();
        let doorbells = Doorbells::Posted;
        Ok(Self {
            memory,
            generation: 0,
            pairs,
            doorbells,
            stride,
            eager: false,
            void: false,
            events: [false; EVENTS as usize],
        })
    }

    /// Keeps the admin pair and the first `queues` I/O pairs only; the rest was never used.
    pub fn keep(&mut self, queues: u16) {
        self.pairs.truncate(usize::from(queues) + 1);
    }

    /// Rings doorbells by stores from now on.
    pub fn use_mapped(&mut self, area: MappedArea) {
        self.doorbells = Doorbells::Mapped(area);
    }

    /// Tells each completion's head at once.
    pub fn be_eager(&mut self) {
        self.eager = true;
    }

    /// The memory that the back end reaches.
    #[must_use]
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// From now on these are the rings of this generation.
    pub fn belong_to(&mut self, generation: u32) {
        self.generation = generation;
    }

    /// Whose completions these are.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Queue pairs, the admin pair included.
    #[must_use]
    pub fn pairs(&self) -> u16 {
        u16::try_from(self.pairs.len()).unwrap_or(u16::MAX)
    }

    /// Believes nothing of these rings any more.
    pub fn make_void(&mut self) {
        self.void = true;
    }

    /// Whether `queue` has room for a command. The admin queue keeps some back for event requests.
    #[inline]
    #[must_use]
    pub fn has_room(&self, queue: u16) -> bool {
        let asked = self.events.iter().filter(|given| **given).count();
        let kept = if queue == 0 { usize::from(EVENTS) - asked } else { 0 };
        let room = |pair: &Pair| usize::from(pair.in_flight) + kept < usize::from(pair.room);
        self.pairs.get(usize::from(queue)).is_some_and(room)
    }

    /// Puts a command into a queue that has room; its doorbell is due. False: there is no room, or no such queue.
    #[inline]
    pub fn push(&mut self, queue: u16, entry: &SubmissionEntry) -> bool {
        let Some(pair) = self.pairs.get_mut(usize::from(queue)) else { return false };
        if pair.in_flight >= pair.room || pair.ring.push(&self.memory, entry).is_err() {
            return false;
        }
        pair.in_flight += 1;
        true
    }

    /// Puts an Asynchronous Event Request with this identifier into the admin queue, which keeps room for it.
    pub fn ask_for_event(&mut self, cid: u16) {
        let entry = SubmissionEntry {
            opcode: AdminOpcode::AsyncEventRequest.code(),
            cid: cid.into(),
            ..SubmissionEntry::default()
        };
        let given = self.push(0, &entry);
        if let Some(place) = cid.checked_sub(FIRST_EVENT).and_then(|at| self.events.get_mut(usize::from(at)))
        {
            *place = given;
        }
    }

    /// An event request came back. False: it was not at the back end.
    #[must_use]
    pub fn take_event(&mut self, cid: u16) -> bool {
        let place = cid.checked_sub(FIRST_EVENT).and_then(|at| self.events.get_mut(usize::from(at)));
        place.is_some_and(std::mem::take)
    }

    /// Completions that a queue can have at most.
    #[inline]
    #[must_use]
    pub fn in_flight(&self, queue: u16) -> u16 {
        self.pairs.get(usize::from(queue)).filter(|_| !self.void).map_or(0, |pair| pair.in_flight)
    }

    /// Takes the next completion of a queue that has commands in flight, if there is one. What it says of queue and head is
    /// checked; whether its command is in flight is not.
    ///
    /// # Errors
    /// It cannot be: the rings are void.
    #[inline]
    pub fn pop(&mut self, queue: u16) -> Result<Option<CompletionEntry>, &'static str> {
        let Some(pair) = self.pairs.get_mut(usize::from(queue)) else { return Ok(None) };
        if self.void || pair.in_flight == 0 {
            return Ok(None);
        }
        let Some(completion) = pair.ring.pop(&self.memory) else { return Ok(None) };
        if completion.sqid.get() != queue || completion.sqhd.get() >= pair.entries {
            self.void = true;
            return Err("a completion names a queue or a head that there is not");
        }
        pair.in_flight -= 1;
        pair.untold += 1;
        Ok(Some(completion))
    }

    /// Whether a doorbell is due.
    #[inline]
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.pairs.iter().any(|pair| pair.told_tail != pair.ring.tail() || pair.untold >= self.owed(pair))
    }

    /// Completions after which the back end is told the head. A message is saved as long as it has room for every completion
    /// that is to come.
    #[inline]
    fn owed(&self, pair: &Pair) -> u16 {
        let mapped = matches!(self.doorbells, Doorbells::Mapped(_));
        if mapped || self.eager { 1 } else { (pair.slack / 2).max(1) }
    }

    /// Rings what is due and mapped, and says what is due by messages.
    #[inline]
    pub fn ring(&mut self) -> Due {
        let mut due = Due { list: [(0, 0); DUE], count: 0 };
        for at in 0..self.pairs.len() {
            let Some(owed) = self.pairs.get(at).map(|pair| self.owed(pair)) else { continue };
            let Some(pair) = self.pairs.get_mut(at) else { continue };
            let (tail, qid) = (pair.ring.tail(), pair.ring.qid());
            // Heads first: what is submitted needs their room.
            if pair.untold >= owed {
                pair.untold = 0;
                let head = pair.ring.head();
                ring_one(&self.doorbells, self.stride, Doorbell::CompletionHead(qid), head, &mut due);
            }
            if pair.told_tail != tail {
                pair.told_tail = tail;
                ring_one(&self.doorbells, self.stride, Doorbell::SubmissionTail(qid), tail, &mut due);
            }
        }
        due
    }
}

#[inline]
fn ring_one(doorbells: &Doorbells, stride: u8, bell: Doorbell, value: u16, due: &mut Due) {
    let (offset, value) = (bell.offset(stride), u32::from(value));
    if let Doorbells::Mapped(area) = doorbells
        && let Some(at) = offset.checked_sub(area.offset()).and_then(|at| usize::try_from(at).ok())
        && let Some(cell) = area.atomic_u32(at)
    {
        // The entries before it are visible first.
        cell.store(value.to_le(), Ordering::Release);
    } else {
        due.push(offset, value);
    }
}

#[cfg(test)]
mod tests {
    use nvme_spec::Status;
    use nvme_spec::register::Capabilities;
    use zerocopy::IntoBytes;

    use super::*;

    fn rings(depth: u16, mqes: u16) -> (Rings, Layout) {
        let layout = Layout::new(2, depth, Capabilities::default().with_mqes(mqes));
        (Rings::new(&layout, 0).unwrap(), layout)
    }

    fn entry(cid: u16) -> SubmissionEntry {
        SubmissionEntry { cid: cid.into(), ..SubmissionEntry::default() }
    }

    fn due(rings: &mut Rings) -> Vec<(u64, u32)> {
        rings.ring().iter().collect()
    }

    fn complete(
        rings: &Rings,
        layout: &Layout,
        queue: u16,
        number: u16,
        change: impl Fn(&mut CompletionEntry),
    ) {
        let half = layout.pair(queue).1;
        let phase = (number / half.entries).is_multiple_of(2);
        let mut entry = CompletionEntry::new(0, 0, queue, number, Status::SUCCESS, phase);
        change(&mut entry);
        let at = half.at + usize::from(number % half.entries) * 16;
        rings.memory.write(at, entry.as_bytes()).unwrap();
    }

    #[test]
    fn a_batch_is_one_doorbell() {
        let (mut rings, _) = rings(8, 4095);
        assert_eq!(due(&mut rings), []);
        for cid in 0..5 {
            assert!(rings.push(2, &entry(cid)));
        }
        assert_eq!(due(&mut rings), [(0x1010, 5)]);
        assert_eq!(due(&mut rings), [], "told once");
    }

    #[test]
    fn a_full_queue_takes_nothing_and_the_admin_queue_keeps_room_for_events() {
        let (mut rings, _) = rings(3, 4095);
        assert_eq!((0..9).filter(|&cid| rings.has_room(1) && rings.push(1, &entry(cid))).count(), 3);
        let own = (0..200).filter(|&cid| rings.has_room(0) && rings.push(0, &entry(cid))).count();
        assert_eq!(own, 127 - usize::from(EVENTS));
        assert!(rings.push(0, &entry(FIRST_EVENT)));
        assert!(!rings.push(3, &entry(0)), "no such queue");
    }

    /// The back end never finds its completion queue full, and is told of the head as rarely as that permits.
    #[test]
    fn a_completion_head_is_told_before_the_ring_could_be_full() {
        for (depth, mqes, most) in [(8, 4095, 60), (8, 8, 240), (8, 10, 240)] {
            let (mut rings, layout) = rings(depth, mqes);
            let entries = u32::from(layout.pair(1).1.entries);
            let (mut head, mut messages) = (0_u32, 0);
            for number in 0..240_u16 {
                assert!(rings.push(1, &entry(number)));
                complete(&rings, &layout, 1, number, |_| ());
                assert_eq!(rings.pop(1).unwrap().unwrap().cid.get(), number);
                for (offset, value) in rings.ring().iter() {
                    if offset == 0x100c {
                        (head, messages) = (value, messages + 1);
                    }
                }
                let unacknowledged = (u32::from(number) + 1 + entries - head) % entries;
                assert!(unacknowledged + u32::from(depth) < entries, "{number} {head}");
            }
            assert!(messages <= most, "{messages} messages for 240 completions");
        }
    }

    #[test]
    fn nothing_is_looked_at_for_a_queue_without_commands() {
        let (mut rings, layout) = rings(8, 4095);
        complete(&rings, &layout, 1, 0, |_| ());
        assert_eq!(rings.pop(1), Ok(None));
    }

    #[test]
    fn rings_with_a_completion_that_cannot_be_are_void() {
        let changes: [fn(&mut CompletionEntry); 2] =
            [|entry| entry.sqid = 1.into(), |entry| entry.sqhd = 9.into()];
        for change in changes {
            let (mut rings, layout) = rings(8, 4095);
            assert!(rings.push(2, &entry(0)) && rings.push(2, &entry(1)));
            complete(&rings, &layout, 2, 0, change);
            complete(&rings, &layout, 2, 1, |_| ());
            assert!(rings.pop(2).is_err());
            assert_eq!(rings.pop(2), Ok(None), "nothing behind it is believed");
            assert_eq!(rings.in_flight(2), 0);
        }
    }
}
