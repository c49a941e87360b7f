//! The ladder on real functions: ask, remind, deadline, revoke, remove; and back again.
#![allow(clippy::unwrap_used, reason = "test code")]

mod world;

use gate::{AccessKind, Deadline, Refusal, ThreadToken};
use pci_core::Command;
use slot::{BLINK, Cause, Event, Features, Finished, Leaving, Notice, POWER_OFF_WAIT, Request, State, Told};
use std::sync::atomic::Ordering;
use std::time::Duration;
use world::*;

fn works(world: &World, token: &mut ThreadToken) -> bool {
    let function = world.function(0);
    let mut data = [0; 4];
    let bar = function.region_read(token, 0, 0, &mut data).is_ok() && data == [0x5a; 4];
    let config = function.region_read(token, 7, 0, &mut data).is_ok() && data != [0xff; 4];
    bar && config
}

#[test]
fn what_nobody_holds_leaves_at_once() {
    let (world, mut token) = (World::new(PLAIN, 1), ThreadToken::at_thread_entry());
    world.plug(&mut token);
    let operation = world.unplug(60);
    world.drive(&mut token);
    assert_eq!(operation.finished(), Some(Finished::Done));
    assert!(!world.notices().contains(&Notice::Revoking(Cause::Deadline)));
    assert_eq!(world.state(), State::Off);
    world.assert_clean();
}

#[test]
fn a_consumer_is_asked_and_reminded_and_everything_works_until_it_is_revoked_at_the_deadline_vf_04() {
    let (world, mut token) = (World::new(PLAIN, 1), ThreadToken::at_thread_entry());
    world.plug(&mut token);
    let client = Client::new(&world, "client");
    *client.attached.lock() = Some(world.function(0).attach(&mut token).unwrap());
    client.functions.lock().push(world.function(0));
    let operation = world.unplug(25);
    world.pass(&mut token, Duration::from_secs(24));
    for nth in 1..=3 {
        assert!(world.script.has(&format!("client asked {nth}")));
    }
    assert!(works(&world, &mut token), "it has to quiesce");
    assert_eq!(operation.finished(), None);
    let function = world.function(0);
    world.pass(&mut token, SECOND);
    assert_eq!(operation.finished(), Some(Finished::Done));
    assert!(world.notices().contains(&Notice::Revoking(Cause::Deadline)));
    let refused = function.function().handle().try_enter(&token, AccessKind::Bar).map(drop);
    assert_eq!(refused, Err(Refusal::Gone));
    assert!(world.script.at("client.revoke") < world.script.at("hardware.unconfigure"));
    client.functions.lock().clear();
    drop(function);
    world.assert_clean();
}

#[test]
fn a_consumer_that_lets_go_is_waited_for_no_longer() {
    let (world, mut token) = (World::new(PLAIN, 1), ThreadToken::at_thread_entry());
    world.plug(&mut token);
    let (quick, slow) = (Client::new(&world, "quick"), Client::new(&world, "slow"));
    quick.lets_go.store(true, Ordering::Release);
    let operation = world.unplug(60);
    world.drive(&mut token);
    assert_eq!(operation.finished(), None, "the other one has something still");
    slow.let_go(&mut token);
    world.drive(&mut token);
    assert_eq!(operation.finished(), Some(Finished::Done));
    assert!(world.notices().contains(&Notice::Released));
    assert_eq!(world.script.count("slow asked 2"), 0);
    world.assert_clean();
}

#[test]
fn force_begins_with_the_revocation() {
    let (world, mut token) = (World::new(PLAIN, 1), ThreadToken::at_thread_entry());
    world.plug(&mut token);
    let _client = Client::new(&world, "client");
    let timeout = Duration::ZERO;
    assert_eq!(world.ask(&mut token, Request::Disable { timeout }), Some(Finished::Done));
    assert!(!world.script.has("client asked 1") && world.script.has("client.revoke"));
    assert!(world.notices().contains(&Notice::Revoking(Cause::Forced)));
}

