//! Each check of these scenarios can fail: what does one step wrong is found.

use super::kernel::PAGES;
use super::pages::Flaw;
use super::slot::{Mapped, Slot, consumer, run};
use super::taken_away;
use crate::{COMMAND, Work, ahead, found, work};
use gate::{Reason, ThreadToken};
use mapping::OnDisabled;
use pci_core::ResetKind;
use shuttle::thread;
use std::sync::Arc;
use std::time::Duration;

/// Two consumers of one mapping under `actors`.
fn under(slot: &Arc<Slot>, on_disabled: OnDisabled, actors: &[fn(&Slot, &mut ThreadToken)]) -> Arc<Mapped> {
    let mapped = slot.try_map(on_disabled).unwrap();
    let actors: Vec<Work> = actors.iter().map(|actor| work(slot, *actor)).collect();
    run(slot, vec![consumer(&mapped, 2), consumer(&mapped, 1)], actors);
    mapped
}

fn freezer(slot: &Slot, _token: &mut ThreadToken) {
    if slot.function.handle().freeze() {
        let _shut = slot.truth.shut();
        thread::yield_now();
    }
    slot.function.handle().thaw();
}

#[test]
fn found_pages_that_are_made_present_and_nobody_is_woken() {
    found("deadlock", || _ = under(&Slot::flawed(Flaw::PopulateWakesNobody), OnDisabled::Fail, &[]));
}

#[test]
fn found_a_freeze_that_leaves_those_who_wait_asleep() {
    found("deadlock", || _ = under(&Slot::flawed(Flaw::CoverWakesNobody), OnDisabled::Fail, &[freezer]));
}

#[test]
fn found_a_zap_that_leaves_a_page() {
    found("present", || {
        _ = under(&Slot::flawed(Flaw::ZapLeavesAPage), OnDisabled::Fail, &[taken_away::toggler]);
    });
}

#[test]
fn found_poison_whose_thread_is_not_woken() {
    found("deadlock", || {
        _ = under(&Slot::flawed(Flaw::PoisonWakesNobody), OnDisabled::Fail, &[taken_away::toggler]);
    });
}

#[test]
fn found_memory_that_is_disabled_and_not_zapped() {
    found("present", || {
        let rogue = |slot: &Slot, _token: &mut ThreadToken| {
            // Past the function, which would take the pages away.
            let _effects = slot.config.write(COMMAND, &[0, 0]);
            let _shut = slot.truth.shut();
            slot.assert_nothing_is_present();
        };
        _ = under(&Slot::new(), OnDisabled::Fail, &[rogue]);
    });
}

#[test]
fn found_a_page_from_before_the_memory_was_disabled() {
    found("from before", || {
        let rogue = |slot: &Slot, token: &mut ThreadToken| {
            let _effects = slot.config.write(COMMAND, &[0, 0]);
            drop(slot.truth.shut());
            slot.enable(token);
        };
        _ = under(&Slot::new(), OnDisabled::Fail, &[rogue]);
    });
}

#[test]
fn found_a_reset_that_takes_nothing_away() {
    found("present", || {
        let rogue = |slot: &Slot, token: &mut ThreadToken| {
            if let Ok(quiesced) = slot.gate.close(token, Reason::Reset, ahead()) {
                slot.function.device().reset(&quiesced, ResetKind::DeviceReset);
            }
        };
        _ = under(&Slot::new(), OnDisabled::Fail, &[rogue]);
    });
}

#[test]
fn found_a_page_that_is_made_present_without_a_pass() {
    found("without a pass", || {
        let slot = Slot::new();
        let mapped = slot.map();
        let same = mapped.clone();
        let rogue: Work = Box::new(move |_token| {
            let _populating = same.range.truth().populating();
            let _exists = same.range.make_present(0, PAGES);
        });
        run(&slot, vec![consumer(&mapped, 1)], vec![rogue]);
    });
}

#[test]
fn found_memory_that_is_enabled_and_nobody_is_woken() {
    found("deadlock", || {
        let rogue = |slot: &Slot, token: &mut ThreadToken| {
            slot.write(token, COMMAND, 0);
            thread::yield_now();
            // Past the function, which would wake who waits.
            let _effects = slot.config.write(COMMAND, &[2, 0]);
        };
        let wait = OnDisabled::Wait(Duration::from_secs(60));
        _ = under(&Slot::new(), wait, &[rogue]);
    });
}
