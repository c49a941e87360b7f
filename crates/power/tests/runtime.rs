//! The idle policy at work: who keeps whom awake, and what wakes a sleeper.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod support;

use gate::{AccessKind, ThreadToken};
use pci_core::Pm;
use pci_spec::capability::pm::Capabilities;
use power::idle::{Control, Policy};
use power::low_power::LowPower;
use power::runtime::{Runtime, Usage};
use power::{Emulated, State};
use std::sync::Arc;
use std::time::Duration;
use support::{Board, World, at, patient};

fn delayed() -> Policy {
    Policy { delay: Some(Duration::from_millis(100)), ..Policy::default() }
}

#[test]
fn pwr_11_an_attached_consumer_keeps_the_function_awake() {
    let world = World::switch();
    let token = &mut ThreadToken::at_thread_entry();
    let mut runtime = Runtime::new(world.power());
    let managed = runtime.manage(at(3, 0, 0), delayed());
    let usage = managed.using();
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(runtime.poll(&world.snapshot, token, patient()), None);
    assert_eq!((world.state(at(3, 0, 0)), managed.users()), (State::D0, 1));
    drop(usage);
    let now = pci_core::Time::now(&*world.clock);
    assert_eq!(runtime.poll(&world.snapshot, token, patient()), Some(now + Duration::from_millis(100)));
    world.clock.advance(Duration::from_millis(100));
    assert_eq!(runtime.poll(&world.snapshot, token, patient()), None);
    assert_eq!(world.state(at(3, 0, 0)), State::D3Hot);
    let usages = runtime.use_awake(&world.snapshot, at(3, 0, 0), token, patient()).unwrap();
    assert_eq!((world.state(at(3, 0, 0)), usages.len()), (State::D0, 1));
}

#[test]
fn a_bridge_sleeps_when_everything_below_does_and_wakes_with_it() {
    let world = World::switch();
    let token = &mut ThreadToken::at_thread_entry();
    let (bridge, function) = (at(0, 2, 0), at(5, 0, 0));
    let mut runtime = Runtime::new(world.power().on(Arc::new(Emulated::managing([bridge]))));
    runtime.manage(bridge, Policy::default());
    let managed = runtime.manage(function, Policy::default());
    let usage = managed.using();
    let _ = runtime.poll(&world.snapshot, token, patient());
    assert_eq!((world.state(bridge), world.state(function)), (State::D0, State::D0));
    drop(usage);
    let _ = runtime.poll(&world.snapshot, token, patient());
    assert_eq!((world.state(bridge), world.state(function)), (State::D3Cold, State::D3Cold));
    let usages = runtime.use_awake(&world.snapshot, function, token, patient()).unwrap();
    assert_eq!((world.state(bridge), world.state(function)), (State::D0, State::D0));
    let _ = runtime.poll(&world.snapshot, token, patient());
    assert_eq!(world.state(bridge), State::D0, "in use through the function");
    drop(usages);
    let _ = runtime.poll(&world.snapshot, token, patient());
    assert_eq!((world.state(bridge), world.state(function)), (State::D3Cold, State::D3Cold));
}

#[test]
fn pwr_10_a_function_whose_d3cold_is_not_allowed_keeps_its_power() {
    let world = World::switch();
    let token = &mut ThreadToken::at_thread_entry();
    let function = at(5, 0, 0);
    let mut runtime = Runtime::new(world.power().on(Arc::new(Emulated::managing([function]))));
    let managed = runtime.manage(function, Policy { d3cold_allowed: false, ..Policy::default() });
    let _ = runtime.poll(&world.snapshot, token, patient());
    assert_eq!(world.state(function), State::D3Hot);
    managed.set_policy(Policy { control: Control::On, ..Policy::default() });
    let _ = runtime.poll(&world.snapshot, token, patient());
    assert_eq!(world.state(function), State::D0, "power/control on");
    managed.set_policy(Policy::default());
    let _ = runtime.poll(&world.snapshot, token, patient());
    assert_eq!(world.state(function), State::D3Cold);
}

#[test]
fn a_function_with_an_access_in_flight_is_not_put_to_sleep_and_tried_again_later() {
    let world = World::switch();
    let token = &mut ThreadToken::at_thread_entry();
    let function = at(5, 0, 0);
    let mut runtime = Runtime::new(world.power());
    runtime.manage(function, delayed());
    world.clock.advance(Duration::from_millis(100));
    let handle = world.function(function).handle().clone();
    let flight = handle.enter_long(token, AccessKind::Dma, "a command", patient()).unwrap();
    let next = runtime.poll(&world.snapshot, token, patient());
    assert_eq!(next, Some(Duration::from_millis(200)));
    assert_eq!(world.state(function), State::D0);
    drop(flight);
    world.clock.advance(Duration::from_millis(100));
    let _ = runtime.poll(&world.snapshot, token, patient());
    assert_eq!(world.state(function), State::D3Hot);
}

