//! What is done on the platform's side, how often, and what the machine is like.

use crate::random::Random;

/// Something that is done to, or by, the s390 view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// An operator writes 1 to `power` of a function's slot.
    PowerOn,
    /// An operator writes 0 to it.
    PowerOff,
    /// A function's slot is reset, or asked whether it could be.
    Reset,
    /// A function is recovered.
    Recover,
    /// Somebody writes to `report_error`, sense or nonsense.
    Report,
    /// The platform tells of a function's availability.
    Availability,
    /// The platform tells of an error, under a handle that may be stale.
    Error,
    /// A device finds itself broken.
    Fault,
    /// Somebody lists the functions.
    List,
    /// Somebody asks what a handle names.
    Query,
    /// Somebody enables or disables a function.
    SetFunction,
    /// A kernel does, and asks again while the platform is busy.
    Kernel,
    /// Somebody loads or stores by a handle.
    Instruction,
    /// A client writes to the I/O region, or one that was.
    Request,
}

impl Act {
    /// All of them, with how often they happen where a plan says nothing else.
    pub(crate) const ALL: [(Act, u32); 14] = [
        (Act::PowerOn, 6),
        (Act::PowerOff, 5),
        (Act::Reset, 4),
        (Act::Recover, 6),
        (Act::Report, 1),
        (Act::Availability, 4),
        (Act::Error, 4),
        (Act::Fault, 1),
        (Act::List, 1),
        (Act::Query, 2),
        (Act::SetFunction, 4),
        (Act::Kernel, 3),
        (Act::Instruction, 12),
        (Act::Request, 12),
    ];
}

/// What the s390 view of a machine is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// What is done, by weight.
    pub acts: Vec<(Act, u32)>,
    /// Functions have identifiers of their users'.
    pub uids: bool,
    /// Bits of a handle's generation: few make handles run out.
    pub generation_bits: u32,
    /// Bytes of the longest block store.
    pub max_store: u16,
}

impl Platform {
    /// The platform of a seed.
    #[must_use]
    pub fn from_seed(random: &mut Random) -> Platform {
        let acts = Act::ALL.map(|(act, often)| {
            let left_out = random.chance(1, 5);
            (act, if left_out { 0 } else { often * [1, 1, 2, 5][random.below(4)] })
        });
        Platform {
            acts: acts.to_vec(),
            uids: random.coin(),
            generation_bits: [19, 19, 6, 3][random.below(4)],
            max_store: [128, 128, 64, 4096][random.below(4)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_act_is_in_some_plan_and_left_out_by_another() {
        let plans: Vec<Platform> = (0..200).map(|seed| Platform::from_seed(&mut Random::new(seed))).collect();
        for (act, _) in Act::ALL {
            let weight = |plan: &Platform| plan.acts.iter().find(|(of, _)| *of == act).map_or(0, |(_, w)| *w);
            assert!(plans.iter().any(|plan| weight(plan) > 0), "{act:?} is never done");
            assert!(plans.iter().any(|plan| weight(plan) == 0), "{act:?} is always done");
        }
    }
}
