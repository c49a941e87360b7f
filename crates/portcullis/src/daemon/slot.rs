//! One slot: its controller, its port, and the places of the functions of its card.
//!
//! What operators ask of it becomes an operation here, which ends when the slot says so (`requests`).

use std::sync::{Arc, OnceLock, Weak};

use ::slot::{
    Controller, Crew, DEFAULT_UNPLUG_TIMEOUT, Drivers, Event, Failure, Features, Finished, Notice, Parts,
    Request, Settings, Told, Watch,
};
use assign::Assignment;
use gate::{Deadline, ThreadToken};
use zpci::Zpci;
use zpci::hotplug::{HotplugSlot, Unit};

use super::machine::Machine;
use super::operations::{Operation, Outcome};
use super::place::Place;
use super::plug_in::PlugIn;
use super::port::Port;
use super::requests::{Asked, Requests};
use super::slot_words::{state_detail, tell};
use super::zpci::Hardware;
use crate::config::PortConfig;
use crate::events::Journal;

/// See the module's head.
pub struct Slot {
    /// The places of the functions of its card, in ascending order; at least one.
    pub places: Arc<[Arc<Place>]>,
    pub(super) controller: Arc<Controller>,
    pub(super) port: Arc<Port>,
    pub(super) features: Features,
    pub(super) requests: Arc<Requests>,
    /// The slot in the s390 view: one for each function, in the order of the places.
    pub(super) hotplug: Vec<HotplugSlot>,
}

/// What a slot is made with.
pub(super) struct Surroundings {
    pub(super) machine: Arc<Machine>,
    pub(super) zpci: Arc<Zpci>,
    pub(super) journal: Arc<Journal>,
    pub(super) crew: Arc<dyn Crew>,
}

impl Slot {
    /// An empty slot. `port` is what the operator has configured; none for a slot without a port of its own.
    pub(super) fn new(
        places: Arc<[Arc<Place>]>,
        port: Option<PortConfig>,
        surroundings: &Surroundings,
    ) -> Slot {
        let Surroundings { machine, zpci, journal, crew } = surroundings;
        let features = Features {
            power_controller: port.is_some(),
            attention_button: port.is_some_and(|port| port.attention_button),
            latch: port.is_some_and(|port| port.latch),
        };
        let name: Arc<str> = places.first().map_or("", |place| &place.name).into();
        let hardware = Arc::new(Port::new(surroundings, Arc::clone(&places), features.power_controller));
        let requests = Arc::new(Requests::new(Arc::clone(&places)));
        let watch = Arc::new(Watcher {
            journal: Arc::clone(journal),
            places: Arc::clone(&places),
            requests: Arc::clone(&requests),
            controller: OnceLock::new(),
        });
        let parts = Parts {
            hardware: Arc::clone(&hardware) as _,
            drivers: Drivers::new(),
            time: Arc::clone(&machine.time),
            crew: Arc::clone(crew),
            watch: Arc::clone(&watch) as _,
        };
        let controller = Controller::new(name, features, Settings::default(), parts);
        hardware.belongs_to(&controller);
        // Set once, here.
        let _ = watch.controller.set(Arc::downgrade(&controller));
        let (machine, zpci, journal) = (Arc::clone(machine), Arc::clone(zpci), Arc::clone(journal));
        let hardware_of = Hardware { machine, zpci, journal, places: Arc::clone(&places) };
        let unit: Arc<dyn Unit> = Arc::new(hardware_of);
        let zdevs: Vec<_> = places.iter().map(|place| Arc::clone(&place.zdev)).collect();
        // A card has one to eight functions, and so has a slot.
        let hotplug = HotplugSlot::of_card(&zdevs, Arc::clone(&controller), unit, DEFAULT_UNPLUG_TIMEOUT);
        let hotplug = hotplug.unwrap_or_default();
        Slot { places, controller, port: hardware, features, requests, hotplug }
    }

    /// The name of its first place.
    pub fn name(&self) -> &str {
        self.controller.name()
    }

