//! Clients: one for each slot, which comes and goes as it likes, and what everybody keeps that has lost a function.

use crate::cell::Cell;
use crate::driver::{Bond, misbehave};
use crate::world::{Due, World};
use assign::{Assignment, Attached};
use gate::{Deadline, Handle, LongPass, ThreadToken};
use slot::{Binding, Consumer, Event};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Most things in flight at once.
const MOST_HOLDS: usize = 32;
/// Most handles that are kept of what has gone.
const MOST_STALE: usize = 24;

/// Something on a device that takes long.
pub(crate) struct Hold {
    pub(crate) slot: usize,
    pub(crate) handle: Handle,
    /// Held, and dropped some day.
    pub(crate) _pass: LongPass,
}

/// Who has what, beside the clients.
#[derive(Default)]
pub(crate) struct Tenancy {
    pub(crate) holds: Vec<Hold>,
    /// Functions that have gone, in the hands of those who had them.
    pub(crate) stale: Vec<Arc<Assignment>>,
    pub(crate) bonds: Vec<Bond>,
    next: u64,
}

impl Tenancy {
    pub(crate) fn bind(&mut self, slot: usize, binding: &Arc<Binding>) -> u64 {
        self.next += 1;
        self.bonds.push(Bond { slot, number: self.next, binding: binding.clone() });
        self.next
    }

    pub(crate) fn unbind(&mut self, number: u64) {
        self.bonds.retain(|bond| bond.number != number);
    }

    pub(crate) fn binding(&self, slot: usize, number: u64) -> Option<Arc<Binding>> {
        let bond = self.bonds.iter().find(|bond| bond.slot == slot && bond.number == number);
        bond.map(|bond| bond.binding.clone())
    }

    /// Keeps something in flight; gives it back if that is one too many.
    pub(crate) fn hold(&mut self, hold: Hold) -> Option<Hold> {
        if self.holds.len() >= MOST_HOLDS {
            return Some(hold);
        }
        self.holds.push(hold);
        None
    }

    /// Keeps a function that has gone, in the place of another one if those are too many.
    pub(crate) fn keep(&mut self, assignment: Arc<Assignment>, place: usize) -> Option<Arc<Assignment>> {
        if self.stale.len() < MOST_STALE {
            self.stale.push(assignment);
            return None;
        }
        Some(std::mem::replace(&mut self.stale[place % MOST_STALE], assignment))
    }
}

/// The client of a slot.
pub(crate) struct Guest {
    world: Weak<World>,
    slot: usize,
    attached: Cell<Option<Attached>>,
}

impl Guest {
    pub(crate) fn new(world: &Weak<World>, slot: usize) -> Arc<Guest> {
        Arc::new(Guest { world: world.clone(), slot, attached: Cell::new(None) })
    }

    /// Whether it has this function.
    pub(crate) fn has(&self, assignment: &Arc<Assignment>) -> bool {
        self.attached.with(|attached| {
            attached.as_ref().is_some_and(|attached| std::ptr::eq::<Assignment>(&**attached, &**assignment))
        })
    }

    /// Does something with what it has, if it has something.
    pub(crate) fn work<R>(&self, work: impl FnOnce(&Attached) -> R) -> Option<R> {
        // Taken out meanwhile: the core calls back.
        let attached = self.attached.with(Option::take)?;
        let done = work(&attached);
        self.attached.with(|place| *place = Some(attached));
        Some(done)
    }

    /// Tries to get a function of its slot.
    pub(crate) fn attach(&self, world: &World, token: &mut ThreadToken) {
        if self.holds() {
            return;
        }
        let functions = world.bays[self.slot].plugged();
        let Some(function) = world.random.with(|random| random.pick(&functions).cloned()) else { return };
        let others = world.holders(&function.assignment);
        match function.assignment.attach(token) {
            Ok(attached) if self.holds() => attached.detach(token),
            Ok(attached) => {
                world.trace(|| format!("slot {}: a client has {}", self.slot, function.at));
                self.attached.with(|place| *place = Some(attached));
                world.check_sole(self.slot, function.assignment.function().name(), others);
            }
            Err(error) => {
                world.trace(|| format!("slot {}: no client for {}: {error}", self.slot, function.at))
            }
        }
    }

