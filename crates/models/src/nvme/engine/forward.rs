//! Commands that are executed elsewhere: sending them there, taking in what has come back, and starting and ending the
//! controller around it.
//!
//! What the back end does is its own: a command that is with it holds no pass and no guest memory of ours, so a reset of the
//! function never waits for a back end that is away. The guest's controller does: CSTS.RDY follows CC.EN when nothing of the
//! life before is at work any more, and the back end is there.

use assign::GuestSlice;
use nvme_spec::command::SubmissionEntry;
use nvme_spec::event::Event;
use nvme_spec::queue::ADMIN_QUEUE;
use nvme_spec::{NvmOpcode, Status};

use super::super::elsewhere::Reaped;
use super::super::elsewhere::away::Flush;
use super::super::elsewhere::tags::{Command, Ended, Returned};
use super::super::limits::BURST;
use super::super::outbox::Outbox;
use super::super::slots::Origin;
use super::service::Head;
use super::{Cx, Engine, Outcome, Phase, Shutdown};

/// The opcode of the commands of NVMe over Fabrics, which are for no queue in memory.
pub(in super::super) const FABRICS: u8 = 0x7f;

impl Engine {
    /// Takes commands from one queue and sends them elsewhere, but for those that are the controller's own. Says whether there
    /// were any.
    pub(super) fn forward_queue(&mut self, cx: &mut Cx<'_>, qid: u16, ring: Option<&GuestSlice<'_>>) -> bool {
        let mut taken = 0;
        while taken < BURST && self.phase == Phase::Enabled {
            let full = self.io.is_full(qid);
            match self.take(cx, qid, ring, full) {
                Head::Command(entry) => {
                    let outcome = match qid {
                        ADMIN_QUEUE => self.administer_or_forward(cx, &entry),
                        _ => self.forward_io(qid, &entry),
                    };
                    self.conclude(cx, qid, &entry, outcome);
                }
                Head::Aborted(entry) => self.answer(cx, qid, entry.cid.get(), Err(Status::ABORT_REQUESTED)),
                Head::Nothing => break,
            }
            taken += 1;
        }
        taken > 0
    }

    #[inline]
    fn forward_io(&mut self, qid: u16, entry: &SubmissionEntry) -> Result<Outcome, Status> {
        if entry.opcode == FABRICS {
            return Err(Status::INVALID_OPCODE);
        }
        self.io.dirty |= entry.opcode != NvmOpcode::Read.code();
        self.forward(qid, entry, None)
    }

    /// Sends a command as it is. `log`: the log page that it reads.
    #[inline]
    pub(in super::super) fn forward(
        &mut self,
        qid: u16,
        entry: &SubmissionEntry,
        log: Option<u8>,
    ) -> Result<Outcome, Status> {
        // Two commands would have to stay together on a way that they share with others.
        if entry.flags & 0b11 != 0 {
            return Err(Status::INVALID_FIELD);
        }
        let command = Command { origin: Origin::Command { sq: qid, cid: entry.cid.get() }, log };
        let sent = self.io.away_mut().is_some_and(|away| away.send(qid, command, entry));
        if sent { Ok(Outcome::Later) } else { Err(Status::INTERNAL_ERROR) }
    }

    /// Takes in what has come back; needs no pass.
    pub(super) fn absorb_reaped(&mut self, out: &mut Outbox) {
        // The list goes back afterwards: its memory is kept.
        let mut reaped = std::mem::take(&mut out.reaped);
        for one in reaped.drain(..) {
            match one {
                Reaped::Finished { tag, dw0, status } => self.take_back(tag, dw0, status, out),
                Reaped::Event { dw0 } => self.hear(dw0),
            }
        }
        out.reaped = reaped;
    }

    fn take_back(&mut self, tag: u16, dw0: u32, status: Status, out: &mut Outbox) {
        let Some(away) = self.io.away_mut() else { return };
        if away.finish(tag, dw0, status) != Returned::Shutdown || self.shutdown != Shutdown::Flushing {
            return;
        }
        if let Flush::Over { ok } = away.flushed(status) {
            self.io.dirty = !ok;
            self.shutdown_flushed(ok, out);
        }
    }

    /// The back end has told of an event. Those of a life before were for nobody.
    fn hear(&mut self, dw0: u32) {
        match Event::from_dword0(dw0) {
            Ok(event) if self.phase == Phase::Enabled => self.admin.events.raise(event),
            Ok(event) => {
                if let Some(away) = self.io.away_mut() {
                    away.hear(event);
                }
            }
            Err(_) => {
                if let Some(away) = self.io.away_mut() {
                    away.count_odd_event();
                }
            }
        }
    }

    /// Posts what has come back, and tries again what there was no room for.
    pub(super) fn go_on_elsewhere(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut any = false;
        while let Some(Ended { command, dw0, status }) =
            self.io.away_mut().and_then(|away| away.tags().pop_done())
        {
            any = true;
            if let Some(log) = command.log.filter(|_| status.is_success()) {
                self.admin.events.log_was_read(log);
            }
            if let Origin::Command { sq, cid } = command.origin {
                self.post(cx, sq, cid, dw0, status);
            }
        }
        any | self.io.away_mut().is_some_and(|away| away.has_kept() && away.send_kept())
    }

    /// Whether a controller that is to be enabled now has to wait for its back end; it is enabled when that is ready.
    pub(super) fn waits_for_back_end(&mut self, out: &mut Outbox) -> bool {
        if self.io.away_mut().is_none_or(|away| away.is_ready()) {
            return false;
        }
        self.phase = Phase::Starting;
        self.attention = true;
        out.start_worker = true;
        out.wake = true;
        true
    }

    /// Whether nothing of what a reset ends is at work any more.
    pub(super) fn is_settled(&mut self) -> bool {
        self.io.slots.busy() == 0 && self.io.away_mut().is_none_or(|away| away.is_settled())
    }

    /// Nothing is to go on elsewhere.
    pub(in super::super) fn abandon(&mut self) {
        if let Some(away) = self.io.away_mut() {
            away.abandon();
        }
    }

    /// Ends a reset, or goes on with enabling, if the back end lets it.
    #[cold]
    pub(super) fn follow_back_end(&mut self, out: &mut Outbox) {
        if self.phase == Phase::Starting {
            self.enable(out);
        } else if self.phase == Phase::Resetting && self.is_settled() {
            self.finish_reset(out);
        }
    }
}

#[cfg(test)]
mod tests;
