//! What else is done to functions while they leave: their number is changed, they fail, they are reset, they are wired.

use super::bay::Card;
use super::board::PORTS;
use super::{House, Users, lister, pull_a, run, unplug_a};
use crate::machine::tally::{explore_with, note};
use crate::machine::{ahead, linger};
use assign::{IrqAction, IrqData, IrqIndex, SetIrqs};
use gate::ThreadToken;
use rustix::event::{EventfdFlags, eventfd};
use slot::Request;

/// Switches virtual functions on and off.
fn numvfs(house: &House, token: &mut ThreadToken) {
    house.board.meddle();
    for number in [2, 0, 2] {
        linger();
        let set = house.board.topology.set_num_vfs(token, house.bays[0].first(), number, ahead());
        note(if number == 0 { "VFs off" } else { "VFs on" }, &set);
    }
}

fn unplug_and_plug_a(house: &House, token: &mut ThreadToken) {
    unplug_a(house, token);
    house.on(0, Request::Enable, token);
}

#[test]
fn complaint_4_virtual_functions_are_switched_while_their_physical_one_is_unplugged() {
    // HP-01, HP-18
    explore_with(&["unplug", "plug", "VFs on", "VFs off"], || {
        run(Card::Virtualized, Users::Holders, &[numvfs, unplug_and_plug_a, lister]);
    });
}

#[test]
fn complaint_4_virtual_functions_are_switched_while_their_physical_one_is_pulled() {
    // HP-12, HP-18
    explore_with(&["VFs on", "VFs off", "revocation"], || {
        run(Card::Virtualized, Users::Holders, &[numvfs, pull_a, numvfs, lister]);
    });
}

/// The function fails and works again.
fn fail(house: &House, _token: &mut ThreadToken) {
    house.board.meddle();
    let holder = house.holder(0);
    for _ in 0..2 {
        linger();
        let frozen = holder.assignment.port().handle().freeze();
        note("error", &frozen.then_some(()).ok_or(()));
        linger();
        let _thawed = holder.assignment.port().handle().thaw();
    }
}

/// Wires an interrupt, and takes it away.
fn wire(house: &House, token: &mut ThreadToken) {
    let holder = house.holder(0);
    for _ in 0..2 {
        linger();
        let wired = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
        let index = IrqIndex::Msi as u32;
        let (action, data) = (IrqAction::Trigger, IrqData::Eventfd(vec![wired]));
        let set = SetIrqs { index, start: 0, count: 1, action, data };
        note("wiring", &holder.assignment.set_irqs(token, set));
        linger();
        let unset = SetIrqs { index, start: 0, count: 0, action, data: IrqData::None };
        note("unwiring", &holder.assignment.set_irqs(token, unset));
    }
}

fn reset(house: &House, token: &mut ThreadToken) {
    house.board.meddle();
    for _ in 0..2 {
        linger();
        let snapshot = house.board.snapshot(token);
        note("reset", &house.board.resets.reset_bus(token, &snapshot, PORTS[0], ahead()));
    }
}

#[test]
fn complaint_6_a_function_fails_is_wired_and_is_reset_while_it_is_unplugged() {
    // HP-13, VF-04
    explore_with(&["unplug", "error", "wiring", "unwiring", "reset", "revocation"], || {
        run(Card::Functions(2), Users::Holders, &[fail, wire, reset, unplug_a]);
    });
}

#[test]
fn complaint_6_a_function_fails_is_wired_and_is_reset_while_it_is_pulled() {
    // HP-12
    explore_with(&["error", "wiring", "reset", "revocation"], || {
        run(Card::Functions(2), Users::Holders, &[fail, wire, reset, pull_a]);
    });
}
