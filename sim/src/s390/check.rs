//! What always holds of handles, states and claims.

use super::S390;
use super::book::Wrong;
use crate::invariants::Invariant;
use crate::world::World;
use gate::ThreadToken;
use slot::{Notice, State};
use std::sync::Arc;
use std::time::Duration;
use zpci::{Configuration, Event, Handle, Work, Zdev};

impl World {
    /// The view tells something.
    pub(crate) fn heard(&self, event: &Event) {
        let Some(s390) = &self.s390 else { return };
        let Event::Handle { fid, old, new } = *event else {
            self.trace(|| format!("told {event:?}"));
            return self.answer(event);
        };
        let slot = super::slot_of(fid);
        self.trace(|| format!("slot {slot}: {fid} is {new}, and was {old}"));
        let told = s390.book.with(|book| book.changes(fid, old, new));
        if let Err(wrong) = told {
            let invariant = match wrong {
                Wrong::GivenTwice => Invariant::DeadHandle,
                Wrong::NotTold => Invariant::HandleTold,
                Wrong::OtherDevice => Invariant::OneDevice,
            };
            let detail = format!("{fid} has {new} instead of {old}: {wrong:?}");
            self.violated(invariant, Some(slot), detail);
        }
    }

    /// A slot tells something of the functions in it.
    pub(crate) fn tell_platform(&self, slot: usize, notice: &Notice) {
        let Some(s390) = &self.s390 else { return };
        s390.places(slot).iter().for_each(|zdev| zdev.noticed(notice));
    }

    /// What holds after every step.
    pub(crate) fn check_handles(&self, token: &mut ThreadToken) {
        let Some(s390) = &self.s390 else { return };
        for zdev in s390.zpci.list() {
            self.check_names(token, s390, &zdev);
        }
        let place = self.random.with(|random| random.below(1 << 16));
        if let Some(dead) = s390.book.with(|book| book.dead(place)) {
            self.check_dead(token, s390, dead);
        }
    }

    /// A function is named by the handle that was told last, and by no other.
    fn check_names(&self, token: &ThreadToken, s390: &S390, zdev: &Zdev) {
        let slot = Some(super::slot_of(zdev.fid()));
        let (handle, view, configuration) = (zdev.handle(), zdev.view(), zdev.configuration());
        let fid = zdev.fid();
        let (told, dead) = s390.book.with(|book| (book.told(fid), book.is_dead(handle)));
        if handle != told {
            self.violated(Invariant::HandleTold, slot, format!("{fid} has {handle}, and {told} was told"));
        }
        if dead {
            self.violated(Invariant::DeadHandle, slot, format!("{fid} has {handle}, which was over"));
        }
        if handle.is_enabled() && configuration != Configuration::Configured {
            self.violated(Invariant::Configured, slot, format!("{fid} is {configuration:?} and enabled"));
        }
        if handle.is_none() && configuration == Configuration::Standby && !s390.may_have_run_out() {
            self.violated(Invariant::Configured, slot, format!("{fid} is in standby without a handle"));
        }
        let named = s390.zpci.by_handle(token, handle);
        let same = match (&named, &view) {
            (Some(named), Some(view)) => Arc::ptr_eq(named, view),
            (None, None) => true,
            // The machine may have had no handle left for it.
            (None, Some(_)) => handle.is_none(),
            (Some(_), None) => false,
        };
        if !same {
            let detail = format!("{fid} is {configuration:?}, and {handle} names {named:?}");
            self.violated(Invariant::OneDevice, slot, detail);
        }
        if let Some(view) = named {
            self.check_device(s390, handle, &view);
        }
    }

    /// A handle names one device as long as it names anything.
    pub(super) fn check_device(&self, s390: &S390, handle: Handle, view: &zpci::View) {
        if s390.book.with(|book| book.names(handle, view.function())).is_err() {
            let detail = format!("{handle} names {} and named another device before", view.function().name());
            self.violated(Invariant::OneDevice, Some(super::slot_of(view.fid())), detail);
        }
    }

