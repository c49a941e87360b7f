//! A machine with slots, each of which takes one ISM-like function, and the driver for it.
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assign::Assignment;
use gate::{Deadline, Gate, ThreadToken};
use models::ism::host::{Buffer, Channel, Driver, Interface, Users};
use models::ism::{self};
use pci_core::VirtualTime;
use slot::{
    ByHand, Controller, Drivers, Event, Features, Finished, Hardware, Lamp, Operation, Parts, Removal,
    Request, Settings, State, Told, Watch,
};
use zpci::{Description, Fid, Uid, View, Zdev, Zpci};

use crate::party::config;

/// Bytes of the longest block store.
pub(crate) const MAX_STORE: u16 = 128;

/// A user that does as it is told.
#[derive(Default)]
pub(crate) struct User {
    pub(crate) log: Mutex<Vec<String>>,
    pub(crate) interfaces: Mutex<Vec<Arc<Interface>>>,
    /// What it gives back when it is asked.
    pub(crate) in_use: Mutex<(Vec<Buffer>, Vec<Channel>)>,
}

impl User {
    fn note(&self, what: String) {
        self.log.lock().unwrap().push(what);
    }

    /// What it was told since the last call.
    pub(crate) fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }

    pub(crate) fn interface(&self, gid: u64) -> Arc<Interface> {
        let interfaces = self.interfaces.lock().unwrap();
        interfaces.iter().find(|interface| interface.gid() == gid).unwrap().clone()
    }

    pub(crate) fn give_back(&self, token: &mut ThreadToken) {
        let (buffers, channels) = std::mem::take(&mut *self.in_use.lock().unwrap());
        for mut channel in channels {
            channel.close(token).unwrap();
        }
        for mut buffer in buffers {
            buffer.release(token).unwrap();
        }
    }
}

impl Users for User {
    fn came(&self, _token: &mut ThreadToken, interface: &Arc<Interface>) {
        self.note(format!("{} came", interface.gid()));
        self.interfaces.lock().unwrap().push(interface.clone());
    }

    fn asked(&self, token: &mut ThreadToken, interface: &Arc<Interface>, nth: u32) {
        self.note(format!("{} asked {nth}", interface.gid()));
        self.give_back(token);
    }

    fn kept(&self, _token: &mut ThreadToken, interface: &Arc<Interface>) {
        self.note(format!("{} kept", interface.gid()));
    }

    fn went(&self, _token: &mut ThreadToken, interface: &Arc<Interface>) {
        self.note(format!("{} went", interface.gid()));
        self.interfaces.lock().unwrap().retain(|there| !Arc::ptr_eq(there, interface));
    }
}

/// The port of a slot and the card in it.
struct Card {
    network: String,
    gid: u64,
    zdev: Arc<Zdev>,
    gate: Mutex<Option<Gate>>,
    function: Mutex<Option<Arc<Assignment>>>,
    /// Whether the machine is told of the function.
    shown: AtomicBool,
}

impl Hardware for Card {
    fn apply_power(&self, _token: &mut ThreadToken, _deadline: Deadline) -> bool {
        true
    }

    fn cut_power(&self, _token: &mut ThreadToken, _deadline: Deadline) {}

    fn power_lamp(&self, _lamp: Lamp) {}

    fn attention_lamp(&self, _lamp: Lamp) {}

    fn configure(&self, token: &mut ThreadToken, _: Deadline) -> Result<Vec<Arc<Assignment>>, String> {
        let mut gate = self.gate.lock().unwrap();
        let next = gate.as_ref().map_or_else(|| Gate::new("ism"), Gate::successor);
        *gate = Some(next.clone());
        let built =
            ism::build_with(next, &config(&self.network, self.gid), Arc::new(()), |function| function);
        let assignment = built.map_err(|error| error.to_string())?;
        if self.shown.load(Ordering::Acquire) {
            self.zdev.bring_in(token, View::new(&self.zdev, &assignment, MAX_STORE));
        }
        *self.function.lock().unwrap() = Some(assignment.clone());
        Ok(vec![assignment])
    }

    fn unconfigure(
        &self,
        token: &mut ThreadToken,
        _functions: &[Arc<Assignment>],
        _removal: Removal,
        _deadline: Deadline,
    ) {
        self.zdev.take_out(token);
        *self.function.lock().unwrap() = None;
    }
}

