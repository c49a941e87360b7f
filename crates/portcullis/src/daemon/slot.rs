//! One slot: its controller, its port, and the places of the functions of its card.
//!
//! What operators ask of it becomes an operation here, which ends when the slot says so, whoever waits for it.
//!
//! Lock: `slot requests` (rank 64, a leaf): which operations wait for what; looked through and let go.

use std::sync::{Arc, OnceLock, Weak};

use ::slot::{
    Controller, Crew, Drivers, Event, Failure, Features, Finished, Notice, Parts, Report, Request, Settings,
    State, Told, Watch,
};
use assign::Assignment;
use gate::lock::Leaf;
use gate::{Deadline, ThreadToken};

use super::machine::Machine;
use super::operations::{Operation, Outcome};
use super::place::Place;
use super::port::Port;
use super::slot_words::{outcome, state_detail, tell};
use crate::config::{DeviceConfig, PortConfig};
use crate::events::Journal;
use crate::ranks;

/// Most things that are remembered as being still in use.
const MAX_ORPHANS: usize = 64;

/// See the module's head.
pub struct Slot {
    /// The places of the functions of its card, in ascending order; at least one.
    pub places: Arc<[Arc<Place>]>,
    pub(super) controller: Arc<Controller>,
    pub(super) port: Arc<Port>,
    pub(super) features: Features,
    requests: Arc<Requests>,
}

/// What operators wait for at one slot.
struct Requests {
    places: Arc<[Arc<Place>]>,
    /// Rank: 64, slot requests; a leaf. Lists that are looked through.
    waiting: Leaf<ranks::SlotRequests, Waiting>,
}

#[derive(Default)]
struct Waiting {
    asked: Vec<Asked>,
    coming: Coming,
    /// Those that end when the card is out, and how.
    going: Vec<(Arc<Operation>, Outcome)>,
    /// Threads that have seen a card and are about to take it out: no other is put in meanwhile, or it would be that one.
    taking_out: usize,
    /// Why the hardware could not do what it was told last; until the slot is off, or on.
    complaint: Option<String>,
    /// What was still in use of the card that left last.
    orphans: Vec<String>,
}

/// The card that is being put in.
#[derive(Default)]
enum Coming {
    #[default]
    Nothing,
    /// Its devices are being built.
    Prepared,
    /// It is in the slot, or about to be; the operation ends when it is up, or is not, or waits for somebody.
    PutIn(Arc<Operation>),
}

/// The right to put a card into a slot, which only one has at a time. Dropped without a card, nothing of it stays.
pub(super) struct PlugIn<'a> {
    slot: &'a Slot,
    /// Something was built for it, and is not put in yet.
    built: bool,
    put_in: bool,
}

/// Something that the slot was asked for.
struct Asked {
    of_slot: Arc<::slot::Operation>,
    operation: Arc<Operation>,
    /// The card is taken out when it is done.
    then_take_out: bool,
}

impl Asked {
    fn end(self, requests: &Requests, controller: &Controller, complaint: Option<&str>) {
        let Asked { of_slot, operation, then_take_out } = self;
        let Some(how) = of_slot.finished() else { return };
        let outcome = outcome(of_slot.request(), how, complaint);
        if then_take_out && how == Finished::Done {
            requests.take_out(controller, Some((operation, outcome)));
        } else {
            operation.end(outcome);
        }
    }
}

/// What a slot is made with.
pub(super) struct Surroundings {
    pub(super) machine: Arc<Machine>,
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
        let Surroundings { machine, journal, crew } = surroundings;
        let features = Features {
            power_controller: port.is_some(),
            attention_button: port.is_some_and(|port| port.attention_button),
            latch: port.is_some_and(|port| port.latch),
        };
        let name: Arc<str> = places.first().map_or("", |place| &place.name).into();
        let hardware = Arc::new(Port::new(
            Arc::clone(machine),
            Arc::clone(&places),
            features.power_controller,
            Arc::clone(journal),
        ));
        let requests = Arc::new(Requests { places: Arc::clone(&places), waiting: Leaf::default() });
        let watch = Arc::new(Watcher {
            journal: Arc::clone(journal),
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
        Slot { places, controller, port: hardware, features, requests }
    }

    /// The name of its first place.
    pub fn name(&self) -> &str {
        self.controller.name()
    }

    /// The right to put a card into the slot; `None` while somebody else puts one in, or takes one out. Whether one is in the slot
    /// is to be looked at after this, not before.
    pub(super) fn plug_in(&self) -> Option<PlugIn<'_>> {
        let mut waiting = self.requests.waiting.lock();
        let free =
            matches!(waiting.coming, Coming::Nothing) && waiting.going.is_empty() && waiting.taking_out == 0;
        if free {
            waiting.coming = Coming::Prepared;
        }
        drop(waiting);
        // Not made otherwise: one that is dropped gives the right back.
        free.then(|| PlugIn { slot: self, built: false, put_in: false })
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
        let asked = Asked { of_slot: Arc::clone(&of_slot), operation, then_take_out };
        self.requests.waiting.lock().asked.push(asked);
        // It may have ended before anybody knew what to do then.
        if of_slot.finished().is_some() {
            self.requests.settle(&self.controller);
        }
    }

