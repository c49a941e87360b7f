//! Whatever makes the memory unreachable takes the pages away before it returns, and brings poison back to life.

use super::slot::{Slot, consumer, run};
use crate::{COMMAND, D0, D3HOT, DEVICE_CONTROL, FLR, PMCSR, Work, ahead, work};
use gate::ThreadToken;
use mapping::OnDisabled;
use pci_core::ResetKind;
use shuttle::thread;
use std::time::Duration;

/// No deadline fires under shuttle.
const WAIT: OnDisabled = OnDisabled::Wait(Duration::from_secs(60));

/// Disables the memory. Nothing else may enable it in this scenario.
pub(super) fn disable(slot: &Slot, token: &mut ThreadToken) {
    if slot.write(token, COMMAND, 0) {
        stays_shut(slot);
    }
}

/// The memory was taken away, and is not brought back for a while.
fn stays_shut(slot: &Slot) {
    let _shut = slot.truth.shut();
    slot.assert_nothing_is_present();
    thread::yield_now();
    slot.assert_nothing_is_present();
}

/// A guest's driver that switches the memory off and on again.
pub(super) fn toggler(slot: &Slot, token: &mut ThreadToken) {
    disable(slot, token);
    slot.enable(token);
}

/// As [`toggler`], where others enable the memory as well.
pub(super) fn enabler(slot: &Slot, token: &mut ThreadToken) {
    slot.write(token, COMMAND, 0);
    slot.enable(token);
}

/// A guest that resets its function, which disables the memory.
pub(super) fn flr(slot: &Slot, token: &mut ThreadToken) {
    slot.write(token, DEVICE_CONTROL, FLR);
}

/// As [`flr`], and enables the memory again.
pub(super) fn flr_and_enable(slot: &Slot, token: &mut ThreadToken) {
    flr(slot, token);
    slot.enable(token);
}

/// The owner's reset.
pub(super) fn reset(slot: &Slot, token: &mut ThreadToken) {
    let _ = slot.function.reset(token, ResetKind::DeviceReset, ahead());
    slot.enable(token);
}

/// A driver that puts its function to sleep; nothing else may wake it in this scenario.
fn sleep(slot: &Slot, token: &mut ThreadToken) {
    if slot.write(token, PMCSR, D3HOT) {
        stays_shut(slot);
    }
    wake(slot, token);
}

/// Brings the function back to D0, with its memory.
fn wake(slot: &Slot, token: &mut ThreadToken) {
    slot.write(token, PMCSR, D0);
    slot.enable(token);
}

/// As [`sleep`], where others may wake it.
pub(super) fn nap(slot: &Slot, token: &mut ThreadToken) {
    slot.write(token, PMCSR, D3HOT);
    thread::yield_now();
    wake(slot, token);
}

/// Two consumers of one mapping under `actors`.
fn under(on_disabled: OnDisabled, actors: &[fn(&Slot, &mut ThreadToken)]) {
    let slot = Slot::new();
    let mapped = slot.try_map(on_disabled).unwrap();
    let actors: Vec<Work> = actors.iter().map(|actor| work(&slot, *actor)).collect();
    run(&slot, vec![consumer(&mapped, 2), consumer(&mapped, 1)], actors);
}

#[test]
fn memory_is_disabled_and_enabled_under_consumers_that_fail_meanwhile() {
    // MM-I2, MM-I3, MM-I5
    super::explore(&["value", "bus error"], &["all-ones", "nothing"], || {
        under(OnDisabled::Fail, &[toggler]);
    });
}

#[test]
fn memory_is_disabled_and_enabled_under_consumers_that_wait_meanwhile() {
    // MM-I2, MM-I3
    super::explore(&["value"], &["bus error", "all-ones", "nothing"], || under(WAIT, &[toggler]));
}

#[test]
fn a_guest_and_the_owner_reset_the_function_under_consumers_that_fail_meanwhile() {
    // VF-20, VF-40
    super::explore(&["value", "bus error"], &["all-ones", "nothing"], || {
        under(OnDisabled::Fail, &[flr_and_enable, reset]);
    });
}

#[test]
fn a_guest_and_the_owner_reset_the_function_under_consumers_that_wait_meanwhile() {
    super::explore(&["value"], &["bus error", "all-ones", "nothing"], || {
        under(WAIT, &[flr_and_enable, reset])
    });
}

#[test]
fn a_function_sleeps_and_wakes_under_its_consumers() {
    // VF-20, VF-48
    super::explore(&["value", "bus error"], &["all-ones", "nothing"], || under(OnDisabled::Fail, &[sleep]));
}

#[test]
fn memory_is_disabled_and_enabled_while_the_function_is_reset_and_sleeps() {
    super::explore(&["value", "bus error"], &["all-ones", "nothing"], || {
        under(OnDisabled::Fail, &[enabler, flr, nap]);
    });
}

#[test]
fn consumers_that_wait_meet_a_sleep_and_a_reset() {
    super::explore(&["value"], &["bus error", "all-ones", "nothing"], || under(WAIT, &[nap, flr]));
}
