//! What a recovery has closed, when, and that it never stays so.

use crate::script::Act;
use crate::world::*;
use contain::containment::{News, Running};
use contain::merge::Vote;
use contain::plan::{Answer, Role};
use contain::report::{Doom, Outcome};
use gate::{AccessKind, Deadline, Reason};
use slot::Driven;
use std::time::Duration;

#[test]
fn no_gate_of_a_driver_is_closed_while_any_driver_is_called_eeh_i4() {
    // What it says is looked at in every call (`Scene::assert_free`).
    let mut world = World::new(&[AWARE, MODEL, Role::Unaware]);
    world.plug(BELOW, AWARE);
    world.script.set("f0.error_detected", Act::Say(Answer::Vote(Vote::NeedReset)));
    assert_eq!(world.recover(), Outcome::Recovered);
    assert!(world.script.has("f3.slot_reset") && world.script.has("f1.restore"));
    world.assert_clean(true);
}

#[test]
fn a_driver_that_comes_while_all_gates_are_closed_is_called_with_its_own_open_eeh_i4() {
    let mut world = World::new(&[MODEL, Role::Unbound]);
    let (recovery, card) = (world.begin(), world.card("f1"));
    // The model is saved by then, for which all gates were closed.
    let binds: Meanwhile = Box::new(move |_| {
        *card.role.lock() = Role::Unaware;
        recovery.post(News::Bound(card.id()));
    });
    world.scene.meanwhile.lock().insert("platform.state".into(), binds);
    assert_eq!(world.drive(), Some(Outcome::Recovered));
    assert!(world.script.at("f0.save") < world.script.at("f1.unbind"));
    world.assert_clean(true);
}

#[test]
fn a_function_that_is_in_use_is_not_reset_and_the_others_are_let_go() {
    let mut world = World::new(&[AWARE, AWARE]);
    world.settings.quiesce_timeout = Duration::from_millis(100);
    world.script.set("f0.error_detected", Act::Say(Answer::Vote(Vote::NeedReset)));
    let handle = world.card("f1").there.function.handle().clone();
    let now = Deadline::after(Duration::ZERO);
    let inside = handle.enter_long(&mut world.token, AccessKind::Dma, "a read", now).unwrap();
    assert_eq!(world.recover(), Outcome::Failed(Doom::ResetFailed));
    assert!(!world.script.has("platform.reset"));
    drop(inside);
    world.assert_clean(false);
}

#[test]
fn with_a_model_waiting_for_its_state_the_gates_of_others_are_tried_by_timers() {
    let mut world = World::new(&[MODEL, AWARE]);
    world.script.set("f1.slot_reset", Act::Later);
    let recovery = world.begin();
    let _waits_for_the_driver = recovery.drive(&mut world.token);
    world.freeze_again();
    let reply = world.scene.replies.lock().get_mut("f1.slot_reset").unwrap().pop_front().unwrap();
    // Somebody has the gate when the second reset wants it.
    let gate = world.card("f1").there.function.gate().clone();
    let closed = gate.close(&mut world.token, Reason::PowerChange, soon()).unwrap().park();
    reply.answer(Answer::Vote(Vote::Recovered));
    let pause = recovery.drive(&mut world.token);
    assert!(pause.is_some_and(|pause| pause < Duration::from_millis(25)), "a timer and no wait: {pause:?}");
    assert_eq!(world.script.count("platform.reset"), 1);
    drop(closed);
    world.script.set("f1.slot_reset", Act::Say(Answer::Vote(Vote::Recovered)));
    world.time.advance(Duration::from_millis(25));
    let _next = recovery.drive(&mut world.token);
    assert_eq!(world.script.count("platform.reset"), 2);
    drop(recovery);
    for reply in world.scene.replies.lock().drain().flat_map(|(_, replies)| replies) {
        reply.answer(Answer::Vote(Vote::Recovered));
    }
    assert_eq!(world.drive(), Some(Outcome::Recovered));
    world.assert_clean(true);
}

#[test]
fn gates_that_stay_in_use_behind_a_waiting_model_are_given_up_after_their_time() {
    let mut world = World::new(&[MODEL, AWARE]);
    world.script.set("f1.slot_reset", Act::Later);
    let recovery = world.begin();
    let _waits_for_the_driver = recovery.drive(&mut world.token);
    world.freeze_again();
    let reply = world.scene.replies.lock().get_mut("f1.slot_reset").unwrap().pop_front().unwrap();
    let gate = world.card("f1").there.function.gate().clone();
    let closed = gate.close(&mut world.token, Reason::PowerChange, soon()).unwrap().park();
    reply.answer(Answer::Vote(Vote::Recovered));
    drop(recovery);
    assert_eq!(world.drive(), None.or(world.outcome()));
    assert_eq!(world.outcome(), Some(Outcome::Failed(Doom::ResetFailed)));
    assert!(world.end().pause >= Duration::from_secs(10), "two attempts of five seconds");
    drop(closed);
}
