//! Every invariant can fail: worlds that were tampered with, or told what is not so.

use crate::actions;
use crate::card::Card;
use crate::invariants::Invariant;
use crate::machine::at_once;
use crate::scene::Scene;
use crate::world::Due;
use pci_core::Command;
use slot::{Cause, Finished, Lamp, Notice, OperationId, Removal, Request, Told};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_world_in_which_nothing_is_wrong_breaks_no_invariant() {
    let mut scene = Scene::on(1, false);
    actions::ask(&scene.world, 0, Request::Disable { timeout: HOUR });
    scene.world.come_to_rest(&mut scene.token);
    assert_eq!(scene.found(), None);
    assert_eq!(scene.world.ledger.with(|ledger| ledger.open()), 0);
}

#[test]
fn an_operation_that_ends_twice_is_seen() {
    let scene = Scene::new(0, false);
    let end = Told::Operation(OperationId(1), Request::Enable, Some(Finished::Done));
    scene.tell(&end);
    assert_eq!(scene.found(), None);
    scene.tell(&end);
    scene.ends_with(Invariant::EndsOnce);
}

#[test]
fn an_operation_of_a_slot_that_is_not_driven_at_its_time_is_seen() {
    let mut scene = Scene::on(1, true);
    actions::ask(&scene.world, 0, Request::Disable { timeout: Duration::from_secs(60) });
    scene.world.drive_somebody(&mut scene.token);
    scene.check();
    assert_eq!(scene.found(), None);
    scene.world.clock.advance_to(scene.world.now() + HOUR);
    scene.check();
    scene.ends_with(Invariant::Independent);
}

#[test]
fn an_operation_whose_calls_take_more_time_than_they_have_is_seen() {
    let mut scene = Scene::on(1, true);
    actions::ask(&scene.world, 0, Request::Disable { timeout: Duration::from_secs(60) });
    scene.world.drive_somebody(&mut scene.token);
    scene.world.clock.advance_to(scene.world.now() + HOUR);
    scene.world.ledger.with(|ledger| ledger.clocks[0].busy += HOUR);
    scene.check();
    scene.ends_with(Invariant::EndsInTime);
}

#[test]
fn time_with_others_calls_on_top_is_not_held_against_a_slot() {
    let mut scene = Scene::on(1, true);
    actions::ask(&scene.world, 0, Request::Disable { timeout: Duration::from_secs(60) });
    scene.world.drive_somebody(&mut scene.token);
    scene.world.clock.advance_to(scene.world.now() + HOUR);
    scene.world.ledger.with(|ledger| {
        ledger.clocks[0].busy += HOUR;
        ledger.clocks[0].buried += HOUR;
    });
    scene.check();
    assert_eq!(scene.found(), None);
}

#[test]
fn a_card_in_the_topology_of_a_slot_that_is_off_is_seen() {
    let mut scene = Scene::new(0, false);
    let card = Card { serial: 0, functions: 1, sr_iov: false, block_store: false };
    let functions = scene.world.machine.insert(0, card).expect("room");
    assert!(scene.world.machine.show(&mut scene.token, 0, &functions));
    scene.check();
    scene.ends_with(Invariant::VisibleLast);
}

#[test]
fn a_function_that_works_after_its_revocation_is_seen() {
    let scene = Scene::on(0, false);
    scene.tell(&Told::Notice(Notice::Revoked));
    scene.ends_with(Invariant::GoneFirst);
}

#[test]
fn a_function_that_works_after_its_card_was_pulled_is_seen() {
    let scene = Scene::on(0, false);
    scene.world.bays[0].physical.with(|physical| physical.power_lamp = Some(Lamp::Blink));
    scene.tell(&Told::Notice(Notice::Revoking(Cause::CardLost)));
    scene.ends_with(Invariant::Disconnected);
}

#[test]
fn a_client_that_has_a_function_of_a_slot_that_is_off_is_seen() {
    let mut scene = Scene::on(0, false);
    scene.world.guests[0].attach(&scene.world, &mut scene.token);
    scene.world.bays[0].physical.with(|physical| physical.power_lamp = Some(Lamp::Off));
    scene.tell(&Told::Notice(Notice::Off));
    scene.ends_with(Invariant::Revoked);
}

