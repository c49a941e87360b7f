//! Functions leave while their user closes them, which resets their slots.

use super::bay::Card;
use super::board::PORTS;
use super::{House, Users, lister, pull_a, pull_b, run, unplug_a, unplug_b};
use crate::machine::tally::{explore_with, note};
use crate::machine::{ahead, linger};
use gate::ThreadToken;

/// The user of a slot goes: uses its function, resets its slot and lets go of it.
fn close(house: &House, slot: usize, token: &mut ThreadToken) {
    house.board.meddle();
    let holder = house.holder(slot);
    holder.access(token);
    let snapshot = house.board.snapshot(token);
    note("reset", &house.board.resets.reset_bus(token, &snapshot, PORTS[slot], ahead()));
    holder.let_go(token);
    holder.look(token);
}

fn close_a(house: &House, token: &mut ThreadToken) {
    linger();
    close(house, 0, token);
}

fn close_b(house: &House, token: &mut ThreadToken) {
    linger();
    close(house, 1, token);
}

/// The process that has both dies: its files are closed one after the other.
fn die(house: &House, token: &mut ThreadToken) {
    linger();
    close(house, 0, token);
    close(house, 1, token);
}

#[test]
fn complaint_1_cards_are_pulled_while_their_users_close_them_with_a_reset() {
    // HP-12, HP-16
    explore_with(&["read", "reset", "revocation", "read of what is gone"], || {
        run(Card::Functions(1), Users::Holders, &[pull_a, pull_b, close_a, close_b, lister]);
    });
}

#[test]
fn complaint_3_two_slots_are_unplugged_while_the_process_that_has_both_dies_with_a_reset_under_way() {
    // HP-01, HP-02, HP-16, VF-04
    explore_with(&["unplug", "reset", "request", "revocation", "look"], || {
        run(Card::Functions(1), Users::Holders, &[unplug_a, unplug_b, die, lister]);
    });
}

#[test]
fn complaint_3_the_same_with_one_card_pulled() {
    // HP-12
    explore_with(&["unplug", "reset", "request", "revocation", "look"], || {
        run(Card::Functions(2), Users::Holders, &[pull_a, unplug_b, die, lister]);
    });
}