#[test]
fn an_unplug_that_is_called_off_leaves_everything_as_it_was() {
    let (world, mut token) = (World::new(PLAIN, 1), ThreadToken::at_thread_entry());
    let driver = world.driver("driver", false);
    world.plug(&mut token);
    let _client = Client::new(&world, "client");
    let operation = world.unplug(60);
    world.pass(&mut token, Duration::from_secs(15));
    assert_eq!(world.ask(&mut token, Request::Cancel), Some(Finished::Done));
    assert_eq!(operation.finished(), Some(Finished::Cancelled));
    assert!(world.script.has("client.keep") && world.script.has("driver.keep"));
    assert!(works(&world, &mut token));
    world.pass(&mut token, Duration::from_secs(60));
    assert_eq!(world.state(), State::On);
    assert_eq!(world.ask(&mut token, Request::Cancel), Some(Finished::TooLate));
    assert_eq!(driver.bound.load(Ordering::Acquire), 1);
}

#[test]
fn an_orderly_removal_leaves_the_hardware_quiet_and_a_surprise_touches_nothing_hp_12_hp_13() {
    let quiet = Command::INTERRUPT_DISABLE;
    let loud = Command::BUS_MASTER | Command::SERR_ENABLE;
    for surprise in [false, true] {
        let (world, mut token) = (World::new(PLAIN, 2), ThreadToken::at_thread_entry());
        world.plug(&mut token);
        let functions = [world.function(0), world.function(1)];
        for function in &functions {
            let command = (Command::MEMORY_SPACE | loud).bits().to_le_bytes();
            let deadline = Deadline::after(LONG);
            function
                .function()
                .write_config(&mut token, pci_spec::config::COMMAND, &command, deadline)
                .unwrap();
        }
        if surprise {
            world.slot.post(Event::Card(false));
            // Nobody has driven yet.
            for function in &functions {
                assert!(function.function().handle().try_enter(&token, AccessKind::Config).is_err());
            }
        } else {
            world.unplug(60);
        }
        world.drive(&mut token);
        assert_eq!(world.state(), State::Off);
        for function in &functions {
            let command = function.function().config().command();
            let left = command & (quiet | loud);
            assert_eq!(left, if surprise { loud } else { quiet }, "{surprise}");
        }
        let removal = if surprise { "unconfigure Surprise 2" } else { "unconfigure Orderly 2" };
        assert!(world.script.has(removal));
    }
}

#[test]
fn all_functions_of_a_card_are_gone_before_any_is_waited_for() {
    let (world, mut token) = (World::new(PLAIN, 3), ThreadToken::at_thread_entry());
    world.plug(&mut token);
    let functions = [world.function(0), world.function(1), world.function(2)];
    let handle = functions[0].function().handle();
    let inside =
        handle.enter_long(&mut token, AccessKind::Dma, "a long copy", Deadline::after(LONG)).unwrap();
    world.unplug(0);
    let slot = world.slot.clone();
    let driving = std::thread::spawn(move || slot.drive(&mut ThreadToken::at_thread_entry()));
    // The driver of the slot waits for the copy now, or will.
    let last = functions[2].function();
    let end = std::time::Instant::now() + LONG;
    while !last.handle().is_gone() {
        assert!(std::time::Instant::now() < end, "the last function waits for the first");
        std::thread::yield_now();
    }
    drop(inside);
    driving.join().unwrap();
    assert_eq!(world.state(), State::Off);
    assert!(!world.told.all.lock().iter().any(|told| matches!(told, Told::Orphan(_))));
}

