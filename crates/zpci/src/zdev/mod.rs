//! What a machine knows under one function identifier.

mod standing;

use crate::description::Description;
use crate::events::{Availability, ErrorCode, Event, Listeners};
use crate::handle::Handle;
use crate::handles::{Handles, Series};
use crate::id::{Fid, Uid};
use crate::ranks;
use crate::state::{Configuration, Work};
use crate::transition::Transition;
use crate::view::View;
use gate::lock::{Condvar, Leaf};
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};
use slot::patience::{is_over, look_until};
pub(crate) use standing::{Changed, State};
use std::sync::{Arc, Weak};

/// What a machine knows under one function identifier: for ever there, whether there is a device or not.
///
/// # Concurrency
/// Devices are brought in and taken out, and put in and pulled, by whoever owns the slot, one after the other. Everything else may
/// come from any thread at any time.
pub struct Zdev {
    own: Weak<Zdev>,
    fid: Fid,
    uid: Uid,
    description: Description,
    /// Of a virtual function: its physical function, and its number there, from 1 on.
    parent_vfn: Option<(Fid, u16)>,
    handles: Arc<Handles>,
    listeners: Arc<Listeners>,
    /// Rank: 97, zpci function; a leaf, held for a look or a change of the whole. Places of the table are filled and emptied outside.
    state: Leaf<ranks::Zdev, State>,
    /// A claim has ended.
    unclaimed: Condvar,
}

impl Zdev {
    pub(crate) fn new(
        (fid, uid): (Fid, Uid),
        description: Description,
        parent_vfn: Option<(Fid, u16)>,
        handles: &Arc<Handles>,
        listeners: &Arc<Listeners>,
    ) -> Arc<Zdev> {
        Arc::new_cyclic(|own| Zdev {
            own: Weak::clone(own),
            fid,
            uid,
            description,
            parent_vfn,
            handles: Arc::clone(handles),
            listeners: Arc::clone(listeners),
            state: Leaf::new(State::empty()),
            unclaimed: Condvar::new(),
        })
    }

    /// Its name.
    #[must_use]
    pub fn fid(&self) -> Fid {
        self.fid
    }

    /// What the user calls it.
    #[must_use]
    pub fn uid(&self) -> Uid {
        self.uid
    }

    /// What else the machine's configuration says of it.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Of a virtual function: its physical function, and its number there, from 1 on.
    #[must_use]
    pub fn parent_vfn(&self) -> Option<(Fid, u16)> {
        self.parent_vfn
    }

    /// Its state now.
    #[must_use]
    pub fn configuration(&self) -> Configuration {
        self.state.lock().configuration()
    }

    /// The view of its device; `None` unless it is configured.
    #[must_use]
    pub fn view(&self) -> Option<Arc<View>> {
        self.state.lock().view.clone()
    }

