//! Calls that hang, panic, are answered late or twice, and what becomes of them.

use crate::script::Act;
use crate::world::*;
use contain::containment::{News, Running};
use contain::merge::Vote;
use contain::plan::{Answer, Call, Role};
use contain::report::{Doom, Notice, Outcome};
use slot::Driven;
use std::time::Duration;

#[test]
fn a_driver_that_hangs_is_left_behind_and_counts_as_disconnect() {
    let mut world = World::new(&[AWARE, AWARE]);
    world.script.set("f0.error_detected", Act::Hang);
    world.begin();
    let hung = world.leave_behind("f0.error_detected");
    assert_eq!(world.drive(), Some(Outcome::Failed(Doom::Voted(Vote::Disconnect))));
    let lost = Notice::Lost(world.card("f0").id(), Call::ErrorDetected(pci_core::recovery::Channel::Frozen));
    assert!(world.notices().contains(&lost));
    assert!(!world.script.has("f0.perm_failure") && world.script.has("f1.perm_failure"), "called no more");
    world.script.mend("f0.error_detected");
    assert_eq!(hung.join().unwrap(), None);
    world.assert_clean(false);
}

#[test]
fn what_a_driver_says_after_its_time_goes_nowhere() {
    let mut world = World::new(&[AWARE]);
    world.script.set("f0.error_detected", Act::Later);
    world.begin();
    assert_eq!(world.drive(), Some(Outcome::Failed(Doom::Voted(Vote::Disconnect))));
    assert_eq!(world.end().pause, Duration::from_secs(10), "its call timeout, by a timer");
    let reply = world.scene.replies.lock().get_mut("f0.error_detected").unwrap().pop_front().unwrap();
    reply.answer(Answer::Vote(Vote::CanRecover));
    assert_eq!(world.drive(), Some(Outcome::Failed(Doom::Voted(Vote::Disconnect))));
    world.assert_clean(false);
}

#[test]
fn a_driver_that_answers_later_is_waited_for_and_its_siblings_are_not_held_up() {
    let mut world = World::new(&[AWARE, AWARE]);
    world.script.set("f0.error_detected", Act::Later);
    let recovery = world.begin();
    let left = recovery.drive(&mut world.token);
    assert_eq!(left, Some(Duration::from_secs(10)));
    assert!(world.script.has("f1.error_detected"));
    assert!(recovery.report().contains("error_detected"), "{}", recovery.report());
    let reply = world.scene.replies.lock().get_mut("f0.error_detected").unwrap().pop_front().unwrap();
    reply.answer(Answer::Vote(Vote::CanRecover));
    drop(recovery);
    assert_eq!(world.drive(), Some(Outcome::Recovered));
    world.assert_clean(true);
}

#[test]
fn a_driver_that_panics_or_forgets_to_answer_counts_as_disconnect_at_once() {
    for act in [Act::Panic, Act::Drop] {
        for call in ["error_detected", "mmio_enabled"] {
            let mut world = World::new(&[AWARE, AWARE]);
            world.script.set(&format!("f0.{call}"), act);
            assert_eq!(world.recover(), Outcome::Failed(Doom::Voted(Vote::Disconnect)));
            assert_eq!(world.end().pause, Duration::ZERO);
            world.assert_clean(false);
        }
    }
}

#[test]
fn a_driver_that_is_lost_when_it_goes_on_is_taken_out_alone() {
    let mut world = World::new(&[AWARE, AWARE]);
    world.script.set("f0.resume", Act::Panic);
    assert_eq!(world.recover(), Outcome::Recovered);
    assert!(world.script.has("f0 is removed") && !world.script.has("f1 is removed"));
    assert!(world.script.has("f1.resume"));
    world.assert_clean(true);
}

#[test]
fn an_answer_that_was_given_stands_though_its_call_hangs_and_the_driver_is_not_called_again() {
    let mut world = World::new(&[AWARE]);
    world.script.set("f0.error_detected", Act::SayAndHang(Answer::Vote(Vote::CanRecover)));
    world.begin();
    let hung = world.leave_behind("f0.error_detected");
    assert_eq!(world.drive(), Some(Outcome::Failed(Doom::Voted(Vote::Disconnect))));
    assert!(!world.script.has("f0.mmio_enabled"));
    world.script.mend("f0.error_detected");
    hung.join().unwrap();
    world.assert_clean(false);
}

#[test]
fn a_thread_that_comes_back_late_changes_nothing_of_the_recovery_that_goes_on() {
    let mut world = World::new(&[AWARE, AWARE]);
    world.script.set("f0.resume", Act::Hang);
    world.script.set("f1.resume", Act::Later);
    world.begin();
    let hung = world.leave_behind("f0.resume");
    let recovery = world.recovery.clone().unwrap();
    let _waits_for_the_other = recovery.drive(&mut world.token);
    assert!(recovery.report().contains("has not come back from call"), "{}", recovery.report());
    world.script.mend("f0.resume");
    assert_eq!(hung.join().unwrap(), None, "its ticket is void");
    assert!(!recovery.report().contains("has not come back"));
    let reply = world.scene.replies.lock().get_mut("f1.resume").unwrap().pop_front().unwrap();
    reply.answer(Answer::Done);
    drop(recovery);
    assert_eq!(world.drive(), Some(Outcome::Recovered));
    world.assert_clean(true);
}

