//! How long accesses of one window may be left waiting. Pure: the time is told.
//!
//! There is no list of who waits. All of a window's waiters share one deadline, that of the first: what they wait for
//! is the same. At the deadline they are woken, touch their pages again, and are told that time is up if they come
//! back soon. So the memory is bounded whatever a consumer does, and nobody waits longer than it may.

use gate::Deadline;
use std::time::{Duration, Instant};

/// How long an access waits while the function is closed. No closer keeps a gate for longer than the longest reset,
/// and a function may take up to 65.5 s to answer after one (RST-05, PWR-09a); a few seconds more, so that whoever
/// waits for a reset sees how it ends.
pub(super) const CLOSED: Duration = Duration::from_secs(70);

/// Who comes back within this time of a deadline was woken by it.
const GRACE: Duration = Duration::from_secs(1);

/// Who is left waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parking {
    /// Nobody, as far as is known.
    Empty,
    /// Somebody, at most until then.
    Parked { until: Instant },
    /// Those who waited have been woken because time is up; who comes back before `back_by` is one of them.
    Overdue { back_by: Instant },
}

impl Parking {
    /// An access is to wait at `now`, at most for `limit`. Gives its deadline, or `None` if its time is up.
    #[must_use = "who is refused has to be failed"]
    pub(super) fn join(&mut self, now: Instant, limit: Duration) -> Option<Deadline> {
        let mine = now.checked_add(limit).map_or_else(|| Deadline::after(limit), Deadline::at).instant();
        let until = match *self {
            Parking::Overdue { back_by } if now < back_by => return None,
            Parking::Parked { until } => until.min(mine),
            Parking::Empty | Parking::Overdue { .. } => mine,
        };
        if until <= now {
            return None;
        }
        *self = Parking::Parked { until };
        Some(Deadline::at(until))
    }

    /// When [`Parking::expire`] is due.
    pub(super) fn deadline(self) -> Option<Deadline> {
        match self {
            Parking::Parked { until } => Some(Deadline::at(until)),
            Parking::Empty | Parking::Overdue { .. } => None,
        }
    }

    /// True if the time of those who wait is up at `now`: they are to be woken.
    #[must_use = "who waits has to be woken"]
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let due = matches!(*self, Parking::Parked { until } if until <= now);
        if due {
            *self = Parking::Overdue { back_by: now + GRACE };
        }
        due
    }

    /// Something has changed that those who failed did not live to see: who comes now may wait again.
    pub(super) fn forgive(&mut self) {
        if matches!(self, Parking::Overdue { .. }) {
            *self = Parking::Empty;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn all_who_wait_share_the_deadline_of_the_first() {
        let start = Instant::now();
        let mut parking = Parking::Empty;
        let first = parking.join(start, LIMIT).unwrap();
        let second = parking.join(start + LIMIT / 2, LIMIT * 2).unwrap();
        assert_eq!((first, parking.deadline()), (second, Some(first)));
        assert!(!parking.expire(first.instant() - Duration::from_nanos(1)));
        assert!(parking.expire(first.instant()));
        assert_eq!(parking.deadline(), None);
    }

    #[test]
    fn who_may_wait_less_brings_the_deadline_forward() {
        let start = Instant::now();
        let mut parking = Parking::Empty;
        let first = parking.join(start, LIMIT).unwrap();
        assert!(parking.join(start, LIMIT / 2).unwrap() < first);
    }

    #[test]
    fn those_who_were_woken_at_the_deadline_fail_and_those_who_come_later_wait_again() {
        let start = Instant::now();
        let mut parking = Parking::Empty;
        let end = parking.join(start, LIMIT).unwrap().instant();
        assert!(parking.expire(end));
        assert_eq!(parking.join(end, LIMIT), None);
        assert_eq!(parking.join(end + GRACE / 2, LIMIT), None);
        assert!(parking.join(end + GRACE, LIMIT).is_some());
    }

    #[test]
    fn who_comes_between_the_deadline_and_its_expiry_fails() {
        let start = Instant::now();
        let mut parking = Parking::Empty;
        let end = parking.join(start, LIMIT).unwrap().instant();
        assert_eq!(parking.join(end, LIMIT), None);
        assert!(parking.expire(end));
    }

    #[test]
    fn no_time_is_no_wait() {
        let mut parking = Parking::Empty;
        assert_eq!(parking.join(Instant::now() + LIMIT, Duration::ZERO), None);
        assert_eq!(parking, Parking::Empty);
    }

    #[test]
    fn a_change_forgives_who_failed_and_forgets_nobody_who_waits() {
        let start = Instant::now();
        let mut parking = Parking::Empty;
        let end = parking.join(start, LIMIT).unwrap().instant();
        parking.forgive();
        assert!(parking.expire(end));
        parking.forgive();
        assert!(parking.join(end, LIMIT).is_some());
    }
}
