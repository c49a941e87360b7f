//! One consumer's range of addresses, and the rules of what it shows.
//!
//! A [`Window`] decides, [`Pages`] carry out. Four things happen to a window:
//!
//! * **A fault** ([`Window::fault`]) is answered under a pass of the function's gate: with memory if the region can be
//!   reached (MM-I2), else by policy. While the gate is closed nobody waits for it: whoever faulted is left waiting,
//!   which costs no thread, and is woken when the gate reopens.
//! * **A zap** takes every page away under a closed gate. No fault is being answered then, so none puts back a page
//!   that was found reachable before (MM-I3).
//! * **The gate changes** ([`Window::look`]): frozen or gone, the range is covered with all-ones in one step; open
//!   again, it is uncovered if the region can be reached, and whoever waits is woken.
//! * **Time is up** ([`Window::expire`]): whoever has waited for too long fails.
//!
//! What a window does **not** do: it reads no events and has no thread (`fault`), makes no system call itself
//! (`uffd`), and does not know what lies in the memory.
//!
//! # The end of a cover
//! The kernel cannot put the memory back and have its faults reported in one step: an access between the two reaches the
//! memory without a pass. So a range is uncovered only while that is no more than a pass permits. The gate is seen open and
//! the region reachable, both under the window's lock. Whoever changes either has still to take that lock, for its zap or
//! its cover, before the change counts as done; and the kernel forgets what such an access has made present before the lock
//! is let go. A region that is disabled when its function thaws stays covered until it is enabled: a zap follows that, and
//! a look when its gate reopens. Accesses of the safe type wait meanwhile, or fail, as they do where nothing is covered
//! (`accesses`); a raw pointer finds all-ones.
//!
//! # Poison
//! A page whose access is to fail is poisoned. Poison put under a pass is as true as a populated page, and goes with
//! the same zap. When time is up while the gate is closed there is no pass to be had, and what a poison says may be
//! wrong as soon as the gate reopens. It is *unproven*, and taken back then: by the look that the reopening brings,
//! or, if that was earlier than the poison, by whoever put it.
//!
//! # Concurrency
//! Everything but populating happens under one leaf lock per window, and with a look at the gate under it. Looks are
//! not in the order of the changes that they follow; but each is after its own change, so the last one, by the lock,
//! has seen the last change. In the same way a note that is put before a look (somebody waits, a poison is unproven)
//! is either seen by the look that follows a change, or its own look sees the change.
//!
//! Populating takes long and runs outside the lock. A cover that comes between takes the range out of userfaultfd's
//! hands, and what is populated late finds nothing to be put into. A cover that has come and gone does no harm: the
//! pass still holds.
//!
//! The range stays mapped while anybody has the window, so nobody ever acts on addresses that belong to another one by
//! now.

mod accesses;
mod changes;
mod pages;
mod parking;
mod trap;
mod trapped;
mod turns;

use crate::account::Account;
use crate::{MappingError, MappingState, OnDisabled, Reach, ranks};
use changes::Changes;
use gate::lock::Leaf;
use gate::{AccessKind, Admission, Deadline, Handle, Pass, Refusal, ThreadToken};
use parking::Parking;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use pages::{Pages, PagesError};
pub use trap::Trap;
pub(crate) use trapped::Trapped;
pub(crate) use turns::Turn;
use turns::Turns;

/// Whose pages a window shows, and when.
pub(crate) struct Rules {
    /// Of the function's gate, in the epoch of the device whose memory it is: a window never shows the next one (law
    /// 5).
    pub(crate) handle: Handle,
    pub(crate) reach: Arc<dyn Reach>,
    pub(crate) region: u32,
    pub(crate) on_disabled: OnDisabled,
}

/// One consumer's range of addresses, and what it shows. Whoever has it keeps the range mapped.
pub struct Window {
    rules: Rules,
    pages: Arc<dyn Pages>,
    /// Rank: 74, window; a leaf. What the kernel does to the range has to be in the order of what is decided about it,
    /// so the pages are changed under it: bounded system calls that wait for nobody and take no lock.
    state: Leaf<ranks::Window, State>,
    turns: Turns,
    /// For accesses that wait for a cover to end.
    changes: Changes,
    /// Faults answered with memory.
    faults: AtomicU64,
    /// Times that the pages were taken away or covered.
    zaps: AtomicU64,
}

/// What the range shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    /// Pages, poison and faults.
    Live,
    /// All-ones: frozen, or not reachable since then.
    Covered,
    /// All-ones for ever.
    Gone,
}

