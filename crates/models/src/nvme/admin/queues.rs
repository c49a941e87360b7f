//! Create and Delete I/O Queue.
//!
//! NVMe 1.4 s5.3 to s5.6, and s7.6.3 *Queue Management*.

use nvme_spec::command::{COMPLETION_ENTRY_SHIFT, SUBMISSION_ENTRY_SHIFT, SubmissionEntry};
use nvme_spec::queue::{ADMIN_QUEUE, CreateCdw10, CreateCompletionCdw11, CreateSubmissionCdw11, MIN_ENTRIES};
use nvme_spec::{Doorbell, Status};

use super::super::engine::{Cx, Engine, Outcome};
use super::super::limits::{PAGE, QUEUE_ENTRIES};
use super::super::queue::{CompletionQueue, SubmissionQueue, SubmissionState};

impl Engine {
    pub(super) fn create_completion_queue(
        &mut self,
        cx: &mut Cx<'_>,
        entry: &SubmissionEntry,
    ) -> Result<Outcome, Status> {
        let (cdw10, cdw11) = (CreateCdw10(entry.cdw10.get()), CreateCompletionCdw11(entry.cdw11.get()));
        let qid = cdw10.qid();
        if !self.is_io_queue(qid) || self.queues.completion(qid).is_some() {
            return Err(Status::INVALID_QUEUE_IDENTIFIER);
        }
        check_ring(cdw10.entries(), cdw11.pc(), entry.prp1.get())?;
        if self.board.registers.cc().iocqes() != COMPLETION_ENTRY_SHIFT {
            return Err(Status::INVALID_QUEUE_SIZE);
        }
        if cdw11.iv() >= self.admin.vectors {
            return Err(Status::INVALID_INTERRUPT_VECTOR);
        }
        let vector = cdw11.ien().then_some(cdw11.iv());
        self.queues.add_completion(qid, CompletionQueue::new(entry.prp1.get(), cdw10.entries(), vector));
        self.open_doorbell(cx, Doorbell::CompletionHead(qid));
        Ok(Outcome::Done(0))
    }

    pub(super) fn create_submission_queue(
        &mut self,
        cx: &mut Cx<'_>,
        entry: &SubmissionEntry,
    ) -> Result<Outcome, Status> {
        let (cdw10, cdw11) = (CreateCdw10(entry.cdw10.get()), CreateSubmissionCdw11(entry.cdw11.get()));
        let qid = cdw10.qid();
        let cq = cdw11.cqid();
        if !self.is_io_queue(qid) || self.queues.submission(qid).is_some() {
            return Err(Status::INVALID_QUEUE_IDENTIFIER);
        }
        if !self.is_io_queue(cq) {
            return Err(Status::INVALID_QUEUE_IDENTIFIER);
        }
        if self.queues.completion(cq).is_none() {
            return Err(Status::COMPLETION_QUEUE_INVALID);
        }
        check_ring(cdw10.entries(), cdw11.pc(), entry.prp1.get())?;
        if self.board.registers.cc().iosqes() != SUBMISSION_ENTRY_SHIFT {
            return Err(Status::INVALID_QUEUE_SIZE);
        }
        self.queues.add_submission(qid, SubmissionQueue::new(entry.prp1.get(), cdw10.entries(), cq));
        self.open_doorbell(cx, Doorbell::SubmissionTail(qid));
        Ok(Outcome::Done(0))
    }

    /// The answer waits until everything in flight from the queue has been answered.
    pub(super) fn delete_submission_queue(&mut self, entry: &SubmissionEntry) -> Result<Outcome, Status> {
        let qid = CreateCdw10(entry.cdw10.get()).qid();
        let queue = self.queues.submission(qid).filter(|_| qid != ADMIN_QUEUE);
        let queue = queue.ok_or(Status::INVALID_QUEUE_IDENTIFIER)?;
        if queue.state != SubmissionState::Live {
            return Err(Status::INVALID_QUEUE_IDENTIFIER);
        }
        queue.state = SubmissionState::Deleting { cid: entry.cid.get() };
        self.deleting += 1;
        if let Some(away) = self.io.away_mut() {
            away.cancel(qid, None, Status::ABORTED_SQ_DELETION);
        }
        Ok(Outcome::Later)
    }

    pub(super) fn delete_completion_queue(&mut self, entry: &SubmissionEntry) -> Result<Outcome, Status> {
        let qid = CreateCdw10(entry.cdw10.get()).qid();
        let queue = self.queues.completion(qid).filter(|_| qid != ADMIN_QUEUE);
        let queue = queue.ok_or(Status::INVALID_QUEUE_IDENTIFIER)?;
        if queue.users > 0 {
            return Err(Status::INVALID_QUEUE_DELETION);
        }
        self.queues.remove_completion(qid);
        self.board.doorbells.set_exists(Doorbell::CompletionHead(qid), false);
        Ok(Outcome::Done(0))
    }

    fn is_io_queue(&self, qid: u16) -> bool {
        (1..=self.admin.io_queues).contains(&qid)
    }

    /// A queue that was being deleted has nothing in flight any more.
    pub(in super::super) fn remove_submission_queue(&mut self, qid: u16) {
        self.queues.remove_submission(qid);
        self.board.doorbells.set_exists(Doorbell::SubmissionTail(qid), false);
        self.deleting = self.deleting.saturating_sub(1);
    }

    /// A new queue starts with its doorbell, and the shadow of it, at 0, whatever the last one of that name left there.
    fn open_doorbell(&mut self, cx: &mut Cx<'_>, doorbell: Doorbell) {
        self.board.doorbells.set_exists(doorbell, true);
        if let Some(shadow) = self.shadow {
            // A buffer that cannot be reached fails the controller at the next look.
            let _ = shadow.seed(cx, doorbell, 0);
            let _ = shadow.announce(cx, doorbell, 0);
        }
    }
}

fn check_ring(entries: u32, contiguous: bool, base: u64) -> Result<(), Status> {
    if !(MIN_ENTRIES..=QUEUE_ENTRIES).contains(&entries) {
        return Err(Status::INVALID_QUEUE_SIZE);
    }
    // CAP.CQR: queues are contiguous.
    if !contiguous {
        return Err(Status::INVALID_FIELD);
    }
    // A ring that would wrap around the address space is caught here, so that sums of base and offset never do.
    let fits = base.checked_add(u64::from(entries) * 64).is_some();
    if fits && base.is_multiple_of(PAGE) { Ok(()) } else { Err(Status::PRP_OFFSET_INVALID) }
}