    /// Leaves, as a process does that ends.
    pub(crate) fn leave(&self, token: &mut ThreadToken) {
        let Some(world) = self.world.upgrade() else { return };
        if self.let_go(&world, token) {
            world.bays[self.slot].controller().post(Event::Released);
        }
    }

    /// Loses a function that is taken back, if it has that.
    pub(crate) fn lose(&self, world: &World, token: &mut ThreadToken, assignment: &Arc<Assignment>) {
        if self.has(assignment) {
            self.let_go(world, token);
        }
    }

    fn let_go(&self, world: &World, token: &mut ThreadToken) -> bool {
        let Some(attached) = self.attached.with(Option::take) else { return false };
        world.trace(|| format!("slot {}: the client leaves {}", self.slot, attached.function().name()));
        attached.detach(token);
        true
    }
}

impl Consumer for Guest {
    fn describe(&self) -> String {
        format!("client of slot {}", self.slot)
    }

    fn request(&self, token: &mut ThreadToken, nth: u32) {
        let Some(world) = self.world.upgrade() else { return };
        world.trace(|| format!("slot {}: request {nth} to the client", self.slot));
        misbehave(&world, token, self.slot, "request to the client", &mut false);
        if let Some(after) = world.patience(nth) {
            if after.is_zero() { self.leave(token) } else { world.later(after, Due::GuestLeaves(self.slot)) }
        }
    }

    fn keep(&self, token: &mut ThreadToken) {
        let Some(world) = self.world.upgrade() else { return };
        misbehave(&world, token, self.slot, "keep to the client", &mut false);
    }

    fn revoke(&self, token: &mut ThreadToken, _deadline: Deadline) -> Vec<String> {
        let Some(world) = self.world.upgrade() else { return Vec::new() };
        world.trace(|| format!("slot {}: the client is revoked", self.slot));
        misbehave(&world, token, self.slot, "revoke", &mut false);
        self.let_go(&world, token);
        if world.random.with(|random| random.chance(world.plan.consumers.returns, 1000)) {
            let after = world.random.with(|random| random.ms(0, 3_000));
            world.later(after, Due::GuestReturns(self.slot));
        }
        let still = world.tenancy.with(|tenancy| {
            tenancy.holds.iter().filter(|hold| hold.slot == self.slot && hold.handle.is_gone()).count()
        });
        (0..still).map(|nth| format!("access {nth} in flight")).collect()
    }

    fn holds(&self) -> bool {
        self.attached.with(|attached| attached.is_some())
    }
}

impl World {
    /// When somebody lets go who was asked for the `nth` time: never, after a while, or now.
    pub(crate) fn patience(&self, nth: u32) -> Option<Duration> {
        if self.calm.get() {
            return Some(Duration::ZERO);
        }
        let faults = self.plan.consumers;
        self.random.with(|random| match () {
            () if random.chance(faults.ignores, 1000) => None,
            () if random.chance(faults.late, 1000) => Some(random.ms(10_000, 120_000)),
            () if nth > 1 || random.coin() => Some(Duration::ZERO),
            () => Some(random.ms(1, 5_000)),
        })
    }

    /// How many drivers hold a function.
    pub(crate) fn holders(&self, assignment: &Arc<Assignment>) -> usize {
        let bindings = self.tenancy.with(|tenancy| {
            let of = tenancy.bonds.iter().filter(|bond| Arc::ptr_eq(bond.binding.function(), assignment));
            of.map(|bond| bond.binding.clone()).collect::<Vec<_>>()
        });
        bindings.iter().filter(|binding| binding.holds()).count()
    }
}
