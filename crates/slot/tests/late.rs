//! What a call does that returns after the slot went on without it, at every place that can hang.
#![allow(clippy::unwrap_used, reason = "test code")]

mod world;

use gate::ThreadToken;
use slot::{Consumer, Event, Features, Finished, Request, State};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;
use world::*;

const MINUTE: Duration = Duration::from_secs(60);

/// The call goes on, and its thread ends.
fn returns(world: &World, call: &str, hung: JoinHandle<()>) {
    assert_eq!(world.slot.report().left_behind.len(), 1, "{call}");
    world.script.mend(call);
    hung.join().unwrap();
    assert!(world.slot.report().left_behind.is_empty(), "{call}");
}

fn put_in(world: &World) {
    world.slot.post(Event::Link(true));
    world.slot.post(Event::Card(true));
}

#[test]
fn power_that_comes_after_the_slot_has_given_up_is_cut_again() {
    let token = &mut ThreadToken::at_thread_entry();
    // With a button nothing comes up by itself.
    let world = World::new(Features { attention_button: true, ..Features::default() }, 1);
    world.script.set("hardware.apply_power", Fault::Hang);
    world.slot.post(Event::Card(true));
    let operation = world.slot.ask(Request::Enable);
    let hung = world.take_over(token, "hardware.apply_power");
    assert_eq!(operation.finished(), Some(Finished::PowerFault));
    world.pass(token, 2 * SECOND);
    assert_eq!(world.state(), State::Off);
    returns(&world, "hardware.apply_power", hung);
    assert!(!world.port.powered.load(Ordering::Acquire), "a slot that is off has no power");
    world.pass(token, SECOND);
    assert_eq!(world.state(), State::Off);
    let operation = world.slot.ask(Request::Enable);
    world.pass(token, SECOND);
    assert_eq!(operation.finished(), Some(Finished::Done));
    assert!(world.port.powered.load(Ordering::Acquire));
}

#[test]
fn a_power_that_cannot_be_cut_costs_one_thread_however_often_the_slot_is_tried() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    world.plug(token);
    world.script.set("hardware.cut_power", Fault::Hang);
    let operation = world.unplug(0);
    let hung = world.take_over(token, "hardware.cut_power");
    assert_eq!(operation.finished(), Some(Finished::Done));
    let calls = world.script.count("hardware.cut_power");
    for _ in 0..20 {
        assert_eq!(world.ask(token, Request::Enable), Some(Finished::PowerFault));
    }
    assert_eq!(world.script.count("hardware.cut_power"), calls, "while one is out there is no second");
    returns(&world, "hardware.cut_power", hung);
    assert_eq!(world.ask(token, Request::Enable), Some(Finished::Done));
}

#[test]
fn who_let_go_in_a_call_that_was_left_behind_is_not_waited_for_to_the_deadline() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    world.plug(token);
    let client = Client::new(&world, "client");
    world.script.set("client.request", Fault::Hang);
    let operation = world.unplug(3600);
    let hung = world.take_over(token, "client.request");
    // From another thread of the consumer; it cannot be asked meanwhile whether that was all.
    client.let_go(token);
    world.drive(token);
    assert_eq!(operation.finished(), None);
    returns(&world, "client.request", hung);
    world.drive(token);
    assert_eq!(operation.finished(), Some(Finished::Done));
    assert!(!client.holds.load(Ordering::Acquire));
}

#[test]
fn a_driver_that_does_not_say_whether_a_function_is_its_own_is_passed_over_and_gets_nothing_late() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 2);
    let (first, second) = (world.driver("first", true), world.driver("second", true));
    world.script.set("first.matches", Fault::Hang);
    put_in(&world);
    let hung = world.take_over(token, "first.matches");
    assert_eq!(world.state(), State::On);
    assert_eq!(second.bound.load(Ordering::Acquire), 2, "both functions went to the next one");
    returns(&world, "first.matches", hung);
    assert_eq!(first.bound.load(Ordering::Acquire), 0);
    assert!(!world.script.has("first.probe"));
    assert_eq!(world.unplug(60).finished(), None);
    world.drive(token);
    assert_eq!(world.state(), State::Off);
    world.assert_clean();
}

#[test]
fn a_function_that_is_attached_late_is_let_go_at_once() {
    for leaves_first in [false, true] {
        let token = &mut ThreadToken::at_thread_entry();
        let world = World::new(PLAIN, 1);
        let driver = world.driver("driver", true);
        world.script.set("sink.attached", Fault::Hang);
        put_in(&world);
        let hung = world.take_over(token, "sink.attached");
        assert_eq!(world.state(), State::On);
        let old = world.function(0);
        if leaves_first {
            world.unplug(0);
            world.drive(token);
            assert_eq!(world.state(), State::Off);
        }
        returns(&world, "sink.attached", hung);
        world.drive(token);
        assert!(!old.is_attached());
        assert_eq!(driver.bound.load(Ordering::Acquire), 0);
        drop(old);
        if !leaves_first {
            assert_eq!(world.state(), State::On);
            world.function(0).attach(token).unwrap().detach(token);
            world.unplug(60);
            world.drive(token);
        }
        world.assert_clean();
    }
}

