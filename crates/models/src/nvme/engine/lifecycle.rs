//! Enable, reset, shutdown: what register writes do.
//!
//! ```text
//! Disabled --EN=1--> Enabled --EN=0--> Resetting --nothing in flight--> Disabled
//!   |  \--EN=1, bad configuration--> Failed --EN=0--^       (RDY: 0 only here, and in Starting)
//!   \--EN=1, back end not ready--> Starting --ready--> Enabled     (EN=0: Disabled again)
//! ```
//! Nothing here waits. A reset that finds I/O in flight is finished by the worker when the last of it has come back;
//! CSTS.RDY tells the host. Function level reset arrives as [`Engine::power_on_reset`], with nothing in flight.

use nvme_spec::Doorbell;
use nvme_spec::event::Event;
use nvme_spec::queue::ADMIN_QUEUE;
use nvme_spec::register::{
    ACQ, ADMIN_QUEUE_ADDRESS_MASK, AQA, AQA_RW, ASQ, AdminQueueAttributes, CC, CC_RW, Configuration,
    ControllerStatus, INTMC, INTMS, ShutdownNotification, ShutdownStatus,
};

use super::super::outbox::{Note, Outbox};
use super::super::queue::{CompletionQueue, SubmissionQueue};
use super::{Engine, Phase, Shutdown};

impl Engine {
    /// A dword of the register page was written.
    pub(super) fn write_low_high(old: u64, value: u32, high: bool) -> u64 {
        let value = u64::from(value);
        if high { old & 0xffff_ffff | value << 32 } else { old & !0xffff_ffff | value }
    }

    /// Carries out a write of `value` to the register dword at `offset`; what is read-only or not there ignores it.
    pub(in super::super) fn write_register(&mut self, offset: u64, value: u32, out: &mut Outbox) {
        let registers = &self.board.registers;
        match offset {
            INTMS | INTMC => {
                let old = registers.interrupt_mask();
                registers.set_interrupt_mask(if offset == INTMS { old | value } else { old & !value });
                self.interrupt_mask_changed(out);
            }
            CC => self.write_configuration(Configuration(value & CC_RW), out),
            AQA => registers.set_aqa(AdminQueueAttributes(value & AQA_RW)),
            ASQ | 0x2c => {
                let base = Self::write_low_high(registers.asq(), value, offset != ASQ);
                registers.set_asq(base & ADMIN_QUEUE_ADDRESS_MASK);
            }
            ACQ | 0x34 => {
                let base = Self::write_low_high(registers.acq(), value, offset != ACQ);
                registers.set_acq(base & ADMIN_QUEUE_ADDRESS_MASK);
            }
            _ => {}
        }
    }

    /// A doorbell was written whose queue does not exist.
    pub(in super::super) fn stray_doorbell(&mut self, out: &mut Outbox) {
        if self.phase == Phase::Enabled {
            self.bad_doorbell(out, Event::INVALID_DOORBELL_REGISTER);
            out.wake = true;
        }
    }

    fn write_configuration(&mut self, new: Configuration, out: &mut Outbox) {
        let old = self.board.registers.cc();
        self.board.registers.set_cc(new);
        let asked = |cc: Configuration| {
            matches!(cc.shutdown(), ShutdownNotification::Normal | ShutdownNotification::Abrupt)
        };
        if asked(new) && !asked(old) {
            self.begin_shutdown(out);
        }
        match (old.en(), new.en(), self.phase) {
            (false, true, Phase::Disabled) => self.enable(out),
            // A reset that is still going on looks at CC.EN again when it ends.
            (true, false, Phase::Enabled | Phase::Failed) => self.begin_reset(out),
            (true, false, Phase::Starting) => self.finish_reset(out),
            _ => {}
        }
    }

    pub(super) fn enable(&mut self, out: &mut Outbox) {
        let registers = &self.board.registers;
        let (cc, aqa) = (registers.cc(), registers.aqa());
        let (submission, completion) = (aqa.submission_entries(), aqa.completion_entries());
        if cc.css() != 0 || cc.mps() != 0 || cc.ams() != 0 || submission < 2 || completion < 2 {
            return self.fail(out, Note::Configuration);
        }
        if self.waits_for_back_end(out) {
            return;
        }
        if self.board.doorbells.set_up().is_err() {
            return self.fail(out, Note::DoorbellMemory);
        }
        let registers = &self.board.registers;
        let submission = SubmissionQueue::new(registers.asq(), u32::from(submission), ADMIN_QUEUE);
        let completion = CompletionQueue::new(registers.acq(), u32::from(completion), Some(0));
        registers.set_csts(ControllerStatus::default().with_rdy(true));
        self.queues.enable(submission, completion);
        self.shutdown = Shutdown::None;
        self.phase = Phase::Enabled;
        let doorbells = &self.board.doorbells;
        doorbells.set_exists(Doorbell::SubmissionTail(ADMIN_QUEUE), true);
        doorbells.set_exists(Doorbell::CompletionHead(ADMIN_QUEUE), true);
        out.start_worker = true;
        out.wake = true;
    }

