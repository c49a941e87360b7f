//! Consumers that are no drivers here: save and restore, notify, contain until told.

use crate::script::Act;
use crate::world::*;
use contain::merge::Vote;
use contain::plan::{Answer, Policy, Role};
use contain::report::{Doom, Outcome};
use gate::{AccessKind, Deadline, ThreadToken};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[test]
fn a_model_has_its_state_after_the_reset_that_took_it() {
    let mut world = World::new(&[MODEL, MODEL]);
    world.card("f0").model.number.store(42, Ordering::Release);
    world.card("f1").model.number.store(43, Ordering::Release);
    assert_eq!(world.recover(), Outcome::Recovered);
    assert_eq!(world.script.count("platform.reset"), 1);
    assert_eq!(world.card("f0").model.number.load(Ordering::Acquire), 42);
    assert_eq!(world.card("f1").model.number.load(Ordering::Acquire), 43);
    world.assert_clean(true);
}

#[test]
fn a_guest_that_accesses_its_function_meanwhile_waits_until_the_state_is_back() {
    let mut world = World::new(&[MODEL, AWARE]);
    world.card("f0").model.number.store(7, Ordering::Release);
    let (card, seen) = (world.card("f0"), Arc::new(parking_lot::Mutex::new(None)));
    let note = seen.clone();
    // Unfrozen, and still closed.
    let look = move |token: &mut ThreadToken| {
        let status = card.there.function.gate().status();
        let entered = card.there.function.handle().try_enter(token, AccessKind::Bar).is_ok();
        *note.lock() = Some((status.contained, status.owner.is_some(), entered));
    };
    world.scene.meanwhile.lock().insert("f1.slot_reset".into(), Box::new(look));
    assert_eq!(world.recover(), Outcome::Recovered);
    assert_eq!(*seen.lock(), Some((0, true, false)));
    world.assert_clean(true);
}

#[test]
fn a_reset_by_the_guest_never_comes_between_the_save_and_the_restore() {
    let mut world = World::new(&[MODEL]);
    world.card("f0").model.number.store(7, Ordering::Release);
    let (card, tried) = (world.card("f0"), Arc::new(parking_lot::Mutex::new(None)));
    let note = tried.clone();
    let guest = move |token: &mut ThreadToken| {
        let deadline = Deadline::after(Duration::ZERO);
        *note.lock() =
            Some(card.there.function.reset(token, pci_core::ResetKind::FunctionLevel, deadline).is_ok());
    };
    world.scene.meanwhile.lock().insert("platform.reset".into(), Box::new(guest));
    assert_eq!(world.recover(), Outcome::Recovered);
    assert_eq!(*tried.lock(), Some(false));
    assert_eq!(world.card("f0").model.number.load(Ordering::Acquire), 7);
}

#[test]
fn a_model_that_cannot_save_or_restore_is_given_up() {
    for (call, resets) in [("f0.save", 0), ("f0.restore", 1)] {
        let mut world = World::new(&[MODEL]);
        world.script.refuse(call, 1);
        assert_eq!(world.recover(), Outcome::Failed(Doom::Voted(Vote::Disconnect)), "{call}");
        assert_eq!(world.script.count("platform.reset"), resets);
        world.assert_clean(false);
    }
}

#[test]
fn a_model_that_panics_or_hangs_over_its_state_is_given_up_and_its_gate_is_not_left_closed() {
    for call in ["f0.save", "f0.restore"] {
        let mut world = World::new(&[MODEL]);
        world.script.set(call, Act::Panic);
        assert_eq!(world.recover(), Outcome::Failed(Doom::Voted(Vote::Disconnect)), "{call}");
        world.assert_clean(false);
        drop(world);
        let mut world = World::new(&[MODEL]);
        world.script.set(call, Act::Hang);
        world.begin();
        let hung = world.leave_behind(call);
        world.script.mend(call);
        hung.join().unwrap();
        assert_eq!(world.drive(), Some(Outcome::Failed(Doom::Voted(Vote::Disconnect))), "{call}");
        world.assert_clean(false);
    }
}

#[test]
fn a_model_whose_io_does_not_end_is_given_up_at_the_deadline() {
    let mut world = World::new(&[MODEL]);
    world.settings.quiesce_timeout = Duration::from_millis(100);
    let handle = world.card("f0").there.function.handle().clone();
    let now = Deadline::after(Duration::ZERO);
    let inside = handle.enter_long(&mut world.token, AccessKind::Dma, "a read", now).unwrap();
    assert_eq!(world.recover(), Outcome::Failed(Doom::Voted(Vote::Disconnect)));
    drop(inside);
    world.assert_clean(false);
}

#[test]
fn a_consumer_that_is_to_be_notified_is_and_goes_on() {
    let mut world = World::new(&[Role::Consumer(Policy::Notify)]);
    assert_eq!(world.recover(), Outcome::Recovered);
    assert_eq!(world.script.of("f0.notify"), ["f0.notify Frozen"]);
    world.assert_clean(true);
    drop(world);
    let mut world = World::new(&[Role::Consumer(Policy::Notify)]);
    world.script.set("platform.thaw Mmio", Act::Panic);
    assert_eq!(world.recover(), Outcome::Failed(Doom::ThawFailed));
    assert_eq!(world.script.of("f0.notify"), ["f0.notify Frozen", "f0.notify PermFailure"]);
    world.assert_clean(false);
}

#[test]
fn a_consumer_that_deals_with_it_stays_contained_whatever_happens_to_the_others_eeh_20_eeh_21() {
    for answer in [Vote::CanRecover, Vote::NeedReset] {
        let mut world = World::new(&[AWARE, Role::Consumer(Policy::ContainUntilTold)]);
        world.script.set("f0.error_detected", Act::Say(Answer::Vote(answer)));
        assert_eq!(world.recover(), Outcome::Recovered);
        let frozen = world.frozen.clone().unwrap();
        assert!(frozen.keeps_some() && !world.card("f1").enters(&world.token));
        assert!(frozen.let_go(world.card("f1").id()) && world.card("f1").enters(&world.token));
        *world.card("f1").role.lock() = AWARE;
        drop(frozen);
        world.assert_clean(true);
    }
}

#[test]
fn consumers_that_all_deal_with_it_are_left_alone_eeh_21() {
    let mut world = World::new(&[Role::Consumer(Policy::ContainUntilTold)]);
    assert_eq!(world.recover(), Outcome::Contained);
    assert_eq!(world.script.of("platform."), ["platform.is_present"]);
    assert!(!world.card("f0").enters(&world.token));
}
