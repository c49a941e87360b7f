//! What comes, goes and changes hands while a recovery is under way, in each of its phases.

use crate::script::Act;
use crate::world::*;
use contain::containment::{News, Running};
use contain::merge::Vote;
use contain::pe::{Holder, PeAddress, PeKind};
use contain::plan::{Answer, Role};
use contain::report::{Doom, Outcome};
use contain::tree::NewPe;
use slot::Driven;
use std::sync::Arc;

/// Each call of a recovery in which something may happen to f0 or f1.
const CALLS: [&str; 16] = [
    "f0.of",
    "platform.is_present",
    "f0.error_detected",
    "f1.error_detected",
    "platform.state",
    "platform.log",
    "f2.unbind",
    "platform.reset",
    "platform.restore_config",
    "platform.unfreeze",
    "f2.probe",
    "f0.slot_reset",
    "f1.slot_reset",
    "f0.resume",
    "f1.resume",
    "f0.interrupts",
];

/// Two drivers that are reset, one that is unbound, and a model.
fn house() -> World {
    let world = World::new(&[AWARE, AWARE, Role::Unaware, MODEL]);
    world.script.set("f1.error_detected", Act::Say(Answer::Vote(Vote::NeedReset)));
    world
}

#[test]
fn a_function_may_be_removed_in_every_call() {
    for call in CALLS {
        for name in ["f0", "f1", "f3"] {
            let mut world = house();
            let (card, tree) = (world.card(name), world.tree.clone());
            let act: Meanwhile = Box::new(move |token| remove_from(&tree, &card, token));
            world.scene.meanwhile.lock().insert(call.into(), act);
            let outcome = world.recover();
            // Not if it left before it could say that it needs a reset and there is a model all the same.
            assert_eq!(outcome, Outcome::Recovered, "{name} leaves in {call}");
            assert!(world.card(name).there.function.handle().is_gone());
            world.assert_clean(true);
        }
    }
}

#[test]
fn everything_may_be_removed_in_every_call() {
    for call in CALLS {
        let mut world = house();
        let (cards, tree) = (world.scene.cards.lock().clone(), world.tree.clone());
        let act = move |token: &mut gate::ThreadToken| {
            for card in &cards {
                remove_from(&tree, card, token);
            }
            let _removed = tree.remove(token, TOP, soon()).unwrap();
        };
        world.scene.meanwhile.lock().insert(call.into(), Box::new(act));
        let outcome = world.recover();
        // Nothing is present, or nobody is left.
        let gone = matches!(outcome, Outcome::Gone | Outcome::Failed(Doom::NothingPresent));
        assert!(gone || outcome == Outcome::Recovered, "{call}: {outcome:?}");
        assert!(world.tree.find(&world.token, TOP, Holder::Operator).is_none(), "EEH-I5: collected");
        world.frozen = None;
        let recovery = world.recovery.take().unwrap();
        assert_eq!(Arc::strong_count(&recovery), 1);
        drop(recovery);
        assert!(world.tree.orphans(std::time::Duration::ZERO).is_empty(), "{call}");
    }
}

#[test]
fn a_function_that_is_removed_while_its_gate_is_closed_keeps_nobody_waiting() {
    let mut world = World::new(&[MODEL, AWARE]);
    world.script.set("f1.slot_reset", Act::Later);
    let recovery = world.begin();
    let _waits_for_the_driver = recovery.drive(&mut world.token);
    let card = world.card("f0");
    assert!(card.there.function.gate().status().owner.is_some());
    // As a slot does: from here on nothing gets in, and it waits for what is inside.
    let _inside =
        card.there.function.disconnect(&mut world.token, gate::Deadline::after(std::time::Duration::ZERO));
    let _still_waits = recovery.drive(&mut world.token);
    let retired =
        card.there.function.disconnect(&mut world.token, gate::Deadline::after(std::time::Duration::ZERO));
    assert!(retired.orphans.is_empty(), "{:?}", retired.orphans);
    let reply = world.scene.replies.lock().get_mut("f1.slot_reset").unwrap().pop_front().unwrap();
    reply.answer(Answer::Vote(Vote::Recovered));
    drop(recovery);
    assert_eq!(world.drive(), Some(Outcome::Recovered));
    world.assert_clean(true);
}

#[test]
fn a_driver_that_hangs_is_not_waited_for_once_its_function_has_left() {
    let mut world = World::new(&[AWARE, AWARE]);
    world.script.set("f0.error_detected", Act::Later);
    let recovery = world.begin();
    let _waits_for_the_driver = recovery.drive(&mut world.token);
    drop(recovery);
    world.unplug("f0");
    assert_eq!(world.drive(), Some(Outcome::Recovered));
    assert_eq!(world.end().pause, std::time::Duration::ZERO);
    world.scene.replies.lock().clear();
    world.assert_clean(true);
}

