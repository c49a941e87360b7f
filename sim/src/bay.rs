//! A slot of the world: its controller, and the hardware that it drives.
//!
//! What the core sees of the hardware is [`slot::Hardware`], which is carried out here on the machine: calls take their time,
//! fail, or do not return while they are waited for. What is physically there (card, power, link) is changed by actions
//! and told to the controller as a port tells it.

use crate::card::Card;
use crate::cell::Cell;
use crate::faults::Pace;
use crate::machine::{Plugged, at_once};
use crate::world::{Due, World};
use assign::Assignment;
use gate::{Deadline, ThreadToken};
use slot::{Controller, Crew, Driven, Event, Features, Hardware, Lamp, Removal, Told, Watch};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// What is physically there.
#[derive(Default)]
pub(crate) struct Physical {
    pub(crate) card: Option<Card>,
    pub(crate) powered: bool,
    pub(crate) link: bool,
    /// The number of the last change of power or card: a link that comes up later belongs to one of them.
    pub(crate) epoch: u64,
    pub(crate) latch_open: bool,
    pub(crate) power_lamp: Option<Lamp>,
    pub(crate) attention_lamp: Option<Lamp>,
    /// What is behind the port, in ascending order.
    pub(crate) plugged: Vec<Plugged>,
    /// Calls of the hardware that have not returned.
    pub(crate) calls: usize,
}

/// See the module's head.
pub(crate) struct Bay {
    pub(crate) index: usize,
    pub(crate) features: Features,
    pub(crate) physical: Cell<Physical>,
    world: Weak<World>,
    controller: OnceLock<Arc<Controller>>,
}

impl Bay {
    pub(crate) fn new(world: &Weak<World>, index: usize, features: Features) -> Arc<Bay> {
        // A slot without a power controller always has power.
        let physical = Physical { powered: !features.power_controller, ..Physical::default() };
        let (physical, controller) = (Cell::new(physical), OnceLock::new());
        Arc::new(Bay { index, features, physical, world: world.clone(), controller })
    }

    pub(crate) fn rule(&self, controller: Arc<Controller>) {
        let _the_one_controller = self.controller.set(controller);
    }

    /// # Panics
    /// Before [`Bay::rule`].
    pub(crate) fn controller(&self) -> &Arc<Controller> {
        self.controller.get().expect("a slot has a controller before anything happens to it")
    }

    /// The functions behind the port.
    pub(crate) fn plugged(&self) -> Vec<Plugged> {
        self.physical.with(|physical| physical.plugged.clone())
    }

    /// Puts a card in; the one before is pulled, without anybody being told.
    pub(crate) fn put(&self, world: &World, card: Option<Card>) {
        let gone = self.physical.with(|physical| {
            physical.card = card;
            physical.link = false;
            physical.epoch += 1;
            physical.plugged.clone()
        });
        // Nobody answers any more.
        gone.iter().for_each(|function| world.machine.extract(function));
    }

    /// Has the link come up after a while, if there is power and a card, and nothing wrong with it.
    pub(crate) fn train(&self, world: &World) {
        let dead = world.random.with(|random| random.chance(world.plan.hardware.no_link, 1000));
        let after = world.random.with(|random| random.ms(0, 200));
        let epoch = self.physical.with(|physical| {
            (physical.powered && physical.card.is_some() && !physical.link).then_some(physical.epoch)
        });
        if let (Some(epoch), false) = (epoch, dead) {
            world.later(after, Due::Link(self.index, epoch));
        }
    }

    /// The link is up, if it is still the same card under the same power.
    pub(crate) fn trained(&self, epoch: u64) {
        let up = self.physical.with(|physical| {
            let up = physical.epoch == epoch && !physical.link;
            physical.link |= up;
            up
        });
        if up {
            self.controller().post(Event::Link(true));
        }
    }

    /// Lets a call of the hardware take its time. True if it was told to take more than it has.
    fn linger(&self, world: &World, token: &mut ThreadToken, what: &str) -> bool {
        let most = world.plan.settings.effect_timeout;
        match world.random.with(|random| world.plan.hardware.pace(random, most)) {
            Pace::AtOnce => false,
            Pace::Slow(time) => {
                world.linger(token, self.index, time);
                false
            }
            Pace::Hung(time) => {
                let time = world.bearable(time, most);
                world.trace(|| format!("slot {}: {what} hangs for {} ms", self.index, time.as_millis()));
                world.linger(token, self.index, time);
                world.trace(|| format!("slot {}: {what} returns", self.index));
                true
            }
        }
    }

    fn fails(&self, world: &World, rate: u32) -> bool {
        world.random.with(|random| random.chance(rate, 1000))
    }

    /// Puts everything back (law 9). A client may have come already; left open, its handle would reach the next card at this
    /// address.
    fn take_back(&self, world: &World, token: &mut ThreadToken, functions: &[Plugged]) {
        for function in functions.iter().rev() {
            let _in_flight = function.assignment.function().disconnect(token, at_once());
            world.guests[self.index].lose(world, token, &function.assignment);
            world.machine.hide(token, function);
            world.machine.extract(function);
        }
        if let Some(s390) = &world.s390 {
            s390.follow(world, token, self.index);
        }
        self.forget(|function| {
            functions.iter().any(|other| Arc::ptr_eq(&function.assignment, &other.assignment))
        });
    }

