//! The controller as its function sees it: registers, doorbells, reset.
//!
//! BAR 0, four pages: registers, doorbells, MSI-X table, pending bits. The last two are kept by whoever emulates
//! MSI-X for the guest (QEMU does, and so does the kernel): the table reads as all-ones (VF-16) and nothing is pending.

use std::sync::Arc;
use std::time::Instant;

use gate::lock::Lock;
use gate::{Held, Pass, Quiesced};
use nvme_spec::Doorbell;
use pci_core::{
    BarIndex, Change, Command, Device, FaultName, InjectError, Mappable, PowerState, Preserve, PreserveError,
    ResetKind,
};

use super::board::Trap;
use super::config::{DoorbellStyle, InterruptStyle};
use super::doorbell::{DOORBELL_BYTES, DOORBELLS, doorbell_at};
use super::engine::Halt;
use super::faults::{self, FAULTS};
use super::outbox::{Note, Outbox};
use super::shared::{Order, Shared};
use super::worker::Worker;
use crate::ranks;

/// BAR 0 as vfio numbers regions.
const BAR0_REGION: u32 = 0;
/// Where the MSI-X table ends and the pending bits begin.
const PENDING_BITS: u64 = 0x3000;
/// Where the MSI-X table begins.
const TABLE: u64 = 0x2000;

/// An NVMe controller; made by [`build`](super::build).
pub struct Controller {
    shared: Arc<Shared>,
    style: InterruptStyle,
    /// No thread: somebody gives the turns.
    by_hand: bool,
    /// Rank: 75, NVMe worker. Taken under the pass of a register write or the proof of a restore, and never under the engine's
    /// lock, for starting the thread once. A lock, because two register writes may enable the controller at once, and starting is a system
    /// call that has a result to keep.
    worker: Lock<ranks::NvmeWorker, Option<Worker>>,
}

impl Controller {
    pub(super) fn new(shared: Arc<Shared>, style: InterruptStyle) -> Self {
        Self { shared, style, by_hand: false, worker: Lock::new(None) }
    }

    fn write_dword(&self, pass: &Pass<'_>, offset: u64, value: u32, out: &mut Outbox) {
        if offset < DOORBELLS {
            self.shared.with_engine(pass, out, |engine, out| engine.write_register(offset, value, out));
        } else if offset < DOORBELLS + DOORBELL_BYTES {
            self.ring(pass, offset, value, out);
        }
    }

    fn ring(&self, pass: &Pass<'_>, offset: u64, value: u32, out: &mut Outbox) {
        let board = &self.shared.board;
        let Some(doorbell) = doorbell_at(offset).filter(|doorbell| board.doorbells.exists(*doorbell)) else {
            self.shared.with_engine(pass, out, |engine, out| engine.stray_doorbell(out));
            return;
        };
        board.doorbells.store(doorbell, value);
        if self.style == InterruptStyle::Intx {
            match doorbell {
                Doorbell::CompletionHead(qid) => {
                    self.shared.with_engine(pass, out, |engine, out| engine.acknowledge(qid, value, out));
                }
                Doorbell::SubmissionTail(_) if board.line_is_shown() => {
                    let now = Instant::now();
                    self.shared.with_engine(pass, out, |engine, out| engine.hold_line(now, out));
                }
                Doorbell::SubmissionTail(_) => {}
            }
        }
        out.wake = true;
    }

    /// A controller whose turns are given by hand, for [`fuzz`](super::fuzz).
    pub(super) fn without_worker(shared: Arc<Shared>, style: InterruptStyle) -> Self {
        Self { shared, style, by_hand: true, worker: Lock::new(None) }
    }

    fn start_worker(&self, held: &impl Held) {
        if self.by_hand {
            return;
        }
        let mut worker = self.worker.lock_inside(held);
        if worker.is_some() {
            return;
        }
        match Worker::start(&self.shared) {
            Ok(started) => *worker = Some(started),
            Err(error) => {
                tracing::error!(function = self.shared.name, %error, "no thread for the controller");
                self.shared.halt(held, Halt::Fatal);
            }
        }
    }

    /// What an access to BAR 0 runs into that somebody asked for. Says whether it goes on.
    #[cold]
    fn fall_into(&self, trap: Trap, written: Option<(u64, &[u8])>) -> bool {
        match trap {
            Trap::None => true,
            Trap::Unreachable => {
                self.note_doorbell(written);
                false
            }
            Trap::Panic => {
                self.note_doorbell(written);
                if self.shared.board.take_panic() {
                    faults::panic_in_register();
                }
                true
            }
        }
    }

    /// A write that is lost on its way: if it is a doorbell it counts once somebody looks again.
    fn note_doorbell(&self, written: Option<(u64, &[u8])>) {
        if let Some((offset, data)) = written
            && let Ok(value) = <[u8; 4]>::try_from(data)
            && (DOORBELLS..DOORBELLS + DOORBELL_BYTES).contains(&offset)
            && let Some(doorbell) = doorbell_at(offset)
        {
            self.shared.board.doorbells.ring_unheard(doorbell, u32::from_le_bytes(value));
        }
    }
}

