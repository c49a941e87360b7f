//! One slot: its port, as the hardware of a slot, and the card in it.
//!
//! It checks what it is told to do: what is switched on was off, what is taken out is gone already (law 8), and has lost its
//! bus mastering and its interrupts if it was to leave in order (HP-13).

use super::board::{Board, PORTS, bus_of};
use crate::machine::ahead;
use crate::machine::part::Part;
use assign::{Assignment, Event, EventSink, Limits};
use gate::{Deadline, Gate, GateState, ThreadToken};
use pci_core::{
    BarIndex, BarKind, ConfigSpace, Express, ExtendedCapability, Identity, InterruptPin, Msi, Pm, SrIov,
};
use pci_spec::{Bdf, ClassCode, Command};
use slot::{Controller, Hardware, Lamp, Notice, Removal, Told, Watch};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use topology::fabric::{Place, PlugId};

/// A function of the card that is in.
struct Plugged {
    at: Bdf,
    id: PlugId,
    part: Arc<Part>,
    assignment: Arc<Assignment>,
}

#[derive(Default)]
struct Inside {
    card: Vec<Plugged>,
    /// Every card that there was.
    ever: Vec<(Weak<Assignment>, Weak<Part>)>,
}

/// What is on a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Card {
    /// So many functions.
    Functions(u8),
    /// A physical function with two virtual ones.
    Virtualized,
}

/// Somebody for whom there is more to a function than its place in the topology.
pub(crate) trait Follower: Send + Sync {
    /// Who is told what happens to the consumer's side of the `nth` function of the next card.
    fn sink(&self, nth: u8) -> Arc<dyn EventSink>;

    /// The `nth` function of a card was built; nobody has seen it.
    fn built(&self, nth: u8, function: &Arc<Assignment>);

    /// All functions of the card are in the topology.
    fn shown(&self, token: &mut ThreadToken);

    /// The functions of the card are gone, and leave the topology.
    fn leaves(&self, token: &mut ThreadToken);

    /// They have left it.
    fn left(&self, token: &mut ThreadToken);

    /// A function of the card was given up: it is frozen, for good.
    fn has_failed(&self) -> bool;

    /// What the slot has told.
    fn noticed(&self, notice: &Notice);
}

/// See the module's head. Its lock is never held over a scheduling point.
pub(crate) struct Bay {
    board: Arc<Board>,
    port: Bdf,
    /// What is found when the slot is switched on.
    card: Card,
    /// Of the card that is in, or the last one.
    gates: Mutex<Vec<Gate>>,
    /// A card is in.
    present: AtomicBool,
    powered: AtomicBool,
    /// The slot was shut down.
    closed: AtomicBool,
    inside: Mutex<Inside>,
    /// Whom the port tells what it sees.
    slot: OnceLock<Weak<Controller>>,
    follower: OnceLock<Arc<dyn Follower>>,
}

struct Silent;

impl EventSink for Silent {
    fn event(&self, _function: &str, _event: Event) {}
}

fn config(card: Card) -> ConfigSpace {
    let bar = BarIndex::new(0).unwrap();
    let builder = ConfigSpace::builder(Identity::new(0x1b36, 0x0010, ClassCode::NVME))
        .bar(bar, BarKind::Memory64, 16 << 10)
        .capability(Pm::default())
        .capability(Express::default())
        .capability(Msi::new(1))
        .intx(InterruptPin::A)
        .multi_function();
    let mut virtuals = SrIov::new(2, 0x00ff).bar(bar, BarKind::Memory64, 4096);
    virtuals.first_offset = 2;
    let builder = match card {
        Card::Functions(_) => builder,
        Card::Virtualized => builder.extended_capability(ExtendedCapability::SrIov(virtuals)),
    };
    builder.build().unwrap()
}

impl Bay {
    pub(crate) fn new(board: &Arc<Board>, nth: usize, card: Card) -> Arc<Bay> {
        let functions = if let Card::Functions(functions) = card { functions } else { 1 };
        let port = PORTS[nth];
        let gates =
            Mutex::new((0..functions).map(|nth| Gate::new(Bay::address(port, nth).to_string())).collect());
        let [present, powered, closed] = [(); 3].map(|()| AtomicBool::new(false));
        let (inside, slot, follower) = (Mutex::default(), OnceLock::new(), OnceLock::new());
        let board = board.clone();
        Arc::new(Bay { board, port, card, gates, present, powered, closed, inside, slot, follower })
    }

    /// The slot is shut down: nothing is switched on any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    /// Whom it tells what it sees from now on.
    pub(crate) fn tells(&self, slot: &Arc<Controller>) {
        let _first = self.slot.set(Arc::downgrade(slot));
    }

    /// Who follows what is in it from now on.
    pub(crate) fn is_followed_by(&self, follower: Arc<dyn Follower>) {
        let _first = self.follower.set(follower);
    }

