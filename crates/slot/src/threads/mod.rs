//! The crew of a process: a thread for each slot (or whatever else is [`Driven`]) that is busy, and one that looks at the clock for all.
//!
//! A driving thread begins when something is woken and ends when nothing is due there any more; one that was left behind in a call
//! ends when the call returns. The clock's thread has those driven whose timer is due and looks for calls that are
//! [overdue](Driven::overdue); it ends when there is neither a timer nor a thread. So a house in which nothing happens has none of these threads.
//!
//! What this module does **not** do: it knows nothing of what is driven.
//!
//! # Concurrency
//! Who is there and who is woken when is behind one leaf, the *roster*. Threads are started, and what is driven is called, without it.

mod clock;
mod roster;

use crate::crew::{Crew, Driven};
use crate::patience::{is_over, look_until};
use crate::ranks;
use gate::lock::{Condvar, Leaf};
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};
use roster::Roster;
use std::sync::{Arc, Weak};
use std::thread::Builder;
use std::time::Duration;

/// The crew of a process; see the module's head.
pub struct Threads {
    inner: Arc<Inner>,
}

struct Inner {
    /// Rank: 91, slot crew; a leaf: slots and the like are woken from anywhere.
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
    /// What is woken later has a thread again, but no timer.
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
    fn wake(&self, driven: &Arc<dyn Driven>) {
        self.inner.start(Arc::clone(driven));
        self.inner.look_at_the_clock();
    }

    fn wake_at(&self, driven: &Weak<dyn Driven>, when: Duration) {
        let Some(there) = driven.upgrade() else { return };
        let at = Deadline::after(when.saturating_sub(there.now())).instant();
        self.inner.roster.lock().set_timer(driven, at);
        self.inner.look_at_the_clock();
    }
}

impl Inner {
    /// A thread that drives. Without one, for want of memory, the clock tries again. Never drops the last reference here.
    fn start(self: &Arc<Inner>, driven: Arc<dyn Driven>) {
        let whose = Arc::downgrade(&driven);
        // What an operator may have put into a name, and a thread must not have.
        let name = driven.name().replace('\0', "?");
        let busy = self.roster.lock().begin(driven);
        let (inner, its_own, its_name) = (Arc::clone(self), Arc::clone(&busy), Weak::clone(&whose));
        let started = Builder::new().name(name).spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let _timer_is_announced = its_own.driven.drive(&mut token);
            drop(its_own);
            drop(token);
            inner.ended(&its_name);
        });
        if started.is_err() {
            let mut roster = self.roster.lock();
            roster.end(&whose);
            roster.waits(Arc::clone(&busy.driven));
        }
        clock::let_go(busy);
    }

    /// What it has had in its hands is dropped already: that may take its time.
    fn ended(&self, driven: &Weak<dyn Driven>) {
        self.roster.lock().end(driven);
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

/// How often the clock's thread looks for calls that are overdue, while there are any.
const LOOK: Duration = Duration::from_millis(20);
/// The same, while there are only threads that were left behind, are between two calls, or have not begun.
const RARE_LOOK: Duration = Duration::from_millis(250);