    /// Its handle now: enabled or not when it is configured, not enabled in STANDBY, [`Handle::NONE`] in RESERVED or when the machine has
    /// no handles left.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.state.lock().handle
    }

    /// What somebody is doing to it now.
    #[must_use]
    pub fn work(&self) -> Option<Work> {
        self.state.lock().work.map(|(_, work)| work)
    }

    /// A device is there, and not configured; or is not there any more. Of a function that is configured it counts from when it is
    /// taken out.
    pub fn card(&self, present: bool) {
        let (old, wants_series) = {
            let mut state = self.state.lock();
            let old = state.handle;
            if state.removed || state.present == present {
                return;
            }
            state.present = present;
            if state.view.is_none() {
                state.rest();
            }
            (old, present && state.handle.is_none())
        };
        let fresh = if wants_series { self.allot() } else { None };
        let (left_over, new) = self.settle(fresh);
        self.finish(left_over, Changed { old, new });
    }

    /// Shows the device of `view`, whose function is in the topology: CONFIGURED, enabled, under a handle that was never used (law 8:
    /// the handle is the last that is made). Gives the handle; [`Handle::NONE`] when the machine has none left, or has forgotten the
    /// function.
    pub fn bring_in(&self, token: &mut ThreadToken, view: Arc<View>) -> Handle {
        // Whoever has a series fills and empties its place; nobody else finds it meanwhile.
        let mine = self.state.lock().series.take();
        let mut mine = self.usable(token, mine);
        if let Some(series) = &mine {
            self.handles.put(token, series.index(), Some(Arc::clone(&view)));
        }
        let (was, left_over, changed) = {
            let mut state = self.state.lock();
            let old = state.handle;
            let mut was = None;
            if !state.removed {
                mine = std::mem::replace(&mut state.series, mine);
                if let Some(view) = &state.view {
                    view.set_handle(Handle::NONE);
                }
                was = state.view.replace(view);
                state.work = None;
                state.handle = Handle::NONE;
                state.renew(true);
            }
            (was, mine, Changed { old, new: state.handle })
        };
        self.unclaimed.notify_all();
        drop(was);
        self.empty(token, left_over.as_ref());
        self.finish(left_over, changed);
        changed.new
    }

    /// Takes the device away: the handle is dead first, then the view is gone. The gates of its functions were retired before (law 8).
    /// STANDBY, or RESERVED if the card is not there either. Does nothing if there is none.
    pub fn take_out(&self, token: &mut ThreadToken) {
        let (view, mine, old, reserved) = {
            let mut state = self.state.lock();
            let Some(view) = state.view.take() else { return };
            state.work = None;
            let reserved = std::mem::take(&mut state.owes_reserved) && !state.present;
            let old = state.handle;
            view.set_handle(Handle::NONE);
            state.rest();
            (view, state.series.take(), old, reserved)
        };
        self.unclaimed.notify_all();
        self.empty(token, mine.as_ref());
        drop(view);
        let mine = self.usable(token, mine);
        let (left_over, new) = self.settle(mine);
        self.finish(left_over, Changed { old, new });
        if reserved {
            self.tell(&Event::Availability { fid: self.fid, handle: new, pec: Availability::Reserved });
        }
    }

    /// The card has gone (ZP-05): RESERVED, of which who listens is told; of a function that is configured when it is taken out.
    pub(crate) fn card_left(&self) {
        self.card(false);
        let handle = {
            let mut state = self.state.lock();
            state.owes_reserved = state.view.is_some();
            if state.owes_reserved {
                return;
            }
            state.handle
        };
        self.tell(&Event::Availability { fid: self.fid, handle, pec: Availability::Reserved });
    }

    /// Marks the device that is configured as failed.
    pub fn fail(&self) {
        if let Some(view) = self.view() {
            view.set_failed();
        }
    }

    /// Tells who listens of an error of the device that is there now, and marks it failed if the error is permanent (ZP-06).
    pub fn report_error(&self, pec: ErrorCode) {
        match self.view() {
            Some(view) => self.report_error_of(&view, pec),
            None => self.tell(&Event::Error { fid: self.fid, handle: self.handle(), pec }),
        }
    }

    /// As [`Zdev::report_error`], of this device: nothing if it is not there any more, whatever is in its place.
    pub(crate) fn report_error_of(&self, view: &View, pec: ErrorCode) {
        if pec.is_permanent() {
            view.set_failed();
        }
        let handle = view.handle();
        if !handle.is_none() {
            self.tell(&Event::Error { fid: self.fid, handle, pec });
        }
    }

    /// Claims the function for `work`, if nobody works on it. Never waits; given back when what this gives is dropped (law 9), and
    /// void as soon as the device comes or goes: a work that does not end keeps nobody from the next device.
    pub fn begin(&self, work: Work) -> Option<Transition<'_>> {
        self.claim(&mut self.state.lock(), work)
    }

    /// As [`Zdev::begin`], for work that has to be done: waits for who has the claim. `None` if the deadline comes first, or somebody
    /// cancels this thread's waits. Ends when the device leaves, like the claim that is waited for.
    ///
    /// # Panics
    /// In builds with debug assertions, if this thread holds a pass or a lock (law 1).
    pub fn begin_by(
        &self,
        token: &mut ThreadToken,
        work: Work,
        deadline: Deadline,
    ) -> Option<Transition<'_>> {
        if let Some(claim) = self.begin(work) {
            return Some(claim);
        }
        let view = self.view();
        let gate = view.as_ref().map(|view| view.function().gate());
        let _waiting = Waiting::new(token, "claim of a zPCI function", gate, "who works on it");
        let mut state = self.state.lock();
        loop {
            let claim = self.claim(&mut state, work);
            if claim.is_some() || is_over(token, deadline) {
                return claim;
            }
            (state, _) = self.unclaimed.wait(state, token, look_until(deadline));
        }
    }

    fn claim(&self, state: &mut State, work: Work) -> Option<Transition<'_>> {
        if state.work.is_some() {
            return None;
        }
        state.claims += 1;
        state.work = Some((state.claims, work));
        Some(Transition::new(self, state.view.clone(), work, state.claims))
    }

    /// The claim of this number ends.
    pub(crate) fn give_back(&self, number: u64) {
        self.state.lock().give_back(number);
        self.unclaimed.notify_all();
    }

    /// Tells all who listen to the machine, with nothing held.
    pub fn tell(&self, event: &Event) {
        self.listeners.tell(event);
    }

    /// For good; gives the index back, unless somebody has it at the moment, who gives it back then.
    pub(crate) fn forget(&self, token: &mut ThreadToken) {
        self.state.lock().removed = true;
        self.take_out(token);
        let (series, old) = {
            let mut state = self.state.lock();
            state.present = false;
            (state.series.take(), std::mem::take(&mut state.handle))
        };
        self.finish(series, Changed { old, new: Handle::NONE });
    }

    /// State, handle and view of one moment.
    pub(crate) fn standing(&self) -> (Configuration, Handle, Option<Arc<View>>) {
        let state = self.state.lock();
        (state.configuration(), state.handle, state.view.clone())
    }

    pub(crate) fn state(&self) -> &Leaf<ranks::Zdev, State> {
        &self.state
    }

    pub(crate) fn handles(&self) -> &Handles {
        &self.handles
    }

    /// An index that nobody else has.
    pub(crate) fn allot(&self) -> Option<Series> {
        self.handles.allot(&self.own)
    }

    /// What is done when nothing is held any more: gives `left_over` back, whose place is empty, and tells of the change.
    pub(crate) fn finish(&self, left_over: Option<Series>, Changed { old, new }: Changed) {
        if let Some(series) = left_over {
            self.handles.give_back(series);
        }
        if old != new {
            self.tell(&Event::Handle { fid: self.fid, old, new });
        }
    }

    /// Has the function use `series`, and gives it a handle if it rests without one. Gives what is left over, and its handle now.
    fn settle(&self, mut series: Option<Series>) -> (Option<Series>, Handle) {
        let mut state = self.state.lock();
        // The place of a used up series without a view is empty.
        let wanted = state.view.is_none() && state.series.as_ref().is_none_or(Series::is_used_up);
        if !state.removed && wanted && series.is_some() {
            std::mem::swap(&mut state.series, &mut series);
        }
        if state.view.is_none() && state.handle.is_none() && !state.removed {
            state.rest();
        }
        (series, state.handle)
    }

    /// `series`, or a fresh one when that is used up.
    fn usable(&self, token: &mut ThreadToken, series: Option<Series>) -> Option<Series> {
        match series {
            Some(series) if !series.is_used_up() => Some(series),
            used_up => {
                self.empty(token, used_up.as_ref());
                self.allot()
            }
        }
    }

    fn empty(&self, token: &mut ThreadToken, series: Option<&Series>) {
        if let Some(series) = series {
            self.handles.put(token, series.index(), None);
        }
    }
}

/// Its name only: the rest is behind a lock.
impl std::fmt::Debug for Zdev {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Zdev({})", self.fid)
    }
}
