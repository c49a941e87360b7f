//! Drivers are called from outside of their slot's life: for errors (AER-01), and to let go of a function and to take it again.
#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]

mod called;
mod world;

use called::*;
use gate::ThreadToken;
use pci_core::VirtualTime;
use pci_core::recovery::{Handlers, Vote};
use slot::{
    Cause, DriverAnswer, DriverCall, Event, Failure, Finished, MAX_DRIVER_CALLS, Notice, Request, State,
};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use world::*;

/// A slot that is on, with a driver at each function that handles everything.
fn bound(token: &mut ThreadToken, functions: usize) -> (World, std::sync::Arc<Driven>) {
    let world = World::new(PLAIN, functions);
    let driver = world.aware("driver", false);
    world.plug(token);
    (world, driver)
}

#[test]
fn a_driver_is_called_for_each_error_callback_and_its_answers_come_back_aer_01() {
    let token = &mut ThreadToken::at_thread_entry();
    let (world, _driver) = bound(token, 1);
    let calls = [
        (DETECTED, "error_detected", DriverAnswer::Vote(Vote::CanRecover)),
        (DriverCall::MmioEnabled, "mmio_enabled", DriverAnswer::Vote(Vote::NeedReset)),
        (DriverCall::SlotReset, "slot_reset", DriverAnswer::Vote(Vote::Recovered)),
        (DriverCall::Resume, "resume", DriverAnswer::Done),
        (DriverCall::CorErrorDetected, "cor_error_detected", DriverAnswer::Done),
        (DriverCall::ResetPrepare, "reset_prepare", DriverAnswer::Done),
        (DriverCall::ResetDone, "reset_done", DriverAnswer::Done),
    ];
    for (call, method, answer) in calls {
        assert_eq!(world.called(token, call), Some(answer), "{method}");
        assert_eq!(world.script.count(&format!("driver.{method}")), 1);
    }
    assert!(world.script.has("Frozen"), "it was told what its channel is like");
    assert_eq!(world.state(), State::On);
    assert!(world.failures().is_empty());
}

#[test]
fn who_has_a_function_and_what_it_handles_is_known_as_long_as_it_has_it() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    let driver = world.driver("driver", true);
    *driver.handlers.lock() = Handlers::ERROR_DETECTED | Handlers::RESUME;
    world.plug(token);
    let function = world.function(0);
    let info = world.slot.driver_of(function.function()).unwrap();
    assert_eq!((&*info.name, info.handlers), ("driver", Handlers::ERROR_DETECTED | Handlers::RESUME));
    assert_eq!(world.script.count("driver.error_handlers"), 1);
    let other = World::new(PLAIN, 1);
    assert_eq!(other.slot.driver_of(function.function()), None, "it is of another slot");
    world.unplug(60);
    world.drive(token);
    assert_eq!(world.slot.driver_of(function.function()), None);
    drop(function);
    world.assert_clean();
}

#[test]
fn a_driver_is_not_called_for_what_it_does_not_handle() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    let driver = world.driver("driver", false);
    *driver.handlers.lock() = Handlers::RESUME;
    world.plug(token);
    for call in [DETECTED, DriverCall::MmioEnabled, DriverCall::SlotReset] {
        assert_eq!(world.called(token, call), Some(DriverAnswer::Vote(Vote::None)), "{call:?}");
    }
    assert_eq!(world.called(token, DriverCall::ResetDone), Some(DriverAnswer::Done));
    assert!(!world.script.has("driver.error_detected") && !world.script.has("driver.reset_done"));
    assert_eq!(world.called(token, DriverCall::Resume), Some(DriverAnswer::Done));
    assert!(world.script.has("driver.resume"));
}

#[test]
fn a_driver_that_cannot_say_what_it_handles_has_its_function_and_no_handlers() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    let driver = world.aware("driver", true);
    world.script.set("driver.error_handlers", Fault::Panic);
    world.plug(token);
    let info = world.slot.driver_of(world.function(0).function()).unwrap();
    assert_eq!(info.handlers, Handlers::empty());
    assert!(world.failures().contains(&("driver".to_owned(), "probe", Failure::Panicked)));
    world.unplug(60);
    world.drive(token);
    assert_eq!(driver.bound.load(Ordering::Acquire), 0);
    world.assert_clean();
}