    pub(crate) fn follower(&self) -> Option<&dyn Follower> {
        self.follower.get().map(|follower| &**follower)
    }

    fn tell(&self, event: slot::Event) {
        if let Some(slot) = self.slot.get().and_then(Weak::upgrade) {
            slot.post(event);
        }
    }

    fn address(port: Bdf, nth: u8) -> Bdf {
        Bdf::from_routing_id(0, u16::from_be_bytes([bus_of(port), nth]))
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn port(&self) -> Bdf {
        self.port
    }

    /// Where its first function is.
    pub(crate) fn first(&self) -> Bdf {
        Bay::address(self.port, 0)
    }

    /// The first function of the card that is in.
    pub(crate) fn function(&self) -> Option<Arc<Assignment>> {
        self.inside().card.first().map(|plugged| plugged.assignment.clone())
    }

    /// A card is put in.
    pub(crate) fn insert(&self) {
        self.present.store(true, Relaxed);
        self.tell(slot::Event::Card(true));
        if self.powered.load(Relaxed) {
            self.tell(slot::Event::Link(true));
        }
    }

    /// The card is pulled: nobody answers any more, and then the port sees it.
    pub(crate) fn pull(&self) {
        self.present.store(false, Relaxed);
        let ids: Vec<_> = self.inside().card.iter().map(|plugged| plugged.id).collect();
        for id in ids {
            drop(self.board.fabric.unplug(id));
        }
        self.tell(slot::Event::Link(false));
        self.tell(slot::Event::Card(false));
    }

    /// Whether any function of any card is left.
    fn left(&self) -> Vec<(usize, usize)> {
        let counts = |(assignment, part): &(Weak<Assignment>, Weak<Part>)| {
            (assignment.strong_count(), part.strong_count())
        };
        self.inside().ever.iter().map(counts).filter(|counts| *counts != (0, 0)).collect()
    }

    fn demand(&self, is_so: bool, what: &str) {
        self.board.journal.demand(is_so, || format!("{}: {what}", self.port));
    }

    fn gates(&self) -> MutexGuard<'_, Vec<Gate>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gate of the card before may be in use still, by an orphan.
    fn next_gate(&self, nth: u8) -> Gate {
        let last = self.gates()[usize::from(nth)].clone();
        let next = last.successor();
        self.gates()[usize::from(nth)] = next.clone();
        next
    }

    /// Builds the `nth` function, in a new epoch.
    fn build(&self, nth: u8) -> Result<Plugged, String> {
        let (at, gate) = (Bay::address(self.port, nth), &self.next_gate(nth));
        let part = Part::new(gate.clone(), config(self.card));
        let function = self.board.function(at, &part);
        let sink = self.follower().map_or_else(|| Arc::new(Silent) as _, |follower| follower.sink(nth));
        let port = assign::Port::new(gate, part.config.clone(), sink);
        let assignment = Assignment::new(function.clone(), port, Limits::default());
        if let Some(follower) = self.follower() {
            follower.built(nth, &assignment);
        }
        self.board.wire.plug(at, part.clone());
        let id = self.board.fabric.plug(Place::Below(self.board.below(self.port), nth), function);
        let id = id.map_err(|error| error.to_string())?;
        Ok(Plugged { at, id, part, assignment })
    }

    /// Takes `plugged` out of everything. Nobody reaches it any more, and nobody is inside.
    fn bury(&self, plugged: &Plugged) {
        plugged.part.bury_virtuals();
        plugged.part.monitor.removed();
        drop(self.board.fabric.unplug(plugged.id));
        self.board.wire.unplug(plugged.at);
    }

    /// The card that is in is the one with `functions`.
    fn is_in(&self, functions: &[Arc<Assignment>]) -> bool {
        let inside = self.inside();
        let same = |plugged: &Plugged, function: &Arc<Assignment>| Arc::ptr_eq(&plugged.assignment, function);
        inside.card.len() == functions.len()
            && inside.card.iter().zip(functions).all(|(plugged, function)| same(plugged, function))
    }

    /// The slot is on: what is on the card can be reached.
    pub(crate) fn assert_reachable(&self) {
        let inside = self.inside();
        assert!(!inside.card.is_empty() && self.present.load(Relaxed), "{} is on without a card", self.port);
        for plugged in &inside.card {
            let state = plugged.part.gate.status().state;
            let failed = self.follower().is_some_and(|follower| follower.has_failed());
            let reached = state == GateState::Open || failed && state == GateState::Frozen;
            assert!(reached, "{} of a slot that is on: {state:?}", plugged.at);
        }
    }

    /// Nothing of any card is left.
    pub(crate) fn assert_nothing_is_left(&self) {
        let off = self.inside().card.is_empty() && !self.powered.load(Relaxed);
        assert!(off, "{} is not off", self.port);
        assert_eq!(self.left(), Vec::new(), "references to functions of {} that are left", self.port);
        for gate in self.gates().clone() {
            let status = gate.status();
            let waiting = status.waiting_accesses + status.waiting_closers + status.inside.len();
            assert!(status.owner.is_none() && waiting == 0, "{status:?}");
        }
    }
}

impl Hardware for Bay {
    fn apply_power(&self, _token: &mut ThreadToken, _deadline: Deadline) -> bool {
        self.demand(!self.powered.swap(true, Relaxed), "powered twice");
        self.demand(!self.closed.load(Relaxed), "switched on after it was shut down");
        shuttle::thread::yield_now();
        if self.present.load(Relaxed) {
            self.tell(slot::Event::Link(true));
        }
        true
    }

