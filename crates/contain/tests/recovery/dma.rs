//! What is in flight when a PE fails: nobody goes on while it may still reach memory that is somebody else's by now.

use crate::script::Act;
use crate::world::*;
use contain::merge::Vote;
use contain::plan::{Answer, Policy, Role};
use contain::report::{Doom, Outcome};
use gate::ThreadToken;
use parking_lot::Mutex;
use slot::Driven;
use std::sync::Arc;
use std::time::Duration;

const NOTIFY: Role = Role::Consumer(Policy::Notify);

#[test]
fn a_consumer_that_can_go_on_does_so_without_a_reset_and_its_device_hears_of_the_bus_eeh_14() {
    let mut world = World::new(&[NOTIFY]);
    assert_eq!(world.recover(), Outcome::Recovered);
    assert!(!world.script.has("platform.reset"));
    assert!(world.script.at("f0.drained") < world.script.at("platform.thaw Mmio"));
    assert!(world.script.has("f0 has the bus"), "or it would sleep over what was asked of it");
    world.assert_clean(true);
}

#[test]
fn after_dma_that_was_not_to_be_nobody_goes_on_without_a_reset() {
    let mut world = World::new(&[NOTIFY]);
    world.begin();
    world.frozen.as_ref().unwrap().require_reset();
    assert_eq!(world.drive(), Some(Outcome::Recovered));
    assert_eq!(world.script.count("platform.reset"), 1);
    assert!(!world.script.has("platform.thaw Mmio"));
    assert!(!world.frozen.as_ref().unwrap().requires_reset(), "that was this time");
    world.assert_clean(true);
}

#[test]
fn what_is_in_flight_for_too_long_is_not_thawed_but_reset_once_it_has_ended() {
    let mut world = World::new(&[NOTIFY, NOTIFY]);
    world.script.refuse("f1.drained", 1);
    assert_eq!(world.recover(), Outcome::Recovered);
    assert!(!world.script.has("platform.thaw Mmio"));
    assert_eq!(world.script.count("platform.reset"), 1);
    world.assert_clean(true);
}

#[test]
fn what_is_in_flight_for_ever_is_not_reset_either_and_never_thawed() {
    for role in [NOTIFY, MODEL] {
        for act in [None, Some(Act::Panic)] {
            let mut world = World::new(&[role, AWARE]);
            world.script.refuse("f0.drained", u32::MAX);
            if let Some(act) = act {
                world.script.set("f0.drained", act);
            }
            assert_eq!(world.recover(), Outcome::Failed(Doom::ResetFailed));
            assert!(!world.script.has("platform.reset") && !world.script.has("platform.thaw Mmio"));
            world.assert_clean(false);
        }
    }
}

#[test]
fn what_is_in_flight_of_a_consumer_that_hangs_is_not_known_to_have_ended() {
    let mut world = World::new(&[NOTIFY, AWARE]);
    world.script.set("f0.interrupts", Act::Hang);
    world.begin();
    let hung = world.leave_behind("f0.interrupts");
    assert_eq!(world.drive(), Some(Outcome::Failed(Doom::ResetFailed)));
    assert!(!world.script.has("f0.drained"), "nobody asks who has not come back");
    assert!(!world.script.has("platform.reset") && !world.script.has("platform.thaw Mmio"));
    world.script.mend("f0.interrupts");
    hung.join().unwrap();
}

#[test]
fn a_consumer_that_panics_over_its_interrupts_has_the_bus_all_the_same() {
    let mut world = World::new(&[AWARE]);
    world.script.set("f0.interrupts", Act::Panic);
    let (card, seen) = (world.card("f0"), Arc::new(Mutex::new(None)));
    let note = seen.clone();
    let look = move |_: &mut ThreadToken| *note.lock() = Some(card.there.function.config().is_dma_held());
    world.scene.meanwhile.lock().insert("f0.resume".into(), Box::new(look));
    assert_eq!(world.recover(), Outcome::Recovered);
    assert_eq!(*seen.lock(), Some(false));
}

#[test]
fn a_function_that_is_taken_out_stays_frozen_when_the_others_are_thawed() {
    let mut world = World::new(&[Role::Unaware, AWARE]);
    world.script.set("f1.error_detected", Act::Say(Answer::Vote(Vote::NeedReset)));
    world.script.set("f0.probe", Act::Panic);
    // It is not away for a while.
    world.script.set("platform.remove", Act::Panic);
    world.script.set("f1.slot_reset", Act::Later);
    world.script.set("f1.slot_reset", Act::Say(Answer::Vote(Vote::Recovered)));
    world.begin();
    let recovery = world.recovery.clone().unwrap();
    while !world.script.has("f1.slot_reset") {
        let pause = recovery.drive(&mut world.token).expect("it goes on until then");
        world.time.advance(if world.script.has("f1.slot_reset") { Duration::ZERO } else { pause });
    }
    drop(recovery);
    assert!(!world.card("f0").enters(&world.token), "its driver was lost");
    // Another reset and another thaw, of f1 alone.
    world.freeze_again();
    let reply = world.scene.replies.lock().get_mut("f1.slot_reset").unwrap().pop_front().unwrap();
    reply.answer(Answer::Vote(Vote::Recovered));
    assert_eq!(world.drive(), Some(Outcome::Recovered), "{:?}", world.script.log());
    assert_eq!(world.script.count("platform.reset"), 2);
    let (lost, other) = (world.card("f0"), world.card("f1"));
    assert!(!lost.there.function.handle().is_gone());
    assert!(!lost.enters(&world.token), "its driver is out of hand");
    assert!(other.enters(&world.token));
    let frozen = world.frozen.clone().unwrap();
    assert!(frozen.is_thawed() && frozen.keeps_some());
    assert!(frozen.let_go(lost.id()));
    assert!(lost.enters(&world.token), "nothing else keeps it");
}

#[test]
fn an_interrupt_line_is_looked_at_again_when_its_function_is_open() {
    let mut world = World::new(&[MODEL]);
    assert_eq!(world.recover(), Outcome::Recovered);
    let again = world.script.at("f0 is open and interrupts");
    assert!(world.script.at("f0.restore") < again);
    world.assert_clean(true);
}

#[test]
fn a_device_that_panics_over_its_reset_is_not_back() {
    let mut world = World::new(&[MODEL, AWARE]);
    world.script.set("reset of f0", Act::Panic);
    assert_eq!(world.recover(), Outcome::Failed(Doom::ResetFailed));
    assert_eq!(world.script.count("platform.reset"), 3, "EEH-19");
    assert!(!world.script.has("f0.restore"));
    world.assert_clean(false);
}
