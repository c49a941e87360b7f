//! The admin commands.
//!
//! NVMe 1.4 chapter 5 *Admin Command Set*. Each file below is one family; they are methods of the
//! [engine](super::engine), which owns all state.

mod features;
mod forward;
mod identify;
mod logs;
mod queues;

use nvme_spec::command::SubmissionEntry;
use nvme_spec::event::Event;
use nvme_spec::queue::{ABORT_NOT_ABORTED, ADMIN_QUEUE, AbortCdw10};
use nvme_spec::{AdminOpcode, Status};

use super::aer::AsyncEvents;
use super::engine::{Cx, Engine, Outcome};
use super::health::{ErrorLog, Fault};
use super::limits::PAGE;
use super::shadow::Shadow;
pub(super) use features::Features;
pub(super) use identify::Identity;

/// State of the admin commands.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) identity: Identity,
    pub(super) features: Features,
    pub(super) events: AsyncEvents,
    pub(super) errors: ErrorLog,
    /// Doorbell Buffer Config is offered.
    pub(super) shadow_offered: bool,
    /// Interrupt vectors.
    pub(super) vectors: u16,
    /// I/O queues of each kind that the host may have.
    pub(super) io_queues: u16,
}

impl Admin {
    pub(super) fn new(identity: Identity, shadow_offered: bool, vectors: u16, io_queues: u16) -> Self {
        Self {
            identity,
            features: Features::default(),
            events: AsyncEvents::default(),
            errors: ErrorLog::default(),
            shadow_offered,
            vectors,
            io_queues,
        }
    }

    /// Notes an impossible doorbell and tells the host.
    pub(super) fn doorbell_fault(&mut self, event: Event) {
        self.errors.record(&Fault { command: None, status: Status::INVALID_FIELD, nsid: 0, lba: 0 });
        self.events.raise(event);
    }

    /// Takes up what was saved.
    pub(super) fn take_up(
        &mut self,
        saved_features: Features,
        saved_events: AsyncEvents,
        saved_errors: ErrorLog,
    ) {
        let Self { identity: _, features, events, errors, shadow_offered: _, vectors: _, io_queues: _ } =
            self;
        *features = saved_features;
        *events = saved_events;
        *errors = saved_errors;
    }

    /// Back to how it is before the controller is enabled; the error log is kept.
    pub(super) fn reset(&mut self) {
        let Self { identity: _, features, events, errors: _, shadow_offered: _, vectors: _, io_queues: _ } =
            self;
        *features = Features::default();
        events.reset();
    }
}

impl Engine {
    /// Executes an admin command.
    pub(super) fn administer(&mut self, cx: &mut Cx<'_>, entry: &SubmissionEntry) -> Result<Outcome, Status> {
        // Fused commands and SGLs are not offered.
        if entry.flags & 0b1100_0011 != 0 {
            return Err(Status::INVALID_FIELD);
        }
        match AdminOpcode::try_from(entry.opcode) {
            Ok(AdminOpcode::DeleteIoSubmissionQueue) => self.delete_submission_queue(entry),
            Ok(AdminOpcode::CreateIoSubmissionQueue) => self.create_submission_queue(cx, entry),
            Ok(AdminOpcode::GetLogPage) => self.get_log_page(cx, entry),
            Ok(AdminOpcode::DeleteIoCompletionQueue) => self.delete_completion_queue(entry),
            Ok(AdminOpcode::CreateIoCompletionQueue) => self.create_completion_queue(cx, entry),
            Ok(AdminOpcode::Identify) => self.identify(cx, entry),
            Ok(AdminOpcode::Abort) => self.abort(cx, entry),
            Ok(AdminOpcode::SetFeatures) => self.set_features(cx, entry),
            Ok(AdminOpcode::GetFeatures) => self.get_features(cx, entry),
            Ok(AdminOpcode::AsyncEventRequest) => {
                let kept = self.admin.events.request(entry.cid.get());
                if kept { Ok(Outcome::Event) } else { Err(Status::ASYNC_EVENT_LIMIT_EXCEEDED) }
            }
            Ok(AdminOpcode::DoorbellBufferConfig) if self.admin.shadow_offered => {
                self.configure_shadow(cx, entry)
            }
            _ => Err(Status::INVALID_OPCODE),
        }
    }

    /// Abort: takes back an event request, or notes that a command which still waits in its queue is to be aborted
    /// when it is taken. A command that was taken runs on. NVMe 1.4 s5.1 *Abort command*.
    fn abort(&mut self, cx: &mut Cx<'_>, entry: &SubmissionEntry) -> Result<Outcome, Status> {
        let wanted = AbortCdw10(entry.cdw10.get());
        let (sqid, cid) = (wanted.sqid(), wanted.cid());
        if sqid == ADMIN_QUEUE && self.admin.events.abort(cid) {
            if self.claim_room() {
                self.answer(cx, ADMIN_QUEUE, cid, Err(Status::ABORT_REQUESTED));
            }
            return Ok(Outcome::Done(0));
        }
        if self.queues.submission(sqid).is_some()
            && let Some(away) = self.io.away_mut()
            && away.cancel(sqid, Some(cid), Status::ABORT_REQUESTED)
        {
            return Ok(Outcome::Done(0));
        }
        let Some(queue) = self.queues.submission(sqid) else { return Err(Status::INVALID_FIELD) };
        let base = queue.base;
        let found = queue.waiting().find(|index| waiting_cid(cx, base, *index) == Some(cid));
        let noted = found.is_some_and(|index| queue.note_abort(index, cid));
        Ok(Outcome::Done(if noted { 0 } else { ABORT_NOT_ABORTED }))
    }

    fn configure_shadow(&mut self, cx: &mut Cx<'_>, entry: &SubmissionEntry) -> Result<Outcome, Status> {
        let shadow = Shadow { doorbells: entry.prp1.get(), events: entry.prp2.get() };
        if !shadow.doorbells.is_multiple_of(PAGE) || !shadow.events.is_multiple_of(PAGE) {
            return Err(Status::INVALID_FIELD);
        }
        self.use_shadow(cx, shadow).map_err(|_| Status::DATA_TRANSFER_ERROR)?;
        Ok(Outcome::Done(0))
    }
}

/// The identifier of a command that waits in a queue. A hint for finding it: the copy that is executed decides.
fn waiting_cid(cx: &Cx<'_>, base: u64, index: u32) -> Option<u16> {
    let mut cid = [0; 2];
    cx.dma.read(cx.pass, base + u64::from(index) * 64 + 2, &mut cid).ok()?;
    Some(u16::from_le_bytes(cid))
}
