//! What a forest is made of and what happens in it, how often. A seed makes a plan.
//!
//! Plans differ much: each leaves some acts and faults out, as in the world of slots.

use crate::random::Random;
use contain::budget::FreezeBudget;
use contain::settings::Settings;
use std::time::Duration;

/// Something that somebody does, or that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// A function fails: its sentinel hears of it.
    Fail,
    /// As before, while somebody has a pass of that function.
    FailInside,
    /// Somebody else says so of a function.
    Notice,
    /// Several functions fail before anybody looks.
    Burst,
    /// Somebody reads registers of a function that may not answer.
    Read,
    /// AER reports an error.
    Report,
    /// The platform reports an error of a segment.
    Special,
    /// An operator freezes a PE.
    Freeze,
    /// An operator thaws a PE.
    Thaw,
    /// An operator has a PE recovered.
    Recover,
    /// An operator switches errors off or on, recovery off or on, or sets another budget.
    Switch,
    /// A client resets a function, or wants it thawed.
    ClientReset,
    /// Something is plugged.
    Plug,
    /// Something is pulled, with all that is below it.
    Pull,
    /// Something is pulled, and another one is in its place.
    Replace,
    /// A bus is below another bridge from now on.
    Move,
    /// The topology is followed.
    Follow,
    /// Somebody else has a function from now on.
    Rebind,
    /// Somebody holds a PE, or lets it go.
    Hold,
    /// The front takes its turn.
    Turn,
    /// A recovery is driven.
    Drive,
    /// Somebody answers late.
    Answer,
    /// Time passes.
    Time,
    /// Everybody stops, and what is left is counted.
    Rest,
}

impl Act {
    /// What people and hardware do, with how often where a plan says nothing else.
    const DONE: [(Act, u32); 19] = [
        (Act::Fail, 10),
        (Act::FailInside, 5),
        (Act::Notice, 4),
        (Act::Burst, 2),
        (Act::Read, 6),
        (Act::Report, 4),
        (Act::Special, 1),
        (Act::Freeze, 3),
        (Act::Thaw, 6),
        (Act::Recover, 3),
        (Act::Switch, 1),
        (Act::ClientReset, 6),
        (Act::Plug, 5),
        (Act::Pull, 3),
        (Act::Replace, 2),
        (Act::Move, 1),
        (Act::Follow, 8),
        (Act::Rebind, 4),
        (Act::Hold, 2),
    ];

    /// Those without which nothing ever happens.
    const NEEDED: [Act; 3] = [Act::Fail, Act::Plug, Act::Follow];
}

/// How often somebody who is called does what he should not, times in a thousand.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// He answers something that he was not asked for, or not the best.
    pub odd: u32,
    /// He answers later.
    pub late: u32,
    /// He never answers.
    pub silent: u32,
    /// He panics.
    pub panics: u32,
    /// He does not return for a while.
    pub hangs: u32,
    /// A model does not save or restore.
    pub models: u32,
    /// The platform fails.
    pub platform: u32,
}

/// See the module's head.
#[derive(Clone, Debug)]
pub struct Plan {
    /// PEs at the beginning.
    pub pes: usize,
    /// Segments at the most.
    pub segments: u16,
    /// What an operator has set.
    pub settings: Settings,
    /// What is done, by weight.
    pub acts: Vec<(Act, u32)>,
    /// What goes wrong.
    pub faults: Faults,
    /// How often something is done before anything due is, times in a hundred.
    pub haste: u32,
    /// Steps between two moments of rest.
    pub rest_every: u64,
    /// Steps between two looks at everything; in between, a few functions are looked at.
    pub look_every: u64,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn from_seed(random: &mut Random) -> Plan {
        let pes = size(random);
        let acts = Act::DONE.map(|(act, often)| {
            let left_out = random.chance(1, 5) && !Act::NEEDED.contains(&act);
            (act, if left_out { 0 } else { often * [1, 1, 2, 5][random.below(4)] })
        });
        let large = pes > 400;
        let settings = Settings {
            budget: FreezeBudget {
                max_freezes: [1, 3, 5, 1000][random.below(4)],
                window: Duration::from_secs([60, 600, 3600][random.below(3)]),
            },
            time_scale: [0.0, 0.1, 1.0][random.below(3)],
            call_timeout: random.ms(100, 20_000),
            // In real time too, if ever a model is not quiet, which no model here is.
            quiesce_timeout: Duration::from_millis(100),
            orphan_threshold: random.ms(0, 100_000),
            queue_capacity: [1, 2, 8, 4096][random.below(4)],
            history: [16, 256][random.below(2)],
            enabled: true,
            recover: !random.chance(1, 10),
        };
        Plan {
            pes,
            segments: if random.coin() {
                1
            } else {
                u16::try_from(2 + pes / 200).unwrap_or(u16::MAX).min(64)
            },
            settings,
            acts: acts.to_vec(),
            faults: Faults::from_seed(random),
            haste: [20, 50, 80][random.below(3)],
            rest_every: if large { 2_000 } else { [150, 500, 2_000][random.below(3)] },
            look_every: 1 + u64::try_from(pes / 4).unwrap_or(u64::MAX),
        }
    }
}

impl Faults {
    fn from_seed(random: &mut Random) -> Faults {
        let mut rate = || if random.chance(1, 3) { 0 } else { [5, 30, 150][random.below(3)] };
        Faults {
            odd: rate(),
            late: rate(),
            silent: rate() / 2,
            panics: rate() / 2,
            hangs: rate() / 3,
            models: rate(),
            platform: rate(),
        }
    }
}

/// Mostly small: there is more that can meet in a small forest. One in five hundred is very large.
fn size(random: &mut Random) -> usize {
    match random.below(500) {
        0 => 2_000 + random.below(8_001),
        1..=4 => 400 + random.below(1_600),
        5..=39 => 60 + random.below(340),
        40..=199 => 12 + random.below(48),
        _ => 1 + random.below(12),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_act_is_in_some_plan_and_left_out_by_another_and_forests_are_of_all_sizes() {
        let plans: Vec<Plan> = (0..3_000).map(|seed| Plan::from_seed(&mut Random::new(seed))).collect();
        for (act, _) in Act::DONE {
            let weight = |plan: &Plan| plan.acts.iter().find(|(of, _)| *of == act).map(|(_, w)| *w);
            assert!(plans.iter().any(|plan| weight(plan) > Some(0)), "{act:?} is never done");
            let needed = Act::NEEDED.contains(&act);
            assert_ne!(plans.iter().any(|plan| weight(plan) == Some(0)), needed, "{act:?}");
        }
        assert!(plans.iter().any(|plan| plan.pes == 1));
        assert!(plans.iter().any(|plan| plan.pes > 5_000));
    }
}
