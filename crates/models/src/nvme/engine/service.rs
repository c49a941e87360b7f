//! Taking commands from the submission queues, in turn.

use assign::{DmaAccess, DmaError, GuestSlice};
use nvme_spec::command::{SUBMISSION_ENTRY_SIZE, SubmissionEntry};
use nvme_spec::event::Event;
use nvme_spec::queue::ADMIN_QUEUE;
use nvme_spec::{Doorbell, Status};

use super::super::limits::{BURST, BURST_BYTES};
use super::super::outbox::Note;
use super::super::queue::SubmissionState;
use super::super::slots::Origin;
use super::{Cx, Engine, Outcome, Phase};

/// Offset of the first block's number in a submission queue entry.
const SLBA: usize = 40;

/// What was found at the head of a submission queue.
pub(super) enum Head {
    /// A command, taken, and its answer has room.
    Command(SubmissionEntry),
    /// The same, but the host has aborted it.
    Aborted(SubmissionEntry),
    /// Nothing that can be taken now.
    Nothing,
}

impl Engine {
    /// Gives every submission queue its turn, a different one first each time. Says whether any had work.
    pub(super) fn service(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut worked = self.look_at_heads(cx);
        let count = self.queues.live_count();
        self.first = if self.first + 1 >= count { 0 } else { self.first + 1 };
        for step in 0..count {
            let nth = self.first + step;
            let nth = if nth >= count { nth - count } else { nth };
            // Admin commands of this very round may have deleted queues.
            let Some(qid) = self.queues.nth_live(nth) else { break };
            worked |= self.service_queue(cx, qid);
            if self.phase != Phase::Enabled {
                break;
            }
        }
        worked
    }

    /// Takes over the heads that the host shows for its completion queues. Says whether any moved.
    fn look_at_heads(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut moved = false;
        let mut nth = 0;
        while let Some(qid) = self.queues.nth_completion(nth) {
            nth += 1;
            moved |= self.look_at_head(cx, qid);
        }
        moved
    }

    fn look_at_head(&mut self, cx: &mut Cx<'_>, qid: u16) -> bool {
        let Some(value) = self.doorbell(cx, Doorbell::CompletionHead(qid)) else { return false };
        let Some(queue) = self.queues.completion(qid) else { return false };
        match queue.ring(value) {
            Ok(moved) => moved,
            Err(_) => {
                self.bad_doorbell(cx.out, Event::INVALID_DOORBELL_VALUE);
                true
            }
        }
    }

    /// The value of a doorbell: the shadow's if there is one. `None`, and a failed controller, if it cannot be read.
    #[inline]
    fn doorbell(&mut self, cx: &mut Cx<'_>, doorbell: Doorbell) -> Option<u32> {
        let admin =
            matches!(doorbell, Doorbell::SubmissionTail(ADMIN_QUEUE) | Doorbell::CompletionHead(ADMIN_QUEUE));
        // Hosts keep ringing the admin doorbells for real.
        let Some(shadow) = self.shadow.as_ref().filter(|_| !admin) else {
            return Some(self.board.doorbells.load(doorbell));
        };
        match shadow.load(cx, doorbell) {
            Ok(value) => Some(value),
            Err(_) => {
                self.fail(cx.out, Note::QueueMemory);
                None
            }
        }
    }

    fn service_queue(&mut self, cx: &mut Cx<'_>, qid: u16) -> bool {
        let Some(tail) = self.doorbell(cx, Doorbell::SubmissionTail(qid)) else { return true };
        let Some(queue) = self.queues.submission(qid) else { return false };
        if queue.state != SubmissionState::Live {
            return false;
        }
        if tail != queue.tail() && queue.ring(tail).is_err() {
            self.bad_doorbell(cx.out, Event::INVALID_DOORBELL_VALUE);
            return true;
        }
        if queue.is_empty() {
            return false;
        }
        // One look-up for the whole ring; a ring that spans mappings is looked up entry by entry.
        let (base, bytes) = (queue.base, u64::from(queue.entries()) * SUBMISSION_ENTRY_SIZE as u64);
        let ring = cx.dma.resolve(cx.pass, base, bytes, DmaAccess::Read).ok();
        if self.io.is_elsewhere() {
            return self.forward_queue(cx, qid, ring.as_ref());
        }
        let mut taken = 0;
        let mut spent = 0;
        while taken < BURST && spent < BURST_BYTES && self.phase == Phase::Enabled {
            let full = qid != ADMIN_QUEUE && self.io.slots.is_full();
            match self.take(cx, qid, ring.as_ref(), full) {
                Head::Command(entry) => self.execute(cx, qid, &entry, &mut spent),
                Head::Aborted(entry) => self.answer(cx, qid, entry.cid.get(), Err(Status::ABORT_REQUESTED)),
                Head::Nothing => break,
            }
            taken += 1;
        }
        taken > 0
    }