#[test]
fn nobody_is_called_where_there_is_no_driver() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    let driver = world.aware("driver", true);
    driver.mine.store(false, Ordering::Release);
    world.plug(token);
    for call in [DETECTED, DriverCall::Unbind, DriverCall::Probe] {
        assert_eq!(world.called(token, call), Some(DriverAnswer::NoDriver), "{call:?}");
    }
    let (other, _driver) = bound(token, 1);
    let answers = other.call_at(world.function(0).function(), DETECTED);
    other.drive(token);
    assert_eq!(answers.one(), Some(DriverAnswer::NoDriver), "a function of another slot");
}

#[test]
fn a_driver_that_has_let_go_by_itself_is_not_called_for_a_function_that_others_may_have() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    let driver = world.aware("driver", true);
    world.plug(token);
    let client = Client::new(&world, "client");
    world.unplug(3600);
    world.drive(token);
    assert_eq!(world.ask(token, Request::Cancel), Some(Finished::Done), "the client holds something still");
    let function = world.function(0);
    assert!(!function.is_attached());
    assert_eq!(world.slot.driver_of(function.function()), None);
    assert_eq!(world.called(token, DETECTED), Some(DriverAnswer::NoDriver));
    assert!(!world.script.has("driver.error_detected"));
    // Offered again, the one that it was ends first.
    assert_eq!(world.called(token, DriverCall::Probe), Some(DriverAnswer::Done));
    assert!(world.script.at("remove f0 Orderly") < world.script.log().len());
    assert_eq!(driver.bound.load(Ordering::Acquire), 1);
    client.holds.store(false, Ordering::Release);
    world.unplug(0);
    world.drive(token);
    assert_eq!(driver.bound.load(Ordering::Acquire), 0);
}

#[test]
fn a_callback_that_panics_is_an_answer_and_its_driver_is_removed_once() {
    let token = &mut ThreadToken::at_thread_entry();
    let (world, driver) = bound(token, 1);
    world.script.set("driver.error_detected", Fault::Panic);
    assert_eq!(world.called(token, DETECTED), Some(DriverAnswer::Lost));
    assert!(world.failures().contains(&("driver".to_owned(), "error_detected", Failure::Panicked)));
    assert_eq!(world.state(), State::On);
    world.unplug(0);
    world.drive(token);
    assert_eq!(driver.bound.load(Ordering::Acquire), 0);
    world.assert_clean();
}

#[test]
fn a_callback_that_hangs_is_lost_at_its_deadline_and_so_is_what_is_asked_of_its_driver_until_it_returns() {
    let token = &mut ThreadToken::at_thread_entry();
    let (world, driver) = bound(token, 1);
    world.script.set("driver.slot_reset", Fault::Hang);
    let answers = world.call(0, DriverCall::SlotReset);
    let hung = world.take_over(token, "driver.slot_reset");
    assert_eq!(answers.one(), Some(DriverAnswer::Lost));
    assert!(world.failures().contains(&("driver".to_owned(), "slot_reset", Failure::Hung)));
    for call in [DriverCall::Resume, DriverCall::Unbind, DriverCall::Probe] {
        assert_eq!(world.called(token, call), Some(DriverAnswer::Lost), "{call:?}");
    }
    assert!(world.function(0).is_attached(), "what it has it has still");
    world.script.mend("driver.slot_reset");
    hung.join().unwrap();
    assert_eq!(answers.one(), Some(DriverAnswer::Lost), "answered once");
    assert_eq!(driver.bound.load(Ordering::Acquire), 0, "a driver ends exactly once");
    assert!(!world.function(0).is_attached());
    assert_eq!(world.called(token, DriverCall::Resume), Some(DriverAnswer::NoDriver));
    assert_eq!(world.called(token, DriverCall::Probe), Some(DriverAnswer::Done));
    assert_eq!(world.called(token, DriverCall::Resume), Some(DriverAnswer::Done));
    world.unplug(0);
    world.drive(token);
    assert_eq!(driver.bound.load(Ordering::Acquire), 0);
    world.assert_clean();
}

/// Takes a card out by force.
type TakesOut = fn(&World, &mut ThreadToken);

