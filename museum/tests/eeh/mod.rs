//! Containment with everything that it is made of: the tree, its front, recoveries and gates are the real ones.
//!
//! ```text
//! PHB: 00:01.0 (bridge)
//!  +-- 0018: 00:03.0                            nobody's; it stays
//!  +-- 0100: 01:00.0, 01:02.0 (bridge)          the disk: a consumer's, whose model is saved, reset and restored
//!       +-- 0200: 02:00.0                       the card: a driver's; it comes and goes
//! ```
//!
//! What has to hold is checked where it would be broken (`ledger`, `hardware`, those who walk, the disk's consumer), and at the end:
//! everything is at rest, and every gate counts just the freezes that it is in. A scenario names what has to succeed in some schedule.
#![allow(
    clippy::disallowed_types,
    reason = "the checkers' own locks; nothing that is checked takes part in them"
)]

mod errors;
mod hangs;
mod hardware;
mod ledger;
mod model;
mod operator;
mod owner;

use crate::machine::ahead;
use crate::machine::tally::note;
use crate::machine::time::Jumping;
use crate::slots::crew::Crew;
use contain::budget::FreezeBudget;
use contain::containment::{Containment, Parts, Phase};
use contain::party::{Nobody, Parties, Party};
use contain::pe::{Holder, PeAddress, PeState};
use contain::platform::Machine;
use contain::settings::Settings;
use contain::tree::{PeFunction, PeTree};
use gate::{AccessKind, Deadline, ThreadToken};
use hardware::{Hardware, Manners};
use ledger::{Begins, Ledger};
use model::{Card, Model};
use museum::unplug::held::Held;
use owner::Bell;
use pci_core::{ErrorSign, Function};
use pci_spec::Bdf;
use reset::Resets;
use shuttle::rand::Rng;
use shuttle::thread;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use topology::{Node, NodeKind, Snapshot, Topology};

const UPPER: Bdf = Bdf::from_routing_id(0, 0x0008);
const ALONE: Bdf = Bdf::from_routing_id(0, 0x0018);
pub(crate) const DISK: Bdf = Bdf::from_routing_id(0, 0x0100);
const LOWER: Bdf = Bdf::from_routing_id(0, 0x0110);
pub(crate) const CARD: Bdf = Bdf::from_routing_id(0, 0x0200);

const DISK_PE: PeAddress = PeAddress::new(0, 0x0100);
const ALONE_PE: PeAddress = PeAddress::new(0, 0x0018);
const CARD_PE: PeAddress = PeAddress::new(0, 0x0200);
/// What stays, whatever is done to the card.
const STAY: [PeAddress; 3] = [PeAddress::phb(0), ALONE_PE, DISK_PE];

const SIGN: ErrorSign = ErrorSign::DeviceFault("museum");

/// How often something is looked at that is to change; more than a recovery of something else takes.
const MOST_LOOKS: usize = 3000;

/// More timers than five recoveries of one PE have.
const MOST_STEPS: usize = 400;

/// Goes on when a few others have.
fn linger() {
    let most = if shuttle::rand::thread_rng().gen_range(0..2) == 0 { 12 } else { 150 };
    for _ in 0..shuttle::rand::thread_rng().gen_range(0..most) {
        thread::yield_now();
    }
}

/// See the module's head.
struct House {
    containment: Arc<Containment>,
    hardware: Arc<Hardware>,
    ledger: Arc<Ledger>,
    crew: Arc<Crew>,
    bell: Arc<Bell>,
    /// What is plugged. Its lock is never held over a scheduling point.
    nodes: Mutex<BTreeMap<Bdf, Node>>,
    /// Every function that there was.
    ever: Mutex<Vec<Arc<Function>>>,
    disk: Arc<Model>,
}

fn bridge(secondary: u8, subordinate: u8) -> NodeKind {
    NodeKind::Bridge { secondary, subordinate, slot: true }
}