#[test]
fn a_platform_that_hangs_in_any_of_its_calls_is_left_behind_and_nothing_stays_closed() {
    for (call, outcome) in [
        ("platform.is_present", Outcome::Failed(Doom::StateUnknown)),
        ("platform.state", Outcome::Failed(Doom::StateUnknown)),
        // They are tried again.
        ("platform.reset", Outcome::Recovered),
        ("platform.restore_config", Outcome::Failed(Doom::RestoreFailed)),
        ("platform.unfreeze", Outcome::Recovered),
    ] {
        let mut world = World::new(&[MODEL, Role::Unaware]);
        world.script.set(call, Act::Hang);
        world.begin();
        let hung = world.leave_behind(call);
        // What it has closed is back when it returns.
        world.script.mend(call);
        hung.join().unwrap();
        assert_eq!(world.drive(), Some(outcome), "{call}");
        world.assert_clean(outcome == Outcome::Recovered);
    }
}

#[test]
fn a_platform_that_never_comes_back_is_not_asked_again_but_for_the_removal() {
    let mut world = World::new(&[AWARE]);
    world.script.set("platform.thaw Mmio", Act::Hang);
    world.begin();
    let hung = world.leave_behind("platform.thaw Mmio");
    assert_eq!(world.drive(), Some(Outcome::Failed(Doom::ThawFailed)));
    assert_eq!(world.script.of("platform.").last().unwrap(), "platform.remove");
    world.script.mend("platform.thaw Mmio");
    hung.join().unwrap();
    world.assert_clean(false);
}

#[test]
fn a_thaw_that_comes_back_late_lets_nobody_in() {
    let mut world = World::new(&[AWARE]);
    // Not removed, so that it can be seen.
    world.script.set("platform.thaw Mmio", Act::Hang);
    world.script.set("platform.remove", Act::Panic);
    world.begin();
    let hung = world.leave_behind("platform.thaw Mmio");
    assert_eq!(world.drive(), Some(Outcome::Failed(Doom::ThawFailed)));
    world.script.mend("platform.thaw Mmio");
    hung.join().unwrap();
    assert!(!world.card("f0").enters(&world.token));
    world.assert_clean(false);
}

#[test]
fn a_platform_that_panics_has_said_no() {
    for (call, doom) in [
        ("platform.is_present", Doom::StateUnknown),
        ("platform.state", Doom::StateUnknown),
        ("platform.reset", Doom::ResetFailed),
        ("platform.restore_config", Doom::RestoreFailed),
        ("platform.unfreeze", Doom::UnfreezeFailed),
    ] {
        let mut world = World::new(&[MODEL, Role::Unaware]);
        world.script.set(call, Act::Panic);
        assert_eq!(world.recover(), Outcome::Failed(doom), "{call}");
        world.assert_clean(false);
    }
}

#[test]
fn who_cannot_say_who_has_a_function_loses_it_and_nobody_is_reset_behind_his_back() {
    let mut world = World::new(&[Role::Unaware]);
    world.script.set("f0.of", Act::Panic);
    assert_eq!(world.recover(), Outcome::Failed(Doom::Voted(Vote::Disconnect)));
    assert!(!world.script.has("platform.reset"));
    drop(world);
    let mut world = World::new(&[Role::Unaware]);
    world.script.set("f0.of", Act::Hang);
    world.begin();
    let hung = world.leave_behind("f0.of");
    assert_eq!(world.drive(), Some(Outcome::Failed(Doom::Voted(Vote::Disconnect))));
    world.script.mend("f0.of");
    hung.join().unwrap();
    world.recovery = None;
}

#[test]
fn a_watcher_that_hangs_or_panics_costs_its_own_news_only() {
    let mut world = World::new(&[AWARE]);
    world.script.set("watch.tell", Act::Panic);
    assert_eq!(world.recover(), Outcome::Recovered);
    world.assert_clean(true);
    drop(world);
    let mut world = World::new(&[AWARE]);
    world.script.set("watch.tell", Act::Hang);
    world.begin();
    let hung = world.leave_behind("watch.tell");
    assert_eq!(world.drive(), Some(Outcome::Recovered));
    assert_eq!(world.script.count("watch.tell"), 1);
    world.script.mend("watch.tell");
    hung.join().unwrap();
    world.assert_clean(true);
}

#[test]
fn a_recovery_that_nobody_drives_any_more_gives_everything_back() {
    let mut world = World::new(&[MODEL, AWARE]);
    world.script.set("f1.slot_reset", Act::Later);
    let recovery = world.begin();
    let _waits_for_the_driver = recovery.drive(&mut world.token);
    assert!(world.card("f0").there.function.gate().status().owner.is_some(), "its state is not back yet");
    recovery.post(News::FrozenAgain);
    drop((recovery, world.recovery.take()));
    assert!(world.card("f0").there.function.gate().status().owner.is_none());
    assert_nothing_kept(&world);
}

#[test]
fn a_recovery_that_nobody_drives_any_more_gives_the_bus_back_in_the_middle_of_a_thaw_eeh_14() {
    let mut world = World::new(&[AWARE]);
    world.script.set("f0.mmio_enabled", Act::Later);
    let recovery = world.begin();
    let _waits_for_the_driver = recovery.drive(&mut world.token);
    assert!(world.card("f0").there.function.config().is_dma_held());
    drop((recovery, world.recovery.take()));
    assert!(!world.card("f0").there.function.config().is_dma_held());
    assert_nothing_kept(&world);
}

fn assert_nothing_kept(world: &World) {
    let pe = world.pe();
    assert!(!pe.state().intersects(contain::pe::PeState::RECOVERING | contain::pe::PeState::KEEP));
    assert!(matches!(world.tree.try_claim(&world.token, TOP), Ok(contain::tree::TryClaimed::Mine(_))));
    world.scene.replies.lock().clear();
}
