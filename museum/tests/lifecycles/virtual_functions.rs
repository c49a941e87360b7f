//! Virtual functions come and go while their physical function is reset, a consumer uses one, and the bus is scanned.

use super::{assert_restored, bus_reset, consumer, flr, power_cycle, remover};
use crate::machine::tally::{explore_with, note};
use crate::machine::{Machine, PF, ahead, linger};
use crate::{together, work};
use gate::{AccessKind, ThreadToken};
use pci_core::{BarIndex, ConfigAddress, Width};
use pci_spec::{Bdf, config};

const MEMORY: u32 = 2;
const VF: Bdf = Bdf::from_routing_id(0, 0x0102);

/// Switches them on and off.
fn numvfs(machine: &Machine, token: &mut ThreadToken) {
    note("VFs on", &machine.topology.set_num_vfs(token, PF, 2, ahead()));
    linger();
    let off = machine.topology.set_num_vfs(token, PF, 0, ahead());
    note("VFs off", &off);
    assert!(off.is_err() || off.is_ok_and(|off| off.removed.orphans.is_empty()));
}

/// What is shown answers: a virtual function is closed before it is switched off, and switched on before it is shown.
pub(super) fn consumer_of_virtual(machine: &Machine, token: &mut ThreadToken) {
    for _ in 0..8 {
        linger();
        let Some(function) = machine.function(token, VF) else { continue };
        let Ok(pass) = function.handle().enter(token, AccessKind::Config, ahead()) else { continue };
        let segment = machine.topology.segment(pass.token(), 0).unwrap();
        let command = ConfigAddress::new(VF, config::COMMAND);
        let read = segment.bridge().read(pass.token(), command, Width::Word);
        drop(pass);
        assert_ne!(read, Ok(Width::Word.all_ones()), "a virtual function is shown and does not answer");
        let enabled = function.write_register(token, config::COMMAND, Width::Word, MEMORY, ahead());
        note("VF write", &enabled);
        let bar = function.read_bar(token, BarIndex::new(0).unwrap(), 0, &mut [0; 4], ahead());
        note("VF read", &bar);
    }
}

fn rescan(machine: &Machine, token: &mut ThreadToken) {
    linger();
    let scanned = machine.topology.rescan(token, 0, ahead());
    note("rescan", &scanned);
}

/// A scan sees what is there, whatever is being done to it.
fn rescan_finds_all(machine: &Machine, token: &mut ThreadToken) {
    linger();
    let scanned = machine.topology.rescan(token, 0, ahead()).unwrap();
    let lost: Vec<_> = scanned.removed.nodes.iter().map(|node| node.address.to_string()).collect();
    assert!(lost.is_empty(), "a scan has lost {lost:?}");
}

fn run(works: &[fn(&Machine, &mut ThreadToken)]) {
    let machine = Machine::new();
    let before = machine.parts.all().map(|part| part.registers());
    together(works.iter().map(|on| work(&machine, *on)).collect());
    machine.parts.pf.bury_virtuals();
    assert_restored(&machine, before);
    let mut token = ThreadToken::at_thread_entry();
    machine.topology.set_num_vfs(&mut token, PF, 0, ahead()).unwrap();
    assert!(machine.snapshot(&token).virtual_functions(PF).is_empty());
    assert!(machine.parts.pf.virtuals().is_empty(), "every virtual function is gone");
}

#[test]
fn virtual_functions_come_and_go_under_the_flr_of_their_physical_function() {
    // HP-18
    explore_with(&["VFs on", "VFs off", "VF read", "FLR"], || {
        run(&[numvfs, flr, consumer_of_virtual, consumer_of_virtual]);
    });
}

#[test]
fn virtual_functions_come_and_go_under_scans_and_a_removal_beside_them() {
    explore_with(&["VFs on", "VFs off", "VF read", "rescan", "removal"], || {
        run(&[numvfs, rescan, consumer_of_virtual, remover]);
    });
}

#[test]
fn virtual_functions_go_along_with_the_reset_of_their_bus_and_come_back() {
    explore_with(&["VFs on", "VF read", "bus reset"], || {
        run(&[numvfs, bus_reset, consumer_of_virtual, consumer]);
    });
}

#[test]
fn a_scan_during_the_flr_of_a_function_loses_nothing() {
    explore_with(&["FLR"], || run(&[flr, rescan_finds_all, consumer]));
}

#[test]
fn a_scan_during_the_reset_of_a_bus_loses_nothing() {
    explore_with(&["bus reset"], || run(&[bus_reset, rescan_finds_all]));
}

#[test]
fn a_scan_while_the_root_port_is_without_power_loses_nothing() {
    explore_with(&["D3cold"], || run(&[power_cycle, rescan_finds_all]));
}
