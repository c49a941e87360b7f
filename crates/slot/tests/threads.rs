//! The crew of a process, in real time.
#![allow(clippy::unwrap_used, reason = "test code")]

mod called;
mod world;

use called::DETECTED;
use gate::{Deadline, ThreadToken};
use pci_core::{RealTime, VirtualTime};
use slot::{Event, Features, Finished, Request, Settings, State, Threads};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use world::*;

fn slot(crew: &Arc<Threads>, settings: Settings, features: Features) -> World {
    let never = Arc::new(VirtualTime::default());
    World::timed(features, 1, settings, Arc::clone(crew) as _, Arc::new(RealTime::default()), never)
}

fn soon() -> Settings {
    let ms = Duration::from_millis;
    Settings { remind: ms(20), unplug_timeout: ms(200), effect_timeout: ms(200), callback_timeout: ms(20) }
}

fn enabled(world: &World, token: &mut ThreadToken) {
    world.slot.post(Event::Link(true));
    world.slot.post(Event::Card(true));
    let end = Deadline::after(LONG);
    while world.state() != State::On {
        assert!(end.remaining().is_some(), "{:?}", world.slot.report());
        // Refused while the card comes up by itself.
        let _any_end = world.slot.ask(Request::Enable).wait(token, end);
    }
}

#[test]
fn slots_are_driven_at_once_and_no_thread_is_left_when_nothing_happens() {
    let token = &mut ThreadToken::at_thread_entry();
    let crew = Threads::new();
    let worlds: Vec<_> = (0..4).map(|_| slot(&crew, Settings::default(), PLAIN)).collect();
    for _ in 0..20 {
        worlds.iter().for_each(|world| enabled(world, token));
        let operations: Vec<_> = worlds.iter().map(|world| world.unplug(60)).collect();
        for operation in operations {
            assert_eq!(operation.wait(token, Deadline::after(LONG)), Some(Finished::Done));
        }
    }
    assert!(crew.stop(token, Deadline::after(LONG)));
    assert_eq!(crew.count(), 0);
    worlds.iter().for_each(World::assert_clean);
}

#[test]
fn reminders_and_the_deadline_come_by_themselves() {
    let token = &mut ThreadToken::at_thread_entry();
    let crew = Threads::new();
    let world = slot(&crew, soon(), PLAIN);
    enabled(&world, token);
    let client = Client::new(&world, "client");
    let timeout = Duration::from_millis(100);
    let operation = world.slot.ask(Request::Disable { timeout });
    assert_eq!(operation.wait(token, Deadline::after(LONG)), Some(Finished::Done));
    assert!(world.script.has("client asked 2") && world.script.has("client.revoke"));
    assert!(!client.holds.load(Ordering::Acquire));
    assert!(crew.stop(token, Deadline::after(LONG)));
}

#[test]
fn a_call_that_hangs_is_left_behind_and_its_thread_ends_when_it_returns() {
    let token = &mut ThreadToken::at_thread_entry();
    let crew = Threads::new();
    let (world, other) = (slot(&crew, soon(), PLAIN), slot(&crew, soon(), PLAIN));
    enabled(&world, token);
    enabled(&other, token);
    let _client = Client::new(&world, "client");
    world.script.set("client.revoke", Fault::Hang);
    let operation = world.unplug(0);
    assert_eq!(operation.wait(token, Deadline::after(LONG)), Some(Finished::Done));
    assert_eq!(other.unplug(60).wait(token, Deadline::after(LONG)), Some(Finished::Done));
    assert_eq!(world.slot.report().left_behind.len(), 1);
    assert!(crew.count() >= 1);
    assert!(!crew.stop(token, Deadline::after(Duration::from_millis(30))), "it is still out");
    world.script.mend("client.revoke");
    assert!(crew.stop(token, Deadline::after(LONG)));
    world.assert_clean();
}

#[test]
fn a_removal_comes_at_its_time_whoever_is_in_an_error_callback() {
    let token = &mut ThreadToken::at_thread_entry();
    let crew = Threads::new();
    let patient = Settings { effect_timeout: LONG, callback_timeout: LONG, ..soon() };
    for forced in [false, true] {
        let world = slot(&crew, patient, PLAIN);
        let driver = world.aware("driver", false);
        enabled(&world, token);
        world.script.set("driver.error_detected", Fault::Hang);
        // Both before anybody looks: the timer of the one is set when the other begins.
        world.script.set("watch.notice", Fault::Hang);
        world.slot.post(Event::Latch(true));
        let answers = world.call(0, DETECTED);
        let operation = world.slot.ask(Request::Disable { timeout: Duration::from_millis(50) });
        world.script.mend("watch.notice");
        world.script.wait_for("driver.error_detected");
        if forced {
            world.slot.post(Event::Card(false));
        }
        assert_eq!(operation.wait(token, Deadline::after(LONG / 2)), Some(Finished::Done));
        assert_eq!(answers.one(), Some(slot::DriverAnswer::NoDriver));
        assert_eq!(world.slot.report().left_behind.len(), 1, "the call is out still");
        world.script.mend("driver.error_detected");
        while !world.slot.report().left_behind.is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(driver.bound.load(Ordering::Acquire), 0);
    }
    assert!(crew.stop(token, Deadline::after(LONG)));
}