impl Watch for User {
    fn notice(&self, _slot: &str, what: &Told) {
        // A driver that fails, and what is left of a card, is noted beside what users are told.
        if let Told::Callback { .. } | Told::Orphan(_) = what {
            self.note(format!("{what:?}"));
        }
    }
}

/// One slot.
pub(crate) struct Slot {
    pub(crate) controller: Arc<Controller>,
    pub(crate) zdev: Arc<Zdev>,
    card: Arc<Card>,
    time: Arc<VirtualTime>,
}

pub(crate) struct Rig {
    pub(crate) zpci: Arc<Zpci>,
    pub(crate) user: Arc<User>,
    pub(crate) slots: Vec<Slot>,
}

impl Rig {
    /// A machine with functions 1 to `count` of a network, all on.
    pub(crate) fn new(token: &mut ThreadToken, network: &str, count: u16) -> Rig {
        let rig = Rig::empty(network, count);
        rig.slots.iter().for_each(|slot| slot.plug(token));
        rig
    }

    pub(crate) fn empty(network: &str, count: u16) -> Rig {
        let zpci = Zpci::new(zpci::Settings::default());
        let user = Arc::new(User::default());
        let drivers = Drivers::new();
        drivers.add(Driver::new(zpci.clone(), user.clone()));
        let slots = (1..=count).map(|gid| {
            let zdev = zpci.add(Fid(gid.into()), Uid(gid), Description::default()).unwrap();
            zdev.card(true);
            let card = Arc::new(Card {
                network: network.to_owned(),
                gid: gid.into(),
                zdev: zdev.clone(),
                gate: Mutex::default(),
                function: Mutex::default(),
                shown: AtomicBool::new(true),
            });
            let time = Arc::new(VirtualTime::default());
            let parts = Parts {
                hardware: card.clone(),
                drivers: drivers.clone(),
                time: time.clone(),
                crew: Arc::new(ByHand),
                watch: user.clone(),
            };
            let features = Features { power_controller: false, attention_button: false, latch: false };
            let controller = Controller::new("slot", features, Settings::default(), parts);
            Slot { controller, zdev, card, time }
        });
        let slots = slots.collect();
        Rig { zpci, user, slots }
    }

    /// A buffer of function `to` and a channel of function `from` to it, which the user gives back when it is asked.
    pub(crate) fn connect(&self, token: &mut ThreadToken, from: u64, to: u64) {
        let buffer = self.user.interface(to).receive(token, from, 0x2000).unwrap();
        let channel = self.user.interface(from).connect(token, buffer.token()).unwrap();
        let mut in_use = self.user.in_use.lock().unwrap();
        in_use.0.push(buffer);
        in_use.1.push(channel);
    }
}

impl Slot {
    /// The machine is not told of functions that come from now on.
    pub(crate) fn hide(&self) {
        self.card.shown.store(false, Ordering::Release);
    }

    pub(crate) fn plug(&self, token: &mut ThreadToken) {
        self.controller.post(Event::Card(true));
        self.controller.post(Event::Link(true));
        self.pass(token, Duration::from_secs(1));
        if self.state() != State::On {
            self.controller.ask(Request::Enable);
            self.pass(token, Duration::from_secs(1));
        }
        assert_eq!(self.state(), State::On);
    }

    /// Drives, letting that much time pass.
    pub(crate) fn pass(&self, token: &mut ThreadToken, time: Duration) {
        let end = self.controller.now() + time;
        while let Some(wait) = self.controller.drive(token) {
            if self.controller.now() + wait > end {
                break;
            }
            self.time.advance(wait);
        }
        self.time.advance(end.saturating_sub(self.controller.now()));
        self.controller.drive(token);
    }

    pub(crate) fn ask(&self, token: &mut ThreadToken, request: Request) -> Arc<Operation> {
        let operation = self.controller.ask(request);
        self.controller.drive(token);
        operation
    }

    /// Asks for the function, a minute at most; how it has ended, if it has.
    pub(crate) fn unplug(&self, token: &mut ThreadToken) -> Option<Finished> {
        self.ask(token, Request::Disable { timeout: Duration::from_secs(60) }).finished()
    }

    pub(crate) fn state(&self) -> State {
        self.controller.report().state
    }

    pub(crate) fn function(&self) -> Arc<Assignment> {
        self.card.function.lock().unwrap().clone().unwrap()
    }
}