impl Device for Controller {
    /// An image is locked, and what its last server had under way holds that lock.
    fn has_its_data_to_itself(&self) -> bool {
        self.shared.elsewhere.is_none()
    }

    fn missed_write(&self, _bar: BarIndex, offset: u64, data: &[u8]) {
        self.note_doorbell(Some((offset, data)));
    }

    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, offset: u64, data: &mut [u8]) {
        let trap = self.shared.board.trap();
        if trap != Trap::None && !self.fall_into(trap, None) {
            data.fill(0xff);
            return;
        }
        match offset {
            ..DOORBELLS => self.shared.board.registers.read(offset, data),
            TABLE..PENDING_BITS => data.fill(0xff),
            // Doorbells are written only; what they read is left open. Nothing is pending.
            _ => data.fill(0),
        }
    }

    fn write_bar(&self, pass: &Pass<'_>, _bar: BarIndex, offset: u64, data: &[u8]) {
        let trap = self.shared.board.trap();
        if trap != Trap::None && !self.fall_into(trap, Some((offset, data))) {
            return;
        }
        let mut out = Outbox::default();
        if offset.is_multiple_of(4) && data.len().is_multiple_of(4) {
            for (at, dword) in (offset..).step_by(4).zip(data.chunks_exact(4)) {
                let mut value = [0; 4];
                value.copy_from_slice(dword);
                self.write_dword(pass, at, u32::from_le_bytes(value), &mut out);
            }
        } else {
            out.note(Note::Access);
        }
        self.shared.signal(pass, &mut out);
        if out.start_worker {
            self.start_worker(pass);
        }
        if out.wake {
            self.shared.waker.notify();
        }
        self.shared.log(&mut out);
    }

    fn reset(&self, quiesced: &Quiesced<'_>, _kind: ResetKind) {
        let mut out = Outbox::default();
        self.shared.board.set_trap(Trap::None);
        self.shared.with_engine(quiesced, &mut out, |engine, out| engine.power_on_reset(out));
        self.shared.board.doorbells.release();
        if out.wake {
            // It finds the gate closed, and tells the back end all the same.
            self.shared.waker.notify();
        }
    }

    fn never_all_ones(&self, _bar: BarIndex, offset: u64, length: usize) -> bool {
        // Only registers of the first page can be; and the table, which always is.
        match offset {
            ..DOORBELLS => self.shared.board.registers.never_all_ones(offset, length),
            TABLE..PENDING_BITS => false,
            _ => true,
        }
    }

    fn preserve(&self) -> Option<&dyn Preserve> {
        Some(self)
    }

    fn faults(&self) -> &'static [FaultName] {
        FAULTS
    }

    fn inject(&self, pass: &Pass<'_>, fault: &str) -> Result<(), InjectError> {
        let has_worker = || self.worker.lock_inside(pass).is_some();
        faults::inject(&self.shared, pass, fault, has_worker)
    }

    fn command_changed(&self, _pass: &Pass<'_>, _old: Command, _new: Command) {
        // Commands may have been waiting for bus mastering.
        self.shared.waker.notify();
    }

    fn power_changed(&self, _quiesced: &Quiesced<'_>, _change: Change<PowerState>) {
        // Commands may have been waiting for D0.
        self.shared.waker.notify();
    }

    fn mappable(&self, region: u32) -> Option<Mappable> {
        let mapped = region == BAR0_REGION && self.shared.doorbells == DoorbellStyle::Mapped;
        mapped.then(|| self.shared.board.doorbells.mappable())
    }

    fn describe(&self) -> Vec<(String, String)> {
        let doorbells = match self.shared.doorbells {
            DoorbellStyle::Trapped => "trapped",
            DoorbellStyle::Mapped => "mapped",
        };
        let mut facts = self.shared.describe();
        facts.push((String::from("doorbells"), doorbells.to_owned()));
        facts
    }
}

impl Preserve for Controller {
    fn save(&self, quiesced: &Quiesced<'_>) -> Result<Vec<u8>, PreserveError> {
        self.shared.with_engine(quiesced, &mut Outbox::default(), |engine, _| engine.save())
    }

    fn restore(&self, quiesced: &Quiesced<'_>, state: &[u8]) -> Result<(), PreserveError> {
        let mut out = Outbox::default();
        self.shared.with_engine(quiesced, &mut out, |engine, out| engine.restore(state, out))?;
        if out.start_worker {
            self.start_worker(quiesced);
        }
        // It finds the gate closed, and comes again when that opens.
        self.shared.waker.notify();
        Ok(())
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.shared.order(Order::End);
        self.shared.waker.notify();
        if let Some(worker) = self.worker.get_mut().take() {
            worker.join();
        }
    }
}
