//! Scenarios on two slots with the real controllers: each has to end in every schedule.
//!
//! What has to hold is checked where it would be broken (`bay`, `driver`, `journal`, and the devices themselves), and at the
//! end: both slots are switched off, and then nothing is left of any card, nobody waits, and every operation has ended once.
//! A scenario names what has to succeed in some schedule.
#![allow(
    clippy::disallowed_types,
    reason = "the checkers' own locks; nothing that is checked takes part in them"
)]

mod asked;
pub(crate) mod bay;
pub(crate) mod board;
mod called;
mod closing;
pub(crate) mod crew;
mod driver;
mod everything;
mod foreign;
pub(crate) mod holder;
pub(crate) mod journal;
mod pulled;
mod recovery;
mod timers;
mod wire;

use crate::machine::{ahead, linger};
use bay::{Bay, Card};
use board::Board;
use driver::{OnCall, Tame};
use gate::ThreadToken;
use holder::Holder;
use museum::unplug::held::Held;
use shuttle::thread;
use slot::{Consumer, Controller, Drivers, Features, Finished, Parts, Request, Settings, State};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Nothing that is called is overdue unless a scenario says so.
const HOUR: Duration = Duration::from_secs(3600);

/// A machine with two slots and everything around it.
pub(crate) struct House {
    pub(crate) board: Arc<Board>,
    pub(crate) bays: Vec<Arc<Bay>>,
    pub(crate) slots: Vec<Arc<Controller>>,
    /// Who has something, by slot.
    holders: Mutex<Vec<(usize, Arc<Holder>)>>,
    /// What somebody waits for who should not have to.
    pub(crate) over: Held,
}

impl House {
    /// Both slots have a card in them and are off.
    pub(crate) fn new(card: Card, driver: Option<OnCall>, features: Features) -> Arc<House> {
        let board = Board::new();
        let bays: Vec<_> = (0..2).map(|nth| Bay::new(&board, nth, card)).collect();
        let slots = bays.iter().map(|bay| House::slot(&board, bay, driver, features)).collect();
        Arc::new(House { board, bays, slots, holders: Mutex::default(), over: Held::default() })
    }

    fn slot(
        board: &Arc<Board>,
        bay: &Arc<Bay>,
        driver: Option<OnCall>,
        features: Features,
    ) -> Arc<Controller> {
        let drivers = Drivers::new();
        let tame = driver.map(|on_call| Tame::new(board, on_call));
        if let Some(tame) = &tame {
            drivers.add(tame.clone());
        }
        let parts = Parts {
            hardware: bay.clone(),
            drivers,
            time: board.time.clone(),
            crew: board.crew.clone(),
            watch: bay.clone(),
        };
        let settings = Settings { effect_timeout: HOUR, callback_timeout: HOUR, ..Settings::default() };
        let slot = Controller::new(bay.port().to_string(), features, settings, parts);
        bay.tells(&slot);
        if let Some(tame) = tame {
            tame.knows(&slot);
        }
        slot
    }

    /// Both cards are put in, and are up before anything else happens.
    pub(crate) fn switch_on(&self) {
        self.bays.iter().for_each(|bay| bay.insert());
        self.settle();
        for slot in &self.slots {
            assert_eq!(slot.report().state, State::On, "{:?}", slot.report());
        }
    }

    pub(crate) fn settle(&self) {
        self.board.crew.settle(&self.slots.iter().collect::<Vec<_>>());
    }

    /// Switches everything off and looks whether anything is left.
    pub(crate) fn close_down(&self) {
        self.settle();
        for (slot, bay) in self.slots.iter().zip(&self.bays) {
            if slot.report().state == State::On {
                bay.assert_reachable();
            }
            slot.ask(Request::Disable { timeout: Duration::ZERO });
        }
        self.settle();
        for (slot, holder) in std::mem::take(&mut *self.holders()) {
            assert!(!holder.holds(), "a hold on a function of slot {slot} that was never taken away (law 5)");
            let consumer: Arc<dyn Consumer> = holder;
            self.slots[slot].remove_consumer(&consumer);
        }
        for slot in &self.slots {
            let report = slot.report();
            assert_eq!(report.state, State::Off, "{report:?}");
            assert!(report.functions.is_empty() && report.left_behind.is_empty(), "{report:?}");
        }
        self.board.journal.assert_sound();
        self.bays.iter().for_each(|bay| bay.assert_nothing_is_left());
        self.board.assert_empty();
    }