#[test]
fn a_function_that_leaves_before_the_one_above_it_is_seen() {
    let mut scene = Scene::new(0, false);
    let card = Card { serial: 0, functions: 2, sr_iov: false, block_store: false };
    let functions = scene.world.machine.insert(0, card).expect("room");
    scene.world.bays[0].physical.with(|physical| physical.plugged.clone_from(&functions));
    for function in &functions {
        let _nothing_inside = function.assignment.function().disconnect(&mut scene.token, at_once());
        scene.world.check_unbound(0, &function.assignment, false);
    }
    scene.ends_with(Invariant::RemovalOrder);
}

#[test]
fn a_function_that_leaves_with_bus_mastering_on_is_seen() {
    let mut scene = Scene::on(0, false);
    let assignment = scene.functions()[0].assignment.clone();
    let function = assignment.function();
    let command = (Command::MEMORY_SPACE | Command::BUS_MASTER).bits().to_le_bytes();
    function.write_config(&mut scene.token, pci_spec::config::COMMAND, &command, at_once()).expect("open");
    let _nothing_inside = function.disconnect(&mut scene.token, at_once());
    scene.world.check_removal(0, &mut scene.token, std::slice::from_ref(&assignment), Removal::Orderly);
    scene.ends_with(Invariant::Orderly);
}

#[test]
fn a_handle_that_should_be_stale_and_works_is_seen() {
    let mut scene = Scene::on(0, false);
    let assignment = scene.functions()[0].assignment.clone();
    scene.world.tenancy.with(|tenancy| tenancy.stale.push(assignment));
    scene.check();
    scene.ends_with(Invariant::StaleRefused);
}

#[test]
fn a_second_owner_is_seen() {
    let scene = Scene::on(0, false);
    scene.world.check_sole(0, "0000:01:00.0", 0);
    assert_eq!(scene.found(), None);
    scene.world.check_sole(0, "0000:01:00.0", 1);
    scene.ends_with(Invariant::OneOwner);
}

#[test]
fn a_driver_that_has_no_last_call_is_seen() {
    let mut scene = Scene::on(1, false);
    scene.world.ledger.with(|ledger| ledger.bound += 1);
    scene.world.come_to_rest(&mut scene.token);
    scene.ends_with(Invariant::LastCall);
}

#[test]
fn a_lamp_that_shows_something_else_is_seen() {
    let scene = Scene::on(0, false);
    scene.world.bays[0].physical.with(|physical| physical.power_lamp = Some(Lamp::Off));
    scene.tell(&Told::Notice(Notice::On));
    scene.ends_with(Invariant::Lamps);
}

#[test]
fn a_consumer_whose_function_is_gone_when_it_is_asked_to_let_go_is_seen() {
    let mut scene = Scene::on(0, false);
    let assignment = scene.functions()[0].assignment.clone();
    scene.world.check_works(0, &assignment);
    assert_eq!(scene.found(), None);
    let _nothing_inside = assignment.function().disconnect(&mut scene.token, at_once());
    scene.world.check_works(0, &assignment);
    scene.ends_with(Invariant::WorksWhileAsked);
}

#[test]
fn power_that_is_cut_under_what_is_in_the_topology_is_seen() {
    let mut scene = Scene::on(0, false);
    scene.world.check_power_is_cut_last(0, &mut scene.token);
    scene.ends_with(Invariant::PowerLast);
}

#[test]
fn more_at_a_slot_than_there_may_be_is_seen() {
    let scene = Scene::new(0, false);
    scene.world.check_bound(0, 100, 10);
    assert_eq!(scene.found(), None);
    scene.world.check_bound(0, 1000, 10);
    scene.ends_with(Invariant::Bounded);
}

#[test]
fn a_world_that_does_not_come_to_rest_is_seen() {
    let mut scene = Scene::new(0, false);
    for second in 0..100_000 {
        scene.world.later(Duration::from_secs(second), Due::Look(0));
    }
    scene.world.come_to_rest(&mut scene.token);
    scene.ends_with(Invariant::ComesToRest);
}

#[test]
fn a_function_that_somebody_keeps_for_ever_is_seen() {
    let mut scene = Scene::on(0, false);
    let kept = scene.functions()[0].assignment.clone();
    scene.world.come_to_rest(&mut scene.token);
    assert!(kept.function().handle().is_gone());
    scene.ends_with(Invariant::NothingLeft);
}
