//! The s390 view of the world's machine: every place of a function has its identifiers, and who knows a function's handle gives
//! commands and instructions, writes to the region, or tells what the platform tells.
//!
//! It is the real thing (`zpci`) again, on the world's clock. What the view knows of a device it learns from the slot that has it:
//! a [`View`] is made with the function, shown last, and taken away first. A world may go without all this (see
//! [`Options::zpci`](crate::Options::zpci)); it draws nothing then, so what else happens is as it was before zPCI was there.
//!
//! What it does **not** do: no guest that would have to find anything out; whoever acts here knows everything, and says what it likes.

mod act;
mod book;
mod check;
mod commands;
mod events;
mod instructions;
mod operations;
mod plan;
mod region;
#[cfg(test)]
mod tests;
mod unit;
mod virtual_functions;

pub(crate) use act::carry_out;
pub use plan::{Act, Platform};

use crate::card::MOST_FUNCTIONS;
use crate::cell::Cell;
use crate::machine::Plugged;
use crate::world::World;
use book::Book;
use gate::ThreadToken;
use std::sync::{Arc, OnceLock, Weak};
use unit::SimUnit;
use virtual_functions::{Virtual, uid};
use zpci::hotplug::HotplugSlot;
use zpci::region::IoRegion;
use zpci::{Description, Fid, Listener, MAX_FUNCTIONS, Settings, Subscription, Uid, View, Zdev, Zpci};

/// Views that are kept of devices that have gone.
const MOST_VIEWS: usize = 16;

/// See the module's head.
pub(crate) struct S390 {
    pub(crate) zpci: Arc<Zpci>,
    /// By slot, then by function.
    places: Vec<Vec<Arc<Zdev>>>,
    pub(crate) virtual_functions: Cell<Vec<Virtual>>,
    pub(crate) book: Cell<Book>,
    /// Of devices that have gone, in the hands of who had them.
    pub(crate) stale: Cell<Vec<Arc<View>>>,
    max_store: u16,
    /// By slot, then by function.
    slots: OnceLock<Vec<Vec<HotplugSlot>>>,
    listening: OnceLock<Subscription>,
}

/// The identifier of a function's place.
#[must_use]
pub(crate) fn fid_of(slot: usize, function: u8) -> Fid {
    Fid(u32::try_from(slot).unwrap_or(0) << 8 | u32::from(function))
}

/// The slot that an identifier belongs to, also of a virtual function.
#[must_use]
pub(crate) fn slot_of(fid: Fid) -> usize {
    usize::try_from(fid.0 >> 8).unwrap_or(0)
}

impl S390 {
    /// Of a machine with so many slots.
    ///
    /// # Panics
    /// If identifiers are not as different as they have to be.
    pub(crate) fn new(platform: &Platform, slots: usize) -> S390 {
        let zpci = Zpci::new(Settings { generation_bits: platform.generation_bits, ..Settings::default() });
        let place = |slot: usize, function: u8| {
            let fid = fid_of(slot, function);
            let uid = if platform.uids { uid(fid) } else { Uid::NONE };
            zpci.add(fid, uid, Description::default()).expect("identifiers differ")
        };
        let places =
            (0..slots).map(|slot| (0..MOST_FUNCTIONS).map(|function| place(slot, function)).collect());
        let places = places.collect();
        S390 {
            zpci,
            places,
            virtual_functions: Cell::default(),
            book: Cell::default(),
            stale: Cell::default(),
            max_store: platform.max_store,
            slots: OnceLock::new(),
            listening: OnceLock::new(),
        }
    }

    /// Connects it with the slots' controllers, and listens.
    pub(crate) fn rule(&self, world: &World, me: &Weak<World>) {
        let timeout = world.plan.settings.unplug_timeout;
        let slots = world.bays.iter().map(|bay| {
            let unit = Arc::new(SimUnit::new(me, bay.index));
            let controller = bay.controller().clone();
            HotplugSlot::of_card(self.places(bay.index), controller, unit, timeout).unwrap_or_default()
        });
        let _once = self.slots.set(slots.collect());
        let _once = self.listening.set(self.zpci.listen(Arc::new(Ear { world: me.clone() })));
    }

    pub(crate) fn places(&self, slot: usize) -> &[Arc<Zdev>] {
        self.places.get(slot).map_or(&[], Vec::as_slice)
    }

    /// The hot-plug slot of a place.
    fn slot(&self, slot: usize, function: usize) -> Option<HotplugSlot> {
        self.slots.get()?.get(slot)?.get(function).cloned()
    }

    /// The hot-plug slots of all functions.
    fn hotplug_slots(&self) -> Vec<HotplugSlot> {
        let physical = self.slots.get().into_iter().flatten().flatten().cloned();
        let virtual_functions = self.virtual_functions.with(|all| all.clone());
        physical.chain(virtual_functions.into_iter().map(|known| known.hotplug)).collect()
    }

    /// The hot-plug slot of an identifier.
    fn hotplug(&self, fid: Fid) -> Option<HotplugSlot> {
        self.hotplug_slots().into_iter().find(|slot| slot.zdev().fid() == fid)
    }

    /// The view of a function that nobody has seen yet, with its region; its events are those of the view from here on.
    pub(crate) fn view(&self, slot: usize, function: &Plugged) -> Option<Arc<View>> {
        let zdev = self.places(slot).get(usize::from(function.at.function()))?;
        let view = View::new(zdev, &function.assignment, self.max_store);
        function.watched.belongs_to(&view);
        function.assignment.add_region(IoRegion::new(view.clone())).ok()?;
        Some(view)
    }

    /// The functions of a card are in the topology.
    pub(crate) fn bring_in(&self, world: &World, token: &mut ThreadToken, functions: &[Plugged]) {
        for view in functions.iter().filter_map(|function| function.view.as_ref()) {
            if let Some(zdev) = view.zdev() {
                zdev.bring_in(token, view.clone());
                // Whoever still works on the last device works on that one.
                world.check_claim(Some(slot_of(zdev.fid())), &zdev);
            }
        }
    }

    /// A function is about to leave the topology.
    pub(crate) fn take_out(&self, token: &mut ThreadToken, function: &Plugged) {
        let Some(view) = &function.view else { return };
        let Some(zdev) = view.zdev() else { return };
        // A configuration that came back late may never have brought it in.
        if zdev.view().is_some_and(|shown| Arc::ptr_eq(&shown, view)) {
            zdev.take_out(token);
            self.keep(view.clone());
        }
    }

    /// Whether so many handles were given out that there may be none left.
    fn may_have_run_out(&self) -> bool {
        let of_one = (1_usize << self.zpci.settings().generation_bits.min(19)) - 1;
        self.book.with(|book| book.given()) >= of_one * MAX_FUNCTIONS / 2
    }

    /// Somebody keeps what it had.
    fn keep(&self, view: Arc<View>) {
        let oldest = self.stale.with(|stale| {
            stale.push(view);
            (stale.len() > MOST_VIEWS).then(|| stale.remove(0))
        });
        drop(oldest);
    }

    /// Nobody keeps anything any more.
    pub(crate) fn forget(&self) {
        let stale = self.stale.with(std::mem::take);
        drop(stale);
    }
}

/// Hears what is told of all functions.
struct Ear {
    world: Weak<World>,
}

impl Listener for Ear {
    fn event(&self, event: &zpci::Event) {
        if let Some(world) = self.world.upgrade() {
            world.heard(event);
        }
    }
}
