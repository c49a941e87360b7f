//! Every way that a recovery takes, from its beginning to its end.

use crate::script::Act;
use crate::world::*;
use contain::containment::Running;
use contain::merge::Vote;
use contain::plan::{Answer, Flavour, Handlers, Policy, Queried, Role, Severity, Thaw};
use contain::report::{Doom, Outcome, Path, Uevent};
use contain::watch::Told;
use std::time::Duration;

#[test]
fn drivers_that_can_recover_go_on_without_a_reset_eeh_14() {
    let mut world = World::new(&[AWARE, AWARE]);
    assert_eq!(world.recover(), Outcome::Recovered);
    let calls = ["f0.error_detected", "f0.mmio_enabled", "f0.interrupts", "f0.resume"];
    let seen: Vec<_> = world.script.of("f0.").into_iter().filter(|line| line != "f0.of").collect();
    assert_eq!(seen, [&["f0.interrupts"], &calls[..]].concat());
    assert!(!world.script.has("platform.reset"));
    assert!(world.script.at("platform.thaw Mmio") < world.script.at("f0.mmio_enabled"));
    assert!(world.script.at("platform.thaw Dma") > world.script.at("f1.mmio_enabled"));
    world.assert_clean(true);
}

#[test]
fn between_the_two_thaws_registers_are_reached_and_the_bus_is_not_mastered_eeh_14() {
    let mut world = World::new(&[AWARE]);
    let (card, seen) = (world.card("f0"), std::sync::Arc::new(parking_lot::Mutex::new(None)));
    let note = seen.clone();
    let look = move |token: &mut gate::ThreadToken| {
        *note.lock() = Some((card.enters(token), card.there.function.config().is_dma_held()));
    };
    world.scene.meanwhile.lock().insert("f0.mmio_enabled".into(), Box::new(look));
    assert_eq!(world.recover(), Outcome::Recovered);
    assert_eq!(*seen.lock(), Some((true, true)));
    world.assert_clean(true);
}

#[test]
fn whoever_goes_on_masters_the_bus_again_with_or_without_a_reset_eeh_14() {
    for (vote, call) in [(Vote::Recovered, "f0.resume"), (Vote::NeedReset, "f0.slot_reset")] {
        let mut world = World::new(&[AWARE, Role::Unbound]);
        world.script.set("f0.mmio_enabled", Act::Say(Answer::Vote(vote)));
        let cards = [world.card("f0"), world.card("f1")];
        let seen = std::sync::Arc::new(parking_lot::Mutex::new(None));
        let note = seen.clone();
        let look = move |_: &mut gate::ThreadToken| {
            *note.lock() = Some(cards.map(|card| card.there.function.config().is_dma_held()));
        };
        world.scene.meanwhile.lock().insert(call.into(), Box::new(look));
        assert_eq!(world.recover(), Outcome::Recovered);
        assert_eq!(*seen.lock(), Some([false, false]), "{call}");
        world.assert_clean(true);
    }
}

#[test]
fn a_driver_that_needs_a_reset_is_reset_and_told_eeh_15() {
    let mut world = World::new(&[AWARE, AWARE]);
    world.script.set("f1.error_detected", Act::Say(Answer::Vote(Vote::NeedReset)));
    assert_eq!(world.recover(), Outcome::Recovered);
    assert_eq!(world.script.count("platform.reset"), 1);
    for name in ["f0", "f1"] {
        let at = |what: &str| world.script.at(what);
        assert!(at("platform.unfreeze") < at(&format!("{name}.slot_reset")));
        assert!(at(&format!("{name}.slot_reset")) < at(&format!("{name}.resume")));
        assert!(!world.script.has(&format!("{name}.unbind")));
    }
    assert_eq!(world.end().resets, 1);
    assert_eq!(*world.scene.reset_took.lock(), [Duration::from_millis(2050)], "EEH-19");
    world.assert_clean(true);
}

#[test]
fn drivers_that_know_of_no_errors_are_unbound_and_probed_after_five_seconds_eeh_13() {
    let mut world = World::new(&[Role::Unaware, Role::Unaware]);
    assert_eq!(world.recover(), Outcome::Recovered);
    let at = |what: &str| world.script.at(what);
    assert!(at("f0.unbind") < at("platform.reset") && at("platform.unfreeze") < at("f0.probe"));
    assert_eq!(world.end().pause, Duration::from_secs(5), "the reset itself takes no time here");
    assert!(world.notices().contains(&contain::report::Notice::Taking(Path::HotPlug)));
    world.assert_clean(true);
}