#[test]
fn what_does_not_leave_is_named_and_the_slot_goes_on() {
    let settings =
        slot::Settings { callback_timeout: Duration::from_millis(20), ..slot::Settings::default() };
    let time = std::sync::Arc::new(pci_core::VirtualTime::default());
    let world = World::with(PLAIN, 1, settings, std::sync::Arc::new(slot::ByHand), time);
    let mut token = ThreadToken::at_thread_entry();
    world.plug(&mut token);
    let client = Client::new(&world, "client");
    client.orphans.lock().push(String::from("a page"));
    let function = world.function(0);
    let handle = function.function().handle();
    let inside =
        handle.enter_long(&mut token, AccessKind::Dma, "a long copy", Deadline::after(LONG)).unwrap();
    let operation = world.unplug(0);
    world.drive(&mut token);
    assert_eq!(operation.finished(), Some(Finished::Done));
    let all = world.told.all.lock().clone();
    let orphans: Vec<_> = all
        .iter()
        .filter_map(|told| if let Told::Orphan(what) = told { Some(what.as_str()) } else { None })
        .collect();
    assert_eq!(orphans.len(), 2, "{orphans:?}");
    assert!(orphans[0].starts_with("f0: a long copy") && orphans[1] == "a page", "{orphans:?}");
    drop(inside);
}

#[test]
fn drivers_are_removed_from_the_last_function_to_the_first_hp_01() {
    let (world, mut token) = (World::new(PLAIN, 3), ThreadToken::at_thread_entry());
    let driver = world.driver("driver", true);
    world.plug(&mut token);
    assert_eq!(driver.bound.load(Ordering::Acquire), 3);
    assert!(world.function(1).is_attached());
    world.unplug(60);
    world.drive(&mut token);
    assert_eq!(driver.bound.load(Ordering::Acquire), 0);
    let at = |nth: usize| world.script.at(&format!("remove f{nth} Orderly"));
    assert!(at(2) < at(1) && at(1) < at(0));
    world.assert_clean();
}

#[test]
fn a_card_that_comes_again_is_of_a_new_epoch_and_old_handles_reach_nothing() {
    let (world, mut token) = (World::new(PLAIN, 1), ThreadToken::at_thread_entry());
    world.plug(&mut token);
    let old = world.function(0);
    world.unplug(0);
    world.drive(&mut token);
    let gone = old.function().handle().try_enter(&token, AccessKind::Bar).map(drop);
    assert_eq!(gone, Err(Refusal::Gone));
    assert_eq!(
        world.ask(&mut token, Request::Enable),
        Some(Finished::Done),
        "HP-04, HP-08: it has power already"
    );
    let refused = old.function().handle().try_enter(&token, AccessKind::Bar).map(drop);
    assert!(matches!(refused, Err(Refusal::StaleEpoch { .. })), "{refused:?}");
    let attached = world.function(0).attach(&mut token).unwrap();
    assert!(works(&world, &mut token));
    attached.detach(&mut token);
    assert_ne!(old.function().handle().epoch(), world.function(0).function().handle().epoch());
}

#[test]
fn a_slot_with_everything_is_switched_by_its_button_hp_07_hp_09() {
    let features = Features { power_controller: true, attention_button: true, latch: true };
    let (world, mut token) = (World::new(features, 1), ThreadToken::at_thread_entry());
    world.slot.post(Event::Card(true));
    world.slot.post(Event::Button);
    world.pass(&mut token, BLINK - Duration::from_millis(1));
    assert!(matches!(world.state(), State::BlinkingOn { .. }));
    world.pass(&mut token, Duration::from_millis(1));
    assert_eq!(world.state(), State::On);
    world.slot.post(Event::Button);
    world.pass(&mut token, SECOND);
    world.slot.post(Event::Button);
    world.pass(&mut token, BLINK);
    assert_eq!(world.state(), State::On, "the second press takes back the first");
    world.slot.post(Event::Button);
    world.pass(&mut token, BLINK);
    assert!(matches!(world.state(), State::Leaving(Leaving::CuttingPower { until: Some(_) })));
    assert!(!world.port.powered.load(Ordering::Acquire));
    world.pass(&mut token, POWER_OFF_WAIT);
    assert_eq!(world.state(), State::Off);
    assert!(world.script.has("hardware.power_lamp Off"));
    world.assert_clean();
}
