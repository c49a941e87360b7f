//! Foreign code that hangs, panics or fails: its slot goes on, and what comes back late reaches nothing.
#![allow(clippy::unwrap_used, reason = "test code")]

mod world;

use gate::{Deadline, ThreadToken};
use slot::{Event, Failure, Features, Finished, Request, State};
use std::sync::atomic::Ordering;
use std::time::Duration;
use world::*;

/// A slot that is on, with a driver at its one function and a client beside it. Neither lets go.
fn busy(token: &mut ThreadToken) -> (World, std::sync::Arc<Driven>, std::sync::Arc<Client>) {
    let world = World::new(PLAIN, 1);
    let driver = world.driver("driver", false);
    world.plug(token);
    let client = Client::new(&world, "client");
    (world, driver, client)
}

/// The unplug that is under way ends by its deadline, whatever was hung; then the call returns, and the slot is as before.
fn ends(world: &World, token: &mut ThreadToken, call: &str, hung: std::thread::JoinHandle<()>) {
    world.pass(token, Duration::from_secs(60));
    assert_eq!(world.state(), State::Off, "{call}");
    assert!(world.slot.report().waiting.is_empty(), "{call}");
    assert_eq!(world.slot.report().left_behind.len(), 1, "{call}");
    let (who, method) = call.split_once('.').unwrap();
    let told = world.failures().contains(&(who.to_owned(), leak(method), Failure::Hung));
    assert_eq!(told, who != "watch", "{call}: {:?}", world.failures());
    let before = world.slot.report();
    world.script.mend(call);
    hung.join().unwrap();
    let after = world.slot.report();
    assert_eq!((before.state, before.functions), (after.state, after.functions.clone()), "{call}");
    world.pass(token, SECOND);
    world.assert_clean();
}

fn leak(text: &str) -> &'static str {
    text.split(' ').next().unwrap_or_default().to_owned().leak()
}

#[test]
fn whatever_call_of_an_unplug_hangs_the_slot_ends_and_the_late_return_touches_nothing() {
    let calls = [
        "driver.request",
        "driver.remove",
        "client.request",
        "client.revoke",
        "hardware.unconfigure",
        "hardware.cut_power",
        "hardware.power_lamp Blink",
        "watch.notice",
    ];
    for call in calls {
        let token = &mut ThreadToken::at_thread_entry();
        let (world, driver, client) = busy(token);
        world.script.set(call, Fault::Hang);
        let operation = world.unplug(20);
        if ["driver.remove", "client.revoke", "hardware.unconfigure", "hardware.cut_power"].contains(&call) {
            world.script.set("driver.request", Fault::Panic);
            // They come at the deadline only.
            let calls = world.script.log().len();
            world.pass(token, Duration::from_secs(19));
            world.time.advance(SECOND);
            assert!(world.script.log().len() > calls);
        }
        let hung = world.take_over(token, call);
        world.pass(token, Duration::from_secs(20));
        assert_eq!(operation.finished(), Some(Finished::Done), "{call}");
        ends(&world, token, call, hung);
        assert_eq!(driver.bound.load(Ordering::Acquire), 0, "{call}: a driver ends exactly once");
        assert!(!client.holds.load(Ordering::Acquire), "{call}");
        // And again.
        assert_eq!(world.ask(token, Request::Enable), Some(Finished::Done), "{call}");
    }
}

#[test]
fn a_consumer_that_hangs_in_saying_whether_it_holds_something_holds_something() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    world.plug(token);
    let _client = Client::new(&world, "client");
    world.script.set("client.holds", Fault::Hang);
    let operation = world.unplug(20);
    let hung = world.take_over(token, "client.holds");
    world.pass(token, Duration::from_secs(10));
    assert_eq!(operation.finished(), None);
    world.pass(token, Duration::from_secs(10));
    assert_eq!(operation.finished(), Some(Finished::Done));
    assert_eq!(world.script.count("client asked 2"), 0, "who was left behind is not asked again");
    assert!(world.script.has("client.revoke"), "but revoked");
    ends(&world, token, "client.holds", hung);
}