    fn forget(&self, which: impl Fn(&Plugged) -> bool) {
        self.physical.with(|physical| physical.plugged.retain(|function| !which(function)));
    }

    fn bring_up(&self, world: &World, token: &mut ThreadToken) -> Result<Vec<Arc<Assignment>>, String> {
        let card = self.physical.with(|physical| physical.card).ok_or("there is no card")?;
        self.linger(world, token, "configure");
        let rate = world.plan.hardware.not_configured;
        if self.fails(world, rate) {
            return Err("it does not answer".into());
        }
        if !self.physical.with(|physical| physical.plugged.is_empty()) {
            return Err("the last card is still there".into());
        }
        let mut functions = world.machine.insert(self.index, card).map_err(|error| error.to_string())?;
        if let Some(s390) = &world.s390 {
            for function in &mut functions {
                function.view = s390.view(self.index, function);
            }
        }
        world.appeared(self.index, &functions);
        self.physical.with(|physical| physical.plugged.clone_from(&functions));
        self.linger(world, token, "configure");
        let shown = !self.fails(world, rate) && world.machine.show(token, self.index, &functions);
        if shown {
            self.linger(world, token, "configure");
        }
        if !shown || self.fails(world, rate) {
            self.take_back(world, token, &functions);
            return Err("it cannot be brought into the topology".into());
        }
        if let Some(s390) = &world.s390 {
            s390.bring_in(world, token, &functions);
        }
        Ok(functions.into_iter().map(|function| function.assignment).collect())
    }

    fn call<R>(&self, what: &str, made: impl FnOnce(&World) -> R) -> Option<R> {
        let world = self.world.upgrade()?;
        world.trace(|| format!("slot {}: {what}", self.index));
        self.physical.with(|physical| physical.calls += 1);
        let answer = made(&world);
        self.physical.with(|physical| physical.calls -= 1);
        Some(answer)
    }
}

impl Hardware for Bay {
    fn apply_power(&self, token: &mut ThreadToken, _deadline: Deadline) -> bool {
        let powered = self.call("apply power", |world| {
            self.linger(world, token, "apply power");
            if self.fails(world, world.plan.hardware.no_power) {
                return false;
            }
            self.physical.with(|physical| {
                physical.epoch += u64::from(!physical.powered);
                physical.powered = true;
            });
            self.train(world);
            true
        });
        powered.unwrap_or_default()
    }

    fn cut_power(&self, token: &mut ThreadToken, _deadline: Deadline) {
        self.call("cut power", |world| {
            world.check_power_is_cut_last(self.index, token);
            self.linger(world, token, "cut power");
            if self.features.power_controller {
                let was_up = self.physical.with(|physical| {
                    physical.powered = false;
                    physical.epoch += 1;
                    std::mem::take(&mut physical.link)
                });
                if was_up {
                    self.controller().post(Event::Link(false));
                }
            }
        });
    }

    fn power_lamp(&self, lamp: Lamp) {
        self.physical.with(|physical| physical.power_lamp = Some(lamp));
    }

    fn attention_lamp(&self, lamp: Lamp) {
        self.physical.with(|physical| physical.attention_lamp = Some(lamp));
    }

    fn configure(
        &self,
        token: &mut ThreadToken,
        _deadline: Deadline,
    ) -> Result<Vec<Arc<Assignment>>, String> {
        let found = self.call("configure", |world| self.bring_up(world, token));
        found.unwrap_or_else(|| Err("the world has ended".into()))
    }

    fn unconfigure(
        &self,
        token: &mut ThreadToken,
        functions: &[Arc<Assignment>],
        removal: Removal,
        _deadline: Deadline,
    ) {
        self.call("unconfigure", |world| {
            world.check_removal(self.index, token, functions, removal);
            self.linger(world, token, "unconfigure");
            for assignment in functions.iter().rev() {
                let plugged = self.plugged();
                let ours = plugged.iter().find(|function| Arc::ptr_eq(&function.assignment, assignment));
                if let Some(function) = ours {
                    world.guests[self.index].lose(world, token, assignment);
                    if let Some(s390) = &world.s390 {
                        s390.take_out(token, function);
                    }
                    world.machine.hide(token, function);
                    if let Some(s390) = &world.s390 {
                        s390.follow(world, token, self.index);
                    }
                    world.machine.extract(function);
                    self.forget(|other| Arc::ptr_eq(&other.assignment, assignment));
                }
            }
        });
    }
}

impl Watch for Bay {
    fn notice(&self, _slot: &str, what: &Told) {
        if let Some(world) = self.world.upgrade() {
            world.told(self.index, what);
        }
    }
}

impl Crew for Bay {
    fn wake(&self, _driven: &Arc<dyn Driven>) {
        if let Some(world) = self.world.upgrade() {
            world.wake(self.index);
        }
    }

    fn wake_at(&self, _driven: &Weak<dyn Driven>, when: Duration) {
        if let Some(world) = self.world.upgrade() {
            world.set_timer(self.index, when);
        }
    }
}