#[test]
fn the_pe_may_freeze_again_in_every_call() {
    for call in CALLS {
        let mut world = house();
        world.begin();
        let (tree, pe) = (world.tree.clone(), world.pe());
        let (frozen, recovery) = (world.frozen.clone().unwrap(), world.recovery.clone().unwrap());
        let act = move |token: &mut gate::ThreadToken| {
            if pe.isolate() {
                frozen.again(&tree.snapshot(token));
                recovery.post(News::FrozenAgain);
            }
        };
        world.scene.meanwhile.lock().insert(call.into(), Box::new(act));
        let outcome = world.drive().unwrap();
        let told = matches!(call, "f0.resume" | "f1.resume")
            || world.frozen.as_ref().is_some_and(|it| !it.is_thawed());
        if outcome == Outcome::FrozenAgain {
            assert!(told, "{call}");
            assert!(!world.card("f0").enters(&world.token), "it stays frozen for the next recovery");
            world.frozen.as_ref().unwrap().thaw();
        } else {
            assert_eq!(outcome, Outcome::Recovered, "{call}");
        }
        world.assert_clean(true);
    }
}

#[test]
fn another_error_after_the_thaw_leads_to_a_reset_and_one_before_is_the_same_eeh_07() {
    for (call, resets) in [("f0.error_detected", 0), ("platform.state", 0), ("f0.mmio_enabled", 1)] {
        let mut world = World::new(&[AWARE]);
        world.begin();
        let (tree, pe) = (world.tree.clone(), world.pe());
        let (frozen, recovery) = (world.frozen.clone().unwrap(), world.recovery.clone().unwrap());
        let act = move |token: &mut gate::ThreadToken| {
            if pe.isolate() {
                frozen.again(&tree.snapshot(token));
                recovery.post(News::FrozenAgain);
            }
        };
        world.scene.meanwhile.lock().insert(call.into(), Box::new(act));
        assert_eq!(world.drive(), Some(Outcome::Recovered));
        assert_eq!(world.end().resets, resets, "{call}");
        world.assert_clean(true);
    }
}

#[test]
fn a_function_that_comes_in_any_call_is_not_told_and_stays_usable() {
    for call in ["f0.of", "f0.error_detected", "platform.reset", "f0.slot_reset", "f0.resume"] {
        let mut world = World::new(&[AWARE]);
        world.script.set("f0.error_detected", Act::Say(Answer::Vote(Vote::NeedReset)));
        // Plugged before, and out of the tree until then.
        let card = world.plug(TOP, AWARE);
        let function = world.tree.remove_function(&mut world.token, card.there.address, soon()).unwrap();
        let recovery = world.begin();
        let (tree, script) = (world.tree.clone(), world.script.clone());
        let act = move |token: &mut gate::ThreadToken| {
            script.note("added");
            tree.add_function(token, TOP, (*function).clone(), soon()).unwrap();
            recovery.post(News::Added(function));
        };
        world.scene.meanwhile.lock().insert(call.into(), Box::new(act));
        assert_eq!(world.drive(), Some(Outcome::Recovered), "{call}");
        let told = world.script.has("f1.resume");
        assert_eq!(told, call == "f0.of", "{call}: told of an error that was before its time");
        world.assert_clean(true);
    }
}

#[test]
fn a_pe_that_comes_below_is_marked_and_collected_with_the_others_eeh_i5() {
    let mut world = World::new(&[AWARE]);
    let recovery = world.begin();
    let tree = world.tree.clone();
    let act = move |token: &mut gate::ThreadToken| {
        let new = NewPe { address: PeAddress::new(0, 0x300), kind: PeKind::Bus, parent: Some(TOP) };
        let added = tree.insert(token, [new], soon()).unwrap().remove(0);
        recovery.post(News::PeAdded(added));
    };
    world.scene.meanwhile.lock().insert("f0.error_detected".into(), Box::new(act));
    assert_eq!(world.drive(), Some(Outcome::Recovered));
    let pe = world.tree.find(&world.token, PeAddress::new(0, 0x300), Holder::Operator).unwrap();
    assert_eq!((pe.state(), pe.holders()), (contain::pe::PeState::empty(), vec![(Holder::Operator, 1)]));
    world.assert_clean(true);
}

#[test]
fn a_driver_that_comes_during_a_recovery_hears_nothing_of_it_eeh_18() {
    let mut world = World::new(&[AWARE, Role::Unbound]);
    world.script.set("f0.error_detected", Act::Say(Answer::Vote(Vote::NeedReset)));
    let recovery = world.begin();
    let card = world.card("f1");
    let act = move |_: &mut gate::ThreadToken| {
        *card.role.lock() = AWARE;
        recovery.post(News::Bound(card.id()));
    };
    world.scene.meanwhile.lock().insert("f0.slot_reset".into(), Box::new(act));
    assert_eq!(world.drive(), Some(Outcome::Recovered));
    assert!(!world.script.has("f1.slot_reset") && !world.script.has("f1.resume"));
    world.assert_clean(true);
}

#[test]
fn somebody_who_knows_that_there_is_no_way_back_is_heard_in_every_call() {
    for call in CALLS {
        let mut world = house();
        let recovery = world.begin();
        let doom = Doom::PlatformDead;
        world
            .scene
            .meanwhile
            .lock()
            .insert(call.into(), Box::new(move |_| recovery.post(News::Doomed(doom))));
        let outcome = world.drive().unwrap();
        assert_eq!(outcome, Outcome::Failed(doom), "{call}");
        assert!(world.scene.cards.lock().iter().all(|card| card.there.function.handle().is_gone()));
        world.assert_clean(false);
    }
}
