//! Shadow doorbells: a busy guest stores its doorbells in memory and writes none, as long as we look by ourselves.
//!
//! The event index of a doorbell says from which value on the guest has to write the real one. While the worker is
//! awake it leaves the indexes behind, so nothing is written; before it parks it sets each to the value it has seen,
//! and looks once more: the guest stores the shadow and then reads the index, we store the index and then read the
//! shadow, so one of us sees the other. Only I/O queues are shadowed; Linux rings the admin doorbells for real.
//!
//! NVMe 1.4 s5.7 *Doorbell Buffer Config command*, s7.13 *Updating Controller Doorbell Registers using a Shadow
//! Doorbell Buffer*.

use std::sync::atomic::{Ordering, fence};

use assign::{DmaAccess, DmaError};
use nvme_spec::Doorbell;
use nvme_spec::queue::ADMIN_QUEUE;

use super::doorbell::STRIDE;
use super::engine::{Cx, Engine};
use super::outbox::Note;
use crate::saved::fields;

/// The two buffers, a page each, in guest memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shadow {
    /// Where the guest stores its doorbells.
    pub(super) doorbells: u64,
    /// Where we store the event indexes.
    pub(super) events: u64,
}

fields!(Shadow { doorbells, events });

impl Shadow {
    /// What the guest last stored.
    #[inline]
    pub(super) fn load(&self, cx: &Cx<'_>, doorbell: Doorbell) -> Result<u32, DmaError> {
        let at = self.doorbells + doorbell.shadow_offset(STRIDE);
        cx.dma.resolve(cx.pass, at, 4, DmaAccess::Read)?.load_u32(0)
    }

    /// Stores a doorbell on the guest's behalf: the value of a queue that exists already.
    pub(super) fn seed(&self, cx: &Cx<'_>, doorbell: Doorbell, value: u32) -> Result<(), DmaError> {
        store(cx, self.doorbells + doorbell.shadow_offset(STRIDE), value)
    }

    /// Asks the guest to write the real doorbell once it goes beyond `value`.
    pub(super) fn announce(&self, cx: &Cx<'_>, doorbell: Doorbell, value: u32) -> Result<(), DmaError> {
        store(cx, self.events + doorbell.shadow_offset(STRIDE), value)
    }
}

fn store(cx: &Cx<'_>, at: u64, value: u32) -> Result<(), DmaError> {
    cx.dma.resolve(cx.pass, at, 4, DmaAccess::Write)?.store_u32_release(0, value)
}

impl Engine {
    /// Uses the buffers from now on.
    pub(super) fn use_shadow(&mut self, cx: &Cx<'_>, shadow: Shadow) -> Result<(), DmaError> {
        for nth in 0..self.queues.live_count() {
            let Some(qid) = self.queues.nth_live(nth).filter(|qid| *qid != ADMIN_QUEUE) else { continue };
            if let Some(queue) = self.queues.submission(qid) {
                let tail = queue.tail();
                shadow.seed(cx, Doorbell::SubmissionTail(qid), tail)?;
                shadow.announce(cx, Doorbell::SubmissionTail(qid), tail)?;
            }
        }
        let mut nth = 0;
        while let Some(qid) = self.queues.nth_completion(nth) {
            nth += 1;
            if let Some(queue) = self.queues.completion(qid).filter(|_| qid != ADMIN_QUEUE) {
                let head = queue.head();
                shadow.seed(cx, Doorbell::CompletionHead(qid), head)?;
                shadow.announce(cx, Doorbell::CompletionHead(qid), head)?;
            }
        }
        self.shadow = Some(shadow);
        Ok(())
    }

    /// Before parking: asks for real doorbells. False, and a failed controller, if the buffers cannot be reached.
    pub(super) fn announce(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(shadow) = self.shadow else { return true };
        let mut reached = true;
        for nth in 0..self.queues.live_count() {
            let Some(qid) = self.queues.nth_live(nth).filter(|qid| *qid != ADMIN_QUEUE) else { continue };
            let Some((queue, completion)) = self.queues.pair(qid) else { continue };
            let (tail, head, cq) = (queue.tail(), completion.head(), queue.cq);
            reached &= shadow.announce(cx, Doorbell::SubmissionTail(qid), tail).is_ok();
            // A head matters only to a queue that waits for room.
            if !completion.has_room() {
                reached &= shadow.announce(cx, Doorbell::CompletionHead(cq), head).is_ok();
            }
        }
        // The stores above before the loads of the shadow that follow.
        fence(Ordering::SeqCst);
        if !reached {
            self.fail(cx.out, Note::QueueMemory);
        }
        reached
    }
}
