//! The port of a slot: its power, its lamps, and what is found on its card.
//!
//! The hardware is emulated, so power and link come at once. Everything here is called by the thread that drives the slot.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use ::slot::{Controller, Event, Hardware, Lamp, Removal};
use assign::Assignment;
use gate::{Deadline, ThreadToken};
use zpci::Zpci;

use super::machine::Machine;
use super::place::Place;
use super::slot::Surroundings;
use super::zpci::follow_virtual_functions;
use crate::events::Journal;

/// See the module's head.
pub(super) struct Port {
    machine: Arc<Machine>,
    zpci: Arc<Zpci>,
    places: Arc<[Arc<Place>]>,
    journal: Arc<Journal>,
    /// It has a port of its own, whose power is switched. Without, the link of a card is up as long as the card is there.
    switched: bool,
    /// Set once, when the slot is made.
    controller: OnceLock<Weak<Controller>>,
    power_lamp: AtomicU8,
    attention_lamp: AtomicU8,
}

impl Port {
    pub(super) fn new(surroundings: &Surroundings, places: Arc<[Arc<Place>]>, switched: bool) -> Port {
        let Surroundings { machine, zpci, journal, .. } = surroundings;
        Port {
            machine: Arc::clone(machine),
            zpci: Arc::clone(zpci),
            places,
            journal: Arc::clone(journal),
            switched,
            controller: OnceLock::new(),
            power_lamp: AtomicU8::default(),
            attention_lamp: AtomicU8::default(),
        }
    }

    /// Who is told of the link.
    pub(super) fn belongs_to(&self, controller: &Arc<Controller>) {
        // Set once: a slot is made once.
        let _ = self.controller.set(Arc::downgrade(controller));
    }

    /// Power and attention indicator: `off`, `on` or `blink`.
    pub(super) fn lamps(&self) -> (&'static str, &'static str) {
        (name(&self.power_lamp), name(&self.attention_lamp))
    }

    fn link(&self, up: bool) {
        let controller = self.controller.get().and_then(Weak::upgrade);
        if let Some(controller) = controller.filter(|_| self.switched) {
            controller.post(Event::Link(up));
        }
    }

    /// Puts every function of the card into the hardware, finds them there, and opens their sockets.
    fn bring_up(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<Vec<Arc<Assignment>>, String> {
        let mut functions = Vec::new();
        let mut views = Vec::new();
        for place in &*self.places {
            let at_place = |error: &dyn std::fmt::Display| format!("{}: {error}", place.name);
            let built =
                place.take_built(token, &self.machine, &self.journal).map_err(|error| at_place(&error))?;
            let Some(built) = built else { continue };
            let function = Arc::clone(built.assignment.function());
            let id = self.machine.plug(function, place.address).map_err(|error| at_place(&error))?;
            functions.push(Arc::clone(&built.assignment));
            views.push((place, Arc::clone(&built.view)));
            place.is_plugged(built, id);
        }
        let first = self.places.first().ok_or("the slot has no place")?;
        let found = self.machine.find(token, first.address, deadline).map_err(|error| error.to_string())?;
        for (place, view) in views {
            let Some(assignment) = place.assignment() else { continue };
            if found.function(place.address).is_none() {
                let at = place.address;
                return Err(format!(
                    "{} does not answer at {at}: function 0 of its device is missing",
                    place.name
                ));
            }
            place.zdev.bring_in(token, view);
            // Last: a client finds a function that is ready.
            place.server.plug(assignment).map_err(|error| format!("{}: {error}", place.name))?;
        }
        Ok(functions)
    }

    /// Takes everything out again, highest first (HP-01).
    fn take_down(&self, token: &mut ThreadToken, deadline: Deadline) {
        for place in self.places.iter().rev() {
            if let Some((assignment, id, remote)) = place.take_plugged(token) {
                // First: from here on nothing is asked of the back end any more, and nobody waits for it.
                if let Some(remote) = remote {
                    remote.close(token, deadline);
                }
                // Of a card that did not come up, or came up when nobody waited for it any more: whoever has found it in
                // between reaches nothing of it, nor of the next one (law 5).
                let _ = assignment.function().disconnect(token, deadline);
                place.zdev.take_out(token);
                let _ = place.server.revoke(token, deadline);
                self.machine.unplug(token, place.address, id, deadline);
                follow_virtual_functions(&self.zpci, &self.machine, &place.zdev, place.address, token);
                let device = Arc::downgrade(&assignment);
                // The last reference may be here, and to let it go ends the device.
                drop(assignment);
                place.has_left(device);
            }
        }
    }
}

fn name(lamp: &AtomicU8) -> &'static str {
    match lamp.load(Ordering::Relaxed) {
        1 => "on",
        2 => "blink",
        _ => "off",
    }
}

fn show(lamp: &AtomicU8, as_: Lamp) {
    let value = match as_ {
        Lamp::Off => 0,
        Lamp::On => 1,
        Lamp::Blink => 2,
    };
    lamp.store(value, Ordering::Relaxed);
}

impl Hardware for Port {
    fn apply_power(&self, _token: &mut ThreadToken, _deadline: Deadline) -> bool {
        for place in &*self.places {
            self.machine.give_power(place.address);
        }
        self.link(true);
        true
    }

    fn cut_power(&self, _token: &mut ThreadToken, _deadline: Deadline) {
        self.link(false);
        // A card that was lost before it was found: nothing of it is kept, such as its image.
        self.places.iter().for_each(|place| place.discard_prepared());
    }

    fn power_lamp(&self, lamp: Lamp) {
        show(&self.power_lamp, lamp);
    }

    fn attention_lamp(&self, lamp: Lamp) {
        show(&self.attention_lamp, lamp);
    }

    fn configure(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<Vec<Arc<Assignment>>, String> {
        let functions = self.bring_up(token, deadline);
        if functions.is_err() {
            self.take_down(token, deadline);
        }
        functions
    }

    fn unconfigure(
        &self,
        token: &mut ThreadToken,
        _functions: &[Arc<Assignment>],
        _removal: Removal,
        deadline: Deadline,
    ) {
        self.take_down(token, deadline);
    }
}
