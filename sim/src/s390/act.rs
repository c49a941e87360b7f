//! One thing that is done on the platform's side, and to which function.

use super::plan::Act;
use super::{S390, slot_of};
use super::{commands, events, instructions, operations, region};
use crate::world::World;
use gate::ThreadToken;
use zpci::Configuration;
use zpci::hotplug::HotplugSlot;

/// Does one thing.
pub(crate) fn carry_out(world: &World, token: &mut ThreadToken, act: Act) {
    let Some(s390) = &world.s390 else { return };
    let Some(function) = s390.some_function(world) else { return };
    let on = &Site { world, s390, slot: slot_of(function.zdev().fid()), function };
    match act {
        Act::PowerOn => operations::power(on, true),
        Act::PowerOff => operations::power(on, false),
        Act::Reset => operations::reset(on, token),
        Act::Recover => operations::recover(on, token),
        Act::Report => operations::report(on),
        Act::Availability => events::availability(on, token),
        Act::Error => events::error(on, token),
        Act::Fault => events::fault(on),
        Act::List => commands::list(on, token),
        Act::Query => commands::query(on, token),
        Act::SetFunction => commands::set_function(on, token),
        Act::Kernel => commands::host(on, token),
        Act::Instruction => instructions::carry_out(on, token),
        Act::Request => region::request(on, token),
    }
}

/// Where something is done.
pub(super) struct Site<'a> {
    pub(super) world: &'a World,
    pub(super) s390: &'a S390,
    pub(super) slot: usize,
    pub(super) function: HotplugSlot,
}

impl S390 {
    /// A function: often one that somebody works on at this moment, mostly one that is configured, sometimes any.
    fn some_function(&self, world: &World) -> Option<HotplugSlot> {
        let all = self.hotplug_slots();
        let worked_on: Vec<_> = all.iter().filter(|slot| slot.zdev().work().is_some()).collect();
        let configured = all.iter().filter(|slot| slot.zdev().configuration() == Configuration::Configured);
        let configured: Vec<_> = configured.collect();
        world.random.with(|random| {
            let (first, second) = (random.coin(), random.chance(4, 5));
            let chosen = match () {
                () if first && !worked_on.is_empty() => random.pick(&worked_on).copied(),
                () if second && !configured.is_empty() => random.pick(&configured).copied(),
                () => random.pick(&all),
            };
            chosen.cloned()
        })
    }
}