#[test]
fn an_unaware_driver_beside_one_that_is_reset_is_unbound_alone_eeh_18() {
    let mut world = World::new(&[AWARE, Role::Unaware]);
    world.script.set("f0.error_detected", Act::Say(Answer::Vote(Vote::NeedReset)));
    assert_eq!(world.recover(), Outcome::Recovered);
    assert!(!world.script.has("f0.unbind") && world.script.has("f1.unbind") && world.script.has("f1.probe"));
    world.assert_clean(true);
}

#[test]
fn waits_are_scaled_and_calls_are_not() {
    let mut world = World::new(&[Role::Unaware]);
    world.settings.time_scale = 0.1;
    assert_eq!(world.recover(), Outcome::Recovered);
    assert_eq!(world.end().pause, Duration::from_millis(500));
    assert_eq!(*world.scene.reset_took.lock(), [Duration::from_millis(205)]);
}

#[test]
fn a_scale_that_is_no_number_is_none() {
    for (scale, pause) in [(f64::NAN, 5), (-1.0, 0), (1e300, 5), (f64::INFINITY, 5)] {
        let mut world = World::new(&[Role::Unaware]);
        world.settings.time_scale = scale;
        assert_eq!(world.recover(), Outcome::Recovered);
        assert_eq!(world.end().pause, Duration::from_secs(pause), "{scale}");
    }
}

#[test]
fn a_driver_that_gives_up_takes_the_pe_with_it_eeh_17() {
    let mut world = World::new(&[AWARE, AWARE]);
    world.script.set("f0.error_detected", Act::Say(Answer::Vote(Vote::Disconnect)));
    assert_eq!(world.recover(), Outcome::Failed(Doom::Voted(Vote::Disconnect)));
    for name in ["f0", "f1"] {
        assert!(world.script.has(&format!("{name}.perm_failure")));
        assert!(world.script.has(&format!("{name} is removed")));
        assert!(world.card(name).there.function.handle().is_gone());
    }
    assert!(world.pe().state().contains(contain::pe::PeState::REMOVED));
    world.assert_clean(false);
}

#[test]
fn nothing_present_too_often_frozen_and_beyond_hope_are_permanent_eeh_10_eeh_11_eeh_22() {
    let nothing = |world: &mut World| world.script.refuse("platform.is_present", 1);
    let budget = |world: &mut World| world.within_budget = false;
    let doomed = |world: &mut World| world.doom = Some(Doom::HostBridgeDead);
    type Set = fn(&mut World);
    let cases: [(Set, Doom); 3] =
        [(nothing, Doom::NothingPresent), (budget, Doom::BudgetExhausted), (doomed, Doom::HostBridgeDead)];
    for (set, doom) in cases {
        let mut world = World::new(&[AWARE, MODEL]);
        set(&mut world);
        assert_eq!(world.recover(), Outcome::Failed(doom));
        assert!(!world.script.has("f0.error_detected") && world.script.has("f0.perm_failure"));
        world.assert_clean(false);
    }
}

#[test]
fn a_thaw_that_needs_a_reset_gets_one_and_one_that_fails_is_the_end_eeh_14() {
    for (how, outcome, resets) in
        [(Thaw::NeedsReset, Outcome::Recovered, 1), (Thaw::Failed, Outcome::Failed(Doom::ThawFailed), 0)]
    {
        for traffic in [Traffic2::Mmio, Traffic2::Dma] {
            let mut world = World::new(&[AWARE]);
            world.scene.thaws.lock().insert(traffic, how);
            assert_eq!(world.recover(), outcome);
            assert_eq!(world.end().resets, resets);
            world.assert_clean(outcome == Outcome::Recovered);
        }
    }
}

#[test]
fn three_resets_are_tried_and_a_fourth_is_not_eeh_19() {
    for (failures, outcome) in [(2, Outcome::Recovered), (3, Outcome::Failed(Doom::ResetFailed))] {
        let mut world = World::new(&[AWARE, MODEL]);
        world.script.refuse("platform.reset", failures);
        assert_eq!(world.recover(), outcome);
        assert_eq!(world.script.count("platform.reset"), 3);
        world.assert_clean(outcome == Outcome::Recovered);
    }
}

