//! Everything at once.

use super::bay::Card;
use super::board::PORTS;
use super::{House, ORDERLY, Users, run};
use crate::machine::tally::{explore_part, explore_with, note};
use crate::machine::{ahead, linger};
use gate::ThreadToken;
use pci_core::Width;
use slot::{Event, Request};
use std::time::Duration;

/// An operator who plugs and unplugs both slots.
fn operate(house: &House, token: &mut ThreadToken) {
    for slot in [0, 1] {
        linger();
        house.on(slot, ORDERLY, token);
        house.on(slot, Request::Enable, token);
    }
}

/// Another one, in a hurry.
fn force(house: &House, token: &mut ThreadToken) {
    linger();
    house.on(0, Request::Disable { timeout: Duration::ZERO }, token);
    linger();
    house.on(0, Request::Enable, token);
    house.on(0, Request::Cancel, token);
}

/// Hands on the card of the second slot, and the button of the first.
fn hands(house: &House, _token: &mut ThreadToken) {
    linger();
    house.bays[1].pull();
    house.slots[0].post(Event::Button);
    linger();
    house.bays[1].insert();
    house.slots[1].post(Event::Replaced);
}

/// A process that has both, uses them, resets them and dies; and another one, which takes what it finds.
fn live_and_die(house: &House, token: &mut ThreadToken) {
    house.board.meddle();
    for slot in [0, 1] {
        let holder = house.holder(slot);
        linger();
        holder.access(token);
        let snapshot = house.board.snapshot(token);
        let at = house.bays[slot].first();
        note("reset", &house.board.resets.reset_function(token, &snapshot, at, ahead()));
        note("bus reset", &house.board.resets.reset_bus(token, &snapshot, PORTS[slot], ahead()));
        holder.let_go(token);
        if let Some(next) = house.attach(slot, token) {
            next.access(token);
        }
    }
}

/// A driver that uses the power states, which are where the capability is that comes first.
fn sleep(house: &House, token: &mut ThreadToken) {
    for slot in [0, 1] {
        linger();
        let Some(function) = house.bays[slot].function() else { continue };
        let function = function.function();
        let Some(pm) = function.config().find_capability(pci_spec::capability::id::POWER_MANAGEMENT) else {
            continue;
        };
        for state in [3, 0] {
            note("power", &function.write_register(token, pm + 4, Width::Word, state, ahead()));
        }
    }
}

#[test]
fn unplug_reset_power_plug_and_exit_at_once_on_two_slots() {
    // HP-01 to HP-18
    let wanted = ["unplug", "plug", "reset", "bus reset", "power", "revocation", "let go", "attach"];
    explore_with(&wanted, || {
        run(Card::Functions(2), Users::Holders, &[operate, force, hands, live_and_die, sleep]);
    });
}

/// Comes just when the card goes.
fn come_late(house: &House, token: &mut ThreadToken) {
    if let Some(holder) = house.attach(0, token) {
        holder.access(token);
    }
}

fn force_a(house: &House, token: &mut ThreadToken) {
    house.on(0, Request::Disable { timeout: Duration::ZERO }, token);
}

#[test]
fn who_comes_while_a_card_leaves_has_nothing_of_it_afterwards() {
    // Law 5
    explore_part(10, &["unplug", "attach", "revocation"], &[], || {
        run(Card::Functions(1), Users::Nobody, &[force_a, come_late, come_late]);
    });
}

fn shut_down(house: &House, token: &mut ThreadToken) {
    linger();
    for (slot, bay) in house.slots.iter().zip(&house.bays) {
        assert!(slot.shutdown(token, ahead()), "not shut down: {:?}", slot.report());
        bay.close();
    }
}

#[test]
fn everything_is_shut_down_while_it_is_under_way() {
    explore_with(&["unplug", "revocation"], || {
        run(Card::Functions(2), Users::Holders, &[operate, hands, live_and_die, shut_down]);
    });
}

#[test]
fn drivers_are_shut_down_while_they_are_asked_to_let_go() {
    explore_with(&["shutdown", "remove", "request"], || {
        let lets_go: super::driver::OnCall = |visit, token| {
            if visit.call == "request" {
                visit.binding.release(token);
            }
        };
        run(Card::Functions(2), Users::Drivers(lets_go), &[operate, hands, shut_down]);
    });
}
