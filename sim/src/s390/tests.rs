//! Every invariant of handles and functions can fail: worlds that were tampered with, or told what is not so.

use super::S390;
use super::act::Site;
use crate::actions;
use crate::invariants::Invariant;
use crate::scene::Scene;
use slot::Request as SlotRequest;
use std::sync::Arc;
use std::time::Duration;
use zpci::{AddressSpace, Description, Event, Fault, Fid, Handle, Request, Uid, View, Work, Zdev};

fn platform(scene: &Scene) -> &S390 {
    scene.world.s390.as_ref().expect("a world with it")
}

/// The first function of the card.
fn first(scene: &Scene) -> (Arc<Zdev>, Arc<View>) {
    let zdev = platform(scene).places(0)[0].clone();
    let view = zdev.view().expect("it is on");
    (zdev, view)
}

/// Gives it another handle, so that one is over.
fn renew(scene: &mut Scene) -> Handle {
    let (zdev, _) = first(scene);
    let old = zdev.handle();
    let claim = zdev.begin(Work::SetFunction).expect("nobody works on it");
    claim.renew(&mut scene.token, true).expect("handles are left");
    old
}

/// A device that is not the first function's.
fn another(scene: &Scene) -> Arc<pci_core::Function> {
    let snapshot = scene.world.machine.snapshot(&scene.token);
    snapshot.function(crate::machine::port_at(0)).expect("a port").function.clone()
}

#[test]
fn a_platform_on_which_nothing_is_wrong_breaks_no_invariant() {
    let mut scene = Scene::on_platform();
    renew(&mut scene);
    scene.check();
    scene.world.check_configurations();
    actions::ask(&scene.world, 0, SlotRequest::Disable { timeout: Duration::ZERO });
    scene.world.come_to_rest(&mut scene.token);
    assert_eq!(scene.found(), None);
}

#[test]
fn a_handle_that_is_given_out_twice_is_seen() {
    let mut scene = Scene::on_platform();
    let old = renew(&mut scene);
    let (zdev, _) = first(&scene);
    scene.world.heard(&Event::Handle { fid: zdev.fid(), old: zdev.handle(), new: old });
    scene.ends_with(Invariant::DeadHandle);
}

#[test]
fn a_handle_that_is_over_and_names_something_is_seen() {
    let mut scene = Scene::on_platform();
    let handle = first(&scene).0.handle();
    let Scene { token, world } = &mut scene;
    world.check_dead(token, world.s390.as_ref().expect("it has one"), handle);
    scene.ends_with(Invariant::DeadHandle);
}

#[test]
fn a_device_that_has_gone_and_has_a_handle_is_seen() {
    let mut scene = Scene::on_platform();
    renew(&mut scene);
    let (_, view) = first(&scene);
    platform(&scene).keep(view);
    scene.check();
    scene.ends_with(Invariant::DeadHandle);
}

#[test]
fn a_change_of_a_handle_that_begins_with_another_one_is_seen() {
    let scene = Scene::on_platform();
    let (old, new) = (Handle::from_bits(0x1234), Handle::from_bits(0x8000_5678));
    scene.world.heard(&Event::Handle { fid: first(&scene).0.fid(), old, new });
    scene.ends_with(Invariant::HandleTold);
}

#[test]
fn a_handle_that_nobody_was_told_of_is_seen() {
    let mut scene = Scene::on_platform();
    let (zdev, _) = first(&scene);
    let new = Handle::from_bits(0x8000_5678);
    let told = platform(&scene).book.with(|book| book.changes(zdev.fid(), zdev.handle(), new));
    assert_eq!(told, Ok(()));
    scene.check();
    scene.ends_with(Invariant::HandleTold);
}

#[test]
fn a_handle_that_names_another_device_than_before_is_seen() {
    let mut scene = Scene::on_platform();
    renew(&mut scene);
    let (other, now) = (another(&scene), first(&scene).0.handle());
    assert_eq!(platform(&scene).book.with(|book| book.names(now, &other)), Ok(()));
    scene.check();
    scene.ends_with(Invariant::OneDevice);
}

