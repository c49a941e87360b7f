//! The crew of a process: a thread for each slot that is busy, and one that looks at the clock for all of them.
//!
//! A driving thread begins when its slot is woken and ends when nothing is due there any more; one that was left behind in a call
//! ends when the call returns. The clock's thread wakes slots whose timer is due and looks for calls that are [overdue]; it
//! ends when there is neither. So a house in which nothing happens has none of these threads.
//!
//! What this module does **not** do: it knows nothing of what is driven.
//!
//! # Concurrency
//! Who is there and who is woken when is behind one leaf, the *roster*. Threads are started and slots called without it.
//!
//! [overdue]: Controller::overdue

mod clock;
mod roster;

use crate::controller::Controller;
use crate::crew::Crew;
use crate::patience::{is_over, look_until};
use crate::ranks;
use gate::lock::{Condvar, Leaf};
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};
use roster::Roster;
use std::sync::{Arc, Weak};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// The crew of a process; see the module's head.
pub struct Threads {
    inner: Arc<Inner>,
}

struct Inner {
    /// Rank: 91, slot crew; a leaf: slots are woken from anywhere.
    roster: Leaf<ranks::Crew, Roster>,
    /// Of the roster: something for the clock, or the end of a thread.
    changed: Condvar,
}

impl Threads {
    /// A crew without work, and without a thread.
    #[must_use]
    pub fn new() -> Arc<Threads> {
        let inner = Inner { roster: Leaf::new(Roster::default()), changed: Condvar::new() };
        Arc::new(Threads { inner: Arc::new(inner) })
    }

    /// How many threads there are, with those that were left behind.
    #[must_use]
    pub fn count(&self) -> usize {
        self.inner.roster.lock().threads()
    }

    /// Ends the waits for timers and waits until all threads have ended, also those left behind; false if the deadline comes first.
    /// A slot that is woken later has a thread again, but no timer.
    ///
    /// # Panics
    /// In builds with debug assertions, if this thread holds a pass or a lock (law 1).
    pub fn stop(&self, token: &mut ThreadToken, deadline: Deadline) -> bool {
        self.inner.stop_clock();
        let _waiting = Waiting::new(token, "slot crew", None, "its threads to end");
        let mut roster = self.inner.roster.lock();
        while roster.threads() > 0 && !is_over(token, deadline) {
            (roster, _) = self.inner.changed.wait(roster, token, look_until(deadline));
        }
        roster.threads() == 0
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.inner.stop_clock();
    }
}

impl Crew for Threads {
    fn wake(&self, controller: &Arc<Controller>) {
        self.inner.start(controller);
        self.inner.look_at_the_clock();
    }

    fn wake_at(&self, controller: &Weak<Controller>, when: Duration) {
        let Some(there) = controller.upgrade() else { return };
        let at = Deadline::after(when.saturating_sub(there.now())).instant();
        self.inner.roster.lock().set_timer(controller, at);
        self.inner.look_at_the_clock();
    }
}

impl Inner {
    /// A thread that drives `controller`. Without one, for want of memory, the clock tries again.
    fn start(self: &Arc<Inner>, controller: &Arc<Controller>) {
        self.roster.lock().begin(controller);
        let (inner, driven) = (Arc::clone(self), Arc::clone(controller));
        // What an operator may have put into a name, and a thread must not have.
        let name = format!("slot {}", controller.name()).replace('\0', "?");
        let started = Builder::new().name(name).spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let _timer_is_announced = driven.drive(&mut token);
            drop(driven);
            drop(token);
            inner.ended();
        });
        if started.is_err() {
            self.roster.lock().not_begun(controller);
        }
    }

    fn ended(&self) {
        self.roster.lock().end();
        self.changed.notify_all();
    }

    /// Has the clock's thread look again, or begin.
    fn look_at_the_clock(self: &Arc<Inner>) {
        let begins = self.roster.lock().clock_begins();
        if !begins {
            return self.changed.notify_all();
        }
        let inner = Arc::clone(self);
        let started = Builder::new().name(String::from("slots")).spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            clock::run(&inner, &mut token);
            drop(token);
            inner.changed.notify_all();
        });
        if started.is_err() {
            self.roster.lock().clock_ends();
        }
    }

    fn stop_clock(&self) {
        self.roster.lock().stop();
        self.changed.notify_all();
    }
}

/// How often the clock's thread looks for calls that are overdue, while there is any driving.
const LOOK: Duration = Duration::from_millis(20);

/// When to look next.
fn next_look(roster: &Roster, now: Instant) -> Deadline {
    let busy = roster.is_busy().then(|| now + LOOK);
    Deadline::at([busy, roster.next_timer()].into_iter().flatten().min().unwrap_or(now + LOOK))
}
