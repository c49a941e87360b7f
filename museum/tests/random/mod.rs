//! Runs a scenario under shuttle's random and PCT schedulers and says how many schedules that took.
//!
//! It prints `schedules explored: N` when the scenario holds and `found in schedule: N` when it fails, as `tests/schedules`
//! of the gate does for loom. `SHUTTLE_ITERATIONS` is the number of schedules of each of the two schedulers.
#![allow(dead_code, reason = "each test uses its part")]

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A bug of few ordering points is found with a depth that is not much larger.
const DEPTH: usize = 4;

std::thread_local! {
    /// The schedule that runs. shuttle runs all threads of a scenario on the thread that checks it.
    static SCHEDULE: Cell<usize> = const { Cell::new(0) };
}

fn iterations() -> usize {
    std::env::var("SHUTTLE_ITERATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(5000)
}

/// Explores `scenario` with both schedulers, from a seed that is always the same.
///
/// # Panics
/// As the scenario does, or when all its threads sleep.
pub(crate) fn explore(scenario: fn()) -> usize {
    explore_a_part(1, scenario)
}

/// As [`explore`], with one `part`th of the schedules: for scenarios of which each takes as much longer.
pub(crate) fn explore_a_part(part: usize, scenario: fn()) -> usize {
    explore_for(iterations().div_ceil(part), scenario)
}

/// As [`explore`], with that many times the schedules: for what shows itself in few of them.
#[allow(dead_code, reason = "not every checker has such a scenario")]
pub(crate) fn explore_times(times: usize, scenario: fn()) -> usize {
    explore_for(iterations().saturating_mul(times), scenario)
}

fn explore_for(iterations: usize, scenario: fn()) -> usize {
    const SEED: u64 = 0x6761_7465;
    SCHEDULE.set(0);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // First the one that finds most at once.
        run(PctScheduler::new_from_seed(SEED, DEPTH, iterations), scenario);
        run(RandomScheduler::new_from_seed(SEED, iterations), scenario);
    }));
    let schedule = SCHEDULE.get();
    match outcome {
        Ok(()) => println!("schedules explored: {schedule}"),
        Err(panic) => {
            println!("found in schedule: {schedule}");
            std::panic::resume_unwind(panic);
        }
    }
    schedule
}

fn run(scheduler: impl Scheduler + 'static, scenario: fn()) {
    let mut config = Config::new();
    config.stack_size = 0x40000;
    // The seed finds it again; a schedule is many lines.
    config.failure_persistence = FailurePersistence::None;
    // That orderings are not modelled: loom does that.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(move || {
        SCHEDULE.set(SCHEDULE.get() + 1);
        scenario();
    });
}
