//! Commands that take longer than a turn: taking in what the ring has finished, and starting next steps.

use super::super::io::Taken;
use super::super::outbox::{Note, Outbox};
use super::super::ring::Finished;
use super::{Cx, Engine, Phase};

/// Steps started or done in one turn, so that zeroing a disk leaves time for other commands.
const STEPS: usize = 4;

impl Engine {
    /// Takes in what the ring has finished; needs no pass. Ends a reset that waited for it.
    pub(super) fn absorb(&mut self, out: &mut Outbox) -> bool {
        if out.finished.is_empty() && out.reaped.is_empty() {
            return false;
        }
        if !out.reaped.is_empty() {
            self.absorb_reaped(out);
        }
        // The list goes back afterwards: its memory is kept.
        let mut finished = std::mem::take(&mut out.finished);
        for Finished { slot, mut transfer, result } in finished.drain(..) {
            out.passes.extend(transfer.give_up_pass());
            let moved = transfer.len;
            if !self.io.slots.take_back(slot, transfer) {
                continue;
            }
            if self.phase == Phase::Resetting {
                self.io.slots.release(slot);
                continue;
            }
            if result.is_err() {
                out.note(Note::Backing);
            }
            if let Taken::Shutdown { ok } = self.io.take_result(slot, moved, result) {
                self.shutdown_flushed(ok, out);
            }
        }
        out.finished = finished;
        if self.phase == Phase::Resetting && self.is_settled() {
            self.finish_reset(out);
        }
        true
    }

    /// Starts, or does, the next steps of commands over ranges.
    pub(super) fn carry_on(&mut self, cx: &mut Cx<'_>) -> bool {
        let steps = self.io.slots.continuing.len().min(STEPS);
        for _ in 0..steps {
            if let Some(slot) = self.io.slots.continuing.pop_front() {
                self.io.step(slot, cx.out);
            }
        }
        steps > 0
    }
}
