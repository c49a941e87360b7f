//! Functions that go during a reset, and functions that are taken out for good.

use crate::hardware::{DOWN, HOT, LEAF, LONE, PF, PORT, Rig, UP, VFS, bdf, below_root, ms};
use contain::platform::Platform;
use pci_core::ResetKind;

#[test]
fn a_function_that_goes_meanwhile_is_dropped_and_the_others_go_on() {
    // Before the reset is held, while it is, while it settles, and after.
    for when in [ms(1), ms(100), ms(1000), ms(2080)] {
        let mut rig = Rig::new();
        let all = below_root();
        let others: Vec<&str> = all.iter().copied().filter(|at| *at != LEAF[1]).collect();
        let before = rig.all_bytes(&others);
        let (functions, mut closed) = rig.contain(&all);
        rig.pull_at(when, &[LEAF[1]]);
        assert!(rig.reset(&functions, HOT, &mut closed), "gone at {when:?}");
        assert!(rig.restore(&functions, &mut closed), "gone at {when:?}");
        let gone = rig.function(LEAF[1]);
        assert!(gone.function.handle().is_gone() && !closed.is_closed(gone.id));
        assert_eq!(closed.len(), functions.len() - 1);
        assert_eq!(rig.all_bytes(&others), before, "gone at {when:?}");
    }
}

#[test]
fn a_bridge_that_goes_with_all_below_it_ends_nothing_for_those_beside_it() {
    let mut rig = Rig::new();
    let all = below_root();
    let rest = [&[UP, DOWN[1], PF][..], &VFS].concat();
    let before = rig.all_bytes(&rest);
    let (functions, mut closed) = rig.contain(&all);
    rig.pull_at(ms(500), &[DOWN[0], LEAF[0], LEAF[1]]);
    assert!(rig.reset(&functions, HOT, &mut closed) && rig.restore(&functions, &mut closed));
    assert_eq!(closed.len(), rest.len());
    assert_eq!(rig.all_bytes(&rest), before);
}

#[test]
fn virtual_functions_that_go_meanwhile_keep_their_physical_function_from_nothing() {
    let mut rig = Rig::new();
    let (functions, mut closed) = rig.contain(&[&[PF][..], &VFS].concat());
    rig.pull_at(ms(100), &VFS);
    assert!(rig.reset(&functions, HOT, &mut closed) && rig.restore(&functions, &mut closed));
    assert_eq!(closed.len(), 1);
}

#[test]
fn eeh_19_a_reset_after_which_nobody_is_left_is_no_success() {
    let mut rig = Rig::new();
    let (functions, mut closed) = rig.contain(&LEAF);
    rig.pull_at(ms(100), &LEAF);
    assert!(!rig.reset(&functions, HOT, &mut closed));
    assert!(closed.is_empty());
    assert!(!rig.restore(&functions, &mut closed));
    assert!(!rig.reset(&functions, HOT, &mut closed), "nor is the next one");
}

#[test]
fn the_removal_of_the_bridge_above_ends_a_reset_at_once() {
    let mut rig = Rig::new();
    let (functions, mut closed) = rig.contain(&[LONE]);
    rig.pull_at(ms(100), &[PORT]);
    assert!(!rig.reset(&functions, HOT, &mut closed));
    assert!(pci_core::Time::now(&*rig.clock) < ms(1000));
    assert_eq!(closed.len(), 1);
}

#[test]
fn eeh_17_one_of_several_functions_of_a_card_is_taken_out_by_itself() {
    let mut rig = Rig::new();
    let function = rig.function(LEAF[0]);
    rig.machine.remove(&mut rig.token, &function);
    assert!(function.function.handle().is_gone());
    let snapshot = rig.snapshot();
    assert!(snapshot.function(bdf(LEAF[0])).is_none());
    assert!(snapshot.function(bdf(LEAF[1])).is_some() && rig.is_open(LEAF[1]));
    rig.machine.remove(&mut rig.token, &function);
    assert!(rig.is_open(LEAF[1]), "a second time is nothing");
}

#[test]
fn eeh_17_a_bridge_is_taken_out_with_all_that_is_below_it() {
    let mut rig = Rig::new();
    let function = rig.function(DOWN[1]);
    let below = rig.functions(&[&[PF][..], &VFS].concat());
    rig.machine.remove(&mut rig.token, &function);
    assert!(below.iter().all(|function| function.function.handle().is_gone()));
    assert!(rig.snapshot().function(bdf(PF)).is_none());
    assert!(rig.is_open(LEAF[0]));
    assert_eq!(rig.resets_of(LEAF[0]), [] as [ResetKind; 0]);
}
