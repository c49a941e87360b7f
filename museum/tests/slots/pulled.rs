//! Cards are pulled under those who use them, and others are put in.

use super::bay::Card;
use super::{House, Users, lister, pull_b, run, unplug_a};
use crate::machine::linger;
use crate::machine::tally::{explore_with, note};
use gate::ThreadToken;

/// Polls a BAR for a while, and what comes after it in its place, if there is a card again.
fn poll(house: &House, token: &mut ThreadToken) {
    let old = house.holder(0);
    for _ in 0..6 {
        linger();
        old.access(token);
        if old.is_gone() {
            break;
        }
    }
    old.let_go(token);
    if let Some(new) = house.attach(0, token) {
        new.access(token);
        note(
            "next card",
            &if std::sync::Arc::ptr_eq(&old.assignment, &new.assignment) { Err(()) } else { Ok(()) },
        );
        // A handle of the card before never reaches this one (law 5).
        old.access(token);
        new.let_go(token);
    }
}

/// Another card is put in as soon as the first is out.
fn replace(house: &House, token: &mut ThreadToken) {
    linger();
    let holder = house.holder(0);
    house.bays[0].pull();
    holder.assert_cut_off(token);
    linger();
    house.bays[0].insert();
}

#[test]
fn complaint_11_a_card_is_pulled_under_a_poller_and_another_one_is_put_in() {
    // HP-12, HP-14, HP-15, MM-I3
    explore_with(&["BAR read", "read of what is gone", "next card", "revocation"], || {
        run(Card::Functions(2), Users::Holders, &[poll, poll, replace, lister]);
    });
}

#[test]
fn complaint_11_a_card_is_pulled_while_it_is_unplugged_in_order() {
    // HP-12, HP-17
    explore_with(&["unplug", "BAR read", "read of what is gone"], || {
        run(Card::Functions(2), Users::Holders, &[poll, unplug_a, replace, pull_b]);
    });
}

/// The link of a card that stays in goes down and comes up again.
fn flap(house: &House, _token: &mut ThreadToken) {
    for _ in 0..2 {
        linger();
        house.slots[0].post(slot::Event::Link(false));
        house.slots[0].post(slot::Event::Link(true));
    }
}

#[test]
fn a_link_flaps_and_the_card_comes_back_in_a_new_epoch() {
    // HP-14
    explore_with(&["next card", "read of what is gone"], || {
        run(Card::Functions(1), Users::Holders, &[poll, flap, poll, lister]);
    });
}

#[test]
fn a_link_that_flaps_before_anybody_looks_is_a_removal_all_the_same() {
    // HP-14, HP-17
    explore_with(&["unplug"], || run(Card::Functions(1), Users::Nobody, &[flap, lister]));
}