    /// What it does now, in words.
    pub(super) fn does(&self) -> String {
        state_detail(&self.controller.report(), self.controller.now())
    }
}

impl PlugIn<'_> {
    /// Builds what is on the card; `None`: what was on the last one.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn build(
        &mut self,
        card: Option<&DeviceConfig>,
        machine: &Machine,
        journal: &Arc<Journal>,
    ) -> Result<(), String> {
        self.built = true;
        for place in &*self.slot.places {
            place
                .prepare(card, machine, journal)
                .map_err(|complaint| format!("{}: {complaint}", place.name))?;
        }
        Ok(())
    }

    /// The card is in the slot now; `operation` ends when it is up, or is not, or waits for somebody.
    pub(super) fn put_in(mut self, operation: Arc<Operation>) {
        self.put_in = true;
        let Slot { controller, features, requests, .. } = self.slot;
        {
            let mut waiting = requests.waiting.lock();
            waiting.complaint = None;
            waiting.coming = Coming::PutIn(operation);
        }
        controller.post(Event::Card(true));
        if !features.power_controller {
            controller.post(Event::Link(true));
        }
    }
}

impl Drop for PlugIn<'_> {
    fn drop(&mut self) {
        if self.built && !self.put_in {
            self.slot.places.iter().for_each(|place| place.discard_prepared());
        }
        if !self.put_in {
            self.slot.requests.waiting.lock().coming = Coming::Nothing;
        }
    }
}

impl Requests {
    /// Takes the card out, if there is one; `ending` ends when it is out.
    fn take_out(&self, controller: &Controller, ending: Option<(Arc<Operation>, Outcome)>) -> bool {
        {
            let mut waiting = self.waiting.lock();
            waiting.taking_out += 1;
            waiting.going.extend(ending);
        }
        // Looked at after it was put down who waits: the card leaves after this, or it has left.
        let there = controller.report().sight.card;
        if there {
            // One that was not brought up yet would keep its image.
            self.places.iter().for_each(|place| place.discard_prepared());
            controller.post(Event::Card(false));
        }
        self.waiting.lock().taking_out -= 1;
        if !there {
            self.is_out();
        }
        there
    }

    /// The card is out.
    fn is_out(&self) {
        let going = std::mem::take(&mut self.waiting.lock().going);
        for (operation, outcome) in going {
            operation.end(outcome);
        }
    }

    /// A card was put in, and `report` is what the slot makes of it. Whatever it is, the operation ends: only a slot that is on
    /// its way on says later how that ended.
    fn is_in(&self, report: &Report) {
        let wait = match report.state {
            State::PoweringOn(_) => return,
            _ if report.sight.latch_open => {
                "waits for the latch to be closed and the power to be switched on"
            }
            State::BlinkingOn { .. } => "goes on when the time of the attention button has passed",
            _ if report.features.attention_button => "waits for the attention button",
            _ => "waits for the power to be switched on",
        };
        self.end_plug(&Outcome::new("done", format!("the card is in the slot, and {wait}")));
    }

    fn end_plug(&self, outcome: &Outcome) {
        let coming = {
            let mut waiting = self.waiting.lock();
            match std::mem::take(&mut waiting.coming) {
                // Of another card than that which was up, or was not.
                Coming::Prepared => {
                    waiting.coming = Coming::Prepared;
                    return;
                }
                coming => coming,
            }
        };
        if let Coming::PutIn(operation) = coming {
            operation.end(outcome.clone());
        }
    }