struct State {
    shows: Shows,
    parking: Parking,
    /// A page was poisoned without a pass since the last zap.
    unproven: bool,
    /// A page was poisoned because the system had no memory for it.
    starved: bool,
    /// Why a page was poisoned last.
    failure: MappingError,
    /// The region can be reached again, but the range could not be uncovered; worth one line.
    stuck: bool,
}

impl Window {
    /// Live, with nothing present. To be looked at once it is listed.
    pub(crate) fn new(rules: Rules, pages: Arc<dyn Pages>) -> Arc<Window> {
        let state = State {
            shows: Shows::Live,
            parking: Parking::Empty,
            unproven: false,
            starved: false,
            // If an access fails that nobody has poisoned, the file could not be given the page.
            failure: MappingError::NoMemory,
            stuck: false,
        };
        let window = Arc::new(Window {
            rules,
            pages,
            state: Leaf::new(state),
            turns: Turns::default(),
            changes: Changes::default(),
            faults: AtomicU64::new(0),
            zaps: AtomicU64::new(0),
        });
        window.pages.attach(&window);
        window
    }

    /// Answers a fault on the page at `offset` from the range's start, in bytes: populates or poisons it, or leaves
    /// whoever faulted waiting. Waits for nobody. Any number of threads may answer at once, also for one page (MM-I1).
    ///
    /// Gives the moment at which [`Window::expire`] is due if somebody is left waiting.
    pub fn fault(&self, token: &mut ThreadToken, offset: u64) -> Option<Deadline> {
        match self.rules.handle.try_enter(token, AccessKind::Fault) {
            Ok(pass) => self.answer(&pass, offset),
            Err(Refusal::Blocked(_)) => self.keep_waiting(None, offset, parking::CLOSED),
            Err(Refusal::Frozen | Refusal::Gone | Refusal::StaleEpoch { .. }) => {
                self.turn_away();
                None
            }
        }
    }

    /// When [`Window::expire`] is due, if somebody is left waiting.
    pub fn deadline(&self) -> Option<Deadline> {
        self.state.lock().parking.deadline()
    }

    /// Has those whose time is up at `now` touch their pages again, and fail then. Does nothing before
    /// [`Window::deadline`].
    pub fn expire(&self, now: Instant) {
        let mut state = self.state.lock();
        if state.parking.expire(now) && state.shows == Shows::Live {
            self.pages.wake();
        }
    }

    /// Looks what the gate admits, and shows that. Called after every change of the gate, on the thread that changed
    /// it.
    pub fn look(&self) {
        let mut state = self.state.lock();
        let was_stuck = state.stuck;
        self.follow(&mut state);
        let got_stuck = state.stuck && !was_stuck;
        drop(state);
        self.changes.note();
        if got_stuck {
            let region = self.rules.region;
            tracing::warn!(
                region,
                "a mapping shows all-ones still, for want of memory, though its function is back"
            );
        }
    }

    /// Takes every page away, and poison. The gate is closed, so that no fault is being answered.
    pub(crate) fn zap(&self) {
        let mut state = self.state.lock();
        // Those who wait are woken when the gate reopens.
        state.parking.forgive();
        if state.shows == Shows::Live {
            self.zaps.fetch_add(1, Ordering::Relaxed);
            self.take_away(&mut state);
        }
    }

