//! Posting completions, events and interrupts.

use assign::{DmaAccess, DmaError};
use nvme_spec::Status;
use nvme_spec::command::{COMPLETION_ENTRY_SIZE, CompletionEntry, SubmissionEntry};
use nvme_spec::queue::ADMIN_QUEUE;
use nvme_spec::status::StatusType;
use zerocopy::IntoBytes;

use super::super::config::InterruptStyle;
use super::super::health::Fault;
use super::super::outbox::{Note, Outbox};
use super::super::queue::{Place, SubmissionState};
use super::super::slots::{Done, Origin};
use super::{Cx, Engine};

impl Engine {
    /// Answers a command that was taken from submission queue `qid`.
    #[inline]
    pub(in super::super) fn answer(
        &mut self,
        cx: &mut Cx<'_>,
        qid: u16,
        cid: u16,
        result: Result<u32, Status>,
    ) {
        let (dw0, status) = match result {
            Ok(dw0) => (dw0, Status::SUCCESS),
            Err(status) => (0, status.with_dnr(is_final(status))),
        };
        self.post(cx, qid, cid, dw0, status);
    }

    /// The same, with dword 0 and the status as they are.
    #[inline]
    pub(super) fn post(&mut self, cx: &mut Cx<'_>, qid: u16, cid: u16, dw0: u32, status: Status) {
        let Some((queue, completion)) = self.queues.pair(qid) else { return };
        queue.in_flight = queue.in_flight.saturating_sub(1);
        let place = completion.post();
        #[expect(clippy::cast_possible_truncation, reason = "a queue has at most 4,096 entries")]
        let head = queue.head() as u16;
        let entry = CompletionEntry::new(dw0, head, qid, cid, status, place.phase);
        let (base, vector) = (completion.base, completion.vector);
        if write_entry(cx, base, place, &entry).is_err() {
            self.fail(cx.out, Note::QueueMemory);
            return;
        }
        if let Some(vector) = vector {
            self.interrupt(cx.out, vector);
        }
    }

    /// Answers a command with a failure and notes it in the error log.
    #[cold]
    pub(super) fn answer_failed(
        &mut self,
        cx: &mut Cx<'_>,
        qid: u16,
        entry: &SubmissionEntry,
        status: Status,
    ) {
        let cid = entry.cid.get();
        let lba = if qid == ADMIN_QUEUE { 0 } else { entry.slba() };
        let status = self.record(qid, cid, status, entry.nsid.get(), lba);
        self.answer(cx, qid, cid, Err(status));
    }

    /// Notes a failure in the error log, as the host is told it: the status says that there is more in the log.
    fn record(&mut self, sq: u16, cid: u16, status: Status, nsid: u32, lba: u64) -> Status {
        if status.is(Status::ABORT_REQUESTED) {
            return status;
        }
        // Who executes commands elsewhere has a log of his own, and the host is given that one.
        let status = status.with_more(!self.io.is_elsewhere()).with_dnr(is_final(status));
        self.admin.errors.record(&Fault { command: Some((sq, cid)), status, nsid, lba });
        status
    }

    /// Posts the outcomes that wait.
    pub(super) fn post_done(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut any = false;
        while let Some(Done { origin, status, lba }) = self.io.slots.done.pop_front() {
            any = true;
            let Origin::Command { sq, cid } = origin else { continue };
            let result = if status.is_success() { Ok(0) } else { Err(self.record(sq, cid, status, 1, lba)) };
            self.answer(cx, sq, cid, result);
        }
        any
    }

    /// An Asynchronous Event Request waits from now on, and gives its room in the completion queue back.
    pub(super) fn park_event_request(&mut self) {
        if let Some((queue, completion)) = self.queues.pair(ADMIN_QUEUE) {
            queue.in_flight = queue.in_flight.saturating_sub(1);
            completion.release();
        }
    }

    /// Answers event requests with events, as far as there is room.
    pub(super) fn report_events(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut any = false;
        while self.admin.events.is_due() && self.claim_room() {
            let Some((cid, event)) = self.admin.events.take() else { break };
            self.answer(cx, ADMIN_QUEUE, cid, Ok(event.to_dword0()));
            any = true;
        }
        any
    }

    /// Whether [`Engine::report_events`] would report one.
    pub(super) fn event_can_be_reported(&mut self) -> bool {
        self.admin.events.is_due()
            && self.queues.completion(ADMIN_QUEUE).is_some_and(|queue| queue.has_room())
    }

    /// Takes room in the admin completion queue for an answer to a parked event request.
    pub(in super::super) fn claim_room(&mut self) -> bool {
        let Some((queue, completion)) = self.queues.pair(ADMIN_QUEUE) else { return false };
        let room = completion.reserve();
        queue.in_flight += u32::from(room);
        room
    }

    /// Completes the deletions whose queues have nothing in flight any more.
    pub(super) fn finish_deletions(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.deleting == 0 {
            return false;
        }
        let mut any = false;
        let mut nth = 0;
        while let Some(qid) = self.queues.nth_live(nth) {
            nth += 1;
            let Some(queue) = self.queues.submission(qid) else { continue };
            let SubmissionState::Deleting { cid } = queue.state else { continue };
            if queue.in_flight > 0 {
                continue;
            }
            nth -= 1;
            self.remove_submission_queue(qid);
            self.answer(cx, ADMIN_QUEUE, cid, Ok(0));
            any = true;
        }
        any
    }

    /// A completion was posted to a queue with this vector.
    #[inline]
    pub(super) fn interrupt(&mut self, out: &mut Outbox, vector: u16) {
        let bit = 1u128.checked_shl(u32::from(vector)).unwrap_or(0);
        match self.style {
            // A level, worked out at the end of the turn.
            InterruptStyle::Intx => {}
            // INTMS is undefined with MSI-X, whose table has masks of its own.
            InterruptStyle::Msix => out.vectors |= bit,
            InterruptStyle::Msi => {
                let masked = u128::from(self.board.registers.interrupt_mask());
                out.vectors |= bit & !masked;
                self.masked_vectors |= bit & masked;
            }
        }
    }

    /// INTMS or INTMC was written.
    pub(super) fn interrupt_mask_changed(&mut self, out: &mut Outbox) {
        let masked = u128::from(self.board.registers.interrupt_mask());
        out.vectors |= self.masked_vectors & !masked;
        self.masked_vectors &= masked;
        self.update_line(out);
    }
}

/// Whether the same command would fail again.
fn is_final(status: Status) -> bool {
    match status.kind() {
        StatusType::Generic => {
            ![Status::DATA_TRANSFER_ERROR, Status::INTERNAL_ERROR, Status::ABORT_REQUESTED]
                .iter()
                .any(|transient| status.is(*transient))
        }
        StatusType::CommandSpecific => true,
        _ => false,
    }
}

/// Writes a completion: all of it, and then the dword with the phase tag, which makes it valid.
#[inline]
fn write_entry(cx: &Cx<'_>, base: u64, place: Place, entry: &CompletionEntry) -> Result<(), DmaError> {
    const LAST: usize = COMPLETION_ENTRY_SIZE - 4;
    let at = base + u64::from(place.index) * COMPLETION_ENTRY_SIZE as u64;
    let slice = cx.dma.resolve(cx.pass, at, COMPLETION_ENTRY_SIZE as u64, DmaAccess::Write)?;
    let bytes = entry.as_bytes();
    let (head, _) = bytes.split_at(LAST);
    slice.write_from(head)?;
    let last = u32::from(entry.cid.get()) | u32::from(entry.status_and_phase.get()) << 16;
    slice.store_u32_release(LAST, last)
}
