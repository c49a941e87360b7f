//! The invariants of EEH that concern the tree, each with its name.

use crate::support::*;
use contain::budget::FreezeBudget;
use contain::pe::{Holder, MarkError, PeState};
use contain::tree::{Claim, ClaimError, Joined, Marked, PeTree, PendingClaim, TreeError, TryClaimed};
use gate::{AccessKind, Deadline, Gate, ThreadToken};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

const EVER: Duration = Duration::from_secs(60);

#[test]
fn eeh_i1_a_pe_is_unlinked_before_its_last_reference_goes_and_is_an_orphan_in_between() {
    let (tree, time, mut token) = small();
    let event = tree.find(&token, pe(4), Holder::Event).unwrap();
    tree.remove(&mut token, pe(4), soon()).unwrap();
    assert!(tree.find(&token, pe(4), Holder::Lookup).is_none());
    time.advance(EVER);
    let orphans = tree.orphans(EVER);
    assert_eq!(orphans.len(), 1);
    assert_eq!((orphans[0].id, orphans[0].address, orphans[0].age), (event.id(), pe(4), EVER));
    assert_eq!(orphans[0].holders, [(Holder::Event, 1)]);
    assert!(!orphans[0].overdue);
    assert!(tree.orphans(EVER - Duration::from_nanos(1))[0].overdue);
    drop(event);
    assert!(tree.orphans(EVER).is_empty());
}

#[test]
fn eeh_i2_a_walk_that_is_half_done_meets_each_pe_that_stays_once_whatever_is_removed_and_added() {
    let (tree, _, mut token) = small();
    let snapshot = tree.snapshot(&token);
    let mut walk = snapshot.walk(phb());
    let mut met: Vec<_> = walk.by_ref().take(2).map(|visit| visit.pe().address()).collect();
    assert_eq!(met, [phb(), pe(1)]);
    tree.move_below(&mut token, pe(4), pe(3), soon()).unwrap();
    tree.remove(&mut token, pe(2), soon()).unwrap();
    tree.insert(&mut token, [bus(5, pe(3))], soon()).unwrap();
    met.extend(walk.map(|visit| visit.pe().address()));
    met.sort_unstable();
    assert_eq!(met, [phb(), pe(1), pe(3), pe(4)]);
    assert_eq!(walked(&tree, &token, phb()), [phb(), pe(1), pe(3), pe(4), pe(5)]);
}

#[test]
fn eeh_i3_all_look_ups_are_possible_inside_a_pass() {
    let (tree, _, mut token) = small();
    let at = function(0x400, Vec::new());
    let bdf = at.address;
    tree.add_function(&mut token, pe(4), at, soon()).unwrap();
    let gate = Gate::new("f");
    let handle = gate.handle();
    let pass = handle.try_enter(&token, AccessKind::Bar).unwrap();
    assert_eq!(tree.find(&token, pe(4), Holder::Event).unwrap().address(), pe(4));
    assert_eq!(tree.of_function(&token, bdf, Holder::Event).unwrap().0.address(), pe(4));
    assert!(tree.of_bar_address(&token, contain::address_cache::Space::Memory, 1, Holder::Event).is_none());
    drop(pass);
}

#[test]
fn eeh_i4_a_claim_and_marks_hold_up_no_change_of_the_tree() {
    let (tree, _, mut token) = small();
    let claim = mine(&tree, &token, 1);
    let mut marked = Marked::new();
    marked.add(claim.pe()).unwrap();
    let at_once = Deadline::after(Duration::ZERO);
    tree.insert(&mut token, [bus(6, pe(4))], soon()).unwrap();
    tree.remove(&mut token, pe(3), at_once).unwrap();
    token.assert_holds_nothing();
}

#[test]
fn eeh_i5_a_pe_that_is_removed_while_marked_is_invalid_and_collected_at_the_end() {
    let (tree, _, mut token) = small();
    let mut marked = Marked::new();
    let four = tree.find(&token, pe(4), Holder::Recovery).unwrap();
    marked.add(&four).unwrap();
    assert!(four.state().contains(PeState::RECOVERING | PeState::KEEP));
    assert_eq!(marked.add(&four), Err(MarkError::Recovering));
    let removed = tree.remove(&mut token, pe(2), soon()).unwrap();
    assert_eq!((removed.unlinked, removed.kept), (0, vec![pe(4), pe(2)]), "its parent stays for it");
    assert!(four.state().contains(PeState::INVALID));
    assert!(tree.find(&token, pe(4), Holder::Lookup).is_none());
    assert_eq!(walked(&tree, &token, phb()), [phb(), pe(1), pe(3)]);
    tree.collect(&mut token, soon()).unwrap();
    assert_eq!(tree.snapshot(&token).len(), 5, "nothing is freed while it is marked");
    assert!(tree.orphans(EVER).is_empty());
    drop(marked);
    assert_eq!(four.state(), PeState::INVALID);
    assert_eq!(Marked::new().add(&four), Err(MarkError::Removed));
    tree.collect(&mut token, soon()).unwrap();
    assert_eq!(tree.snapshot(&token).len(), 3);
    assert_eq!(tree.orphans(EVER).len(), 1, "it is still held here");
}

