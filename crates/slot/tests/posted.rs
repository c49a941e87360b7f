//! What is posted before anybody looks, in every order that a port may see it, and while the slot is busy.
#![allow(clippy::unwrap_used, reason = "test code")]

mod world;

use gate::{Deadline, ThreadToken};
use slot::{BLINK, Consumer, Controller, Event, Features, Finished, Request, State};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use world::*;

/// All orders in which two things can happen at each of two places.
fn orders() -> Vec<[Event; 4]> {
    let (card, link) = ([Event::Card(false), Event::Card(true)], [Event::Link(false), Event::Link(true)]);
    let choose = |mask: u32| {
        let (mut cards, mut links) = (card.into_iter(), link.into_iter());
        std::array::from_fn(|at| if mask >> at & 1 == 1 { links.next() } else { cards.next() }.unwrap())
    };
    (0..16_u32).filter(|mask| mask.count_ones() == 2).map(choose).collect()
}

#[test]
fn a_card_that_was_exchanged_between_two_looks_comes_up_in_whatever_order_its_port_told_of_it_hp_15() {
    for order in orders() {
        // A port may notice late that the link is back, and never that it is back without a card.
        let cards = order.iter().rposition(|event| matches!(event, Event::Card(true)));
        let links = order.iter().rposition(|event| matches!(event, Event::Link(true)));
        for looks_after in [0, 1, 2, 3] {
            let token = &mut ThreadToken::at_thread_entry();
            let world = World::new(PLAIN, 1);
            world.plug(token);
            let old = world.function(0);
            for (at, event) in order.into_iter().enumerate() {
                world.slot.post(event);
                if at + 1 == looks_after && links > cards {
                    world.drive(token);
                }
            }
            world.pass(token, 10 * SECOND);
            let shown = format!("{order:?}, looked at after {looks_after}: {:?}", world.slot.report());
            assert_eq!(world.state(), State::On, "{shown}");
            assert!(world.slot.report().sight.link, "{shown}");
            assert!(old.function().handle().is_gone(), "{shown}");
        }
    }
}

#[test]
fn presses_on_both_sides_of_a_request_are_not_taken_together_hp_07() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(Features { attention_button: true, ..PLAIN }, 1);
    world.slot.post(Event::Card(true));
    world.slot.post(Event::Link(true));
    world.drive(token);
    world.slot.post(Event::Button);
    let cancel = world.slot.ask(Request::Cancel);
    world.slot.post(Event::Button);
    world.drive(token);
    assert_eq!(cancel.finished(), Some(Finished::Done), "the first press was called off");
    world.pass(token, BLINK + SECOND);
    assert_eq!(world.state(), State::On, "the second was not");
}

#[test]
fn what_is_found_on_a_card_that_was_lost_meanwhile_is_offered_to_nobody_hp_12() {
    for lost in [Event::Card(false), Event::Link(false), Event::Replaced] {
        let token = &mut ThreadToken::at_thread_entry();
        let world = World::new(PLAIN, 1);
        let driver = world.driver("driver", true);
        world.script.set("hardware.configure", Fault::Hang);
        std::thread::scope(|scope| {
            world.slot.post(Event::Card(true));
            world.slot.post(Event::Link(true));
            let driving = scope.spawn(|| world.drive(&mut ThreadToken::at_thread_entry()));
            world.script.wait_for("hardware.configure");
            world.slot.post(lost);
            world.script.mend("hardware.configure");
            driving.join().unwrap();
        });
        world.pass(token, Duration::from_secs(60));
        let back = lost == Event::Replaced;
        assert_eq!(world.state(), if back { State::On } else { State::Off }, "{lost:?}");
        // Nobody but those who get the next card.
        assert_eq!(world.script.count("driver.matches"), usize::from(back), "{lost:?}");
        assert_eq!(driver.bound.load(Ordering::Acquire), usize::from(back), "{lost:?}");
        if !back {
            world.assert_clean();
        }
    }
}

#[test]
fn a_freeze_that_comes_late_never_hits_the_next_card_law_5() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    world.plug(token);
    let old = world.function(0);
    world.slot.post(Event::Link(false));
    world.slot.post(Event::Link(true));
    world.drive(token);
    // As of somebody who posts and was stopped between the look at the functions and their freeze.
    assert!(!old.function().handle().freeze());
    let mut vendor = [0; 2];
    world.function(0).region_read(token, 7, 0, &mut vendor).unwrap();
    assert_eq!(vendor, [0x36, 0x1b], "its configuration space can be read");
}

/// Has news whenever it is asked for some.
struct Restless {
    slot: Weak<Controller>,
    /// How often still.
    news: AtomicU32,
}

impl Consumer for Restless {
    fn describe(&self) -> String {
        String::from("restless")
    }

    fn request(&self, _token: &mut ThreadToken, _nth: u32) {}

    fn revoke(&self, _token: &mut ThreadToken, _deadline: Deadline) -> Vec<String> {
        Vec::new()
    }

    fn holds(&self) -> bool {
        if self.news.load(Ordering::Acquire) > 0 {
            self.news.fetch_sub(1, Ordering::AcqRel);
            self.slot.upgrade().unwrap().post(Event::Released);
        }
        true
    }
}

#[test]
fn who_has_an_event_for_each_that_it_is_told_of_does_not_keep_the_driving_thread() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(PLAIN, 1);
    world.plug(token);
    let slot = Arc::downgrade(&world.slot);
    let restless = Arc::new(Restless { slot, news: AtomicU32::new(1_000_000) });
    world.slot.add_consumer(restless.clone());
    let operation = world.unplug(60);
    assert_eq!(world.slot.drive(token), Some(Duration::ZERO));
    assert!(restless.news.load(Ordering::Acquire) > 0);
    assert_eq!(operation.finished(), None);
    // Its deadline comes before all of that.
    world.time.advance(Duration::from_secs(60));
    world.drive(token);
    assert_eq!(operation.finished(), Some(Finished::Done));
    assert!(restless.news.load(Ordering::Acquire) > 0);
}