    /// Takes the command at the head of a queue, if there is one, and room for its answer. `full`: there is no slot for it.
    #[inline]
    pub(super) fn take(
        &mut self,
        cx: &mut Cx<'_>,
        qid: u16,
        ring: Option<&GuestSlice<'_>>,
        full: bool,
    ) -> Head {
        let Some((queue, completion)) = self.queues.pair(qid) else { return Head::Nothing };
        if full || queue.is_empty() || queue.state != SubmissionState::Live || !completion.reserve() {
            return Head::Nothing;
        }
        let index = queue.head();
        match read_entry(cx, ring, queue.base, index) {
            Ok(entry) => {
                queue.advance();
                queue.in_flight += 1;
                if let Some(ring) = ring
                    && !queue.is_empty()
                    && let Ok(lba) = ring.load_u64(queue.head() as usize * SUBMISSION_ENTRY_SIZE + SLBA)
                {
                    self.io.expect(lba);
                }
                let aborted = queue.take_abort(index, entry.cid.get());
                if aborted { Head::Aborted(entry) } else { Head::Command(entry) }
            }
            Err(_) => {
                completion.release();
                self.fail(cx.out, Note::QueueMemory);
                Head::Nothing
            }
        }
    }

    #[inline]
    fn execute(&mut self, cx: &mut Cx<'_>, qid: u16, entry: &SubmissionEntry, spent: &mut u64) {
        let cid = entry.cid.get();
        let outcome = if qid == ADMIN_QUEUE {
            self.administer(cx, entry)
        } else {
            self.io.execute(cx, Origin::Command { sq: qid, cid }, entry, spent)
        };
        self.conclude(cx, qid, entry, outcome);
    }

    /// A command was executed, or begun.
    #[inline]
    pub(super) fn conclude(
        &mut self,
        cx: &mut Cx<'_>,
        qid: u16,
        entry: &SubmissionEntry,
        outcome: Result<Outcome, Status>,
    ) {
        let cid = entry.cid.get();
        match outcome {
            Ok(Outcome::Done(dw0)) => self.answer(cx, qid, cid, Ok(dw0)),
            Ok(Outcome::Later) => {}
            Ok(Outcome::Event) => self.park_event_request(),
            Err(status) => self.answer_failed(cx, qid, entry, status),
        }
    }

    /// Whether any doorbell shows something that a turn would act on.
    pub(super) fn doorbells_moved(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.look_at_heads(cx) {
            return true;
        }
        for nth in 0..self.queues.live_count() {
            let Some(qid) = self.queues.nth_live(nth) else { break };
            let Some(tail) = self.doorbell(cx, Doorbell::SubmissionTail(qid)) else { return true };
            let Some((queue, completion)) = self.queues.pair(qid) else { continue };
            if queue.state != SubmissionState::Live {
                continue;
            }
            let news = tail != queue.tail() && !queue.has_refused(tail);
            let waits = !queue.is_empty() && completion.has_room() && !self.io.is_full(qid);
            if news || waits {
                return true;
            }
        }
        false
    }
}

/// The one copy of a command (law 7).
#[inline]
fn read_entry(
    cx: &Cx<'_>,
    ring: Option<&GuestSlice<'_>>,
    base: u64,
    index: u32,
) -> Result<SubmissionEntry, DmaError> {
    let offset = index as usize * SUBMISSION_ENTRY_SIZE;
    match ring {
        Some(ring) => ring.read_pod(offset),
        None => {
            let size = SUBMISSION_ENTRY_SIZE as u64;
            cx.dma.resolve(cx.pass, base + offset as u64, size, DmaAccess::Read)?.read_pod(0)
        }
    }
}
