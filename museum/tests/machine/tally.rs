//! What the schedules of a scenario have come to: a scenario in which nothing succeeds would prove nothing.

use crate::random::{explore_a_part, explore_times};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// A schedule of a whole machine takes as long as that many of a single function.
const PART: usize = 25;

std::thread_local! {
    /// Successes and failures by name. shuttle runs all threads of a scenario on the thread that checks it.
    static TALLY: RefCell<BTreeMap<&'static str, (usize, usize)>> = const { RefCell::new(BTreeMap::new()) };
}

/// Counts how something ended.
pub(crate) fn note<T, E>(what: &'static str, result: &Result<T, E>) {
    TALLY.with_borrow_mut(|tally| {
        let (done, refused) = tally.entry(what).or_default();
        *if result.is_ok() { done } else { refused } += 1;
    });
}

/// Explores `scenario`, and asserts that all of `wanted` has happened in it.
pub(crate) fn explore_with(wanted: &[&str], scenario: fn()) {
    explore_part(PART, wanted, &[], scenario);
}

/// Explores one `part`th of the schedules of `scenario`, and asserts that all of `wanted` has happened in it, and nothing of
/// `never`.
pub(crate) fn explore_part(part: usize, wanted: &[&str], never: &[&str], scenario: fn()) {
    tell_of(wanted, never, || explore_a_part(part, scenario));
}

/// As [`explore_part`], with that many times the schedules.
#[allow(dead_code, reason = "not every checker has such a scenario")]
pub(crate) fn explore_much(times: usize, wanted: &[&str], never: &[&str], scenario: fn()) {
    tell_of(wanted, never, || explore_times(times, scenario));
}

fn tell_of(wanted: &[&str], never: &[&str], explore: impl FnOnce() -> usize) {
    TALLY.take();
    explore();
    let tally = TALLY.take();
    println!("done and refused: {tally:?}");
    let done = |what: &&str| tally.get(what).map_or(0, |(done, _)| *done);
    for what in wanted {
        assert_ne!(done(what), 0, "no {what} has succeeded in any schedule");
    }
    for what in never {
        assert_eq!(done(what), 0, "{what} in a scenario that has none");
    }
}
