//! What a world is made of and what happens in it, how often. A seed makes a plan.
//!
//! Plans differ much: each leaves some actions and faults out and does others often, since what is done all the time hides
//! what happens only when it is not.

use crate::faults::{ConsumerFaults, HardwareFaults};
use crate::random::Random;
use crate::s390::{Act, Platform};
use slot::{Features, Settings};
use std::time::Duration;

/// Something that somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// An operator wants a slot on.
    Enable,
    /// An operator wants a slot off: in no time, in little, or in much.
    Disable,
    /// An operator calls off what was begun.
    Cancel,
    /// A hundred operations at once.
    Burst,
    /// The button is pressed, once or twice.
    Button,
    /// The card is pulled, and maybe put back at once.
    Pull,
    /// A card is put in.
    Insert,
    /// Another card is in the place of the one before.
    Replace,
    /// The link goes down, and maybe comes back.
    Flap,
    /// The latch is opened or closed.
    Latch,
    /// The power of a slot fails.
    PowerFault,
    /// A function is reset.
    Reset,
    /// Everything below a port is reset.
    BusReset,
    /// A function goes to another power state.
    Power,
    /// Virtual functions are switched on or off.
    VirtualFunctions,
    /// The whole segment is scanned.
    Rescan,
    /// Somebody who has a function reads or writes its registers.
    Access,
    /// Somebody begins something that takes long.
    Begin,
    /// Something that takes long ends.
    End,
    /// A client comes to a function.
    Attach,
    /// A client leaves, or dies.
    Leave,
    /// A driver lets go by itself.
    LetGo,
    /// A client maps memory for a function, or wires interrupts.
    Wire,
    /// A consumer that a slot did not know comes, or one goes.
    Consumer,
    /// Something at the s390 view of it all.
    Platform(Act),
}

impl Action {
    /// All of them, with how often they happen where a plan says nothing else.
    const ALL: [(Action, u32); 24] = [
        (Action::Enable, 8),
        (Action::Disable, 8),
        (Action::Cancel, 3),
        (Action::Burst, 1),
        (Action::Button, 3),
        (Action::Pull, 3),
        (Action::Insert, 6),
        (Action::Replace, 1),
        (Action::Flap, 2),
        (Action::Latch, 2),
        (Action::PowerFault, 1),
        (Action::Reset, 4),
        (Action::BusReset, 2),
        (Action::Power, 4),
        (Action::VirtualFunctions, 3),
        (Action::Rescan, 1),
        (Action::Access, 12),
        (Action::Begin, 4),
        (Action::End, 6),
        (Action::Attach, 5),
        (Action::Leave, 4),
        (Action::LetGo, 3),
        (Action::Wire, 2),
        (Action::Consumer, 1),
    ];

    /// Those without which nothing ever happens.
    const NEEDED: [Action; 2] = [Action::Enable, Action::Insert];
}

/// See the module's head.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many slots there are, and what each has.
    pub slots: Vec<Features>,
    /// The times that an operator has set.
    pub settings: Settings,
    /// What is done, by weight.
    pub actions: Vec<(Action, u32)>,
    /// What goes wrong in the hardware.
    pub hardware: HardwareFaults,
    /// What goes wrong with consumers.
    pub consumers: ConsumerFaults,
    /// Drivers that functions are offered to; without any they are left to clients.
    pub drivers: usize,
    /// How often something is done before time passes, times in a hundred.
    pub haste: u32,
    /// Steps between two moments at which everything is brought to rest and counted.
    pub calm_every: u64,
    /// The s390 view of the machine, if it has one.
    pub platform: Option<Platform>,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn from_seed(random: &mut Random, slots: usize) -> Plan {
        let slots = (0..slots).map(|_| features(random)).collect();
        let actions = Action::ALL.map(|(action, often)| {
            let left_out = random.chance(1, 5) && !Action::NEEDED.contains(&action);
            (action, if left_out { 0 } else { often * [1, 1, 2, 5][random.below(4)] })
        });
        let settings = Settings {
            remind: random.ms(500, 10_000),
            unplug_timeout: random.ms(1_000, 60_000),
            effect_timeout: Duration::from_secs(3),
            callback_timeout: Duration::from_secs(1),
        };
        Plan {
            slots,
            settings,
            actions: actions.to_vec(),
            hardware: HardwareFaults::from_seed(random),
            consumers: ConsumerFaults::from_seed(random),
            drivers: random.below(4),
            haste: [20, 50, 80, 95][random.below(4)],
            calm_every: [200, 1_000, 5_000][random.below(3)],
            platform: None,
        }
    }

    /// The plan of a seed, with the s390 view: all else is as without, as far as it can be.
    #[must_use]
    pub fn with_platform(mut self, random: &mut Random) -> Plan {
        let platform = Platform::from_seed(random);
        self.actions.extend(platform.acts.iter().map(|(act, weight)| (Action::Platform(*act), *weight)));
        self.platform = Some(platform);
        self
    }
}

/// Half of the slots are as most slots are.
fn features(random: &mut Random) -> Features {
    if random.coin() {
        return Features::default();
    }
    Features { power_controller: random.coin(), attention_button: random.coin(), latch: random.coin() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_in_some_plan_and_left_out_by_another() {
        let plans: Vec<Plan> = (0..200).map(|seed| Plan::from_seed(&mut Random::new(seed), 4)).collect();
        for (action, _) in Action::ALL {
            let weight = |plan: &Plan| plan.actions.iter().find(|(of, _)| *of == action).map(|(_, w)| *w);
            assert!(plans.iter().any(|plan| weight(plan) > Some(0)), "{action:?} is never done");
            let needed = Action::NEEDED.contains(&action);
            assert_ne!(plans.iter().any(|plan| weight(plan) == Some(0)), needed, "{action:?}");
        }
    }
}
