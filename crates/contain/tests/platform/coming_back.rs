//! What a reset that brings nobody back is worth, and what is kept for the next one.

use crate::hardware::{DOWN, Fault, HOT, LEAF, LONE, PF, Rig, VFS, below_root, ms};
use contain::platform::Platform;
use pci_core::ResetKind;
use pci_spec::{bridge, config};

#[test]
fn eeh_19_three_resets_that_brought_nobody_back_are_three_failures() {
    // Defect 5 of chapter 1.4: the third one counted as a success.
    let mut rig = Rig::new();
    let (functions, mut closed) = rig.contain(&[LONE]);
    rig.fault_at(ms(100), LONE, Fault::Silent);
    for nth in 1..=3 {
        assert!(!rig.reset(&functions, HOT, &mut closed), "attempt {nth}");
        assert_eq!(closed.len(), 1, "still closed");
    }
    assert_eq!(rig.resets_of(LONE).len(), 3, "each was carried out");
    assert!(!rig.restore(&functions, &mut closed));
    assert!(!rig.machine.unfreeze(&mut rig.token, &rig.pe, &functions));
}

#[test]
fn one_that_does_not_come_back_keeps_a_reset_from_being_a_success() {
    let mut rig = Rig::new();
    let all = below_root();
    let (functions, mut closed) = rig.contain(&all);
    rig.fault_at(ms(100), LEAF[1], Fault::Silent);
    assert!(!rig.reset(&functions, HOT, &mut closed));
    assert_eq!(closed.len(), functions.len());
    assert!(rig.resets_of(PF).contains(&ResetKind::DeviceReset), "the others were reset all the same");
}

#[test]
fn eeh_15_the_next_reset_gives_back_what_was_there_before_the_first() {
    let mut rig = Rig::new();
    let all = below_root();
    let before = rig.all_bytes(&all);
    let (functions, mut closed) = rig.contain(&all);
    rig.fault_at(ms(100), DOWN[0], Fault::Silent);
    assert!(!rig.reset(&functions, HOT, &mut closed));
    assert_ne!(rig.bytes(LEAF[0]), before[3], "reset, and out of reach behind its port");
    rig.mend(DOWN[0]);
    assert!(rig.reset(&functions, HOT, &mut closed), "what is saved now would be a blank");
    assert!(rig.restore(&functions, &mut closed));
    assert_eq!(rig.all_bytes(&all), before);
}

#[test]
fn rst_20_once_it_is_back_the_next_reset_keeps_what_it_has_by_then() {
    let mut rig = Rig::new();
    let (functions, mut closed) = rig.contain(&[LONE]);
    assert!(rig.reset(&functions, HOT, &mut closed) && rig.restore(&functions, &mut closed));
    let _ = functions[0].function.config().write(config::INTERRUPT_LINE, &[7]);
    let before = rig.bytes(LONE);
    assert!(rig.reset(&functions, HOT, &mut closed) && rig.restore(&functions, &mut closed));
    assert_eq!(rig.bytes(LONE), before);
}

#[test]
fn eeh_15_a_function_that_reads_all_ones_before_its_reset_gets_what_it_had_when_it_came() {
    let mut rig = Rig::new();
    let scope = [&[PF][..], &VFS].concat();
    let before = rig.all_bytes(&scope);
    for function in rig.functions(&scope) {
        rig.machine.arrived(&mut rig.token, &function);
    }
    for at in &scope {
        rig.fault(at, Fault::Silent);
    }
    let (functions, mut closed) = rig.contain(&scope);
    rig.mend_at(ms(100));
    assert!(rig.reset(&functions, HOT, &mut closed), "it woke up from the reset");
    assert!(rig.restore(&functions, &mut closed));
    assert_eq!(rig.all_bytes(&scope), before);
}

#[test]
fn of_a_function_that_has_left_nothing_is_kept() {
    let mut rig = Rig::new();
    let before = rig.bytes(LONE);
    let function = rig.function(LONE);
    rig.machine.arrived(&mut rig.token, &function);
    rig.machine.left(&mut rig.token, function.id);
    rig.fault(LONE, Fault::Silent);
    let (functions, mut closed) = rig.contain(&[LONE]);
    rig.mend_at(ms(100));
    assert!(rig.reset(&functions, HOT, &mut closed));
    assert_ne!(rig.bytes(LONE), before, "nobody knows what it had");
}

#[test]
fn law_5_another_card_in_the_same_place_is_no_comeback_and_gets_nothing_of_the_first() {
    let mut rig = Rig::new();
    let (functions, mut closed) = rig.contain(&[LONE]);
    rig.fault_at(ms(100), LONE, Fault::Another);
    assert!(!rig.reset(&functions, HOT, &mut closed));
    // It is there since its bus was in reset.
    let during = std::mem::take(&mut *rig.wire.written.lock());
    let held = during.iter().position(|(_, register, _)| *register == bridge::BRIDGE_CONTROL);
    let since = held.map(|held| &during[held..]).expect("a reset of its bus");
    assert!(since.iter().all(|(at, ..)| *at != functions[0].address), "{since:?}");
    assert!(!rig.restore(&functions, &mut closed));
    assert!(rig.wire.written.lock().is_empty(), "nothing was written to it");
}

#[test]
fn without_a_reset_there_is_nothing_to_restore() {
    let mut rig = Rig::new();
    let function = rig.function(LONE);
    rig.machine.arrived(&mut rig.token, &function);
    let _ = function.function.config().write(config::INTERRUPT_LINE, &[7]);
    let before = rig.bytes(LONE);
    let (functions, mut closed) = rig.contain(&[LONE]);
    assert!(rig.restore(&functions, &mut closed));
    assert_eq!(rig.bytes(LONE), before, "what the consumer has set since it came stays");
    assert!(closed.open(functions[0].id));
    assert!(!rig.restore(&functions, &mut closed), "it is not closed");
}
