//! Every operation at once with every other one, and with itself: each pair ends in every schedule.
//!
//! A test is of one operation. Its schedules take turns with the others, and it has to succeed in some of them.

use super::acts::{ACTS, Act};
use super::run;
use crate::machine::tally::explore_part;
use std::cell::Cell;

/// As often as there are operations: a part of it for each.
const PART: usize = 20;

std::thread_local! {
    /// Which operation is tried, and how many schedules there were of it. shuttle runs all threads of a scenario on the
    /// thread that checks it.
    static TURN: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// Says which pair it was in which the schedule failed.
struct Pair(&'static Act, &'static Act);

impl Drop for Pair {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("failed: {} with {}", self.0.name, self.1.name);
        }
    }
}

/// One schedule of the next pair.
fn take_turns() {
    let (which, schedule) = TURN.get();
    TURN.set((which, schedule + 1));
    let pair = Pair(&ACTS[which], &ACTS[schedule % ACTS.len()]);
    run(&[pair.0.act, pair.1.act]);
}

/// Runs the operation of this name with each.
fn with_each(name: &'static str) {
    let which = ACTS.iter().position(|act| act.name == name).unwrap();
    TURN.set((which, 0));
    explore_part(PART, &[name], &[], take_turns);
}

macro_rules! with_each {
    ($($test:ident: $name:literal,)*) => {$(
        #[test]
        fn $test() {
            with_each($name);
        }
    )*};
}

with_each! {
    virtual_functions_are_switched_with_each_of_the_others: "virtual functions",
    a_function_level_reset_with_each_of_the_others: "FLR",
    a_function_level_reset_of_a_virtual_function_with_each_of_the_others: "VF FLR",
    a_bus_reset_with_each_of_the_others: "bus reset",
    a_recovery_with_each_of_the_others: "recovery",
    a_recovery_of_a_virtual_function_with_each_of_the_others: "VF recovery",
    a_slot_reset_with_each_of_the_others: "slot reset",
    a_removal_and_a_rescan_with_each_of_the_others: "rescan",
    an_unbind_and_a_bind_with_each_of_the_others: "attach",
    the_power_of_a_slot_with_each_of_the_others: "power",
    a_configuration_off_and_on_with_each_of_the_others: "configuration",
    a_report_with_each_of_the_others: "report",
    availability_events_with_each_of_the_others: "availability",
    error_events_with_each_of_the_others: "error event",
    region_requests_with_each_of_the_others: "region",
    instructions_with_each_of_the_others: "instructions",
    set_function_with_each_of_the_others: "set function",
}
