//! What the platform does for the slots of one card: resets on the machine, and a service that reports go to.

use crate::driver::Planned;
use crate::machine::at_once;
use crate::world::World;
use gate::{Deadline, ThreadToken};
use pci_core::Function;
use std::panic::resume_unwind;
use std::sync::{Arc, Weak};
use zpci::hotplug::{ErrorReport, ReportRefused, ResetFailure, Unit};
use zpci::{Fid, Handle, User};

/// See the module's head.
pub(super) struct SimUnit {
    world: Weak<World>,
    slot: usize,
}

impl SimUnit {
    pub(super) fn new(world: &Weak<World>, slot: usize) -> SimUnit {
        SimUnit { world: world.clone(), slot }
    }

    fn breaks(&self, world: &World) -> bool {
        let rate = world.plan.hardware.not_configured;
        !world.calm.get() && world.random.with(|random| random.chance(rate, 1000))
    }

    /// Sometimes the code of a unit is no better than that of a driver.
    fn misbehave(&self, world: &World, call: &str) {
        let rate = world.plan.consumers.panics;
        if !world.calm.get() && world.random.with(|random| random.chance(rate, 4000)) {
            world.trace(|| format!("slot {}: {call} panics", self.slot));
            resume_unwind(Box::new(Planned));
        }
    }
}

fn untouched(why: &str) -> ResetFailure {
    ResetFailure::Untouched(why.to_owned())
}

impl Unit for SimUnit {
    fn can_reset(&self, _function: &Function) -> bool {
        let Some(world) = self.world.upgrade() else { return false };
        self.misbehave(&world, "can reset");
        !self.breaks(&world)
    }

    fn reset(
        &self,
        token: &mut ThreadToken,
        function: &Arc<Function>,
        _deadline: Deadline,
    ) -> Result<(), ResetFailure> {
        let Some(world) = self.world.upgrade() else { return Err(untouched("the world has ended")) };
        self.misbehave(&world, "reset");
        if self.breaks(&world) {
            return Err(ResetFailure::Failed("it does not answer".into()));
        }
        let snapshot = world.machine.snapshot(token);
        let node = snapshot.iter().find(|node| Arc::ptr_eq(&node.function, function));
        let Some(at) = node.map(|node| node.address) else { return Err(untouched("it is not there")) };
        let done = world.machine.resets.reset_function(token, &snapshot, at, at_once());
        self.misbehave(&world, "reset");
        match done {
            Ok(_) => Ok(()),
            Err(
                error @ (reset::Error::Changed
                | reset::Error::Busy { .. }
                | reset::Error::NotClosed { .. }
                | reset::Error::NotThere),
            ) => Err(untouched(&error.to_string())),
            Err(error) => Err(ResetFailure::Failed(error.to_string())),
        }
    }

    fn virtual_functions_on(&self, function: &Function) -> u16 {
        let state = function.config().sr_iov();
        state.filter(|state| state.enabled).map_or(0, |state| state.num_vfs)
    }

    fn user(&self, _function: &Function) -> User {
        let Some(world) = self.world.upgrade() else { return User::PassedThrough };
        self.misbehave(&world, "user");
        let users = [User::Driver, User::Driver, User::PassedThrough, User::Unprepared];
        world.random.with(|random| users[random.below(users.len())])
    }

    fn report(&self, _fid: Fid, _handle: Handle, report: &ErrorReport<'_>) -> Result<(), ReportRefused> {
        let Some(world) = self.world.upgrade() else { return Err(ReportRefused::NoFacility) };
        world.trace(|| format!("slot {}: {:?} is reported", self.slot, report.action));
        self.misbehave(&world, "report");
        if self.breaks(&world) { Err(ReportRefused::Failed("it is deaf".into())) } else { Ok(()) }
    }
}
