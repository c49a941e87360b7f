//! Walks the series over somebody who can look and let time pass.

use super::{Answer, LinkKind, Phase, Progress, Series, Stage, Step, phases};
use gate::Gone;
use std::time::Duration;
use thiserror::Error;

/// Between two looks at a link that trains.
const LINK_POLL: Duration = Duration::from_millis(1);

/// A function that is waited for, in the hands of whoever keeps its gate closed.
pub trait Watched {
    /// Looks once.
    ///
    /// # Errors
    /// [`Gone`]: the function was removed, which ends the wait.
    fn look(&mut self) -> Result<Answer, Gone>;

    /// Lets time pass.
    ///
    /// # Errors
    /// [`Gone`] at once when the function is removed meanwhile (law 4).
    fn pass(&mut self, duration: Duration) -> Result<(), Gone>;

    /// Trains the link above the function anew; true if it is up again. Asked for once at most.
    ///
    /// # Errors
    /// [`Gone`]: the function was removed.
    fn retrain(&mut self) -> Result<bool, Gone> {
        Ok(false)
    }

    /// Tells the operator.
    fn tell(&mut self, progress: Progress);
}

/// The first function behind a bridge, and the link between them.
pub trait SecondaryBus: Watched {
    /// Whether the link is active.
    ///
    /// # Errors
    /// [`Gone`]: the function was removed.
    fn link_active(&mut self) -> Result<bool, Gone>;
}

/// Why a function is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotReady {
    /// It did not answer in time.
    #[error("not ready after {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The link did not come up.
    #[error("the link is not active")]
    NoLink,
    /// It is marked disconnected.
    #[error("the function is disconnected")]
    Disconnected,
    /// It was removed.
    #[error("the function is gone")]
    Gone,
}

impl From<Gone> for NotReady {
    fn from(_: Gone) -> NotReady {
        NotReady::Gone
    }
}

/// Waits until the function is ready; `what` names in the operator's lines what was done to it. Answers how long that
/// took.
///
/// # Errors
/// [`NotReady`]; the operator was told if time ran out.
pub fn wait(
    watched: &mut (impl Watched + ?Sized),
    limit: Duration,
    may_retrain: bool,
    what: &'static str,
) -> Result<Duration, NotReady> {
    let mut series = Series::new(limit, may_retrain);
    // Ends: the waits double up to the limit, and start again once at most.
    loop {
        let answer = watched.look()?;
        match series.step(answer) {
            Step::Ready { after, tell } => {
                if tell {
                    watched.tell(Progress { after, what, stage: Stage::Ready });
                }
                return Ok(after);
            }
            Step::Disconnected => return Err(NotReady::Disconnected),
            Step::GiveUp { after } => {
                watched.tell(Progress { after, what, stage: Stage::GivingUp });
                return Err(NotReady::TimedOut(after));
            }
            Step::Retrain => {
                if watched.retrain()? {
                    series.restart();
                }
            }
            Step::Sleep { delay, tell } => {
                if let Some(after) = tell {
                    watched.tell(Progress { after, what, stage: Stage::Waiting });
                }
                watched.pass(delay)?;
            }
        }
    }
}

/// Waits until what is behind a bridge answers, after its bus was reset or got power (PWR-08).
///
/// # Errors
/// [`NotReady`]: the consumer of a reset gets ENOTTY; on a resume everything below counts as disconnected.
pub fn wait_for_secondary_bus(
    bus: &mut (impl SecondaryBus + ?Sized),
    link: LinkKind,
    delay: Duration,
    may_retrain: bool,
    what: &'static str,
) -> Result<(), NotReady> {
    let phases = phases(link, delay);
    let mut failed = None;
    for phase in phases {
        match phase {
            Phase::Pass(duration) => bus.pass(duration)?,
            Phase::LinkWithin(limit) => wait_for_link(bus, limit)?,
            Phase::LinkNow => {
                if !bus.link_active()? {
                    return Err(NotReady::NoLink);
                }
            }
            Phase::Device(limit) => match wait(bus, limit, may_retrain, what) {
                Ok(_) => return Ok(()),
                Err(error @ NotReady::TimedOut(_)) => failed = Some(error),
                Err(error) => return Err(error),
            },
        }
    }
    // Conventional PCI has no phase that could fail.
    failed.map_or(Ok(()), Err)
}