    fn begin_reset(&mut self, out: &mut Outbox) {
        self.phase = Phase::Resetting;
        self.io.slots.abandon();
        if let Some(away) = self.io.away_mut() {
            away.abandon();
            // The back end is told by the worker, and when all is settled a turn looks again.
            self.attention = true;
            out.wake = true;
        }
        if self.is_settled() { self.finish_reset(out) } else { out.wake = true }
    }

    /// Ends a controller reset: nothing is in flight any more.
    pub(super) fn finish_reset(&mut self, out: &mut Outbox) {
        self.forget();
        self.board.registers.set_interrupt_mask(0);
        self.update_line(out);
        // Last: whoever sees RDY go to 0 sees everything above done.
        self.board.registers.set_csts(ControllerStatus::default());
        if self.board.registers.cc().en() {
            self.enable(out);
        }
    }

    /// Function level reset, or the loss of power: registers too. Nothing is in flight, and the gate is closed.
    pub(in super::super) fn power_on_reset(&mut self, out: &mut Outbox) {
        if self.phase == Phase::Enabled && self.shutdown != Shutdown::Complete {
            self.io.health.count_unsafe_shutdown();
        }
        out.wake |= self.forget();
        self.board.registers.reset();
        self.update_line(out);
    }

    /// Every piece of state back to what it is before the controller is enabled. Each field is named, so that a new
    /// one does not compile before it is decided about. Says whether the worker has to tell the back end.
    fn forget(&mut self) -> bool {
        let Self {
            board,
            style: _,
            phase,
            shutdown,
            queues,
            admin,
            io,
            shadow,
            first,
            deleting,
            masked_vectors,
            hold,
            attention,
            halt,
        } = self;
        *phase = Phase::Disabled;
        *shutdown = Shutdown::None;
        queues.clear();
        admin.reset();
        let tell = io.reset();
        *shadow = None;
        *first = 0;
        *deleting = 0;
        *masked_vectors = 0;
        hold.clear();
        *attention = false;
        *halt = None;
        board.doorbells.clear_all();
        tell
    }

    fn begin_shutdown(&mut self, out: &mut Outbox) {
        let registers = &self.board.registers;
        registers.set_csts(registers.csts().with_shst(ShutdownStatus::Occurring.bits()));
        self.shutdown = Shutdown::Draining;
        out.wake = true;
        self.carry_shutdown_on(out, false);
    }

    /// The next step of a shutdown, if there is one and it can be taken. I/O can be started only from a turn.
    pub(super) fn carry_shutdown_on(&mut self, out: &mut Outbox, in_turn: bool) -> bool {
        if !self.shutdown_can_go_on() {
            return false;
        }
        if self.phase != Phase::Enabled || !self.io.needs_flush() {
            // Nothing was written that is not where it belongs.
            self.complete_shutdown();
            return true;
        }
        if in_turn && self.io.flush_for_shutdown(out) {
            self.shutdown = Shutdown::Flushing;
            return true;
        }
        false
    }

    /// Whether a shutdown waits for nothing but its next step.
    pub(super) fn shutdown_can_go_on(&self) -> bool {
        self.shutdown == Shutdown::Draining && self.io.is_idle()
    }

    /// The flush of a shutdown is over.
    pub(super) fn shutdown_flushed(&mut self, ok: bool, out: &mut Outbox) {
        if self.shutdown != Shutdown::Flushing {
            return;
        }
        if ok {
            self.complete_shutdown();
        } else {
            // What the host wrote is not safe: it must not be told that it is.
            self.fail(out, Note::Backing);
        }
    }

    fn complete_shutdown(&mut self) {
        self.shutdown = Shutdown::Complete;
        let registers = &self.board.registers;
        registers.set_csts(registers.csts().with_shst(ShutdownStatus::Complete.bits()));
    }
}
