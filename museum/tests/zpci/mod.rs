//! The s390 view of two slots, with the real controllers, devices, resets and topology below it: each scenario has to end in
//! every schedule.
//!
//! What has to hold is checked where it would be broken (`ledger`, `unit`, and what `slots` checks), and at the end, when
//! everything has been switched off: every claim is given back, every function is where its slot is, and nothing is left of
//! any card.
#![allow(
    clippy::disallowed_types,
    reason = "the checkers' own locks; nothing that is checked takes part in them"
)]

mod acts;
mod errors;
mod guest;
mod handles;
mod ledger;
mod pairs;
mod place;
mod report_b;
mod unit;

use crate::machine::ahead;
use crate::slots::House;
use crate::slots::bay::Card;
use gate::ThreadToken;
use ledger::Ledger;
use place::Place;
use shuttle::rand::Rng;
use shuttle::thread;
use slot::{Features, State};
use std::sync::Arc;
use std::time::Duration;
use unit::Machinery;
use zpci::hotplug::HotplugSlot;
use zpci::{Configuration, Settings, Subscription, Zpci};

/// How long consumers are asked to let go.
const ASKED_FOR: Duration = Duration::from_secs(60);

/// A house whose slots are known to the machine as zPCI functions.
pub(super) struct Estate {
    house: Arc<House>,
    zpci: Arc<Zpci>,
    places: Vec<Arc<Place>>,
    slots: Vec<HotplugSlot>,
    ledger: Arc<Ledger>,
    _listening: Subscription,
}

/// What a thread does there.
type Work = fn(&Estate, &mut ThreadToken);

impl Estate {
    /// Both slots are on, and somebody outside has their functions.
    fn open(features: Features) -> Arc<Estate> {
        let house = House::new(Card::Virtualized, None, features);
        // Now and then a function uses up its handles.
        let generation_bits = if shuttle::rand::thread_rng().gen_range(0..2) == 0 { 2 } else { 19 };
        let zpci = Zpci::new(Settings { generation_bits, ..Settings::default() });
        let ledger = Ledger::new(&house.board.journal);
        let listening = zpci.listen(ledger.clone());
        let place = |(bay, nth)| Place::of(bay, nth, &house.board, &zpci);
        let places: Vec<_> = house.bays.iter().zip(0..).map(place).collect();
        let unit = Arc::new(Machinery(house.board.clone()));
        let slot = |(place, slot): (&Arc<Place>, &Arc<slot::Controller>)| {
            let zdevs = std::slice::from_ref(&place.zdev);
            HotplugSlot::of_card(zdevs, slot.clone(), unit.clone(), ASKED_FOR).unwrap().remove(0)
        };
        let slots = places.iter().zip(&house.slots).map(slot).collect();
        house.switch_on();
        let mut token = ThreadToken::at_thread_entry();
        (0..2).for_each(|slot| _ = house.seat(slot, &mut token).unwrap());
        // Functions are reset at any moment, so nothing can be said of their COMMAND when they leave.
        house.board.meddle();
        Arc::new(Estate { house, zpci, places, slots, ledger, _listening: listening })
    }

    /// When everybody has ended: nobody works on a function any more, and it is where its slot is.
    fn assert_at_rest(&self) {
        self.house.settle();
        for zdev in self.zpci.list() {
            assert_eq!(zdev.work(), None, "{zdev:?}: a claim that was never given back (law 9)");
        }
        for (place, slot) in self.places.iter().zip(&self.house.slots) {
            let on = slot.report().state == State::On;
            let configured = place.zdev.configuration() == Configuration::Configured;
            assert_eq!(configured, on, "{:?} in a slot that is {:?}", place.zdev, slot.report().state);
            assert!(configured || !place.zdev.handle().is_enabled(), "{:?} is enabled", place.zdev);
        }
    }

    /// Switches everything off and looks whether anything is left.
    fn close_down(&self) {
        self.assert_at_rest();
        self.house.close_down();
        self.assert_at_rest();
        let token = ThreadToken::at_thread_entry();
        let fids: Vec<_> = self.zpci.list().iter().map(|zdev| zdev.fid()).collect();
        let places: Vec<_> = self.places.iter().map(|place| place.zdev.fid()).collect();
        assert_eq!(fids, places, "virtual functions without a physical one");
        for handle in self.ledger.last(usize::MAX) {
            assert!(self.zpci.by_handle(&token, handle).is_none(), "{handle} names something that is gone");
        }
    }
}

/// Both slots are on; then all of `works` are done at once, while time passes; then everything is switched off.
fn run(works: &[Work]) {
    run_and(works, |_| {});
}

/// As [`run`], with a look at everything before it is switched off.
fn run_and(works: &[Work], look: fn(&Estate)) {
    let estate = Estate::open(Features::default());
    let crew = estate.house.board.crew.clone();
    let clock = thread::spawn(move || crew.clock());
    at_once(&estate, works);
    estate.house.board.crew.stop();
    clock.join().unwrap();
    estate.assert_at_rest();
    look(&estate);
    estate.close_down();
}

/// As [`run`], with slots whose power cannot be switched; and no time passes until all of `works` are done.
fn run_in_no_time(works: &[Work]) {
    let estate = Estate::open(Features { power_controller: false, ..Features::default() });
    at_once(&estate, works);
    estate.close_down();
}

fn at_once(estate: &Arc<Estate>, works: &[Work]) {
    let start = |work: &Work| {
        let (estate, work) = (estate.clone(), *work);
        thread::spawn(move || work(&estate, &mut ThreadToken::at_thread_entry()))
    };
    let threads: Vec<_> = works.iter().map(start).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Asks for the power of a slot, and waits for the end of what was asked for.
fn switch(estate: &Estate, on: bool, token: &mut ThreadToken) {
    let asked = estate.slots[0].power(on, ASKED_FOR);
    crate::machine::tally::note(if on { "power on" } else { "power off" }, &asked);
    if let Ok(operation) = asked {
        let _ended = operation.wait(token, ahead()).expect("no deadline fires here");
    }
}