    /// Nobody is left to answer faults: shows all-ones for ever, whatever the gate says.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();
        if state.shows == Shows::Live {
            self.cover(&mut state, Shows::Gone);
        }
        state.shows = Shows::Gone;
        drop(state);
        self.changes.note();
    }

    /// The file may be another one by now, and is mapped anew when the gate reopens, which is closed.
    pub(crate) fn remap(&self) {
        let mut state = self.state.lock();
        if state.shows == Shows::Live {
            self.cover(&mut state, Shows::Covered);
        }
    }

    /// The first byte of the range.
    pub(crate) fn base(&self) -> Option<NonNull<u8>> {
        self.pages.base()
    }

    /// What an operator is shown.
    pub(crate) fn account(&self) -> Account {
        let anybody_waits = self.changes.anybody_waits();
        let state = self.state.lock();
        Account {
            state: match state.shows {
                Shows::Live => MappingState::Live,
                Shows::Covered => MappingState::Frozen,
                Shows::Gone => MappingState::Gone,
            },
            faults: self.faults.load(Ordering::Relaxed),
            zaps: self.zaps.load(Ordering::Relaxed),
            parked: anybody_waits || state.parking.deadline().is_some(),
        }
    }

    /// Answers a fault by whether the region can be reached, which does not change while the pass is held without a
    /// zap after it.
    fn answer(&self, pass: &Pass<'_>, offset: u64) -> Option<Deadline> {
        if self.rules.reach.is_reachable(self.rules.region) {
            self.populate(offset);
            return None;
        }
        match self.rules.on_disabled {
            OnDisabled::Fail => {
                self.poison(&mut self.state.lock(), offset, MappingError::Disabled);
                None
            }
            OnDisabled::Wait(limit) => self.keep_waiting(Some(pass), offset, limit),
        }
    }

    fn populate(&self, offset: u64) {
        match self.pages.populate(offset) {
            Ok(()) => {
                self.faults.fetch_add(1, Ordering::Relaxed);
                // The function can be reached. Whoever made it so wakes those who wait, but finds nobody once this is
                // noted.
                let mut state = self.state.lock();
                if state.parking.deadline().is_some() {
                    self.pages.wake();
                }
                state.parking = Parking::Empty;
            }
            Err(PagesError::Replaced) => {}
            Err(PagesError::NoMemory) => {
                let mut state = self.state.lock();
                state.starved = true;
                self.poison(&mut state, offset, MappingError::NoMemory);
            }
        }
    }

    /// Leaves whoever faulted waiting, at most for `limit`, or fails it if its time is up. Without a `pass` it waits
    /// for the gate.
    fn keep_waiting(&self, pass: Option<&Pass<'_>>, offset: u64, limit: Duration) -> Option<Deadline> {
        let mut state = self.state.lock();
        if state.shows != Shows::Live {
            self.pages.wake();
            return None;
        }
        let until = state.parking.join(Instant::now(), limit);
        if until.is_none() {
            self.poison(&mut state, offset, MappingError::TimedOut);
            state.unproven |= pass.is_none();
        }
        // The gate may have reopened before it was noted that somebody waits, or that a poison is unproven; then the
        // look that followed has found nothing to do. With a pass there is none to come before it is dropped.
        if pass.is_none() {
            self.follow(&mut state);
        }
        until
    }

    /// The gate refuses for good, or did. If it has come back since, before anybody looked, the range was never
    /// covered and whoever faulted was never woken.
    fn turn_away(&self) {
        let mut state = self.state.lock();
        self.follow(&mut state);
        self.pages.wake();
    }

    fn poison(&self, state: &mut State, offset: u64, failure: MappingError) {
        if state.shows == Shows::Live {
            state.failure = failure;
            self.pages.poison(offset);
        }
    }

    /// Brings what is shown in line with what the gate admits now, which it gives. Needs no pass; see the module's head.
    fn follow(&self, state: &mut State) -> Admission {
        let admission = self.rules.handle.admission();
        match (admission, state.shows) {
            (Admission::Gone, Shows::Live) => self.cover(state, Shows::Gone),
            (Admission::Frozen, Shows::Live) => self.cover(state, Shows::Covered),
            (Admission::Gone, Shows::Covered) => state.shows = Shows::Gone,
            (Admission::Open, Shows::Covered) => self.uncover(state),
            (Admission::Open, Shows::Live) => self.reopen(state),
            // Closed: it comes to one of the others. Gone is for ever.
            (Admission::Blocked, _) | (Admission::Frozen, Shows::Covered) | (_, Shows::Gone) => {}
        }
        admission
    }

    fn cover(&self, state: &mut State, shows: Shows) {
        self.turns.begin();
        self.pages.cover();
        self.zaps.fetch_add(1, Ordering::Relaxed);
        state.shows = shows;
        state.parking = Parking::Empty;
        state.unproven = false;
        state.starved = false;
    }

    /// Only if the region can be reached. If it fails it is tried again at the next look, and at the next access.
    fn uncover(&self, state: &mut State) {
        let is_reachable = self.rules.reach.is_reachable(self.rules.region);
        state.stuck = is_reachable && self.pages.uncover().is_err();
        if is_reachable && !state.stuck {
            state.shows = Shows::Live;
            self.turns.end();
        }
    }

    fn reopen(&self, state: &mut State) {
        if state.unproven {
            self.take_away(state);
        }
        if state.parking.deadline().is_some() {
            self.pages.wake();
        }
    }

    fn take_away(&self, state: &mut State) {
        self.pages.zap();
        state.unproven = false;
        state.starved = false;
    }
}

impl std::fmt::Debug for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shows = self.state.lock().shows;
        f.debug_struct("Window").field("region", &self.rules.region).field("shows", &shows).finish()
    }
}

#[cfg(test)]
mod tests;
