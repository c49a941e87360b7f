//! The series of waits for one function: 1, 2, 4, 8 ... ms.

use super::{Answer, PATIENCE};
use std::time::Duration;

/// The pure series; see [`Series::step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// The next wait; all waits before it add up to one less.
    next_ms: u64,
    limit_ms: u64,
    may_retrain: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Ready; `tell` says whether that took long enough for the operator to hear of it.
    Ready {
        /// Waited so far.
        after: Duration,
        /// Whether it is worth a line.
        tell: bool,
    },
    /// Let this time pass, and look again.
    Sleep {
        /// How long.
        delay: Duration,
        /// Waited so far, if that is worth a line.
        tell: Option<Duration>,
    },
    /// Train the link anew: [`Series::restart`] if that worked, look again in either case.
    Retrain,
    /// Not ready in time.
    GiveUp {
        /// Waited so far.
        after: Duration,
    },
    /// Marked disconnected: nothing is waited for.
    Disconnected,
}

impl Series {
    /// A series that gives up at the first wait longer than `limit`, not when the waits add up to it (PWR-09a): 60 s are
    /// 65.535 s, 1 s is 1.023 s. With `may_retrain` it asks once for a retrained link, when it has waited for 1 s.
    #[must_use]
    pub fn new(limit: Duration, may_retrain: bool) -> Series {
        Series { next_ms: 1, limit_ms: whole_ms(limit), may_retrain }
    }

    /// What follows from a look at the function.
    pub fn step(&mut self, answer: Answer) -> Step {
        let after = Duration::from_millis(self.next_ms - 1);
        let long = self.next_ms > whole_ms(PATIENCE);
        match answer {
            Answer::Disconnected => Step::Disconnected,
            Answer::Ready => Step::Ready { after, tell: long },
            Answer::NotYet if self.next_ms > self.limit_ms => Step::GiveUp { after },
            Answer::NotYet if long && self.may_retrain => {
                self.may_retrain = false;
                Step::Retrain
            }
            Answer::NotYet => {
                let delay = Duration::from_millis(self.next_ms);
                self.next_ms = self.next_ms.saturating_mul(2);
                Step::Sleep { delay, tell: long.then_some(after) }
            }
        }
    }

    /// The link was trained anew: starts at 1 ms again.
    pub fn restart(&mut self) {
        self.next_ms = 1;
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All waits of a function that never gets ready, and when the series gives up.
    fn never_ready(mut series: Series) -> (Vec<u128>, u128) {
        let mut waits = Vec::new();
        loop {
            match series.step(Answer::NotYet) {
                Step::Sleep { delay, .. } => waits.push(delay.as_millis()),
                Step::GiveUp { after } => return (waits, after.as_millis()),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn pwr_09_waits_double_from_one_millisecond() {
        let (waits, _) = never_ready(Series::new(Duration::from_secs(60), false));
        let expected: Vec<u128> = (0..16).map(|bit| 1 << bit).collect();
        assert_eq!(waits, expected);
    }

    #[test]
    fn pwr_09a_the_limit_is_compared_with_the_next_wait_and_not_with_the_sum() {
        let after = |limit| never_ready(Series::new(Duration::from_millis(limit), false)).1;
        assert_eq!(after(60_000), 65_535);
        assert_eq!(after(1000), 1023);
        assert_eq!(after(1024), 2047, "a wait as long as the limit is still made");
        assert_eq!(after(0), 0);
    }

    #[test]
    fn pwr_09a_a_retrained_link_starts_the_series_again() {
        let mut series = Series::new(Duration::from_secs(60), true);
        let mut sum = 0;
        while let Step::Sleep { delay, .. } = series.step(Answer::NotYet) {
            sum += delay.as_millis();
        }
        assert_eq!(sum, 1023, "RST-10: retrained at the mark of 1 s, and the loop ended with Retrain");
        series.restart();
        let (waits, after) = never_ready(series);
        assert_eq!((waits[0], after), (1, 65_535), "once only");
    }

    #[test]
    fn pwr_09_a_disconnected_function_is_not_waited_for() {
        let mut series = Series::new(Duration::from_secs(60), true);
        assert_eq!(series.step(Answer::Disconnected), Step::Disconnected);
    }

    #[test]
    fn rst_10_only_waits_above_a_second_are_told() {
        let mut series = Series::new(Duration::from_secs(60), false);
        for _ in 0..10 {
            assert!(matches!(series.step(Answer::NotYet), Step::Sleep { tell: None, .. }));
        }
        let told = series.step(Answer::NotYet);
        assert!(
            matches!(told, Step::Sleep { tell: Some(after), .. } if after.as_millis() == 1023),
            "{told:?}"
        );
        assert!(matches!(series.step(Answer::Ready), Step::Ready { tell: true, .. }));
        assert!(matches!(Series::new(PATIENCE, false).step(Answer::Ready), Step::Ready { tell: false, .. }));
    }
}
