//! What the owner of a slot knows: the state behind its one lock.

use super::call::Driving;
use super::errand::Errands;
use super::inbox::Inbox;
use super::report::LeftBehind;
use super::work::{Functions, Task};
use crate::binding::Binding;
use crate::consumer::Consumer;
use crate::driver::{Bound, Registered};
use crate::effect::Effect;
use crate::event::{Event, OperationId};
use crate::operation::Operation;
use crate::settings::Settings;
use crate::sight::Features;
use crate::slot::Slot;
use pci_core::Function;
use pci_core::recovery::Handlers;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A consumer of the slot.
pub(super) struct Seat {
    /// Counts the seats of a slot.
    pub(super) id: u64,
    /// Which it calls itself; the same reference in every call of it.
    pub(super) name: Arc<str>,
    pub(super) consumer: Arc<dyn Consumer>,
}

/// A driver in this process and the function it was given.
pub(super) struct Bond {
    /// Counts the bonds of a slot.
    pub(super) id: u64,
    /// Which function of the card.
    pub(super) function: usize,
    pub(super) driver: Arc<str>,
    pub(super) binding: Arc<Binding>,
    /// Not there while it is being called, or when the driver has not taken the function.
    pub(super) bound: Option<Box<dyn Bound>>,
    /// Which errors it can be told of, once it has taken the function.
    pub(super) handlers: Option<Handlers>,
}

impl Bond {
    pub(super) fn names(&self) -> (String, String) {
        (self.driver.to_string(), self.binding.function().function().name().to_owned())
    }
}

/// What is on the card.
pub(super) struct Card {
    pub(super) functions: Functions,
    pub(super) drivers: Arc<[Registered]>,
    /// In the order of their functions.
    pub(super) bonds: Vec<Bond>,
    /// Everything was taken away from everybody, or is about to be.
    pub(super) revoked: bool,
    /// Somebody found that it does not work any more.
    pub(super) failed: bool,
}

impl Card {
    pub(super) fn none() -> Card {
        Card { revoked: true, ..Card::with(Arc::from([]), Arc::from([])) }
    }

    pub(super) fn with(functions: Functions, drivers: Arc<[Registered]>) -> Card {
        Card { functions, drivers, bonds: Vec::new(), revoked: false, failed: false }
    }

    /// Where `function` is on it.
    pub(super) fn position(&self, function: &Function) -> Option<usize> {
        self.functions.iter().position(|there| std::ptr::eq(Arc::as_ptr(there.function()), function))
    }

    /// Keeps the order of functions: they end from the last to the first (HP-01).
    pub(super) fn add(&mut self, bond: Bond) {
        let at = self.bonds.partition_point(|other| other.function <= bond.function);
        self.bonds.insert(at, bond);
    }

    /// The bond that was made last at the function in this place.
    pub(super) fn bond_at(&self, function: usize) -> Option<&Bond> {
        self.bonds.iter().rev().find(|bond| bond.function == function)
    }

    pub(super) fn bond(&mut self, id: u64) -> Option<&mut Bond> {
        self.bonds.iter_mut().find(|bond| bond.id == id)
    }
}

/// How far the end of everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    No,
    Wanted,
    Underway,
    Done,
}

/// See the module's head.
pub(super) struct Desk {
    pub(super) slot: Slot,
    pub(super) inbox: Inbox,
    /// What the work reports to the life; comes before what is in the inbox.
    pub(super) answers: VecDeque<Event>,
    /// Of the last step; those before `carried_out` are, or are in `tasks`.
    pub(super) effects: Vec<Effect>,
    pub(super) carried_out: usize,
    /// What is left of the effect that is being carried out.
    pub(super) tasks: VecDeque<Task>,
    /// What drivers are to be called for from outside; comes after everything else.
    pub(super) errands: Errands,
    /// When the time for that effect, or for that errand's task, is over.
    pub(super) effect_until: Duration,
    pub(super) timer: Option<Duration>,
    pub(super) card: Card,
    pub(super) seats: Vec<Seat>,
    /// Those that have not ended.
    pub(super) operations: Vec<Arc<Operation>>,
    /// Who drives, if anybody does.
    pub(super) driving: Option<Driving>,
    pub(super) left_behind: Vec<super::call::Call>,
    /// The crew was told that somebody must drive, and nobody has begun to.
    pub(super) woken: bool,
    pub(super) closing: Closing,
    pub(super) effect_timeout: Duration,
    /// What calls of the hardware, of those who watch and of our own are known by.
    pub(super) hardware: Arc<str>,
    pub(super) watch: Arc<str>,
    pub(super) own: Arc<str>,
    last_operation: u64,
    /// Counts seats, bonds and tickets.
    last_number: u64,
}

impl Desk {
    pub(super) fn new(features: Features, settings: Settings) -> Desk {
        Desk {
            slot: Slot::new(features, &settings),
            inbox: Inbox::default(),
            answers: VecDeque::new(),
            effects: Vec::new(),
            carried_out: 0,
            tasks: VecDeque::new(),
            errands: Errands::default(),
            effect_until: Duration::ZERO,
            timer: None,
            card: Card::none(),
            seats: Vec::new(),
            operations: Vec::new(),
            driving: None,
            left_behind: Vec::new(),
            woken: false,
            closing: Closing::No,
            effect_timeout: settings.effect_timeout,
            hardware: Arc::from("hardware"),
            watch: Arc::from("watch"),
            own: Arc::from("slot"),
            last_operation: 0,
            last_number: 0,
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing != Closing::No
    }

    pub(super) fn next_operation(&mut self) -> OperationId {
        self.last_operation += 1;
        OperationId(self.last_operation)
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(super) fn add_consumer(&mut self, consumer: Arc<dyn Consumer>, name: Arc<str>) {
        let id = self.next_number();
        self.seats.push(Seat { id, name, consumer });
    }

    pub(super) fn remove_consumer(&mut self, consumer: &Arc<dyn Consumer>) -> Option<Seat> {
        let same = |seat: &Seat| std::ptr::addr_eq(Arc::as_ptr(&seat.consumer), Arc::as_ptr(consumer));
        let at = self.seats.iter().position(same)?;
        Some(self.seats.remove(at))
    }

    /// Whether a call of `who` did not return in time and has not since.
    pub(super) fn is_left_behind(&self, who: &Arc<str>) -> bool {
        self.left_behind.iter().any(|call| Arc::ptr_eq(&call.who, who))
    }

    /// Whether this call of `who` did not.
    pub(super) fn is_out(&self, who: &Arc<str>, name: &str) -> bool {
        self.left_behind.iter().any(|call| Arc::ptr_eq(&call.who, who) && call.name == name)
    }
}

impl super::call::Call {
    pub(super) fn shown(&self) -> LeftBehind {
        LeftBehind { who: self.who.to_string(), call: self.name, since: self.since }
    }
}