    fn holders(&self) -> MutexGuard<'_, Vec<(usize, Arc<Holder>)>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody has the first function of a slot from now on, if there is one that nobody has.
    pub(crate) fn attach(&self, slot: usize, token: &mut ThreadToken) -> Option<Arc<Holder>> {
        self.board.meddle();
        self.seat(slot, token)
    }

    pub(crate) fn seat(&self, slot: usize, token: &mut ThreadToken) -> Option<Arc<Holder>> {
        let holder = Holder::attach(self, slot, token)?;
        self.holders().push((slot, holder.clone()));
        Some(holder)
    }

    /// Who had the function of a slot when everything began.
    pub(crate) fn holder(&self, slot: usize) -> Arc<Holder> {
        let holders = self.holders();
        holders.iter().find(|(nth, _)| *nth == slot).unwrap().1.clone()
    }

    pub(crate) fn on(&self, slot: usize, request: Request, token: &mut ThreadToken) -> Finished {
        let operation = self.slots[slot].ask(request);
        operation.wait(token, ahead()).expect("no deadline fires here")
    }
}

/// What a thread does in the house.
type Work = fn(&House, &mut ThreadToken);

/// Who has the functions when a scenario begins.
enum Users {
    /// Somebody outside.
    Holders,
    /// A driver in this process that does this when it is called.
    Drivers(OnCall),
    Nobody,
}

/// Both slots are on; then all of `works` are done at once, while time passes; then everything is switched off.
fn run(card: Card, users: Users, works: &[Work]) {
    let house = open(card, users, Features::default());
    let crew = house.board.crew.clone();
    let clock = thread::spawn(move || crew.clock());
    at_once(&house, works);
    house.board.crew.stop();
    clock.join().unwrap();
    house.close_down();
}

/// As [`run`], with slots whose power cannot be switched; and no time passes until all of `works` are done.
fn run_in_no_time(card: Card, users: Users, works: &[Work]) {
    let features = Features { power_controller: false, ..Features::default() };
    let house = open(card, users, features);
    at_once(&house, works);
    house.close_down();
}

/// A house in which both slots are on, and somebody has their functions.
fn open(card: Card, users: Users, features: Features) -> Arc<House> {
    let driver = if let Users::Drivers(on_call) = users { Some(on_call) } else { None };
    let house = House::new(card, driver, features);
    house.switch_on();
    if let Users::Holders = users {
        let mut token = ThreadToken::at_thread_entry();
        (0..2).for_each(|slot| _ = house.seat(slot, &mut token).unwrap());
    }
    house
}

fn at_once(house: &Arc<House>, works: &[Work]) {
    let start = |work: &Work| {
        let (house, work) = (house.clone(), *work);
        thread::spawn(move || work(&house, &mut ThreadToken::at_thread_entry()))
    };
    let threads: Vec<_> = works.iter().map(start).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Asks the users first, as long as the settings say.
pub(crate) const ORDERLY: Request = Request::Disable { timeout: Duration::from_secs(60) };

fn unplug_a(house: &House, token: &mut ThreadToken) {
    linger();
    house.on(0, ORDERLY, token);
}

fn unplug_b(house: &House, token: &mut ThreadToken) {
    linger();
    house.on(1, ORDERLY, token);
}

fn pull_a(house: &House, _token: &mut ThreadToken) {
    linger();
    house.bays[0].pull();
}

fn pull_b(house: &House, _token: &mut ThreadToken) {
    linger();
    house.bays[1].pull();
}

/// Somebody who merely looks at what is there, and never waits for anybody (complaint 3: `lspci` hung).
fn lister(house: &House, token: &mut ThreadToken) {
    for _ in 0..4 {
        linger();
        let shown = house.board.snapshot(token).iter().count();
        assert!(shown >= house.bays.len(), "the ports are gone");
        let _reports: Vec<_> = house.slots.iter().map(|slot| slot.report()).collect();
    }
}