    /// The slot is over: whoever waits still waits for nothing.
    fn end(&self) {
        let over = outcome(Request::Enable, Finished::ShutDown, None);
        self.end_plug(&over);
        let (asked, going) = {
            let mut waiting = self.waiting.lock();
            (std::mem::take(&mut waiting.asked), std::mem::take(&mut waiting.going))
        };
        let going = going.into_iter().map(|(operation, _)| operation);
        asked
            .into_iter()
            .map(|asked| asked.operation)
            .chain(going)
            .for_each(|operation| operation.end(over.clone()));
    }

    /// Ends what has ended. Looked at without the lock, under which no other may be taken; so what ends in that moment is looked
    /// at once more.
    fn settle(&self, controller: &Controller) {
        loop {
            let asked = std::mem::take(&mut self.waiting.lock().asked);
            let (over, rest): (Vec<_>, Vec<_>) =
                asked.into_iter().partition(|asked| asked.of_slot.finished().is_some());
            let again: Vec<_> = rest.iter().map(|asked| Arc::clone(&asked.of_slot)).collect();
            let complaint = {
                let mut waiting = self.waiting.lock();
                waiting.asked.extend(rest);
                waiting.complaint.clone()
            };
            over.into_iter().for_each(|asked| asked.end(self, controller, complaint.as_deref()));
            if !again.iter().any(|operation| operation.finished().is_some()) {
                return;
            }
        }
    }

    fn take_orphans(&self) -> Vec<String> {
        std::mem::take(&mut self.waiting.lock().orphans)
    }

    /// The card that was put in is up, or will not be.
    fn came_up(&self, how: Finished) {
        let complaint = self.waiting.lock().complaint.clone();
        self.end_plug(&outcome(Request::Enable, how, complaint.as_deref()));
    }
}

/// Tells the journal what happens at a slot, and ends what waited for it.
struct Watcher {
    journal: Arc<Journal>,
    requests: Arc<Requests>,
    /// Set once, when the slot is made.
    controller: OnceLock<Weak<Controller>>,
}

impl Watch for Watcher {
    fn notice(&self, slot: &str, what: &Told) {
        tell(&self.journal, slot, what);
        match what {
            Told::Notice(Notice::Revoking(_)) => self.requests.waiting.lock().orphans.clear(),
            Told::Orphan(what) => {
                let orphans = &mut self.requests.waiting.lock().orphans;
                if orphans.len() < MAX_ORPHANS {
                    orphans.push(what.clone());
                }
            }
            Told::Notice(Notice::Card(true)) => {
                if let Some(controller) = self.controller.get().and_then(Weak::upgrade) {
                    self.requests.is_in(&controller.report());
                }
            }
            Told::Notice(Notice::Card(false)) => self.requests.is_out(),
            Told::Notice(Notice::On) => self.requests.came_up(Finished::Done),
            Told::Notice(Notice::NotOn(why)) => self.requests.came_up(*why),
            // Whoever was to be told why it did not come up has been.
            Told::Notice(Notice::Off) => self.requests.waiting.lock().complaint = None,
            Told::Callback { who, how: Failure::Failed(why), .. } if who == "hardware" => {
                self.requests.waiting.lock().complaint = Some(why.clone());
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

#[cfg(test)]
mod tests {
    use ::slot::{Leaving, Powering, Sight};
    use std::time::Duration;

    use super::*;
    use crate::daemon::operations::Operations;

    #[test]
    fn a_plug_ends_when_the_card_is_seen_unless_the_slot_is_on_its_way_on() {
        let until = Duration::from_secs(5);
        let report = |state| Report {
            name: String::from("disk0"),
            features: Features { attention_button: true, ..Features::default() },
            state,
            sight: Sight { card: true, ..Sight::default() },
            functions: Vec::new(),
            drivers: Vec::new(),
            consumers: Vec::new(),
            waiting: Vec::new(),
            left_behind: Vec::new(),
            comes_back: false,
            calling: None,
        };
        for (state, ends) in [
            (State::Off, true),
            // The button was pressed before the card was there.
            (State::BlinkingOn { until }, true),
            (State::Leaving(Leaving::Removing { surprise: true }), true),
            (State::PoweringOn(Powering::Power), false),
        ] {
            let requests = Requests { places: Arc::new([]), waiting: Leaf::default() };
            let operation = Operations::default().begin("disk0", "plug", "").unwrap();
            requests.waiting.lock().coming = Coming::PutIn(Arc::clone(&operation));
            requests.is_in(&report(state));
            assert_eq!(operation.has_ended(), ends, "{state:?}");
        }
    }
}
