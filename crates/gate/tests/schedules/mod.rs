//! Runs a model under loom and says how many schedules that took.
//!
//! It prints `schedules explored: N` when the model holds and `found in schedule: N` when it fails, for `cargo xtask
//! museum`. The usual run bounds the preemptions; the full one explores two threads to
//! the end.
#![allow(dead_code, reason = "each test uses its part")]

use std::cell::Cell;
use std::sync::Once;

thread_local! {
    /// The schedule that runs. loom runs all threads of a model on the thread that checks it.
    static SCHEDULE: Cell<usize> = const { Cell::new(0) };
}

/// Two threads: up to three preemptions; all schedules with `LOOM_FULL` in the environment.
pub(crate) fn two_threads(body: impl Fn() + Sync + Send + 'static) -> usize {
    explore(if full() { None } else { Some(3) }, body)
}

/// Three threads: up to two preemptions, three with `LOOM_FULL` in the environment.
pub(crate) fn three_threads(body: impl Fn() + Sync + Send + 'static) -> usize {
    explore(if full() { Some(3) } else { Some(2) }, body)
}

fn full() -> bool {
    std::env::var_os("LOOM_FULL").is_some()
}

/// Every schedule with at most `preemptions`, or every schedule; how many there were.
pub(crate) fn explore(preemptions: Option<usize>, body: impl Fn() + Sync + Send + 'static) -> usize {
    static HOOK: Once = Once::new();
    HOOK.call_once(print_schedule_of_first_failure);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    SCHEDULE.set(0);
    builder.check(move || {
        SCHEDULE.set(SCHEDULE.get() + 1);
        body();
    });
    let explored = SCHEDULE.replace(0);
    println!("schedules explored: {explored}");
    explored
}

/// A hook, because a failed model may end the process: what it drops while it unwinds can fail again.
fn print_schedule_of_first_failure() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let schedule = SCHEDULE.replace(0);
        if schedule > 0 {
            eprintln!("found in schedule: {schedule}");
        }
        before(panic);
    }));
}
