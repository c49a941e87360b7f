//! Closes of sets of gates that overlap: whoever needs several gets all of them or none, and nobody waits in a circle.

use super::{bus_reset, consumer, flr, power_cycle, run, sleep, try_resets};
use crate::machine::tally::{explore_with, note};
use crate::machine::{DISK, Machine, linger};
use gate::ThreadToken;
use pci_spec::Bdf;
use reset::hot::{Claim, Dependent, Opened, Ownership};

/// Freezes and thaws the disk, as the detection of an error and its recovery do.
fn freezer(machine: &Machine, _token: &mut ThreadToken) {
    for _ in 0..2 {
        linger();
        machine.parts.disk.gate.freeze();
        linger();
        machine.parts.disk.gate.thaw();
    }
}

#[test]
fn a_bus_reset_meets_the_flr_of_one_child_the_sleep_of_another_and_a_freeze() {
    // RST-14
    explore_with(&["bus reset", "FLR", "D3hot", "read"], || {
        run(&[bus_reset, flr, sleep, freezer, consumer]);
    });
}

#[test]
fn a_bus_reset_meets_the_loss_of_power_of_the_same_bus() {
    explore_with(&["bus reset", "D3cold", "power"], || run(&[bus_reset, power_cycle, flr, freezer]));
}

/// A consumer that has opened everything on the bus.
struct All;

impl Ownership for All {
    fn dependent(&self, _: Bdf) -> Option<Dependent> {
        Some(Dependent::Device(1))
    }

    fn owns(&self, _: Bdf) -> bool {
        true
    }
}

/// Waits for nobody, so it takes a few attempts.
fn hot_reset(machine: &Machine, token: &mut ThreadToken) {
    for _ in 0..8 {
        linger();
        let snapshot = machine.snapshot(token);
        note(
            "hot reset",
            &machine.resets.hot_reset(token, &snapshot, DISK, &All, Opened::BySelf, Claim::Owned),
        );
    }
}

#[test]
fn bus_resets_and_hot_resets_of_one_bus_exclude_each_other() {
    // VF-43
    explore_with(&["bus reset", "hot reset", "try bus reset"], || {
        run(&[bus_reset, bus_reset, hot_reset, try_resets, consumer]);
    });
}