#[test]
fn a_card_that_is_taken_out_by_force_does_not_wait_for_a_callback_that_is_out() {
    let ways: [(&str, TakesOut); 5] = [
        ("pulled", |world, _| world.slot.post(Event::Card(false))),
        ("link lost", |world, _| world.slot.post(Event::Link(false))),
        ("failed", |world, _| assert!(world.slot.fail(world.function(0).function()))),
        ("forced", |world, _| _ = world.unplug(0)),
        ("asked for long enough", |world, _| world.time.advance(3 * SECOND)),
    ];
    for (way, takes_out) in ways {
        let token = &mut ThreadToken::at_thread_entry();
        let (world, driver) = bound(token, 2);
        let client = Client::new(&world, "client");
        if way == "asked for long enough" {
            world.unplug(3);
            world.drive(token);
        }
        world.script.set("driver.error_detected", Fault::Hang);
        let out = world.call(1, DETECTED);
        let waits = world.call(0, DETECTED);
        let old = world.function(1);
        std::thread::scope(|scope| {
            let hung = scope.spawn(|| world.slot.drive(&mut ThreadToken::at_thread_entry()));
            world.script.wait_for("driver.error_detected");
            takes_out(&world, token);
            world.drive(token);
            assert!(old.function().handle().is_gone(), "{way}: no time has passed for the call");
            assert_eq!(
                (out.one(), waits.one()),
                (Some(DriverAnswer::NoDriver), Some(DriverAnswer::NoDriver)),
                "{way}"
            );
            assert!(!client.holds.load(Ordering::Acquire), "{way}");
            assert_eq!(world.slot.report().left_behind.len(), 1, "{way}");
            assert!(world.failures().is_empty(), "{way}: it has done nothing wrong");
            world.script.mend("driver.error_detected");
            assert_eq!(hung.join().unwrap(), None);
        });
        assert_eq!(world.script.count("driver.error_detected"), 1, "{way}: the other one was not called");
        assert_eq!(driver.bound.load(Ordering::Acquire), 0, "{way}");
        drop(old);
        world.pass(token, SECOND);
        if way != "link lost" {
            world.assert_clean();
        }
    }
}

/// Says when somebody is to come: of several times the earliest, and that one once.
#[derive(Default)]
struct Alarm(parking_lot::Mutex<Option<Duration>>);

impl slot::Crew for Alarm {
    fn wake(&self, _driven: &Arc<dyn slot::Driven>) {}

    fn wake_at(&self, _driven: &Weak<dyn slot::Driven>, when: Duration) {
        let mut next = self.0.lock();
        *next = Some(next.map_or(when, |next| next.min(when)));
    }
}

/// A slot that is on, with a consumer that lets go of nothing and a driver that does not come back from an error callback.
fn stuck(token: &mut ThreadToken) -> (World, Arc<Alarm>, Arc<Client>) {
    let (alarm, time) = (Arc::<Alarm>::default(), Arc::<VirtualTime>::default());
    let world = World::timed(PLAIN, 1, slot::Settings::default(), alarm.clone(), time.clone(), time);
    world.aware("driver", false);
    world.plug(token);
    let client = Client::new(&world, "client");
    world.script.set("driver.error_detected", Fault::Hang);
    (world, alarm, client)
}

#[test]
fn whoever_comes_while_a_callback_is_out_is_told_when_to_come_again() {
    // The call begins in one go with the unplug; or later, when somebody was told to come for the next reminder already.
    for rests in [false, true] {
        let token = &mut ThreadToken::at_thread_entry();
        let (world, alarm, _client) = stuck(token);
        alarm.0.lock().take();
        let operation = world.unplug(60);
        let end = world.slot.now() + 60 * SECOND;
        if rests {
            world.drive(token);
        }
        let _answer = world.call(0, DETECTED);
        std::thread::scope(|scope| {
            let hung = scope.spawn(|| world.slot.drive(&mut ThreadToken::at_thread_entry()));
            world.script.wait_for("driver.error_detected");
            // Nobody comes but when it was said.
            for _ in 0..100 {
                let Some(when) = alarm.0.lock().take() else { break };
                world.time.advance(when.saturating_sub(world.slot.now()));
                world.drive(token);
            }
            let finished = operation.finished();
            world.script.mend("driver.error_detected");
            hung.join().unwrap();
            assert_eq!(finished, Some(Finished::Done), "nobody came at its time; rests: {rests}");
            assert!(world.slot.now() >= end, "not before its time");
        });
    }
}