#[test]
fn a_configuration_that_hangs_fails_and_what_it_finds_late_is_taken_out_again() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 2);
    world.script.set("hardware.configure", Fault::Hang);
    world.slot.post(Event::Card(true));
    world.slot.post(Event::Link(true));
    let hung = world.take_over(token, "hardware.configure");
    assert_eq!(world.state(), State::Off);
    // Not while somebody is in there.
    assert_eq!(world.ask(token, Request::Enable), Some(Finished::PowerFault));
    assert_eq!(world.slot.report().left_behind[0].call, "configure");
    world.script.mend("hardware.configure");
    hung.join().unwrap();
    world.pass(token, SECOND);
    assert!(world.script.has("unconfigure Surprise 2"));
    world.assert_clean();
    assert_eq!(world.ask(token, Request::Enable), Some(Finished::Done));
}

#[test]
fn power_that_is_never_answered_is_a_power_fault_and_so_is_a_panic() {
    for fault in [Fault::Hang, Fault::Panic, Fault::Fail] {
        let token = &mut ThreadToken::at_thread_entry();
        let features = Features { attention_button: true, ..Features::default() };
        let world = World::new(features, 1);
        world.slot.post(Event::Card(true));
        world.drive(token);
        world.script.set("hardware.apply_power", fault);
        let operation = world.slot.ask(Request::Enable);
        if fault == Fault::Hang {
            let hung = world.take_over(token, "hardware.apply_power");
            world.script.mend("hardware.apply_power");
            hung.join().unwrap();
        }
        world.pass(token, 2 * SECOND);
        assert_eq!(operation.finished(), Some(Finished::PowerFault));
        assert_eq!(world.state(), State::Off);
    }
}

#[test]
fn a_probe_that_hangs_keeps_its_function_until_it_returns_and_is_not_called_again_meanwhile() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    let driver = world.driver("driver", false);
    world.script.set("driver.probe", Fault::Hang);
    world.slot.post(Event::Card(true));
    world.slot.post(Event::Link(true));
    let hung = world.take_over(token, "driver.probe");
    assert_eq!(world.state(), State::On, "the card works");
    assert!(world.function(0).is_attached(), "and nobody gets what the driver has its hands on");
    world.unplug(0);
    world.drive(token);
    assert_eq!(world.state(), State::Off);
    assert_eq!(world.ask(token, Request::Enable), Some(Finished::Done));
    assert_eq!(world.script.count("driver.probe"), 1);
    assert!(!world.function(0).is_attached(), "others may have it");
    world.script.mend("driver.probe");
    hung.join().unwrap();
    // Bound late, and removed at once: of a function that is long gone.
    assert!(world.script.has("remove f0 Surprise"));
    assert_eq!(driver.bound.load(Ordering::Acquire), 0);
    assert_eq!((world.state(), world.slot.report().left_behind.len()), (State::On, 0));
    world.function(0).attach(token).unwrap().detach(token);
}

#[test]
fn a_request_that_returns_late_gives_its_function_back() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    let driver = world.driver("driver", false);
    world.plug(token);
    world.script.set("driver.request", Fault::Hang);
    let operation = world.unplug(60);
    let hung = world.take_over(token, "driver.request");
    assert_eq!(operation.finished(), None);
    world.script.mend("driver.request");
    hung.join().unwrap();
    assert!(world.script.has("remove f0 Orderly"));
    world.drive(token);
    assert_eq!(operation.finished(), Some(Finished::Done), "long before the deadline");
    assert_eq!(driver.bound.load(Ordering::Acquire), 0);
    world.assert_clean();
}

#[test]
fn whatever_call_panics_the_slot_goes_on() {
    let calls = [
        "driver.matches",
        "driver.probe",
        "driver.request",
        "driver.remove",
        "client.request",
        "client.holds",
        "client.revoke",
        "hardware.unconfigure",
        "hardware.cut_power",
        "hardware.power_lamp On",
        "hardware.attention_lamp",
        "watch.notice",
    ];
    for call in calls {
        let token = &mut ThreadToken::at_thread_entry();
        let world = World::new(PLAIN, 1);
        let driver = world.driver("driver", true);
        world.script.set(call, Fault::Panic);
        world.plug(token);
        let _client = Client::new(&world, "client");
        let operation = world.unplug(20);
        world.pass(token, Duration::from_secs(20));
        assert_eq!(operation.finished(), Some(Finished::Done), "{call}");
        assert_eq!(world.state(), State::Off, "{call}");
        assert_eq!(driver.bound.load(Ordering::Acquire), 0, "{call}");
        let panicked = world.failures().iter().any(|(.., how)| *how == Failure::Panicked);
        assert_eq!(panicked, call != "watch.notice", "{call}: who fails at being told is not told of it");
        world.assert_clean();
    }
}

