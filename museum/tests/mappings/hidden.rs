//! A function that is frozen or gone shows all-ones at once, and a frozen one comes back.

use super::kernel::Met;
use super::pages::Treatment;
use super::slot::{Mapped, Slot, consumer, run};
use super::taken_away::{enabler, flr_and_enable, nap, reset, toggler};
use crate::{COMMAND, Work, ahead, work};
use gate::ThreadToken;
use mapping::OnDisabled;
use shuttle::thread;
use std::sync::Arc;

/// Freezes the function and thaws it. Nothing else may thaw it in this scenario.
pub(super) fn freezer(slot: &Slot, _token: &mut ThreadToken) {
    for _ in 0..2 {
        if slot.function.handle().freeze() {
            let _shut = slot.truth.shut();
            slot.assert_hidden();
            thread::yield_now();
            slot.assert_hidden();
        }
        slot.function.handle().thaw();
    }
}

/// As [`freezer`], where a reset may thaw the function.
pub(super) fn flicker(slot: &Slot, _token: &mut ThreadToken) {
    slot.function.handle().freeze();
    thread::yield_now();
    slot.function.handle().thaw();
}

/// Freezes, while somebody else thaws; thaws at the end, for whoever still touches it.
fn freezes(slot: &Slot, _token: &mut ThreadToken) {
    for _ in 0..3 {
        slot.function.handle().freeze();
        thread::yield_now();
    }
    slot.function.handle().thaw();
}

/// Only thaws: it may be done before whoever froze has told anybody.
fn thaws(slot: &Slot, _token: &mut ThreadToken) {
    for _ in 0..3 {
        slot.function.handle().thaw();
        thread::yield_now();
    }
}

/// Freezes the function while its memory is disabled: it is that still when the freeze has ended.
fn disabled_freezer(slot: &Slot, token: &mut ThreadToken) {
    if slot.write(token, COMMAND, 0) {
        let _shut = slot.truth.shut();
        slot.function.handle().freeze();
        thread::yield_now();
        slot.function.handle().thaw();
        slot.assert_nothing_is_present();
        thread::yield_now();
    }
    slot.enable(token);
}

/// Surprise removal.
fn remover(slot: &Slot, token: &mut ThreadToken) {
    assert!(slot.gate.retire(token, ahead()).orphans.is_empty());
    let shut = slot.truth.shut();
    slot.assert_hidden();
    thread::yield_now();
    slot.assert_hidden();
    // For ever.
    std::mem::forget(shut);
}

/// Surprise removal, and another device in the place: the mappings of the former one reach nothing of it (law 5).
fn replacer(slot: &Slot, token: &mut ThreadToken) {
    remover(slot, token);
    assert!(slot.gate.renew().is_some());
    let next = Slot::with(&slot.gate, Treatment::default());
    let mapped = next.map();
    run(&next, vec![consumer(&mapped, 1)], vec![]);
    slot.assert_hidden();
}

/// Two consumers of one mapping under `actors`.
fn under(actors: &[fn(&Slot, &mut ThreadToken)]) -> (Arc<Slot>, Arc<Mapped>) {
    let slot = Slot::new();
    let mapped = slot.try_map(OnDisabled::Fail).unwrap();
    let actors: Vec<Work> = actors.iter().map(|actor| work(&slot, *actor)).collect();
    run(&slot, vec![consumer(&mapped, 2), consumer(&mapped, 1)], actors);
    (slot, mapped)
}

#[test]
fn a_frozen_function_shows_all_ones_until_it_is_thawed() {
    super::explore(&["value", "all-ones"], &["bus error", "nothing"], || _ = under(&[freezer]));
}

#[test]
fn a_function_freezes_while_its_memory_is_disabled_and_enabled() {
    super::explore(&["value", "all-ones", "bus error"], &["nothing"], || _ = under(&[freezer, enabler]));
}

#[test]
fn a_disabled_function_is_disabled_still_after_a_freeze() {
    super::explore(&["value", "all-ones", "bus error"], &["nothing"], || _ = under(&[disabled_freezer]));
}

#[test]
fn a_function_freezes_while_it_is_reset() {
    super::explore(&["value", "all-ones", "bus error"], &["nothing"], || _ = under(&[flicker, reset]));
}

#[test]
fn one_freezes_and_another_thaws_before_anybody_was_told() {
    // A wake that is lost shows in one of some ten thousand schedules.
    let scenario = || _ = under(&[freezes, thaws]);
    super::explore_much(6, &["value", "all-ones"], &["bus error", "nothing"], scenario);
}

#[test]
fn two_freeze_and_thaw_a_function_that_sleeps() {
    super::explore(&["value", "all-ones", "bus error"], &["nothing"], || _ = under(&[flicker, flicker, nap]));
}

#[test]
fn a_function_that_is_removed_shows_all_ones_for_ever() {
    super::explore(&["value", "all-ones"], &["bus error", "nothing"], || {
        let (_slot, mapped) = under(&[remover]);
        assert_eq!(mapped.touch(0), Met::AllOnes);
    });
}

#[test]
fn a_function_is_removed_while_its_memory_is_disabled_and_it_freezes() {
    super::explore(&["value", "all-ones", "bus error"], &["nothing"], || {
        let (_slot, mapped) = under(&[remover, toggler, flicker]);
        assert_eq!(mapped.touch(0), Met::AllOnes);
    });
}

#[test]
fn everything_at_once_and_then_another_device_is_in_the_place() {
    super::explore(&["value", "all-ones"], &["nothing"], || {
        let (_slot, mapped) = under(&[replacer, flr_and_enable, flicker]);
        assert_eq!(mapped.touch(0), Met::AllOnes);
    });
}
