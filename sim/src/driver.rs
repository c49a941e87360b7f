//! Drivers in this process, as bad as they come: they panic, hang, do not let go, or keep at it after they have.

use crate::faults::Pace;
use crate::invariants::Invariant;
use crate::world::{Due, World};
use gate::ThreadToken;
use slot::{Binding, Bound, Driver, ProbeError, Removal, Settings};
use std::panic::resume_unwind;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What a driver panics with. It is caught by the core, and not worth a line on stderr.
pub(crate) struct Planned;

/// A call that takes longer than this may count as hung: the time for an order may be over already.
const LATE: Duration = Settings::LEAST;

/// A driver of one slot.
pub(crate) struct SimDriver {
    world: Weak<World>,
    slot: usize,
    name: String,
}

/// Where a driver is bound.
pub(crate) struct Bond {
    pub(crate) slot: usize,
    pub(crate) number: u64,
    pub(crate) binding: Arc<Binding>,
}

/// A driver at one function.
struct SimBound {
    world: Weak<World>,
    slot: usize,
    number: u64,
    binding: Arc<Binding>,
    ended: bool,
    /// A call of it took more time than it had, so that the slot has gone on without it.
    late: bool,
}

impl SimDriver {
    pub(crate) fn new(world: &Weak<World>, slot: usize, number: usize) -> Arc<SimDriver> {
        Arc::new(SimDriver { world: world.clone(), slot, name: format!("driver {number}") })
    }
}

/// What a callback does beside its work: takes its time, hangs, panics. `late` is set if the slot may have gone on without it.
pub(crate) fn misbehave(world: &World, token: &mut ThreadToken, slot: usize, call: &str, late: &mut bool) {
    if world.calm.get() {
        return;
    }
    let begin = world.now();
    let most = world.plan.settings.callback_timeout;
    match world.random.with(|random| world.plan.consumers.pace(random, most)) {
        Pace::AtOnce => {}
        Pace::Slow(time) => world.linger(token, slot, time),
        Pace::Hung(time) => {
            let time = world.bearable(time, most);
            world.trace(|| format!("slot {slot}: {call} hangs for {} ms", time.as_millis()));
            world.linger(token, slot, time);
            world.trace(|| format!("slot {slot}: {call} returns"));
        }
    }
    *late |= world.now().saturating_sub(begin) > LATE;
    if world.random.with(|random| random.chance(world.plan.consumers.panics, 1000)) {
        world.trace(|| format!("slot {slot}: {call} panics"));
        resume_unwind(Box::new(Planned));
    }
}

impl Driver for SimDriver {
    fn name(&self) -> &str {
        &self.name
    }

    fn probe(&self, token: &mut ThreadToken, function: &Arc<Binding>) -> Result<Box<dyn Bound>, ProbeError> {
        let Some(world) = self.world.upgrade() else { return Err(ProbeError::NotMine) };
        let assignment = function.function();
        world.trace(|| format!("slot {}: {} probes {}", self.slot, self.name, assignment.function().name()));
        let others = usize::from(world.guests[self.slot].has(assignment));
        world.check_sole(self.slot, assignment.function().name(), others);
        let mut late = false;
        misbehave(&world, token, self.slot, "probe", &mut late);
        if world.random.with(|random| random.chance(world.plan.consumers.refuses, 1000)) {
            let failed = world.random.with(crate::random::Random::coin);
            return Err(if failed {
                ProbeError::Failed("it does not work".into())
            } else {
                ProbeError::NotMine
            });
        }
        let number = world.tenancy.with(|tenancy| tenancy.bind(self.slot, function));
        world.ledger.with(|ledger| ledger.bound += 1);
        let (world, slot, binding) = (self.world.clone(), self.slot, function.clone());
        Ok(Box::new(SimBound { world, slot, number, binding, ended: false, late }))
    }
}

impl SimBound {
    fn name(&self) -> &str {
        self.binding.function().function().name()
    }

    fn end(&mut self, world: &World, call: &str) {
        self.ended = true;
        world.tenancy.with(|tenancy| tenancy.unbind(self.number));
        world.trace(|| format!("slot {}: {call} of {}", self.slot, self.name()));
    }
}

impl Bound for SimBound {
    fn request(&mut self, token: &mut ThreadToken, nth: u32) {
        let Some(world) = self.world.upgrade() else { return };
        world.trace(|| format!("slot {}: request {nth} for {}", self.slot, self.name()));
        world.check_works(self.slot, self.binding.function());
        misbehave(&world, token, self.slot, "request", &mut self.late);
        let due = Due::DriverLetsGo(self.slot, self.number);
        if let Some(after) = world.patience(nth) {
            if after.is_zero() { self.binding.release(token) } else { world.later(after, due) }
        }
    }

    fn keep(&mut self, token: &mut ThreadToken) {
        let Some(world) = self.world.upgrade() else { return };
        world.trace(|| format!("slot {}: keep {}", self.slot, self.name()));
        misbehave(&world, token, self.slot, "keep", &mut self.late);
    }

    fn remove(mut self: Box<Self>, token: &mut ThreadToken, removal: Removal) {
        let Some(world) = self.world.upgrade() else { return };
        self.end(&world, if removal == Removal::Orderly { "remove" } else { "surprise removal" });
        world.check_unbound(self.slot, self.binding.function(), self.late);
        misbehave(&world, token, self.slot, "remove", &mut false);
    }

    fn shutdown(&mut self, token: &mut ThreadToken) {
        let Some(world) = self.world.upgrade() else { return };
        self.end(&world, "shutdown");
        misbehave(&world, token, self.slot, "shutdown", &mut false);
    }
}

impl Drop for SimBound {
    fn drop(&mut self) {
        let Some(world) = self.world.upgrade() else { return };
        world.ledger.with(|ledger| ledger.bound = ledger.bound.saturating_sub(1));
        if !self.ended {
            let detail = format!("the driver of {} was dropped without a last call", self.name());
            world.violated(Invariant::LastCall, Some(self.slot), detail);
        }
    }
}
