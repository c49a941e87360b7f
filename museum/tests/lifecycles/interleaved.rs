//! Resets, power changes, accesses of three consumers, exchange of operations and removal, interleaved.

use super::{bus_reset, consumer, flr, injector, pm_reset, power_cycle, remover, run, sleep, try_resets};
use crate::machine::tally::explore_with;

const ALWAYS: [&str; 3] = ["read", "write", "BAR read"];

#[test]
fn three_consumers_while_functions_are_reset_each_by_itself() {
    // RST-05, RST-07, RST-12
    explore_with(&["read", "write", "BAR read", "FLR", "PM reset", "try reset"], || {
        run(&[consumer, consumer, consumer, flr, pm_reset, try_resets]);
    });
}

#[test]
fn three_consumers_while_a_function_sleeps_and_the_root_port_loses_its_power() {
    // PWR-04, PWR-07, CFG-I10
    explore_with(&["read", "BAR read", "D3hot", "D0", "D3cold", "power"], || {
        run(&[consumer, consumer, consumer, sleep, power_cycle]);
    });
}

#[test]
fn three_consumers_while_the_operations_are_exchanged_under_a_bus_reset() {
    explore_with(&["read", "injection", "exchange", "bus reset"], || {
        run(&[consumer, consumer, consumer, injector, bus_reset]);
    });
}

#[test]
fn everything_at_once_on_a_machine_whose_disk_is_then_pulled() {
    let wanted = ["FLR", "PM reset", "bus reset", "D3hot", "D3cold", "power", "injection", "removal"];
    explore_with(&[&ALWAYS[..], &wanted[..]].concat(), || {
        run(&[consumer, consumer, consumer, flr, pm_reset, bus_reset, sleep, power_cycle, injector, remover]);
    });
}
