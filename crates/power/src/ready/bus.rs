//! The order of waits for what is behind a bridge, after its bus was reset or got power.

use super::{PATIENCE, READY_LIMIT};
use std::time::Duration;

/// What connects the bridge with its secondary bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// Conventional PCI: nothing tells when a device is ready.
    Conventional,
    /// PCI Express up to 5 GT/s.
    Slow {
        /// The port reports whether its link is active.
        reports_active: bool,
    },
    /// PCI Express above 5 GT/s: such a port always reports whether its link is active.
    Fast,
}

/// One wait of PWR-08, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// This time passes.
    Pass(Duration),
    /// The link gets active within this time, or the wait has failed.
    LinkWithin(Duration),
    /// The link is active now, or the wait has failed.
    LinkNow,
    /// The first function gets ready within a series to this limit, and the wait is over; if not, the next phase decides.
    Device(Duration),
}

/// Before the link of a fast port is looked at: 20 ms.
const BEFORE_LINK: Duration = Duration::from_millis(20);
/// How long a fast link may train: 1 s.
const LINK_TRAINS: Duration = Duration::from_millis(1000);
/// Conventional PCI gives a device 2^25 clocks after reset, which is about 1 s. PCI Local Bus 3.0 s4.3.2 *Timing
/// Parameters* (`Trhfa`).
const CONVENTIONAL_SETTLES: Duration = Duration::from_millis(1000);

/// The waits for a secondary bus (PWR-08); `delay` is what its functions ask for before their first access: 100 ms unless
/// all of them are ready immediately. The wait has failed if the last phase has.
#[must_use]
pub fn phases(link: LinkKind, delay: Duration) -> Vec<Phase> {
    match link {
        LinkKind::Conventional => vec![Phase::Pass(CONVENTIONAL_SETTLES + delay)],
        LinkKind::Slow { reports_active } => {
            let mut phases = vec![Phase::Pass(delay), Phase::Device(PATIENCE.saturating_sub(delay))];
            if reports_active {
                phases.extend([Phase::LinkNow, Phase::Device(READY_LIMIT - PATIENCE)]);
            }
            phases
        }
        LinkKind::Fast => vec![
            Phase::Pass(BEFORE_LINK),
            Phase::LinkWithin(LINK_TRAINS),
            Phase::Pass(delay),
            Phase::Device(READY_LIMIT.saturating_sub(delay)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn pwr_08_a_slow_link_waits_for_the_device_first_and_asks_for_the_link_after_a_second() {
        let phases = phases(LinkKind::Slow { reports_active: true }, ms(100));
        assert_eq!(
            phases,
            [Phase::Pass(ms(100)), Phase::Device(ms(900)), Phase::LinkNow, Phase::Device(ms(59_000))]
        );
    }

    #[test]
    fn pwr_08_a_slow_port_that_cannot_tell_gives_up_after_a_second() {
        let phases = phases(LinkKind::Slow { reports_active: false }, ms(100));
        assert_eq!(phases, [Phase::Pass(ms(100)), Phase::Device(ms(900))]);
    }

    #[test]
    fn pwr_08_a_fast_link_is_waited_for_before_the_device() {
        let phases = phases(LinkKind::Fast, ms(100));
        assert_eq!(
            phases,
            [
                Phase::Pass(ms(20)),
                Phase::LinkWithin(ms(1000)),
                Phase::Pass(ms(100)),
                Phase::Device(ms(59_900))
            ]
        );
    }

    #[test]
    fn pwr_08_conventional_pci_only_gets_its_time() {
        assert_eq!(phases(LinkKind::Conventional, ms(100)), [Phase::Pass(ms(1100))]);
    }
}