#[test]
fn a_function_whose_driver_fails_is_offered_to_the_next_one_and_then_to_clients() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 2);
    let (first, second) = (world.driver("first", true), world.driver("second", true));
    world.script.set("first.probe", Fault::Fail);
    world.plug(token);
    assert_eq!((first.bound.load(Ordering::Acquire), second.bound.load(Ordering::Acquire)), (0, 2));
    let why = Failure::Failed(String::from("as it was told"));
    assert!(world.failures().contains(&(String::from("first"), "probe", why)));
    assert_eq!(world.slot.report().drivers.len(), 2);
    world.script.set("second.probe", Fault::Fail);
    world.unplug(60);
    world.drive(token);
    assert_eq!(world.ask(token, Request::Enable), Some(Finished::Done));
    assert!(world.slot.report().drivers.is_empty());
    world.function(1).attach(token).unwrap().detach(token);
    second.mine.store(false, Ordering::Release);
    let probes = world.script.count("second.probe");
    world.unplug(60);
    world.drive(token);
    assert_eq!(world.ask(token, Request::Enable), Some(Finished::Done));
    assert_eq!(world.script.count("second.probe"), probes, "it says it is not for it");
}

#[test]
fn a_card_that_cannot_be_configured_is_said_to_be_so_hp_08() {
    for fault in [Fault::Fail, Fault::Panic] {
        let token = &mut ThreadToken::at_thread_entry();
        let world = World::new(PLAIN, 1);
        world.script.set("hardware.configure", fault);
        world.slot.post(Event::Link(true));
        world.slot.post(Event::Card(true));
        world.drive(token);
        assert_eq!(world.state(), State::Off);
        assert_eq!(world.ask(token, Request::Enable), Some(Finished::NotConfigured));
        world.assert_clean();
        world.script.mend("hardware.configure");
        assert_eq!(world.ask(token, Request::Enable), Some(Finished::Done));
    }
}

#[test]
fn a_hardware_that_hangs_for_ever_costs_a_bounded_number_of_threads() {
    let token = &mut ThreadToken::at_thread_entry();
    let (world, _driver, _client) = busy(token);
    world.script.set("hardware.unconfigure", Fault::Hang);
    world.unplug(0);
    let first = world.take_over(token, "hardware.unconfigure");
    for _ in 0..20 {
        assert_eq!(world.ask(token, Request::Enable), Some(Finished::PowerFault));
        assert_eq!(world.state(), State::Off);
    }
    assert_eq!(world.slot.report().left_behind.len(), 1);
    world.script.mend("hardware.unconfigure");
    first.join().unwrap();
    assert_eq!(world.ask(token, Request::Enable), Some(Finished::Done));
}

#[test]
fn the_end_of_everything_ends_everything_although_a_driver_hangs() {
    let token = &mut ThreadToken::at_thread_entry();
    let (world, driver, client) = busy(token);
    let operation = world.unplug(60);
    world.drive(token);
    world.script.set("driver.shutdown", Fault::Hang);
    std::thread::scope(|scope| {
        let ending = scope.spawn(|| {
            let token = &mut ThreadToken::at_thread_entry();
            world.slot.shutdown(token, Deadline::after(LONG))
        });
        world.script.wait_for("driver.shutdown");
        world.time.advance(Duration::from_secs(60));
        assert_eq!(world.slot.overdue(world.slot.now()), None);
        assert!(world.slot.shutdown(token, Deadline::after(LONG)));
        world.script.mend("driver.shutdown");
        assert!(ending.join().unwrap());
    });
    assert_eq!(operation.finished(), Some(Finished::ShutDown));
    assert!(world.script.has("shutdown works") && world.script.has("client.revoke"));
    assert!(!world.script.log().iter().any(|line| line.starts_with("remove")));
    assert_eq!((driver.bound.load(Ordering::Acquire), client.holds.load(Ordering::Acquire)), (0, false));
    world.assert_clean();
    world.slot.post(Event::Card(true));
    assert_eq!(world.slot.ask(Request::Enable).finished(), Some(Finished::ShutDown));
}