#[test]
fn a_crew_drives_whatever_is_driven_and_looks_after_its_calls() {
    /// Is in a call as long as nobody takes it away.
    struct Other {
        script: Arc<Script>,
        taken: std::sync::atomic::AtomicBool,
    }

    impl slot::Driven for Other {
        fn name(&self) -> &str {
            "recovery 1"
        }

        fn now(&self) -> Duration {
            Duration::ZERO
        }

        fn drive(&self, _token: &mut ThreadToken) -> Option<Duration> {
            self.script.note(std::thread::current().name().unwrap_or_default().to_owned());
            self.script.wait_for("taken away");
            None
        }

        fn overdue(&self, now: Duration) -> Option<Duration> {
            // The first look finds a call that has time left.
            if !self.taken.swap(true, Ordering::AcqRel) {
                return Some(now);
            }
            self.script.note(String::from("taken away"));
            None
        }
    }

    let token = &mut ThreadToken::at_thread_entry();
    let crew = Threads::new();
    let script = Arc::new(Script::default());
    let other: Arc<dyn slot::Driven> =
        Arc::new(Other { script: Arc::clone(&script), taken: std::sync::atomic::AtomicBool::new(false) });
    slot::Crew::wake_at(&*crew, &Arc::downgrade(&other), Duration::ZERO);
    script.wait_for("recovery 1");
    assert!(crew.stop(token, Deadline::after(LONG)));
    assert_eq!(script.count("recovery 1"), 1);
    let gone = Arc::downgrade(&other);
    drop(other);
    let end = Deadline::after(LONG);
    while gone.upgrade().is_some() {
        assert!(end.remaining().is_some(), "nobody keeps it");
        std::thread::yield_now();
    }
}

#[test]
fn a_crew_that_is_dropped_wakes_nobody_and_a_slot_that_is_dropped_is_forgotten() {
    let token = &mut ThreadToken::at_thread_entry();
    let crew = Threads::new();
    let world = slot(&crew, Settings::default(), PLAIN);
    enabled(&world, token);
    let _client = Client::new(&world, "client");
    let operation = world.unplug(3600);
    world.script.wait_for("client asked 1");
    assert_eq!(operation.finished(), None);
    let port = Arc::clone(&world.port);
    drop(world);
    assert!(crew.stop(token, Deadline::after(LONG)));
    drop(port);
    assert_eq!(Arc::strong_count(&crew), 1, "no thread keeps it");
}

#[test]
fn the_end_of_a_slot_is_not_held_up_by_a_call_that_hangs_and_goes_on_to_its_deadline_only() {
    let token = &mut ThreadToken::at_thread_entry();
    let crew = Threads::new();
    let world = slot(&crew, soon(), PLAIN);
    let _driver = world.driver("driver", false);
    enabled(&world, token);
    world.script.set("driver.shutdown", Fault::Hang);
    assert!(!world.slot.shutdown(token, Deadline::after(Duration::ZERO)), "it has only begun");
    assert!(world.slot.shutdown(token, Deadline::after(LONG)));
    assert_eq!(world.slot.report().left_behind.len(), 1, "the call is still out");
    world.script.mend("driver.shutdown");
    assert!(crew.stop(token, Deadline::after(LONG)));
    world.assert_clean();
}

#[test]
fn whoever_waits_for_a_slot_is_cancelled_from_outside_long_before_the_deadline_law_4() {
    let crew = Threads::new();
    let world = slot(&crew, Settings::default(), PLAIN);
    enabled(&world, &mut ThreadToken::at_thread_entry());
    let _client = Client::new(&world, "client");
    let operation = world.unplug(3600);
    world.script.set("client.revoke", Fault::Hang);
    let waits: [&(dyn Fn(&mut ThreadToken) -> bool + Sync); 3] = [
        &|token| operation.wait(token, Deadline::after(LONG)).is_some(),
        &|token| world.slot.shutdown(token, Deadline::after(LONG)),
        &|token| crew.stop(token, Deadline::after(LONG)),
    ];
    for wait in waits {
        let (say, said) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name(String::from("cancelled"));
            let waiting = thread.spawn_scoped(scope, move || {
                let mut token = ThreadToken::at_thread_entry();
                say.send(token.canceller()).unwrap();
                wait(&mut token)
            });
            let waiting = waiting.unwrap();
            let canceller = said.recv().unwrap();
            while !is_waiting() {
                std::thread::yield_now();
            }
            let begin = std::time::Instant::now();
            canceller.cancel();
            assert!(!waiting.join().unwrap());
            assert!(begin.elapsed() < LONG / 2);
        });
    }
    world.script.mend("client.revoke");
    assert!(crew.stop(&mut ThreadToken::at_thread_entry(), Deadline::after(LONG)));
}

fn is_waiting() -> bool {
    let ours =
        |wait: &gate::waits::Holder| wait.thread.as_ref().is_some_and(|thread| thread.name == "cancelled");
    gate::waits::snapshot().iter().any(|wait| ours(wait) && wait.waits_for.is_some())
}
