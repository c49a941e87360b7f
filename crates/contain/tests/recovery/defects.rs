//! The defects of the original that this executor could have, each in a test that shows that it does not: those of the list
//! *Still open* whose numbers are in the names.

use crate::script::Act;
use crate::world::*;
use contain::merge::Vote;
use contain::pe::{Holder, PeState};
use contain::plan::{Answer, PlatformState, Queried, Role};
use contain::report::{Doom, Outcome};
use gate::AccessKind;
use std::time::Duration;

#[test]
fn defect_2_a_pe_that_was_emptied_and_removed_during_its_recovery_is_freed() {
    let mut world = World::new(&[Role::Unaware]);
    let (card, tree) = (world.card("f0"), world.tree.clone());
    let act = move |token: &mut gate::ThreadToken| {
        remove_from(&tree, &card, token);
        let removed = tree.remove(token, TOP, soon()).unwrap();
        assert!(removed.kept.contains(&TOP), "it is marked, and must not be freed yet");
    };
    world.scene.meanwhile.lock().insert("platform.reset".into(), Box::new(act));
    assert_eq!(world.recover(), Outcome::Gone);
    assert_eq!(world.tree.snapshot(&world.token).len(), 1, "the host bridge alone");
    (world.frozen, world.recovery) = (None, None);
    assert!(world.tree.orphans(Duration::ZERO).is_empty());
}

#[test]
fn defect_3_a_permanent_failure_leaves_neither_mark_behind() {
    for roles in [&[AWARE][..], &[Role::Unaware, MODEL], &[Role::Unbound]] {
        let mut world = World::new(roles);
        world.within_budget = false;
        assert_eq!(world.recover(), Outcome::Failed(Doom::BudgetExhausted));
        let state = world.pe().state();
        assert!(!state.intersects(PeState::RECOVERING | PeState::KEEP) && state.contains(PeState::REMOVED));
        world.assert_clean(false);
    }
}

#[test]
fn defect_4_a_reset_that_fails_leaves_no_mark_behind() {
    for what in ["platform.reset", "platform.restore_config", "platform.unfreeze"] {
        let mut world = World::new(&[Role::Unaware, MODEL]);
        world.script.refuse(what, 3);
        assert!(matches!(world.recover(), Outcome::Failed(_)));
        let left = PeState::RECOVERING | PeState::KEEP | PeState::RESET | PeState::CFG_BLOCKED;
        assert!(!world.pe().state().intersects(left));
        world.assert_clean(false);
    }
}

#[test]
fn defect_5_three_resets_after_which_the_pe_is_not_active_are_a_failure() {
    let mut world = World::new(&[Role::Unaware]);
    let still_in_reset = Queried::Is(PlatformState::RESET_ACTIVE);
    world.scene.states.lock().extend([MMIO_AND_DMA, still_in_reset, still_in_reset, still_in_reset]);
    assert_eq!(world.recover(), Outcome::Failed(Doom::ResetFailed));
    assert_eq!(world.script.count("platform.reset"), 3);
    world.assert_clean(false);
}

#[test]
fn defect_6_a_state_that_cannot_be_told_is_no_state() {
    for (states, doom) in [
        (vec![Queried::Failed], Doom::StateUnknown),
        (vec![MMIO_AND_DMA, Queried::Failed], Doom::NotRecoverable),
    ] {
        let mut world = World::new(&[Role::Unaware]);
        world.scene.states.lock().extend(states);
        assert_eq!(world.recover(), Outcome::Failed(doom));
        world.assert_clean(false);
    }
}

#[test]
fn defect_10_nothing_that_others_need_is_held_while_a_driver_is_called_or_time_passes() {
    let mut world = World::new(&[AWARE, AWARE, MODEL]);
    world.script.set("f0.error_detected", Act::Later);
    world.script.set("f1.error_detected", Act::Say(Answer::Vote(Vote::NeedReset)));
    let recovery = world.begin();
    // A driver does not answer, and the call is out: the tree changes, another PE is claimed, a function is unplugged.
    let _until_it_is_late = slot::Driven::drive(&*recovery, &mut world.token);
    drop(recovery);
    world.unplug("f1");
    let added = world.plug(BELOW, AWARE);
    assert!(added.there.function.handle().try_enter(&world.token, AccessKind::Bar).is_ok());
    assert!(world.tree.find(&world.token, BELOW, Holder::Lookup).is_some());
    world.tree.remove_function(&mut world.token, added.there.address, soon()).unwrap();
    world.scene.cards.lock().retain(|card| card.name != added.name);
    let reply = world.scene.replies.lock().get_mut("f0.error_detected").unwrap().pop_front().unwrap();
    reply.answer(Answer::Vote(Vote::CanRecover));
    drop(added);
    assert_eq!(world.drive(), Some(Outcome::Recovered));
    world.assert_clean(true);
}