#[test]
fn a_removal_goes_before_calls_that_wait_and_they_are_answered_when_everything_is_disconnected() {
    let token = &mut ThreadToken::at_thread_entry();
    let (world, _driver) = bound(token, 1);
    let answers: Vec<_> = (0..3).map(|_| world.call(0, DETECTED)).collect();
    let operation = world.unplug(0);
    world.drive(token);
    assert_eq!(operation.finished(), Some(Finished::Done));
    assert!(answers.iter().all(|answer| answer.one() == Some(DriverAnswer::NoDriver)));
    assert!(!world.script.has("driver.error_detected"));
    world.assert_clean();
}

#[test]
fn a_driver_is_called_while_its_consumer_is_asked_to_let_go() {
    let token = &mut ThreadToken::at_thread_entry();
    let (world, _driver) = bound(token, 1);
    world.unplug(60);
    world.drive(token);
    assert_eq!(world.called(token, DETECTED), Some(DriverAnswer::Vote(Vote::CanRecover)));
    // But nobody new gets a function that is about to go.
    assert_eq!(world.called(token, DriverCall::Unbind), Some(DriverAnswer::Done));
    world.pass(token, SECOND);
    assert_eq!(world.state(), State::Off, "and it was the last that was waited for");
    let (world, driver) = bound(token, 1);
    let client = Client::new(&world, "client");
    world.unplug(60);
    world.drive(token);
    assert_eq!(world.called(token, DriverCall::Unbind), Some(DriverAnswer::Done));
    assert_eq!(world.called(token, DriverCall::Probe), Some(DriverAnswer::NoDriver));
    assert_eq!(driver.bound.load(Ordering::Acquire), 0);
    client.let_go(token);
    world.drive(token);
    assert_eq!(world.state(), State::Off);
}

#[test]
fn every_call_is_answered_when_the_slot_is_shut_down_and_afterwards_at_once() {
    let token = &mut ThreadToken::at_thread_entry();
    let (world, driver) = bound(token, 1);
    let function = world.function(0);
    let answers: Vec<_> = (0..3).map(|_| world.call(0, DETECTED)).collect();
    assert!(world.slot.shutdown(token, gate::Deadline::after(LONG)));
    assert!(answers.iter().all(|answer| answer.one() == Some(DriverAnswer::NoDriver)));
    assert_eq!(world.call_at(function.function(), DETECTED).one(), Some(DriverAnswer::NoDriver));
    assert!(!world.script.has("driver.error_detected"));
    assert_eq!(driver.bound.load(Ordering::Acquire), 0);
    assert!(!world.slot.fail(function.function()));
}

#[test]
fn a_call_is_answered_when_its_slot_is_dropped_before_anybody_drives() {
    let token = &mut ThreadToken::at_thread_entry();
    let (world, _driver) = bound(token, 1);
    let function = world.function(0);
    let answers = world.call_at(function.function(), DETECTED);
    assert_eq!(answers.one(), None);
    drop(world);
    assert_eq!(answers.one(), Some(DriverAnswer::NoDriver));
}

#[test]
fn more_calls_than_may_wait_fail_at_once_and_the_others_are_carried_out_in_their_order() {
    let token = &mut ThreadToken::at_thread_entry();
    let (world, _driver) = bound(token, 1);
    let mut answers = vec![world.call(0, DriverCall::Resume)];
    answers.extend((1..MAX_DRIVER_CALLS).map(|_| world.call(0, DETECTED)));
    assert_eq!(world.call(0, DETECTED).one(), Some(DriverAnswer::Failed));
    world.drive(token);
    assert!(answers.iter().all(|answer| answer.one().is_some_and(|one| one != DriverAnswer::Failed)));
    assert!(world.script.at("driver.resume") < world.script.at("driver.error_detected"));
    assert_eq!(world.script.count("driver.error_detected"), MAX_DRIVER_CALLS - 1);
}