#[test]
fn a_device_whose_number_is_read_by_way_of_another_is_seen() {
    let scene = Scene::on_platform();
    let (_, view) = first(&scene);
    let s390 = platform(&scene);
    scene.world.check_reached(s390, 7, &view);
    assert_eq!(scene.found(), None);
    scene.world.check_reached(s390, 8, &view);
    scene.ends_with(Invariant::OneDevice);
}

#[test]
fn a_block_that_reaches_another_device_than_its_own_is_seen() {
    let mut scene = Scene::on_platform();
    let (zdev, view) = first(&scene);
    let command = pci_core::Command::MEMORY_SPACE.bits().to_le_bytes();
    let at = pci_spec::config::COMMAND;
    let done = view.function().write_config(&mut scene.token, at, &command, crate::machine::at_once());
    assert!(done.is_ok());
    let request = Request::new(zdev.handle(), AddressSpace::from_code(0), 16);
    let s390 = platform(&scene);
    assert_eq!(s390.zpci.pcistb(&scene.token, request, 0, &[0; 16]), Ok(()));
    assert_eq!(s390.zpci.pcistb(&scene.token, request, 0, &[9; 16]), Ok(()));
    scene.check();
    scene.ends_with(Invariant::OneDevice);
}

#[test]
fn a_function_that_is_not_what_its_slot_is_is_seen() {
    let mut scene = Scene::on_platform();
    first(&scene).0.take_out(&mut scene.token);
    scene.check();
    assert_eq!(scene.found(), None, "it may be so for a moment");
    scene.world.check_configurations();
    scene.ends_with(Invariant::Configured);
}

#[test]
fn a_function_that_is_left_at_rest_is_seen() {
    let mut scene = Scene::on_platform();
    let zdev = first(&scene).0;
    scene.world.come_to_rest(&mut scene.token);
    assert_eq!(scene.found(), None);
    zdev.card(true);
    scene.world.check_platform_at_rest(&scene.token);
    scene.ends_with(Invariant::Configured);
}

#[test]
fn a_claim_that_is_not_given_back_is_seen() {
    let mut scene = Scene::on_platform();
    let zdev = first(&scene).0;
    let kept = zdev.begin(Work::Recovery);
    scene.check();
    assert_eq!(scene.found(), None, "somebody works on it");
    scene.world.check_configurations();
    drop(kept);
    scene.ends_with(Invariant::ClaimReturned);
}

#[test]
fn a_recovery_that_takes_for_ever_is_seen() {
    let scene = Scene::on_platform();
    let (most, more) = (Duration::from_secs(5), Duration::from_secs(6));
    scene.world.check_own_time(0, "a recovery", most, most);
    assert_eq!(scene.found(), None);
    scene.world.check_own_time(0, "a recovery", more, most);
    scene.ends_with(Invariant::FunctionInTime);
}

#[test]
fn time_with_others_calls_on_top_is_not_a_recoverys_own() {
    let scene = Scene::on_platform();
    let second = Duration::from_secs(1);
    let ((), own) = scene.world.as_operator_timed(|| {
        scene.world.clock.advance_to(scene.world.now() + second);
    });
    assert_eq!(own, second);
}

#[test]
fn an_instruction_that_is_answered_with_what_is_not_so_is_seen() {
    for (expected, done) in [
        (None, Err(Fault::Busy)),
        (Some(Fault::InvalidHandle), Ok(0)),
        (Some(Fault::InvalidHandle), Err(Fault::Gone)),
        (Some(Fault::Gone), Ok(0)),
    ] {
        let scene = Scene::on_platform();
        let s390 = platform(&scene);
        let function = s390.slot(0, 0).expect("a place");
        let on = Site { world: &scene.world, s390, slot: 0, function };
        let request = Request::new(first(&scene).0.handle(), AddressSpace::from_code(0), 8);
        super::instructions::check(&on, (request, 0), expected, done);
        scene.ends_with(Invariant::Answered);
    }
}

#[test]
fn a_function_that_the_machine_does_not_forget_is_seen() {
    let mut scene = Scene::on_platform();
    let added = platform(&scene).zpci.add(Fid(0x7777), Uid::NONE, Description::default());
    assert!(added.is_ok());
    scene.world.come_to_rest(&mut scene.token);
    scene.ends_with(Invariant::NothingLeft);
}
