//! What operators wait for at one slot: operations that end when the slot says so, whoever waits for them.
//!
//! Lock: `slot requests` (rank 64, a leaf): which operations wait for what; looked through and let go.

use std::sync::Arc;

use ::slot::{Controller, Event, Finished, Report, Request, State};
use gate::lock::Leaf;

use super::operations::{Operation, Outcome};
use super::place::Place;
use super::slot_words::outcome;
use crate::ranks;

/// Most things that are remembered as being still in use.
const MAX_ORPHANS: usize = 64;

/// See the module's head.
pub(super) struct Requests {
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

/// Something that the slot was asked for.
pub(super) struct Asked {
    pub(super) of_slot: Arc<::slot::Operation>,
    pub(super) operation: Arc<Operation>,
    /// The card is taken out when it is done.
    pub(super) then_take_out: bool,
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

impl Requests {
    pub(super) fn new(places: Arc<[Arc<Place>]>) -> Requests {
        Requests { places, waiting: Leaf::default() }
    }

    /// The right to put a card in, which is to be given back by [`Requests::stays_empty`] or used by [`Requests::puts_in`]; false
    /// while somebody else has it, or a card is being taken out.
    pub(super) fn prepares(&self) -> bool {
        let mut waiting = self.waiting.lock();
        let free =
            matches!(waiting.coming, Coming::Nothing) && waiting.going.is_empty() && waiting.taking_out == 0;
        if free {
            waiting.coming = Coming::Prepared;
        }
        free
    }

    /// No card is put in after all.
    pub(super) fn stays_empty(&self) {
        self.waiting.lock().coming = Coming::Nothing;
    }

    /// A card is about to be put in; `operation` ends when it is up, or is not, or waits for somebody.
    pub(super) fn puts_in(&self, operation: Arc<Operation>) {
        let mut waiting = self.waiting.lock();
        waiting.complaint = None;
        waiting.coming = Coming::PutIn(operation);
    }

    /// The slot was asked for something.
    pub(super) fn wants(&self, asked: Asked, controller: &Controller) {
        let of_slot = Arc::clone(&asked.of_slot);
        self.waiting.lock().asked.push(asked);
        // It may have ended before anybody knew what to do then.
        if of_slot.finished().is_some() {
            self.settle(controller);
        }
    }

    /// Takes the card out, if there is one; `ending` ends when it is out.
    pub(super) fn take_out(
        &self,
        controller: &Controller,
        ending: Option<(Arc<Operation>, Outcome)>,
    ) -> bool {
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
    pub(super) fn is_out(&self) {
        let going = std::mem::take(&mut self.waiting.lock().going);
        for (operation, outcome) in going {
            operation.end(outcome);
        }
    }

    /// A card was put in, and `report` is what the slot makes of it. Whatever it is, the operation ends: only a slot that is on
    /// its way on says later how that ended.
    pub(super) fn is_in(&self, report: &Report) {
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
    pub(super) fn end(&self) {
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
    pub(super) fn settle(&self, controller: &Controller) {
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

    pub(super) fn take_orphans(&self) -> Vec<String> {
        std::mem::take(&mut self.waiting.lock().orphans)
    }

    /// The card that was put in is up, or will not be.
    pub(super) fn came_up(&self, how: Finished) {
        let complaint = self.waiting.lock().complaint.clone();
        self.end_plug(&outcome(Request::Enable, how, complaint.as_deref()));
    }

    /// Something is still in use of the card that left.
    pub(super) fn is_still_used(&self, what: &str) {
        let orphans = &mut self.waiting.lock().orphans;
        if orphans.len() < MAX_ORPHANS {
            orphans.push(what.to_owned());
        }
    }

    /// Why the hardware could not do what it was told last; `None`: that is over.
    pub(super) fn complains(&self, why: Option<String>) {
        self.waiting.lock().complaint = why;
    }
}

#[cfg(test)]
mod tests {
    use ::slot::{Features, Leaving, Powering, Sight};
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
            let requests = Requests::new(Arc::new([]));
            let operation = Operations::default().begin("disk0", "plug", "").unwrap();
            requests.puts_in(Arc::clone(&operation));
            requests.is_in(&report(state));
            assert_eq!(operation.has_ended(), ends, "{state:?}");
        }
    }
}