#[test]
fn eeh_i5_marks_are_cleared_when_a_recovery_panics() {
    let (tree, _, token) = small();
    let one = tree.find(&token, pe(1), Holder::Recovery).unwrap();
    let _panic = catch_unwind(AssertUnwindSafe(|| {
        let mut marked = Marked::new();
        marked.add(&one).unwrap();
        panic!("a callback");
    }));
    assert_eq!(one.state(), PeState::empty());
}

#[test]
fn eeh_i6_the_count_of_freezes_survives_a_re_plug_during_the_recovery() {
    let (tree, _, mut token) = small();
    let mut marked = Marked::new();
    let four = tree.find(&token, pe(4), Holder::Recovery).unwrap();
    marked.add(&four).unwrap();
    four.freezes.add(Duration::from_secs(7), FreezeBudget::default());
    tree.remove(&mut token, pe(2), soon()).unwrap();
    let again = tree.insert(&mut token, [bus(2, pe(1)), bus(4, pe(2))], soon()).unwrap();
    assert!(again[1].is(&four));
    assert_eq!(again[1].freezes.freezes(), 1);
    assert_eq!(again[1].state(), PeState::RECOVERING | PeState::KEEP);
    assert_eq!(walked(&tree, &token, pe(2)), [pe(2), pe(4)]);
    drop(marked);
    tree.collect(&mut token, soon()).unwrap();
    assert_eq!(walked(&tree, &token, pe(2)), [pe(2), pe(4)], "what was put in again is not collected");
}

#[test]
fn a_pe_that_is_put_in_again_after_its_marks_are_gone_stays() {
    let (tree, _, mut token) = small();
    let mut marked = Marked::new();
    let four = tree.find(&token, pe(4), Holder::Recovery).unwrap();
    marked.add(&four).unwrap();
    tree.remove(&mut token, pe(2), soon()).unwrap();
    drop(marked);
    let again = tree.insert(&mut token, [bus(2, pe(1)), bus(4, pe(2))], soon()).unwrap();
    assert!(again[1].is(&four), "it was not collected yet");
    assert_eq!(walked(&tree, &token, pe(2)), [pe(2), pe(4)]);
}

fn mine(tree: &Arc<PeTree>, token: &ThreadToken, number: u16) -> Claim {
    match tree.try_claim(token, pe(number)) {
        Ok(TryClaimed::Mine(claim)) => claim,
        other => panic!("{other:?}"),
    }
}

fn joined(tree: &Arc<PeTree>, token: &ThreadToken, number: u16) -> Joined {
    match tree.try_claim(token, pe(number)) {
        Ok(TryClaimed::Joined(joined)) => joined,
        other => panic!("{other:?}"),
    }
}

fn pending(claimed: Result<TryClaimed, ClaimError>) -> PendingClaim {
    match claimed {
        Ok(TryClaimed::Below(pending)) => pending,
        other => panic!("{other:?}"),
    }
}

#[test]
fn eeh_i7_there_is_one_recovery_of_a_pe_and_a_child_joins_that_of_its_ancestor() {
    let (tree, _, token) = small();
    let claim = mine(&tree, &token, 2);
    for below in [2, 4] {
        let joined = joined(&tree, &token, below);
        assert_eq!((joined.address(), joined.id()), (pe(2), claim.pe().id()));
    }
    drop(mine(&tree, &token, 3));
    drop(claim);
    let claim = mine(&tree, &token, 4);
    assert_eq!(claim.pe().address(), pe(4));
}

#[test]
fn eeh_i7_the_recovery_of_a_parent_begins_when_those_below_have_ended_and_none_begins_there_meanwhile() {
    let (tree, _, token) = small();
    let (three, four) = (mine(&tree, &token, 3), mine(&tree, &token, 4));
    let one = pending(tree.try_claim(&token, pe(1)));
    assert_eq!(joined(&tree, &token, 2).address(), pe(1));
    let one = pending(one.try_ready(&token));
    drop(four);
    assert_eq!(joined(&tree, &token, 4).address(), pe(1), "although its own has ended");
    let one = pending(one.try_ready(&token));
    drop(three);
    let Ok(TryClaimed::Mine(one)) = one.try_ready(&token) else { panic!() };
    assert_eq!(one.pe().address(), pe(1));
    assert_eq!(joined(&tree, &token, 3).address(), pe(1));
    drop(one);
    drop(mine(&tree, &token, 3));
}

#[test]
fn eeh_i7_a_pending_claim_that_is_given_up_keeps_nobody_from_beginning() {
    let (tree, _, token) = small();
    let four = mine(&tree, &token, 4);
    drop(pending(tree.try_claim(&token, pe(1))));
    drop(mine(&tree, &token, 3));
    drop(four);
    drop(mine(&tree, &token, 1));
}