    /// The right to put a card into the slot; `None` while somebody else puts one in, or takes one out. Whether one is in the slot
    /// is to be looked at after this, not before.
    pub(super) fn plug_in(&self) -> Option<PlugIn<'_>> {
        PlugIn::of(self)
    }

    /// Takes the card out, whatever it does; false if there is none. `operation` ends when it is out.
    pub(super) fn take_out(&self, operation: Option<(Arc<Operation>, Outcome)>) -> bool {
        self.requests.take_out(&self.controller, operation)
    }

    /// A card that is in the slot when everything starts comes up, button or not.
    pub(super) fn switch_on_at_start(&self, operation: Arc<Operation>) {
        if self.features.attention_button {
            self.controller.post(Event::Card(true));
            self.ask(Request::Enable, operation, false);
        } else if let Some(plug_in) = self.plug_in() {
            plug_in.put_in(operation);
        }
    }

    /// Ends for good, by the deadline: what was still in use then, in words.
    pub(super) fn end(&self, token: &mut ThreadToken, deadline: Deadline) -> Vec<String> {
        let device = |place: &Arc<Place>| Some(Arc::downgrade(&place.assignment()?));
        let mut devices: Vec<Weak<Assignment>> = self.places.iter().filter_map(device).collect();
        // Of cards that left before: what was in use then may have been let go since.
        devices.extend(self.places.iter().flat_map(|place| place.left()));
        drop(self.requests.take_orphans());
        let ended = self.controller.shutdown(token, deadline);
        self.requests.end();
        let mut left_over = self.requests.take_orphans();
        for place in &*self.places {
            // Without anything on its socket there is nothing to do.
            left_over.extend(place.server.revoke(token, deadline).orphans);
            place.discard_prepared();
        }
        if !ended {
            left_over.push(String::from("did not end in time"));
        }
        if left_over.is_empty() && devices.iter().any(|device| device.strong_count() > 0) {
            left_over.push(String::from("the device is still in use and was not flushed"));
        }
        left_over
    }

    /// Asks the slot's controller for something; `operation` ends with it.
    pub(super) fn ask(&self, request: Request, operation: Arc<Operation>, then_take_out: bool) {
        let of_slot = self.controller.ask(request);
        self.requests.wants(Asked { of_slot, operation, then_take_out }, &self.controller);
    }

    /// What it does now, in words.
    pub(super) fn does(&self) -> String {
        state_detail(&self.controller.report(), self.controller.now())
    }
}

/// Tells the journal what happens at a slot, and ends what waited for it.
struct Watcher {
    journal: Arc<Journal>,
    places: Arc<[Arc<Place>]>,
    requests: Arc<Requests>,
    /// Set once, when the slot is made.
    controller: OnceLock<Weak<Controller>>,
}

impl Watch for Watcher {
    fn notice(&self, slot: &str, what: &Told) {
        tell(&self.journal, slot, what);
        if let Told::Notice(notice) = what {
            self.places.iter().for_each(|place| place.zdev.noticed(notice));
        }
        match what {
            Told::Notice(Notice::Revoking(_)) => drop(self.requests.take_orphans()),
            Told::Orphan(what) => self.requests.is_still_used(what),
            Told::Notice(Notice::Card(true)) => {
                if let Some(controller) = self.controller.get().and_then(Weak::upgrade) {
                    self.requests.is_in(&controller.report());
                }
            }
            Told::Notice(Notice::Card(false)) => self.requests.is_out(),
            Told::Notice(Notice::On) => self.requests.came_up(Finished::Done),
            Told::Notice(Notice::NotOn(why)) => self.requests.came_up(*why),
            // Whoever was to be told why it did not come up has been.
            Told::Notice(Notice::Off) => self.requests.complains(None),
            Told::Callback { who, how: Failure::Failed(why), .. } if who == "hardware" => {
                self.requests.complains(Some(why.clone()));
            }
            Told::Operation(_, _, Some(_)) => {
                if let Some(controller) = self.controller.get().and_then(Weak::upgrade) {
                    self.requests.settle(&controller);
                }
            }
            _ => {}
        }
    }
}
