//! What the hardware is seen to be, beneath frozen gates.

use crate::hardware::{Fault, LEAF, LONE, PF, Rig, VFS, ms, soon};
use contain::plan::{PlatformState, Queried, Thaw, Traffic};
use contain::platform::Platform;
use contain::report::Log;
use gate::{Deadline, Reason};
use pci_spec::aer;
use std::time::Duration;

fn state(rig: &mut Rig, at: &[&str]) -> PlatformState {
    let functions = rig.functions(at);
    match rig.machine.state(&mut rig.token, &rig.pe, &functions) {
        Queried::Is(state) => state,
        other => panic!("{other:?}"),
    }
}

#[test]
fn eeh_11_one_device_that_answers_is_enough_to_be_present() {
    let mut rig = Rig::new();
    let (functions, closed) = rig.contain(&LEAF);
    assert!(rig.machine.is_present(&mut rig.token, &functions), "frozen and closed, and there");
    rig.fault(LEAF[0], Fault::Silent);
    assert!(rig.machine.is_present(&mut rig.token, &functions));
    rig.fault(LEAF[1], Fault::Silent);
    assert!(!rig.machine.is_present(&mut rig.token, &functions));
    assert!(!rig.machine.is_present(&mut rig.token, &[]));
    drop(closed);
}

#[test]
fn eeh_03_a_pe_is_active_if_all_that_is_left_of_it_answers() {
    let mut rig = Rig::new();
    let scope = [&[PF][..], &VFS, &LEAF].concat();
    assert!(state(&mut rig, &scope).is_active());
    rig.fault(VFS[2], Fault::Silent);
    let silent = state(&mut rig, &scope);
    assert!(!silent.is_active() && !silent.contains(PlatformState::UNAVAILABLE), "known, and not active");
    rig.pull_at(ms(0), &[VFS[2]]);
    let mut closed = contain::platform::ClosedFunctions::default();
    let other = rig.functions(&[LONE]);
    closed.close(&mut rig.token, &other, soon()).expect("free");
    assert!(rig.reset(&other, crate::hardware::HOT, &mut closed), "time passes");
    assert!(state(&mut rig, &scope).is_active(), "what was removed does not count");
}

#[test]
fn eeh_14_thawing_needs_a_reset_if_somebody_does_not_answer_and_fails_if_nobody_does() {
    let mut rig = Rig::new();
    let functions = rig.functions(&LEAF);
    let thaw = |rig: &mut Rig| rig.machine.thaw(&mut rig.token, &rig.pe, &functions, Traffic::Mmio);
    assert_eq!(thaw(&mut rig), Thaw::Done);
    rig.fault(LEAF[0], Fault::Silent);
    assert_eq!(thaw(&mut rig), Thaw::NeedsReset);
    rig.fault(LEAF[1], Fault::Silent);
    assert_eq!(thaw(&mut rig), Thaw::Failed);
}

#[test]
fn aer_06_what_was_recorded_is_cleared_whether_or_not_a_function_is_frozen() {
    let mut rig = Rig::new();
    for (frozen, closed) in [(false, false), (true, false), (true, true)] {
        let function = rig.function(LONE);
        let config = function.function.config().clone();
        let _message = config.record_uncorrectable(aer::Uncorrectable::COMPLETION_TIMEOUT, [1, 2, 3, 4]);
        assert!(config.error_records().is_some_and(|records| !records.uncorrectable.is_empty()));
        if frozen {
            function.function.contain();
        }
        // As a model is until it goes on.
        let gate = closed.then(|| function.function.gate().clone());
        let soon = Deadline::after(Duration::from_secs(20));
        let parked = gate.map(|gate| gate.close(&mut rig.token, Reason::Recovery, soon).unwrap().park());
        let functions = rig.functions(&[LONE]);
        rig.machine.clear_error_status(&mut rig.token, &rig.pe, &functions);
        assert!(config.error_records().is_some_and(|records| records.uncorrectable.is_empty()), "{frozen}");
        assert!(config.device_status().is_empty(), "{frozen}");
        drop(parked);
    }
}

#[test]
fn the_log_has_a_line_for_each_function_and_an_end() {
    let mut rig = Rig::new();
    let functions = rig.functions(&LEAF);
    rig.fault(LEAF[1], Fault::Silent);
    let text = rig.machine.log(&mut rig.token, &rig.pe, &functions, Log::Temporary);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[1].contains("1234:5678 command 0006"), "{text}");
    assert!(lines[2].ends_with("does not answer"), "{text}");
    let many: Vec<_> = std::iter::repeat_n(functions[0].clone(), 1000).collect();
    let text = rig.machine.log(&mut rig.token, &rig.pe, &many, Log::Permanent);
    assert_eq!(text.lines().count(), 1 + 64 + 1);
    assert!(text.ends_with("and 936 more"));
}
