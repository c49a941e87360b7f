//! Mappings that are made and dropped while everything else goes on.

use super::hidden::{flicker, freezer};
use super::kernel::Met;
use super::slot::{Slot, consumer, run};
use super::taken_away::{flr_and_enable, toggler};
use crate::{Work, ahead, work};
use gate::ThreadToken;
use mapping::{MapError, OnDisabled};

/// A consumer that maps, touches and unmaps.
fn visitor(slot: &Slot, _token: &mut ThreadToken) {
    for page in 0..2 {
        match slot.try_map(OnDisabled::Fail) {
            Ok(mapped) => assert_ne!(mapped.touch(page), Met::Nothing),
            Err(MapError::Gone) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

fn remover(slot: &Slot, token: &mut ThreadToken) {
    assert!(slot.gate.retire(token, ahead()).orphans.is_empty());
    std::mem::forget(slot.truth.shut());
}

/// Two visitors, and a consumer that stays, under `actors`.
fn under(actors: &[fn(&Slot, &mut ThreadToken)]) {
    let slot = Slot::new();
    let stays = slot.map();
    let works = |works: &[fn(&Slot, &mut ThreadToken)]| -> Vec<Work> {
        works.iter().map(|on| work(&slot, *on)).collect()
    };
    let mut consumers = works(&[visitor, visitor]);
    consumers.push(consumer(&stays, 1));
    run(&slot, consumers, works(actors));
    assert_eq!(slot.function.mappings().report().len(), 1, "only what stays");
    drop(stays);
    assert!(slot.function.mappings().is_empty());
}

#[test]
fn mappings_come_and_go_while_memory_is_disabled_and_enabled() {
    super::explore(&["value", "bus error"], &["all-ones", "nothing"], || under(&[toggler]));
}

#[test]
fn mappings_come_and_go_under_resets_and_a_freeze() {
    super::explore(&["value", "bus error", "all-ones"], &["nothing"], || under(&[flr_and_enable, flicker]));
}

#[test]
fn mappings_come_and_go_while_the_function_freezes() {
    super::explore(&["value", "all-ones"], &["nothing", "bus error"], || under(&[freezer]));
}

#[test]
fn mappings_come_and_go_while_the_function_is_removed() {
    super::explore(&["value", "all-ones"], &["nothing", "bus error"], || under(&[remover]));
}