    fn cut_power(&self, _token: &mut ThreadToken, _deadline: Deadline) {
        self.demand(self.inside().card.is_empty(), "power is cut under a card that is in use");
        shuttle::thread::yield_now();
        self.powered.store(false, Relaxed);
        self.tell(slot::Event::Link(false));
    }

    fn power_lamp(&self, _lamp: Lamp) {}

    fn attention_lamp(&self, _lamp: Lamp) {}

    fn configure(
        &self,
        token: &mut ThreadToken,
        _deadline: Deadline,
    ) -> Result<Vec<Arc<Assignment>>, String> {
        self.demand(self.powered.load(Relaxed), "configured without power");
        self.demand(self.inside().card.is_empty(), "configured twice");
        // A reset of the bus has to be over, or the scan finds nobody there; and none begins meanwhile (HP-16).
        let _no_reset = self.board.enter_port(self.port, token)?;
        let mut card = Vec::new();
        let functions = u8::try_from(self.gates().len()).unwrap();
        for nth in 0..functions {
            card.push(self.build(nth)?);
        }
        let scanned = self.board.topology.rescan(token, 0, ahead()).map_err(|error| error.to_string());
        let snapshot = self.board.snapshot(token);
        let is_shown = |plugged: &Plugged| {
            let shown = snapshot.function(plugged.at);
            shown.is_some_and(|node| Arc::ptr_eq(&node.function, plugged.assignment.function()))
        };
        if let Err(why) =
            scanned.and_then(|_| card.iter().all(is_shown).then_some(()).ok_or("lost".to_owned()))
        {
            for plugged in card.iter().rev() {
                let _none = plugged.assignment.function().gate().retire(token, ahead());
                let _not_shown = self.board.topology.remove(token, plugged.at, ahead());
                self.bury(plugged);
            }
            if let Some(follower) = self.follower() {
                follower.leaves(token);
                follower.left(token);
            }
            return Err(why);
        }
        if let Some(follower) = self.follower() {
            follower.shown(token);
        }
        let functions = card.iter().map(|plugged| plugged.assignment.clone()).collect();
        let mut inside = self.inside();
        inside.ever.extend(
            card.iter().map(|plugged| (Arc::downgrade(&plugged.assignment), Arc::downgrade(&plugged.part))),
        );
        inside.card = card;
        Ok(functions)
    }

    fn unconfigure(
        &self,
        token: &mut ThreadToken,
        functions: &[Arc<Assignment>],
        removal: Removal,
        _deadline: Deadline,
    ) {
        self.demand(self.is_in(functions), "another card is taken out than the one that is in");
        self.demand(self.powered.load(Relaxed), "taken out without power");
        let card = std::mem::take(&mut self.inside().card);
        if let Some(follower) = self.follower() {
            follower.leaves(token);
        }
        for plugged in card.iter().rev() {
            self.demand(plugged.assignment.is_gone(), "taken out of the topology before it is gone (law 8)");
            let command = plugged.part.config.command();
            let quiet = command.contains(Command::INTERRUPT_DISABLE)
                && !command.intersects(Command::BUS_MASTER | Command::SERR_ENABLE);
            // Whoever has COMMAND as well may write it last; and nothing reaches a card that is being pulled.
            let reached = self.present.load(Relaxed) && self.board.is_left_alone();
            let quiet = quiet || removal == Removal::Surprise || !reached;
            self.demand(quiet, &format!("leaves in order with {command:?} (HP-13)"));
            let _not_shown = self.board.topology.remove(token, plugged.at, ahead());
            let shown = self.board.snapshot(token).function(plugged.at).is_some();
            self.demand(!shown, "still in the topology");
            self.bury(plugged);
        }
        if let Some(follower) = self.follower() {
            follower.left(token);
        }
    }
}

impl Watch for Bay {
    fn notice(&self, slot: &str, what: &Told) {
        self.board.journal.notice(slot, what);
        if let (Told::Notice(notice), Some(follower)) = (what, self.follower()) {
            follower.noticed(notice);
        }
    }
}