#[test]
fn cfg_15_an_operators_access_keeps_what_is_above_awake_for_its_duration() {
    let world = World::switch();
    let token = &mut ThreadToken::at_thread_entry();
    let (bridge, function) = (at(0, 2, 0), at(5, 0, 0));
    let mut runtime = Runtime::new(world.power());
    runtime.manage(bridge, Policy::default());
    runtime.manage(function, Policy::default());
    let _ = runtime.poll(&world.snapshot, token, patient());
    assert_eq!((world.state(bridge), world.state(function)), (State::D3Hot, State::D3Hot));
    let usages = runtime.use_config(&world.snapshot, function, token, patient()).unwrap();
    assert_eq!((world.state(bridge), usages.len()), (State::D0, 2));
    let _ = runtime.poll(&world.snapshot, token, patient());
    assert_eq!(world.state(bridge), State::D0);
    drop(usages);
    let _ = runtime.poll(&world.snapshot, token, patient());
    assert_eq!((world.state(bridge), world.state(function)), (State::D3Hot, State::D3Hot));
}

#[test]
fn vf_47_low_power_gives_up_the_claim_and_an_access_wakes_the_function_for_its_duration() {
    let world = World::switch();
    let token = &mut ThreadToken::at_thread_entry();
    let function = at(5, 0, 0);
    let mut runtime = Runtime::new(world.power());
    let managed = runtime.manage(function, Policy::default());
    let mut low = LowPower::default();
    let mut claim: Vec<Usage> = vec![managed.using()];
    let effects = low.enter(false).unwrap();
    assert!(effects.revoke_mappings && effects.release);
    claim.clear();
    let _ = runtime.poll(&world.snapshot, token, patient());
    assert_eq!(world.state(function), State::D3Hot);
    let (effects, access) = low.begin();
    assert!(effects.claim);
    let awake = runtime.use_awake(&world.snapshot, function, token, patient()).unwrap();
    assert_eq!(world.state(function), State::D0);
    assert!(low.end(access).release);
    drop(awake);
    let _ = runtime.poll(&world.snapshot, token, patient());
    assert_eq!(world.state(function), State::D3Hot, "and back to sleep");
    assert!(low.exit().claim);
    claim = runtime.use_awake(&world.snapshot, function, token, patient()).unwrap();
    let _ = runtime.poll(&world.snapshot, token, patient());
    assert_eq!((world.state(function), claim.len()), (State::D0, 1));
}

#[test]
fn pwr_10_a_sleeper_that_signals_pme_is_found_within_a_second_and_woken() {
    let function = at(0, 3, 0);
    let pme = Capabilities::PME_D3HOT;
    let world = Board::new().endpoint(function, Pm { pme, ..Pm::default() }).build();
    let token = &mut ThreadToken::at_thread_entry();
    let mut runtime = Runtime::new(world.power());
    runtime.manage(function, Policy { wakeup: true, ..delayed() });
    world.clock.advance(Duration::from_millis(100));
    // Ten milliseconds for the way to D3hot, then the first look a second later.
    assert_eq!(runtime.poll(&world.snapshot, token, patient()), Some(Duration::from_millis(1110)));
    assert_eq!(world.state(function), State::D3Hot);
    assert!(world.function(function).signal_pme(token, patient()).unwrap(), "armed on the way down");
    world.clock.advance(Duration::from_millis(999));
    let _ = runtime.poll(&world.snapshot, token, patient());
    assert_eq!(world.state(function), State::D3Hot);
    world.clock.advance(Duration::from_millis(1));
    let next = runtime.poll(&world.snapshot, token, patient());
    assert_eq!((world.state(function), next), (State::D0, Some(Duration::from_millis(1120 + 100))));
}

#[test]
fn pwr_10_a_function_without_power_wakes_by_its_message_and_asks_once() {
    let function = at(0, 3, 0);
    let pme = Capabilities::PME_D3COLD;
    let world = Board::new().endpoint(function, Pm { pme, ..Pm::default() }).build();
    let token = &mut ThreadToken::at_thread_entry();
    let mut runtime = Runtime::new(world.power().on(Arc::new(Emulated::managing([function]))));
    runtime.manage(function, Policy { wakeup: true, ..delayed() });
    world.clock.advance(Duration::from_millis(100));
    let _ = runtime.poll(&world.snapshot, token, patient());
    assert_eq!(world.state(function), State::D3Cold);
    assert!(world.function(function).signal_pme(token, patient()).unwrap());
    runtime.wake(&world.snapshot, function, token, patient()).unwrap();
    assert_eq!(world.state(function), State::D0);
    assert!(!world.power().take_pme(&world.snapshot, function, token), "taken already");
}