#[test]
fn eeh_i7_of_two_pending_claims_the_one_above_goes_first_and_the_other_joins_it() {
    let (tree, _, token) = small();
    let four = mine(&tree, &token, 4);
    let two = pending(tree.try_claim(&token, pe(2)));
    let one = pending(tree.try_claim(&token, pe(1)));
    drop(four);
    let Ok(TryClaimed::Mine(one)) = one.try_ready(&token) else { panic!() };
    let Ok(TryClaimed::Joined(joined)) = two.try_ready(&token) else { panic!() };
    assert_eq!((joined.address(), joined.id()), (pe(1), one.pe().id()));
    drop(one);
    drop(mine(&tree, &token, 2));
}

#[test]
fn eeh_i7_a_pending_claim_ends_when_its_pe_is_removed_also_if_another_one_comes_to_its_place() {
    let (tree, _, mut token) = small();
    let four = mine(&tree, &token, 4);
    let two = pending(tree.try_claim(&token, pe(2)));
    tree.remove(&mut token, pe(2), soon()).unwrap();
    tree.insert(&mut token, [bus(2, pe(1))], soon()).unwrap();
    assert_eq!(joined(&tree, &token, 2).id(), two.pe().id(), "the place is claimed");
    assert!(matches!(two.try_ready(&token), Err(ClaimError::NoPe(at)) if at == pe(2)));
    assert!(matches!(tree.try_claim(&token, pe(4)), Err(ClaimError::NoPe(_))));
    let two = pending(tree.try_claim(&token, pe(2)));
    drop(four);
    assert!(matches!(two.try_ready(&token), Ok(TryClaimed::Mine(_))), "what was below it has ended as well");
    // Nothing is left of those claims that would hold up the root.
    drop(mine(&tree, &token, 1));
}

#[test]
fn eeh_i7_what_is_claimed_is_not_moved_and_what_was_moved_is_claimed_where_it_is() {
    let (tree, _, mut token) = small();
    let four = mine(&tree, &token, 4);
    for moved in [4, 2] {
        let refused = tree.move_below(&mut token, pe(moved), pe(3), soon());
        assert!(matches!(refused, Err(TreeError::Recovering(at)) if at == pe(moved)));
    }
    drop(four);
    let three = mine(&tree, &token, 3);
    tree.move_below(&mut token, pe(4), pe(3), soon()).unwrap();
    assert_eq!(joined(&tree, &token, 4).address(), pe(3));
    drop(mine(&tree, &token, 2));
    let away = tree.move_below(&mut token, pe(4), pe(2), soon());
    assert_eq!(away, Err(TreeError::Recovering(pe(4))), "the recovery above has it now");
    drop(three);
    tree.move_below(&mut token, pe(4), pe(2), soon()).unwrap();
}

#[test]
fn what_a_recovery_has_is_put_in_again_only_where_it_was() {
    let (tree, _, mut token) = small();
    let mut marked = Marked::new();
    marked.add(&tree.find(&token, pe(4), Holder::Recovery).unwrap()).unwrap();
    tree.remove(&mut token, pe(4), soon()).unwrap();
    let elsewhere = tree.insert(&mut token, [bus(4, pe(3))], soon());
    assert!(matches!(elsewhere, Err(TreeError::Recovering(at)) if at == pe(4)));
    tree.insert(&mut token, [bus(4, pe(2))], soon()).unwrap();
    assert_eq!(walked(&tree, &token, pe(2)), [pe(2), pe(4)]);
}

#[test]
fn eeh_i8_an_event_keeps_its_pe_and_what_comes_to_its_place_is_another_one() {
    let (tree, _, mut token) = small();
    let event = tree.find(&token, pe(4), Holder::Event).unwrap();
    event.isolate();
    tree.remove(&mut token, pe(4), soon()).unwrap();
    let new = tree.insert(&mut token, [bus(4, pe(2))], soon()).unwrap();
    assert!(!new[0].is(&event) && new[0].id() != event.id());
    assert_eq!(new[0].state(), PeState::empty());
    assert_eq!(event.state(), PeState::ISOLATED | PeState::INVALID);
}

#[test]
fn eeh_07_a_freeze_has_one_event() {
    let (tree, _, token) = small();
    let four = tree.find(&token, pe(4), Holder::Event).unwrap();
    assert_eq!([four.isolate(), four.isolate()], [true, false]);
}

#[test]
fn what_a_recovery_has_is_not_moved() {
    let (tree, _, mut token) = small();
    let mut marked = Marked::new();
    marked.add(&tree.find(&token, pe(4), Holder::Recovery).unwrap()).unwrap();
    let moved = tree.move_below(&mut token, pe(2), pe(3), soon());
    assert!(matches!(moved, Err(TreeError::Recovering(_))));
}