fn wait_for_link(bus: &mut (impl SecondaryBus + ?Sized), limit: Duration) -> Result<(), NotReady> {
    let mut waited = Duration::ZERO;
    while !bus.link_active()? {
        if waited >= limit {
            return Err(NotReady::NoLink);
        }
        bus.pass(LINK_POLL)?;
        waited += LINK_POLL;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ready::READY_LIMIT;

    /// A bus on which everything comes up at a given time.
    #[derive(Default)]
    struct Script {
        now: Duration,
        link_at: Option<Duration>,
        ready_at: Option<Duration>,
        disconnected_at: Option<Duration>,
        gone_at: Option<Duration>,
        retrain: Option<bool>,
        retrained: u32,
        told: Vec<String>,
    }

    impl Script {
        fn reached(&self, at: Option<Duration>) -> bool {
            at.is_some_and(|at| self.now >= at)
        }
    }

    impl Watched for Script {
        fn look(&mut self) -> Result<Answer, Gone> {
            Ok(if self.reached(self.disconnected_at) {
                Answer::Disconnected
            } else if self.reached(self.ready_at) {
                Answer::Ready
            } else {
                Answer::NotYet
            })
        }
        fn pass(&mut self, duration: Duration) -> Result<(), Gone> {
            self.now += duration;
            if self.reached(self.gone_at) { Err(Gone) } else { Ok(()) }
        }
        fn retrain(&mut self) -> Result<bool, Gone> {
            self.retrained += 1;
            Ok(self.retrain == Some(true))
        }
        fn tell(&mut self, progress: Progress) {
            self.told.push(progress.to_string());
        }
    }

    impl SecondaryBus for Script {
        fn link_active(&mut self) -> Result<bool, Gone> {
            Ok(self.reached(self.link_at))
        }
    }

    const fn ms(ms: u64) -> Option<Duration> {
        Some(Duration::from_millis(ms))
    }

    fn bus(script: &mut Script, link: LinkKind) -> Result<(), NotReady> {
        wait_for_secondary_bus(script, link, Duration::from_millis(100), false, "resume")
    }

    #[test]
    fn pwr_09_a_function_is_ready_at_the_first_look_after_it_is() {
        let mut script = Script { ready_at: ms(20), ..Script::default() };
        assert_eq!(wait(&mut script, READY_LIMIT, true, "FLR"), Ok(Duration::from_millis(31)));
        assert!(script.told.is_empty() && script.retrained == 0);
    }

    #[test]
    fn pwr_09a_a_function_that_never_answers_is_given_up_after_65535_ms() {
        let mut script = Script { retrain: Some(false), ..Script::default() };
        let waited = wait(&mut script, READY_LIMIT, true, "FLR");
        assert_eq!(waited, Err(NotReady::TimedOut(Duration::from_millis(65_535))));
        assert_eq!(script.now, Duration::from_millis(65_535));
        assert_eq!(script.retrained, 1, "RST-10: one attempt");
        assert_eq!(script.told.len(), 7, "1023 ms to 32767 ms, and the last word: {:?}", script.told);
        assert_eq!(script.told[6], "not ready 65535 ms after FLR; giving up");
    }

    #[test]
    fn pwr_09a_a_retrained_link_gives_the_function_the_whole_time_again() {
        let mut script = Script { retrain: Some(true), ..Script::default() };
        assert!(wait(&mut script, READY_LIMIT, true, "FLR").is_err());
        assert_eq!(script.now, Duration::from_millis(1023 + 65_535));
        assert_eq!(script.retrained, 1);
    }

    #[test]
    fn pwr_09_a_disconnected_or_removed_function_ends_the_wait_at_once() {
        let mut script = Script { disconnected_at: ms(3), ..Script::default() };
        assert_eq!(wait(&mut script, READY_LIMIT, false, "FLR"), Err(NotReady::Disconnected));
        assert_eq!(script.now, Duration::from_millis(3));
        let mut script = Script { gone_at: ms(3), ..Script::default() };
        assert_eq!(wait(&mut script, READY_LIMIT, false, "FLR"), Err(NotReady::Gone));
        assert_eq!(script.now, Duration::from_millis(3));
    }

    #[test]
    fn pwr_08_a_slow_link_that_is_down_after_a_second_has_failed() {
        let slow = LinkKind::Slow { reports_active: true };
        let mut script = Script::default();
        assert_eq!(bus(&mut script, slow), Err(NotReady::NoLink));
        assert_eq!(script.now, Duration::from_millis(100 + 1023));
        let mut script = Script { link_at: ms(0), ready_at: ms(30_000), ..Script::default() };
        assert_eq!(bus(&mut script, slow), Ok(()));
        let mut script = Script { ready_at: ms(0), ..Script::default() };
        assert_eq!(bus(&mut script, slow), Ok(()), "a device that answers needs no report of its link");
        assert_eq!(script.now, Duration::from_millis(100));
    }

    #[test]
    fn pwr_08_a_slow_port_without_link_reporting_gives_its_device_a_second() {
        let mut script = Script { ready_at: ms(2000), ..Script::default() };
        let failed = bus(&mut script, LinkKind::Slow { reports_active: false });
        assert_eq!(failed, Err(NotReady::TimedOut(Duration::from_millis(1023))));
    }

    #[test]
    fn pwr_08_a_fast_link_has_a_second_to_train_and_its_device_a_minute() {
        let mut script = Script::default();
        assert_eq!(bus(&mut script, LinkKind::Fast), Err(NotReady::NoLink));
        assert_eq!(script.now, Duration::from_millis(1020));
        let mut script = Script { link_at: ms(500), ready_at: ms(600), ..Script::default() };
        assert_eq!(bus(&mut script, LinkKind::Fast), Ok(()));
        assert_eq!(script.now, Duration::from_millis(600), "the link, then 100 ms");
        let mut script = Script { link_at: ms(0), ..Script::default() };
        assert!(matches!(bus(&mut script, LinkKind::Fast), Err(NotReady::TimedOut(_))));
        assert_eq!(script.now, Duration::from_millis(120 + 65_535));
    }

    #[test]
    fn pwr_08_conventional_pci_gets_1100_ms_and_is_not_looked_at() {
        let mut script = Script::default();
        assert_eq!(bus(&mut script, LinkKind::Conventional), Ok(()));
        assert_eq!(script.now, Duration::from_millis(1100));
    }
}
