//! What goes wrong, and how often: in the hardware, and in the code of consumers.

use crate::random::Random;
use std::time::Duration;

/// How often something goes wrong, times in a thousand.
pub type Rate = u32;

/// Faults of a slot's hardware.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardwareFaults {
    /// The slot gets no power.
    pub no_power: Rate,
    /// The link does not come up.
    pub no_link: Rate,
    /// What is on the card cannot be configured; at one of several points on the way.
    pub not_configured: Rate,
    /// A call takes a while.
    pub slow: Rate,
    /// A call takes longer than it may.
    pub hangs: Rate,
}

/// Faults of drivers and consumers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerFaults {
    /// A callback panics.
    pub panics: Rate,
    /// A callback takes a while.
    pub slow: Rate,
    /// A callback takes longer than it may.
    pub hangs: Rate,
    /// A driver does not take a function.
    pub refuses: Rate,
    /// A request to let go is not heard.
    pub ignores: Rate,
    /// A request to let go is met after more time than there is.
    pub late: Rate,
    /// Something that it started on the device goes on after it has let go.
    pub clings: Rate,
    /// It comes back as soon as it has left.
    pub returns: Rate,
}

/// How long a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// No time.
    AtOnce,
    /// Some, within its bounds.
    Slow(Duration),
    /// More than it has.
    Hung(Duration),
}

impl HardwareFaults {
    /// The rates of one world: each fault is left out by some worlds and frequent in others.
    #[must_use]
    pub fn from_seed(random: &mut Random) -> HardwareFaults {
        HardwareFaults {
            no_power: rate(random, 100),
            no_link: rate(random, 100),
            not_configured: rate(random, 150),
            slow: rate(random, 400),
            hangs: rate(random, 60),
        }
    }

    /// How long a call takes that may take `most`.
    pub(crate) fn pace(&self, random: &mut Random, most: Duration) -> Pace {
        pace(random, self.slow, self.hangs, most)
    }
}

impl ConsumerFaults {
    /// As [`HardwareFaults::from_seed`].
    #[must_use]
    pub fn from_seed(random: &mut Random) -> ConsumerFaults {
        ConsumerFaults {
            panics: rate(random, 80),
            slow: rate(random, 400),
            hangs: rate(random, 80),
            refuses: rate(random, 300),
            ignores: rate(random, 400),
            late: rate(random, 300),
            clings: rate(random, 400),
            returns: rate(random, 500),
        }
    }

    /// How long a callback takes that may take `most`.
    pub(crate) fn pace(&self, random: &mut Random, most: Duration) -> Pace {
        pace(random, self.slow, self.hangs, most)
    }
}

fn rate(random: &mut Random, most: u32) -> Rate {
    if random.chance(1, 3) { 0 } else { random.bits() % (most + 1) }
}

fn pace(random: &mut Random, slow: Rate, hangs: Rate, most: Duration) -> Pace {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    match () {
        () if random.chance(hangs, 1000) => Pace::Hung(random.ms(most + 1, most.saturating_mul(20))),
        () if random.chance(slow, 1000) => Pace::Slow(random.ms(1, most / 8)),
        () => Pace::AtOnce,
    }
}