    /// A device was reached by way of a view, and told its number.
    pub(super) fn check_reached(&self, s390: &S390, number: u64, view: &Arc<zpci::View>) {
        if s390.book.with(|book| book.reached(number, view.function())).is_err() {
            let detail = format!("{view:?} has led to device {number}, which is another one's");
            self.violated(Invariant::OneDevice, Some(super::slot_of(view.fid())), detail);
        }
    }

    /// A handle that is over names nothing, whoever asks.
    pub(super) fn check_dead(&self, token: &mut ThreadToken, s390: &S390, dead: Handle) {
        let named = s390.zpci.by_handle(token, dead);
        let known = s390.zpci.zdev_by_handle(dead);
        if named.is_some() || known.is_some() {
            let detail = format!("{dead} is over, and names {named:?} of {known:?}");
            self.violated(Invariant::DeadHandle, None, detail);
        }
        let stale = s390.stale.with(|stale| stale.iter().find(|view| !view.handle().is_none()).cloned());
        if let Some(view) = stale {
            self.violated(Invariant::DeadHandle, None, format!("{view:?} has gone, and has a handle"));
        }
    }

    /// What was done to a function has taken so much time of its own.
    pub(crate) fn check_own_time(&self, slot: usize, what: &str, own: Duration, most: Duration) {
        if own > most {
            let detail = format!("{what} took {} ms of its own", own.as_millis());
            self.violated(Invariant::FunctionInTime, Some(slot), detail);
        }
    }

    /// When nobody does anything, a function is what its slot is, and nobody works on it.
    pub(crate) fn check_configurations(&self) {
        let Some(s390) = &self.s390 else { return };
        for bay in &self.bays {
            let report = bay.controller().report();
            // What the slot believes: the platform may have told it of a card that is not there.
            let present = report.sight.card;
            let plugged = bay.plugged();
            for (function, zdev) in s390.places(bay.index).iter().enumerate() {
                self.check_claim(Some(bay.index), zdev);
                let plugged = plugged.iter().find(|plugged| usize::from(plugged.at.function()) == function);
                let wanted = match (report.state, plugged) {
                    (State::On, Some(_)) => Configuration::Configured,
                    (State::On | State::Off, None) if present => Configuration::Standby,
                    (State::Off, None) => Configuration::Reserved,
                    _ => continue,
                };
                let is = zdev.configuration();
                let shown = zdev.view().zip(plugged);
                let other = shown.is_some_and(|(view, plugged)| {
                    !Arc::ptr_eq(view.function(), plugged.assignment.function())
                });
                if is != wanted || other {
                    let detail =
                        format!("{} is {is:?} and should be {wanted:?}: {:?}", zdev.fid(), report.state);
                    self.violated(Invariant::Configured, Some(bay.index), detail);
                }
            }
        }
    }

    /// When everything has gone nothing is left of it here either.
    pub(crate) fn check_platform_at_rest(&self, token: &ThreadToken) {
        let Some(s390) = &self.s390 else { return };
        let all = s390.zpci.list();
        let places = self.bays.len() * usize::from(crate::card::MOST_FUNCTIONS);
        if all.len() != places {
            let detail = format!("{} functions, and there are {places} places", all.len());
            self.violated(Invariant::NothingLeft, None, detail);
        }
        for zdev in all {
            let slot = Some(super::slot_of(zdev.fid()));
            self.check_claim(slot, &zdev);
            if zdev.configuration() != Configuration::Reserved || !zdev.handle().is_none() {
                self.violated(Invariant::Configured, slot, format!("at rest it is {zdev:?}"));
            }
            if s390.zpci.by_handle(token, zdev.handle()).is_some() {
                self.violated(Invariant::NothingLeft, slot, format!("at rest a handle of {zdev:?} leads on"));
            }
        }
    }

    /// Nobody works on the function.
    pub(super) fn check_claim(&self, slot: Option<usize>, zdev: &Zdev) {
        let claimed = zdev.work().is_some() || zdev.begin(Work::Reset).is_none();
        if claimed {
            let detail = format!("{zdev:?} is still worked on: {:?}", zdev.work());
            self.violated(Invariant::ClaimReturned, slot, detail);
        }
    }
}
