//! The level of INTx, and why it is at times held low.
//!
//! The line is asserted while an interrupting completion queue holds completions that the host has not acknowledged.
//! NVMe 1.4 s7.5.1.1 *Pin Based, Single MSI, and Multiple MSI Behavior*.
//!
//! A client such as QEMU, which cannot see when its guest has served a level, ends an interrupt at the guest's next
//! access to a BAR, whatever it is, and unmasks the line; a line that is still high is signalled again. If that access
//! is a *submission* doorbell, the guest has yet to serve the interrupt, but its processor has latched it already: the
//! handler will find all completions, and the second signal arrives with nothing to find. The guest's driver then reads
//! no register and rings no doorbell, so the client never ends that one: a storm, until the next access.
//!
//! So a submission doorbell that arrives while the line is high starts a *hold*: the line is low, and the unmask that
//! follows on the same connection finds it so. The hold ends
//!
//! * with the next completion doorbell: the handler has run, and what it has left is worth a new signal;
//! * after [`INTX_GRACE`], for a consumer that had latched nothing: the worker then raises the line again;
//! * with every reset.
//!
//! A doorbell never prolongs a hold, so no host can keep its own interrupt away by submitting. Doorbells that are
//! stored into a mapped page start none: nobody sees them arrive.
//!
//! Concurrency: under the engine's lock. The clock is the caller's.

use std::time::{Duration, Instant};

use nvme_spec::event::Event;

use super::super::config::InterruptStyle;
use super::super::limits::INTX_GRACE;
use super::super::outbox::Outbox;
use super::Engine;

/// Whether INTx is held low, and until when.
#[derive(Debug)]
pub(super) struct Hold {
    grace: Duration,
    end: Option<Instant>,
}

impl Default for Hold {
    fn default() -> Self {
        Self { grace: INTX_GRACE, end: None }
    }
}

impl Hold {
    /// No hold any more.
    pub(super) fn clear(&mut self) {
        self.end = None;
    }
}

impl Engine {
    /// Works out the level of INTx.
    pub(super) fn update_line(&mut self, out: &mut Outbox) {
        if self.style != InterruptStyle::Intx {
            return;
        }
        let kept_low = self.hold.end.is_some() || self.board.registers.interrupt_mask() & 1 != 0;
        let level =
            !kept_low && self.queues.completions().any(|queue| queue.vector.is_some() && queue.unread() > 0);
        out.line_changed |= self.board.set_line(level);
    }

    /// A submission doorbell was written while INTx was high: holds it low for the grace.
    pub(in super::super) fn hold_line(&mut self, now: Instant, out: &mut Outbox) {
        // The caller looked without the lock.
        if self.style == InterruptStyle::Intx && self.board.line() {
            self.hold.end = Some(now + self.hold.grace);
            self.update_line(out);
        }
    }

    /// A completion doorbell was written while INTx is in use: the level must follow before the write is over, or
    /// the host would be interrupted once more for nothing.
    pub(in super::super) fn acknowledge(&mut self, qid: u16, value: u32, out: &mut Outbox) {
        if let Some(queue) = self.queues.completion(qid)
            && queue.ring(value).is_err()
        {
            self.bad_doorbell(out, Event::INVALID_DOORBELL_VALUE);
        }
        self.hold.clear();
        self.update_line(out);
    }

    /// When the hold of INTx ends by itself, if there is one.
    pub(in super::super) fn hold_end(&self) -> Option<Instant> {
        self.hold.end
    }

    /// Ends a hold whose grace is over: completions that are still there raise the line.
    pub(in super::super) fn end_hold(&mut self, now: Instant, out: &mut Outbox) {
        if self.hold.end.is_some_and(|end| end <= now) {
            self.hold.clear();
            self.update_line(out);
        }
    }

    /// A grace of the test's choice instead of [`INTX_GRACE`].
    #[cfg(test)]
    pub(in super::super) fn set_grace(&mut self, grace: Duration) {
        self.hold.grace = grace;
    }
}

#[cfg(test)]
mod tests;