#[test]
fn who_panics_as_it_is_told_what_came_of_its_call_harms_nobody() {
    let token = &mut ThreadToken::at_thread_entry();
    let (world, _driver) = bound(token, 1);
    let function = world.function(0);
    world.slot.call_driver(function.function(), DETECTED, Box::new(|_| panic!("as it was told")));
    assert_eq!(world.called(token, DETECTED), Some(DriverAnswer::Vote(Vote::CanRecover)));
    world.slot.call_driver(function.function(), DETECTED, Box::new(|_| panic!("as it was told")));
    assert!(world.slot.shutdown(token, gate::Deadline::after(LONG)));
    world.slot.call_driver(function.function(), DETECTED, Box::new(|_| panic!("as it was told")));
}

#[test]
fn a_driver_that_is_unbound_ends_and_lets_go_of_a_function_that_works_eeh_18() {
    let token = &mut ThreadToken::at_thread_entry();
    let (world, driver) = bound(token, 2);
    let function = world.function(0);
    assert_eq!(world.called(token, DriverCall::Unbind), Some(DriverAnswer::Done));
    assert!(world.script.has("remove f0 Orderly") && world.script.count("driver.remove") == 1);
    assert_eq!(world.slot.driver_of(function.function()), None);
    assert!(!function.is_attached());
    assert_eq!(driver.bound.load(Ordering::Acquire), 1, "the other one stays");
    let attached = function.attach(token).unwrap();
    assert!(works(&function, token));
    // While somebody has it, no driver gets it.
    assert_eq!(world.called(token, DriverCall::Probe), Some(DriverAnswer::Failed));
    attached.detach(token);
    assert_eq!(world.called(token, DriverCall::Probe), Some(DriverAnswer::Done));
    assert_eq!(world.called(token, DriverCall::Probe), Some(DriverAnswer::Done), "it has one already");
    assert_eq!(driver.bound.load(Ordering::Acquire), 2);
    assert_eq!(world.called(token, DETECTED), Some(DriverAnswer::Vote(Vote::CanRecover)));
    // From the last function to the first, although the first came last (HP-01).
    let before = world.script.log().len();
    world.unplug(0);
    world.drive(token);
    let removed: Vec<_> =
        world.script.log().split_off(before).into_iter().filter(|line| line.starts_with("remove ")).collect();
    assert_eq!(removed, ["remove f1 Orderly", "remove f0 Orderly"]);
    drop(function);
    world.assert_clean();
}

#[test]
fn a_function_is_offered_again_from_the_first_driver_on_and_no_other_function_is() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 2);
    let first = world.aware("first", false);
    let second = world.aware("second", false);
    first.mine.store(false, Ordering::Release);
    world.plug(token);
    assert_eq!(second.bound.load(Ordering::Acquire), 2);
    assert_eq!(world.called(token, DriverCall::Unbind), Some(DriverAnswer::Done));
    first.mine.store(true, Ordering::Release);
    world.script.set("first.probe", Fault::Fail);
    let probes = world.script.count("second.probe");
    assert_eq!(world.called(token, DriverCall::Probe), Some(DriverAnswer::Done));
    assert!(world.script.has("first.probe"));
    assert_eq!(world.script.count("second.probe"), probes + 1);
    // When nobody can take it, that is told from nobody wanting it.
    assert_eq!(world.called(token, DriverCall::Unbind), Some(DriverAnswer::Done));
    second.mine.store(false, Ordering::Release);
    assert_eq!(world.called(token, DriverCall::Probe), Some(DriverAnswer::Failed));
    world.script.set("first.probe", Fault::Panic);
    assert_eq!(world.called(token, DriverCall::Probe), Some(DriverAnswer::Lost));
    first.mine.store(false, Ordering::Release);
    assert_eq!(world.called(token, DriverCall::Probe), Some(DriverAnswer::NoDriver));
    assert!(!world.function(0).is_attached());
    assert_eq!(world.state(), State::On);
}

