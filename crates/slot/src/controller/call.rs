//! A call of foreign code: what is known of it while it is out, and how it is contained.

use super::Controller;
use super::work::{Done, Purpose};
use crate::settings::Settings;
use crate::watch::Failure;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// A call that is under way, or was left behind.
pub(super) struct Call {
    /// Of the thread that makes it.
    pub(super) ticket: u64,
    /// Whose method it is; the same reference in all calls of one.
    pub(super) who: Arc<str>,
    pub(super) name: &'static str,
    pub(super) purpose: Purpose,
    pub(super) since: Duration,
    /// When the slot goes on without it.
    pub(super) until: Duration,
}

/// Who drives a slot.
pub(super) struct Driving {
    /// Another one for each thread that begins to drive.
    pub(super) ticket: u64,
    pub(super) call: Option<Call>,
}

/// Calls foreign code, and catches its panic.
///
/// What a panic leaves half done is the foreign code's own: nothing of the slot is passed to it but a token, whose passes unwinding
/// has let go.
pub(super) fn contained<T>(call: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_panic| Failure::Panicked)
}

impl Controller {
    /// Takes the slot away from a thread whose call is past its time at `now`: it counts as failed, and somebody else drives on.
    /// Answers when this is to be looked at next, if a call is under way. For the crew; never waits.
    pub fn overdue(&self, now: Duration) -> Option<Duration> {
        let mut desk = self.desk.lock();
        let until = desk.driving.as_ref()?.call.as_ref()?.until;
        // Who is told to stop at its deadline is given a moment to do so.
        let until = until.saturating_add(Settings::LEAST);
        if now < until {
            return Some(until);
        }
        let call = desk.driving.take()?.call?;
        let purpose = call.purpose;
        let who = Arc::clone(&call.who);
        let name = call.name;
        desk.left_behind.push(call);
        desk.complete(purpose, Done::Nothing, Some((who, name, Failure::Hung)));
        self.wake(desk);
        // Who waits for the end of everything may drive on.
        self.ended.notify_all();
        None
    }
}
