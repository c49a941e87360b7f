//! The threads that answer page faults.
//!
//! All windows of the process share one [`Pool`]: a userfaultfd, a table that says which range of addresses is whose, and a
//! few handler threads that read faults and hand them to their windows. It is made with the first window and ends with the
//! last; then no thread, descriptor or mapping of it is left.
//!
//! * `pool` is its life: made once, found again, ended;
//! * `crew` are the handlers together: who reads faults, and how that comes to an end;
//! * `handler` is one of them;
//! * `table` is where windows are, and which of them somebody waits in, until when.
//!
//! What this module does **not** do: it decides no fault. That is the window's business ([`Serve`]).
//!
//! # Who reads
//! A fault is answered soonest by a thread in a blocking read, and by one such thread: each of several is woken by every
//! fault, which with two of them costs a third of a fault, and asking first which descriptor is ready (poll(2), epoll(7))
//! costs a tenth to a third. So whoever reads has a *token*, and mostly there is one. It is
//!
//! * passed on by who reads a fault that takes long to answer, before it is answered;
//! * joined by another one when there are two faults to read at once, and
//! * taken out of use by who finds a single one, if there are others. Both are looked at from time to time.
//!
//! There is always a handler without a token. It watches the deadlines, since who reads takes no notice of time: who reads
//! and leaves somebody waiting tells it, and so does who begins to read while somebody waits. And it is who gets the others out of their reads at the end, by touching a page that
//! is registered for that (`uffd::Bell`). Nobody but a handler ever touches it. Who ends with the last token makes it a page
//! like any other, so that no touch is left waiting.
//!
//! # Concurrency
//! A handler waits for nothing but faults, tokens, the next deadline and the end: a fault that cannot be answered yet is left
//! waiting, which is a note in its window. So two handlers are as good as many, and no consumer can keep another's faults
//! from being answered. A handler has its window (`Arc`) while it serves it, and a range is unmapped by whoever is the last to
//! have its window, so no handler ever acts on addresses that belong to another one by now.
//!
//! A handler outlives a panic in what it calls, and keeps its token. Its fault is not lost: whoever waits in that window
//! faults again. A window that goes on so is given up, and shows all-ones. If faults cannot be read any more every window is
//! given up, so that nobody waits for ever. A pool with fewer than two handlers is not made.
//!
//! Handlers take no signals of the process, whose handlers might touch a mapping (`signals`).
//!
//! The descriptor is closed last: closing it answers every fault with the plain memory.

mod crew;
#[cfg(test)]
pub(crate) mod fake;
mod handler;
mod pool;
mod signals;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use pool::{Pool, Unavailable};

use crate::window::Window;
use gate::{Deadline, ThreadToken};
use std::time::Instant;

/// What handlers ask of a window. Nothing of it waits for anybody.
pub(crate) trait Serve: Send + Sync {
    /// Answers a fault on the page at `offset` from the range's start, in bytes. Gives the moment at which
    /// [`Serve::expire`] is due, if somebody is left waiting.
    fn fault(&self, token: &mut ThreadToken, offset: u64) -> Option<Deadline>;

    /// Does what is due at `now`. Gives the next such moment, if somebody is left waiting.
    fn expire(&self, now: Instant) -> Option<Deadline>;

    /// Nobody answers its faults any more: shows all-ones for ever.
    fn abandon(&self);
}

impl Serve for Window {
    fn fault(&self, token: &mut ThreadToken, offset: u64) -> Option<Deadline> {
        Window::fault(self, token, offset)
    }

    fn expire(&self, now: Instant) -> Option<Deadline> {
        Window::expire(self, now);
        self.deadline()
    }

    fn abandon(&self) {
        Window::abandon(self);
    }
}