#[test]
fn a_driver_that_hangs_in_its_end_keeps_its_function_until_it_returns() {
    let token = &mut ThreadToken::at_thread_entry();
    let (world, driver) = bound(token, 1);
    world.script.set("driver.remove", Fault::Hang);
    let answers = world.call(0, DriverCall::Unbind);
    let hung = world.take_over(token, "driver.remove");
    assert_eq!(answers.one(), Some(DriverAnswer::Lost));
    assert!(world.function(0).is_attached());
    assert_eq!(world.called(token, DriverCall::Probe), Some(DriverAnswer::Lost));
    world.script.mend("driver.remove");
    hung.join().unwrap();
    assert!(!world.function(0).is_attached());
    assert_eq!(world.called(token, DriverCall::Probe), Some(DriverAnswer::Done));
    assert_eq!(driver.bound.load(Ordering::Acquire), 1);
    world.script.set("driver.remove", Fault::Panic);
    assert_eq!(world.called(token, DriverCall::Unbind), Some(DriverAnswer::Lost));
    assert!(!world.function(0).is_attached(), "who panics in its end has ended");
    assert_eq!(driver.bound.load(Ordering::Acquire), 0);
    world.unplug(0);
    world.drive(token);
    world.assert_clean();
}

#[test]
fn a_probe_on_an_errand_that_hangs_is_lost_and_gives_its_function_back_when_it_returns() {
    for pulled in [false, true] {
        let token = &mut ThreadToken::at_thread_entry();
        let (world, driver) = bound(token, 1);
        assert_eq!(world.called(token, DriverCall::Unbind), Some(DriverAnswer::Done));
        world.script.set("driver.probe", Fault::Hang);
        let answers = world.call(0, DriverCall::Probe);
        if pulled {
            std::thread::scope(|scope| {
                let before = world.script.count("driver.probe");
                let hung = scope.spawn(|| world.slot.drive(&mut ThreadToken::at_thread_entry()));
                world.script.wait_for_more("driver.probe", before);
                world.slot.post(Event::Card(false));
                world.drive(token);
                assert_eq!(world.state(), State::Off, "no time has passed");
                assert_eq!(answers.one(), Some(DriverAnswer::NoDriver));
                world.script.mend("driver.probe");
                hung.join().unwrap();
            });
        } else {
            let hung = world.take_over(token, "driver.probe");
            assert_eq!(answers.one(), Some(DriverAnswer::Lost));
            world.script.mend("driver.probe");
            hung.join().unwrap();
            assert!(!world.function(0).is_attached());
            world.unplug(0);
            world.drive(token);
        }
        assert_eq!(driver.bound.load(Ordering::Acquire), 0, "a driver that was bound late is removed");
        world.assert_clean();
    }
}

#[test]
fn a_card_that_has_failed_leaves_as_if_torn_out_and_stays_off_until_it_is_wanted_eeh_17() {
    let token = &mut ThreadToken::at_thread_entry();
    let (world, driver) = bound(token, 2);
    let client = Client::new(&world, "client");
    let old = world.function(1);
    let quieted = world.script.count("device.quiet");
    assert!(world.slot.fail(old.function()));
    // From here on nothing reaches any function of the card, and nobody has driven yet.
    assert!(!works(&world.function(0), token));
    world.pass(token, 60 * SECOND);
    assert_eq!(world.state(), State::Off);
    assert!(world.notices().contains(&Notice::Revoking(Cause::Failed)));
    assert!(world.script.has("remove f1 Surprise") && world.script.has("unconfigure Surprise 2"));
    assert_eq!(world.script.count("device.quiet"), quieted, "nothing is touched any more");
    assert!(!client.holds.load(Ordering::Acquire) && driver.bound.load(Ordering::Acquire) == 0);
    assert!(world.slot.report().sight.card, "it is there still");
    // A link that comes and goes does not bring it back (HP-17).
    assert!(!world.slot.report().comes_back);
    assert_eq!(world.ask(token, Request::Enable), Some(Finished::Done));
    assert_eq!(world.state(), State::On);
    assert!(!world.slot.fail(old.function()), "the last card's function is not this one's (law 5)");
    world.slot.post(Event::Failed);
    world.drive(token);
    assert_eq!(world.state(), State::On, "it cannot be posted without a function");
}

#[test]
fn a_failure_that_is_seen_after_its_card_was_exchanged_does_not_hit_the_next_card() {
    let token = &mut ThreadToken::at_thread_entry();
    let (world, _driver) = bound(token, 1);
    world.slot.post(Event::Replaced);
    assert!(world.slot.fail(world.function(0).function()), "nobody has seen yet that it is another one");
    world.drive(token);
    assert_eq!(world.state(), State::On, "{:?}", world.notices());
    assert_eq!(world.script.count("hardware.configure"), 2);
}