impl House {
    fn new(manners: Manners, is_broken: bool, settings: Settings) -> Arc<House> {
        let time = Arc::new(Jumping::default());
        let (ledger, crew, bell) =
            (Arc::<Ledger>::default(), Crew::new(time.clone()), Arc::<Bell>::default());
        let stuck = Held::default();
        let hardware = Arc::new(Hardware { ledger: ledger.clone(), manners, is_broken, stuck });
        let topology = Arc::new(Topology::new(time.clone()));
        let parts = Parts {
            time: time.clone(),
            // Recoveries have their own, and nobody else has anything to ask.
            platform: Arc::new(Machine::new(topology, Arc::new(Resets::new(time)))),
            parties: Arc::new(Nobodies),
            crew: crew.clone(),
            alarm: bell.clone(),
            watch: ledger.clone(),
            settings,
        };
        let begins = Begins { ledger: ledger.clone(), hardware: hardware.clone() };
        let containment = Containment::with(parts, Arc::new(begins));
        ledger.knows(&containment);
        ledger.may_fail.store(true, Relaxed);
        let (nodes, ever) = (Mutex::default(), Mutex::default());
        let disk = Card::new(DISK, NodeKind::Endpoint);
        let house =
            House { containment, hardware, ledger, crew, bell, nodes, ever, disk: disk.model.clone() };
        house.plug(disk);
        for (at, kind) in [(UPPER, bridge(1, 2)), (LOWER, bridge(2, 2))] {
            house.plug(Card::new(at, kind));
        }
        for at in [ALONE, CARD] {
            house.plug(Card::new(at, NodeKind::Endpoint));
        }
        house.follow(&mut ThreadToken::at_thread_entry());
        Arc::new(house)
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<Bdf, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plug(&self, card: Card) {
        self.ever.lock().unwrap().push(card.function().clone());
        let before = self.nodes().insert(card.node.address, card.node);
        // Not under the lock: it may be the last reference, with a gate to let go.
        drop(before);
    }

    fn unplug(&self, at: Bdf) -> Option<Arc<Function>> {
        let node = self.nodes().remove(&at);
        node.map(|node| node.function)
    }

    fn function(&self, at: Bdf) -> Option<Arc<Function>> {
        self.nodes().get(&at).map(|node| node.function.clone())
    }

    /// Makes the tree like what is plugged. What has failed and was disconnected is not.
    fn follow(&self, token: &mut ThreadToken) {
        let nodes: Vec<Node> = self.nodes().values().cloned().collect();
        let there = nodes.into_iter().filter(|node| !node.function.handle().is_gone());
        let picture = Snapshot::of(there);
        self.ledger.follow(|| self.containment.follow(token, &picture, ahead())).unwrap();
    }

    /// The function fails under an access that got in; false if none did.
    fn fail_inside(&self, at: Bdf, pes: &[PeAddress], token: &ThreadToken) -> bool {
        let Some(function) = self.function(at) else { return false };
        let before = self.ledger.freezes(pes);
        let Ok(_pass) = function.handle().try_enter(token, AccessKind::Bar) else { return false };
        function.notice(token, SIGN);
        self.ledger.noticed(pes, before);
        note("error inside", &Ok::<_, ()>(()));
        true
    }

    /// The function fails, under whatever access is in it.
    fn fail(&self, at: Bdf, token: &ThreadToken) {
        let Some(function) = self.function(at) else { return };
        let pass = function.handle().try_enter(token, AccessKind::Bar);
        function.notice(token, SIGN);
        note(if pass.is_ok() { "error under a pass" } else { "error" }, &Ok::<_, ()>(()));
    }

    fn is_at_rest(&self) -> bool {
        let recoveries = self.containment.recoveries();
        recoveries.iter().all(|recovery| matches!(recovery.phase, Phase::Left(_)))
    }

    /// Lets as much time pass as it takes until nothing is under way.
    fn settle(&self, token: &mut ThreadToken) {
        for _ in 0..MOST_STEPS {
            self.crew.rest();
            if self.containment.turn(token) {
                continue;
            }
            if self.is_at_rest() {
                return;
            }
            assert!(self.crew.tick(), "under way for ever: {:?}", self.containment.recoveries());
        }
        panic!("there is no end of it");
    }

    /// Everything is at rest: looks at what is left.
    fn close_down(&self, token: &mut ThreadToken) {
        self.settle(token);
        // What could not come while a recovery had its place, and what was taken out because it failed.
        self.follow(token);
        self.settle(token);
        self.containment.tree().collect(token, ahead()).unwrap();
        self.ledger.journal.assert_sound();
        self.ledger.assert_all_ended();
        self.ledger.assert_none_lost();
        self.assert_balanced(token);
        assert_eq!(self.containment.orphans(), [], "held, and nobody is at work");
        for report in self.containment.pes(token) {
            let at_rest = PeState::ISOLATED | PeState::REMOVED;
            assert!(at_rest.contains(report.state), "{}: {:?} is left behind", report.address, report.state);
            let isolated = report.state.contains(PeState::ISOLATED);
            let known = matches!(report.incident, Some((_, Phase::Left(_))));
            assert!(!isolated || known, "PE {} is isolated, and nobody knows (EEH-I8)", report.address);
            let marked = report.holders.iter().any(|(holder, _)| *holder == Holder::Recovery);
            assert!(!marked, "a recovery holds {}: {:?}", report.address, report.holders);
        }
        assert!(self.containment.stop(token, ahead()));
    }

    /// Every gate counts the freezes that its function is in, and is open if that is none.
    fn assert_balanced(&self, token: &ThreadToken) {
        let snapshot = self.containment.tree().snapshot(token);
        for function in self.ever.lock().unwrap().iter().filter(|function| !function.handle().is_gone()) {
            let address = self
                .nodes()
                .values()
                .find(|node| Arc::ptr_eq(&node.function, function))
                .map(|node| node.address);
            let found = address.and_then(|at| snapshot.of_function(at, Holder::Lookup));
            let isolated = |(pe, function): &(contain::pe::Held, Arc<PeFunction>)| {
                let left = self.ledger.is_left_waiting(function.id);
                let above = snapshot.up(pe.address());
                let isolated = above.filter(|pe| pe.state().contains(PeState::ISOLATED)).count();
                assert!(!left || isolated != 0, "{}: nobody was told to go on", function.address);
                isolated
            };
            let wanted = found.as_ref().map_or(0, isolated);
            let status = function.gate().status();
            assert_eq!(
                status.contained as usize,
                wanted,
                "freezes of {} in {:?}",
                function.name(),
                status.state
            );
            assert!(status.owner.is_none() && status.waiting_closers == 0, "{} is closed", function.name());
            assert!(!function.config().is_dma_held(), "DMA of {} is held", function.name());
            let enters = function.handle().try_enter(token, AccessKind::Bar).is_ok();
            assert_eq!(enters, wanted == 0, "{} lets in, and is in {wanted} freezes", function.name());
        }
    }
}

/// Nobody is asked but by recoveries.
struct Nobodies;

impl Parties for Nobodies {
    fn of(&self, _: &mut ThreadToken, _: &Arc<PeFunction>) -> Arc<dyn Party> {
        Arc::new(Nobody)
    }
}

/// What a thread does in the house.
type Work = fn(&House, &mut ThreadToken);

/// All of `works` are done at once, while time passes, now faster and now slower; then everything comes to rest.
fn run(house: &Arc<House>, works: &[Work]) {
    let clocked = house.crew.clone();
    let clock = thread::spawn(move || clocked.clock());
    run_in_no_time(house, works);
    house.crew.stop();
    clock.join().unwrap();
    house.close_down(&mut ThreadToken::at_thread_entry());
}

/// All of `works` are done at once, and nobody is late.
fn run_in_no_time(house: &Arc<House>, works: &[Work]) {
    let served = house.clone();
    let owner = thread::spawn(move || served.bell.serve(&served.containment));
    let start = |work: &Work| {
        let (house, work) = (house.clone(), *work);
        thread::spawn(move || work(&house, &mut ThreadToken::at_thread_entry()))
    };
    let threads: Vec<_> = works.iter().map(start).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    house.bell.stop();
    owner.join().unwrap();
}

/// A PE may fail as often as it likes.
fn patient() -> Settings {
    let budget = FreezeBudget { max_freezes: 1000, ..FreezeBudget::default() };
    Settings { budget, ..Settings::default() }
}

/// With hardware and drivers that do as they should, nothing that is pulled, and time that passes only when nothing else is due:
/// nothing is wrong, so everything is recovered.
fn run_well(works: &[Work]) {
    let house = House::new(Manners::Good, false, patient());
    house.ledger.may_fail.store(false, Relaxed);
    run_in_no_time(&house, works);
    house.close_down(&mut ThreadToken::at_thread_entry());
}

/// With hardware and drivers that do as they should, while time passes.
fn run_timed(works: &[Work]) {
    run(&House::new(Manners::Good, false, patient()), works);
}

/// The card fails, and what it is below; and again, perhaps while that is being recovered from.
fn errors(house: &House, token: &mut ThreadToken) {
    for at in [CARD, DISK, CARD, CARD] {
        linger();
        house.fail(at, token);
    }
}

/// The card and what is beside everything fail, whenever they can be reached.
fn errors_inside(house: &House, token: &mut ThreadToken) {
    for _ in 0..4 {
        linger();
        house.fail_inside(CARD, &[CARD_PE, DISK_PE], token);
        house.fail_inside(ALONE, &[ALONE_PE], token);
    }
}

/// Only the card fails.
fn card_errors(house: &House, token: &mut ThreadToken) {
    for _ in 0..3 {
        linger();
        house.fail(CARD, token);
    }
}

/// The card is pulled, and another one is put in.
fn replug(house: &House, token: &mut ThreadToken) {
    linger();
    if let Some(pulled) = house.unplug(CARD) {
        let _nobody_was_inside = pulled.disconnect(token, Deadline::after(Duration::ZERO));
        house.follow(token);
    }
    linger();
    house.plug(Card::new(CARD, NodeKind::Endpoint));
    house.follow(token);
}

/// The card leaves the topology as it is, and comes back: whoever has it keeps it meanwhile.
fn relist(house: &House, token: &mut ThreadToken) {
    linger();
    let node = house.nodes().remove(&CARD);
    house.follow(token);
    // It may be on its way to other hands, where nobody would thaw it.
    let frozen = |node: &Node| {
        (0..MOST_LOOKS).all(|_| {
            thread::yield_now();
            node.function.is_contained()
        })
    };
    let left_frozen = node.as_ref().is_some_and(frozen);
    house.ledger.demand(!left_frozen, || "the card has left the tree and stays frozen".to_owned());
    linger();
    if let Some(node) = node {
        house.nodes().insert(CARD, node);
    }
    house.follow(token);
}

/// EEH-I2: what is there throughout is met once, and the walk ends.
fn walk(house: &House, token: &mut ThreadToken) {
    for _ in 0..3 {
        linger();
        let snapshot = PeTree::snapshot(house.containment.tree(), token);
        let mut met: Vec<PeAddress> = Vec::new();
        for visit in snapshot.walk(PeAddress::phb(0)) {
            met.push(visit.pe().address());
            thread::yield_now();
        }
        // Who fails for good is gone before it is taken out.
        let disk = house.function(DISK).is_some_and(|disk| !disk.handle().is_gone());
        for stays in STAY.into_iter().filter(|pe| disk || *pe != DISK_PE) {
            assert_eq!(met.iter().filter(|at| **at == stays).count(), 1, "visits of {stays} (EEH-I2)");
        }
        assert!(met.iter().filter(|at| **at == CARD_PE).count() <= 1, "{met:?}");
        assert!(met.len() <= STAY.len() + 1, "{met:?}");
    }
}
