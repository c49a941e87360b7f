//! Each checker of the machine can fail: software that does one thing wrong is found.

use super::virtual_functions::consumer_of_virtual;
use super::{consumer, flr};
use crate::machine::{DISK, Machine, PF, ROOT, ahead, at_once, linger};
use crate::{found, together, work};
use gate::{Reason, ThreadToken};
use pci_core::{ConfigAddress, FunctionEvent, ResetKind, ResetStep, Width};
use pci_spec::extended::sr_iov;
use pci_spec::{bridge, config};

fn run(works: &[fn(&Machine, &mut ThreadToken)]) {
    let machine = Machine::new();
    together(works.iter().map(|on| work(&machine, *on)).collect());
    machine.assert_at_rest();
}

#[test]
fn found_a_register_that_is_reached_without_a_pass() {
    found("reached", || {
        let rogue = |machine: &Machine, token: &mut ThreadToken| {
            linger();
            let _ = machine.host.read(token, ConfigAddress::new(PF, config::VENDOR_ID), Width::Dword);
        };
        run(&[rogue, flr]);
    });
}

/// Asserts the reset of the bus with the gates of `members` closed.
fn reset_bus_of(machine: &Machine, token: &mut ThreadToken, members: &[&str]) {
    linger();
    let parts = machine.parts.all();
    let gates: Vec<_> = parts.iter().map(|part| part.gate.clone()).collect();
    let gates: Vec<_> = gates.into_iter().filter(|gate| members.contains(&gate.name())).collect();
    let snapshot = machine.snapshot(token);
    let root = snapshot.function(ROOT).unwrap().function.clone();
    let set = gate::close_all(&gates, token, Reason::Reset, ahead()).unwrap();
    let proof = set.proof(root.gate()).unwrap();
    for asserted in [0x40, 0] {
        let _ = root.config_write_quiesced(proof, bridge::BRIDGE_CONTROL, Width::Word, asserted);
        shuttle::thread::yield_now();
    }
}

#[test]
fn found_a_bus_reset_that_closes_no_gate_below() {
    found("granted", || {
        run(&[|machine, token| reset_bus_of(machine, token, &["0000:00:01.0"]), consumer]);
    });
}

#[test]
fn found_a_bus_reset_that_forgets_one_child() {
    found("granted", || {
        run(&[|machine, token| reset_bus_of(machine, token, &["0000:00:01.0", "0000:01:00.0"]), consumer]);
    });
}

#[test]
fn found_a_reset_that_restores_nothing() {
    found("is not as it was before the reset", || {
        let rogue = |machine: &Machine, token: &mut ThreadToken| {
            let function = machine.function(token, DISK).unwrap();
            let quiesced = function.gate().close(token, Reason::Reset, ahead()).unwrap();
            function.tell(&FunctionEvent::ResetStep(ResetStep::Prepare));
            function.reset_quiesced(&quiesced, ResetKind::FunctionLevel);
            function.tell(&FunctionEvent::ResetStep(ResetStep::Done { reset: true }));
        };
        run(&[rogue, consumer]);
    });
}

#[test]
fn found_operations_that_are_freed_before_the_last_access_has_left() {
    found("operations are used that were taken out", || {
        run(&[|machine, _| machine.wire.free(), consumer]);
    });
}

#[test]
fn found_a_delay_in_which_the_gate_is_open() {
    found("reached between granted and reopened", || {
        let rogue = |machine: &Machine, token: &mut ThreadToken| {
            let function = machine.function(token, DISK).unwrap();
            let quiesced = function.gate().close(token, Reason::Reset, ahead()).unwrap();
            function.tell(&FunctionEvent::ResetStep(ResetStep::Prepare));
            drop(quiesced);
            linger();
            function.tell(&FunctionEvent::ResetStep(ResetStep::Done { reset: false }));
        };
        run(&[rogue, consumer]);
    });
}

#[test]
fn found_a_gate_that_stays_closed() {
    found("waiting_accesses", || {
        run(&[|machine, token| {
            std::mem::forget(machine.parts.disk.gate.close(token, Reason::Reset, ahead()));
        }]);
    });
}

#[test]
fn found_an_access_after_the_removal_of_a_function() {
    found("removed", || {
        let hasty = |machine: &Machine, token: &mut ThreadToken| {
            linger();
            drop(machine.parts.disk.gate.retire(token, at_once()).orphans);
            machine.parts.disk.monitor.removed();
        };
        run(&[hasty, consumer, consumer]);
    });
}

#[test]
fn found_a_virtual_function_that_is_shown_and_does_not_answer() {
    found("is shown and does not answer", || {
        let rogue = |machine: &Machine, token: &mut ThreadToken| {
            machine.topology.set_num_vfs(token, PF, 2, ahead()).unwrap();
            linger();
            // Switches them off behind the picture's back.
            let control = machine.parts.pf.config.sr_iov_layout().unwrap().at + sr_iov::CONTROL;
            let _effects = machine.parts.pf.config.write(control, &[0, 0]);
        };
        run(&[rogue, consumer_of_virtual]);
    });
}