#[test]
fn a_hold_that_does_not_end_when_it_is_taken_away_holds_nothing_up() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    let driver = world.driver("driver", false);
    world.plug(token);
    world.script.set("sink.detached", Fault::Hang);
    let operation = world.unplug(0);
    let hung = world.take_over(token, "sink.detached");
    assert_eq!(operation.finished(), Some(Finished::Done));
    assert_eq!(driver.bound.load(Ordering::Acquire), 0);
    assert!(world.port.topology.lock().is_empty());
    returns(&world, "sink.detached", hung);
    world.assert_clean();
    assert_eq!(world.ask(token, Request::Enable), Some(Finished::Done));
    assert_eq!(driver.bound.load(Ordering::Acquire), 1);
}

#[test]
fn who_hangs_in_being_told_to_stay_may_stay_and_can_be_unplugged() {
    for call in ["driver.keep", "client.keep"] {
        let token = &mut ThreadToken::at_thread_entry();
        let world = World::new(PLAIN, 1);
        let driver = world.driver("driver", false);
        world.plug(token);
        let client = Client::new(&world, "client");
        let operation = world.unplug(60);
        world.drive(token);
        world.script.set(call, Fault::Hang);
        let cancel = world.slot.ask(Request::Cancel);
        let hung = world.take_over(token, call);
        assert_eq!(
            (operation.finished(), cancel.finished()),
            (Some(Finished::Cancelled), Some(Finished::Done))
        );
        assert_eq!(world.state(), State::On, "{call}");
        let again = world.unplug(20);
        world.pass(token, MINUTE);
        assert_eq!(again.finished(), Some(Finished::Done), "{call}");
        assert!(!client.holds.load(Ordering::Acquire));
        returns(&world, call, hung);
        assert_eq!(driver.bound.load(Ordering::Acquire), 0, "{call}: a driver ends exactly once");
        world.assert_clean();
    }
}

#[test]
fn who_is_asked_no_more_is_waited_for_no_more() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    world.plug(token);
    let client = Client::new(&world, "client");
    let operation = world.unplug(3600);
    world.drive(token);
    assert_eq!(operation.finished(), None);
    let consumer: Arc<dyn Consumer> = client;
    world.slot.remove_consumer(&consumer);
    world.drive(token);
    assert_eq!(operation.finished(), Some(Finished::Done));
}

#[test]
fn a_device_that_panics_as_it_is_dropped_after_its_port_has_panicked_ends_its_slot_only() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    world.plug(token);
    world.script.set("device.drop", Fault::Panic);
    world.script.set("hardware.unconfigure", Fault::Panic);
    let operation = world.unplug(0);
    world.drive(token);
    assert_eq!(operation.finished(), Some(Finished::Done));
}

#[test]
fn whatever_model_of_a_device_panics_in_the_middle_of_an_unplug_the_slot_goes_on() {
    for call in ["sink.attached", "sink.detached", "device.quiet", "device.drop"] {
        let token = &mut ThreadToken::at_thread_entry();
        let world = World::new(PLAIN, 2);
        let driver = world.driver("driver", false);
        world.script.set(call, Fault::Panic);
        world.plug(token);
        let operation = world.unplug(20);
        world.pass(token, MINUTE);
        assert_eq!(operation.finished(), Some(Finished::Done), "{call}");
        assert!(world.script.count(call) >= 1, "{call}");
        assert_eq!(driver.bound.load(Ordering::Acquire), 0, "{call}");
        // A panic of the model over an access is the function's own to answer, and does not come to the slot.
        let told = world.failures().iter().any(|(.., how)| *how == slot::Failure::Panicked);
        assert_eq!(told, call != "device.quiet", "{call}");
        let report = world.slot.report();
        assert_eq!((report.state, report.left_behind.len(), report.calling), (State::Off, 0, None), "{call}");
        world.script.mend(call);
        assert_eq!(world.ask(token, Request::Enable), Some(Finished::Done), "{call}");
    }
}

#[test]
fn a_card_that_is_found_late_and_panics_as_it_is_dropped_leaves_a_slot_that_works() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    world.script.set("hardware.configure", Fault::Hang);
    world.script.set("device.drop", Fault::Panic);
    put_in(&world);
    let hung = world.take_over(token, "hardware.configure");
    returns(&world, "hardware.configure", hung);
    world.script.mend("device.drop");
    assert_eq!(world.ask(token, Request::Enable), Some(Finished::Done));
}