#[test]
fn a_configuration_that_is_not_restored_and_a_pe_that_stays_frozen_are_the_end_eeh_20() {
    for (what, times, outcome) in [
        ("platform.restore_config", 1, Outcome::Failed(Doom::RestoreFailed)),
        ("platform.unfreeze", 2, Outcome::Recovered),
        ("platform.unfreeze", 3, Outcome::Failed(Doom::UnfreezeFailed)),
    ] {
        let mut world = World::new(&[Role::Unaware, MODEL]);
        world.script.refuse(what, times);
        assert_eq!(world.recover(), outcome, "{what}");
        world.assert_clean(outcome == Outcome::Recovered);
    }
}

#[test]
fn a_pe_whose_state_is_unavailable_is_asked_again_by_timers_for_300_seconds_eeh_11() {
    let mut world = World::new(&[AWARE]);
    world.scene.states.lock().extend([Queried::AskAgain(Duration::from_secs(7)); 1_000]);
    assert_eq!(world.recover(), Outcome::Failed(Doom::StateTimeout));
    assert_eq!(world.end().pause, Duration::from_secs(300));
    world.assert_clean(false);
}

#[test]
fn an_error_of_a_working_link_freezes_nothing_and_clears_what_is_recorded_aer_06() {
    let mut world = World::new(&[AWARE]);
    world.flavour = Flavour::Aer(Severity::NonFatal);
    assert_eq!(world.recover(), Outcome::Recovered);
    assert!(world.script.has("platform.clear_error_status") && world.script.has("f0.mmio_enabled"));
    world.assert_clean(true);
}

#[test]
fn a_corrected_error_is_told_and_that_is_all_aer_01() {
    let mut world = World::new(&[AWARE, Role::Aware(Handlers::RESUME)]);
    world.flavour = Flavour::Aer(Severity::Correctable);
    assert_eq!(world.recover(), Outcome::Recovered);
    assert!(world.script.has("f0.cor_error_detected") && !world.script.has("f1.cor_error_detected"));
    world.assert_clean(true);
}

#[test]
fn parents_are_called_before_children_and_everything_below_is_recovered_eeh_i7() {
    let mut world = World::new(&[AWARE]);
    world.plug(BELOW, AWARE);
    world.script.set("f0.error_detected", Act::Later);
    world.begin();
    assert_eq!(world.recovery.clone().unwrap().report(), "finding out who has the functions");
    let recovery = world.recovery.clone().unwrap();
    let _until_the_call_is_late = slot::Driven::drive(&*recovery, &mut world.token);
    assert!(world.script.has("f0.error_detected") && !world.script.has("f1.error_detected"));
    let reply = world.scene.replies.lock().get_mut("f0.error_detected").unwrap().pop_front().unwrap();
    reply.answer(Answer::Vote(Vote::CanRecover));
    drop(recovery);
    assert_eq!(world.drive(), Some(Outcome::Recovered));
    assert!(world.script.has("f1.resume"));
    world.assert_clean(true);
}

#[test]
fn an_empty_pe_is_gone_and_an_empty_host_bridge_is_reset_eeh_11() {
    let mut world = World::new(&[]);
    assert_eq!(world.recover(), Outcome::Gone);
    drop(world);
    let mut world = World::new(&[]).of_host_bridge();
    assert_eq!(world.recover(), Outcome::Recovered);
    assert_eq!(world.script.count("platform.reset"), 1);
}

#[test]
fn user_space_hears_of_the_beginning_and_of_the_end_aer_07() {
    let mut world = World::new(&[AWARE, Role::Consumer(Policy::Notify)]);
    world.recover();
    let told = world.scene.told.lock();
    let uevents = told.iter().filter_map(|told| match told {
        Told::Uevent { at, uevent, .. } if *at == world.card("f1").there.address => Some(*uevent),
        _ => None,
    });
    assert_eq!(uevents.collect::<Vec<_>>(), [Uevent::Begin, Uevent::Success]);
    assert!(matches!(told.first(), Some(Told::Began { .. })));
    assert!(told.iter().any(|told| matches!(told, Told::Log { text, .. } if text == "Temporary")));
}
