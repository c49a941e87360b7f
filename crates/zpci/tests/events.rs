//! Availability and error events: what makes them, and who hears of them (ZP-05, ZP-06).
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod machine;

use assign::EventSink;
use gate::ThreadToken;
use machine::{Recorder, assignment, device, machine, place};
use parking_lot::Mutex;
use slot::{Cause, Notice};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use zpci::{
    Availability, Configuration, Description, ErrorCode, Event, Fid, Handle, Listener, Subscription, Uid,
    View, Watched, Work, Zdev, Zpci,
};

fn token() -> ThreadToken {
    ThreadToken::at_thread_entry()
}

fn availability(zdev: &Zdev, pec: Availability) -> Event {
    Event::Availability { fid: zdev.fid(), handle: zdev.handle(), pec }
}

fn error(zdev: &Zdev, pec: ErrorCode) -> Event {
    Event::Error { fid: zdev.fid(), handle: zdev.handle(), pec }
}

fn architected(heard: &Recorder) -> Vec<Event> {
    heard.take().into_iter().filter(|event| !matches!(event, Event::Handle { .. })).collect()
}

/// The life of a slot, as it tells of it.
#[test]
fn a_card_that_is_put_in_used_wanted_back_and_pulled_makes_the_events_for_that() {
    let (zpci, mut token) = (machine(), token());
    let heard = Arc::new(Recorder::default());
    let _listening = zpci.listen(heard.clone());
    let zdev = zpci.add(Fid(1), Uid::NONE, Description::default()).unwrap();

    zdev.noticed(&Notice::Card(true));
    assert_eq!(zdev.configuration(), Configuration::Standby);
    assert_eq!(architected(&heard), [availability(&zdev, Availability::Standby)]);

    let view = device(&zdev, "one");
    zdev.bring_in(&mut token, Arc::clone(&view));
    zdev.noticed(&Notice::On);
    assert_eq!(architected(&heard), [availability(&zdev, Availability::Configured)]);

    zdev.noticed(&Notice::Asked(1));
    zdev.noticed(&Notice::Asked(2));
    assert_eq!(architected(&heard), [availability(&zdev, Availability::DeconfigureRequested)]);
    assert!(!view.has_failed() && view.is_enabled(), "all works while it is asked for");

    zdev.noticed(&Notice::Revoking(Cause::Deadline));
    assert_eq!(architected(&heard), [availability(&zdev, Availability::Deconfigured)]);
    assert!(view.has_failed());

    zdev.take_out(&mut token);
    zdev.noticed(&Notice::Card(false));
    assert_eq!((zdev.configuration(), zdev.handle()), (Configuration::Reserved, Handle::NONE));
    assert_eq!(architected(&heard), [availability(&zdev, Availability::Reserved)]);
}

#[test]
fn a_function_that_was_given_back_is_not_marked_failed_and_nobody_hears_that_it_was_taken() {
    let (zpci, mut token) = (machine(), token());
    let zdev = place(&zpci, 1);
    let view = device(&zdev, "one");
    zdev.bring_in(&mut token, Arc::clone(&view));
    let heard = Arc::new(Recorder::default());
    let _listening = zpci.listen(heard.clone());
    zdev.noticed(&Notice::Revoking(Cause::Released));
    assert!(!view.has_failed());
    assert_eq!(heard.take(), []);
}

#[test]
fn a_permanent_error_marks_the_device_that_is_there_until_it_is_recovered_or_replaced() {
    let (zpci, mut token) = (machine(), token());
    let zdev = place(&zpci, 1);
    let view = device(&zdev, "one");
    zdev.bring_in(&mut token, Arc::clone(&view));
    let heard = Arc::new(Recorder::default());
    let _listening = zpci.listen(heard.clone());

    zdev.report_error(ErrorCode::ERROR);
    assert!(!view.has_failed());
    zdev.report_error(ErrorCode(0x002a));
    assert!(!view.has_failed());
    zdev.report_error(ErrorCode::PERMANENT);
    assert!(view.has_failed());
    assert_eq!(
        heard.take(),
        [ErrorCode::ERROR, ErrorCode(0x002a), ErrorCode::PERMANENT].map(|pec| error(&zdev, pec))
    );

    let claim = zdev.begin(Work::Recovery).unwrap();
    claim.clear_failure();
    assert!(!view.has_failed());
    drop(claim);
    zdev.report_error(ErrorCode::RECOVERY_FAILED);
    assert!(view.has_failed());

    zdev.take_out(&mut token);
    let next = device(&zdev, "two");
    zdev.bring_in(&mut token, Arc::clone(&next));
    assert!(!next.has_failed());
}

#[derive(Default)]
struct Passed(Mutex<Vec<assign::Event>>);

impl EventSink for Passed {
    fn event(&self, _function: &str, event: assign::Event) {
        self.0.lock().push(event);
    }
}

#[test]
fn a_device_that_is_frozen_or_finds_itself_broken_is_an_error_and_all_it_says_is_passed_on() {
    let (zpci, mut token) = (machine(), token());
    let zdev = place(&zpci, 1);
    let passed = Arc::new(Passed::default());
    let watched = Watched::new(passed.clone());
    let assigned = assignment("one", watched.clone());
    let view = View::new(&zdev, &assigned, 128);
    watched.belongs_to(&view);
    zdev.bring_in(&mut token, Arc::clone(&view));
    let heard = Arc::new(Recorder::default());
    let _listening = zpci.listen(heard.clone());

    assigned.port().report(assign::Event::ClientAttached);
    assert_eq!(heard.take(), []);
    let broken = assign::Event::DeviceFault { detail: "its backing is gone".to_owned() };
    assigned.port().report(broken.clone());
    assert_eq!(heard.take(), [error(&zdev, ErrorCode::ERROR)]);
    assigned.port().freeze("an error");
    assert_eq!(heard.take(), [error(&zdev, ErrorCode::ERROR)]);
    assert_eq!(
        *passed.0.lock(),
        [assign::Event::ClientAttached, broken.clone(), assign::Event::Frozen { reason: "an error" }]
    );
    // What it says once another device is in its place is not of that one (law 5), whether or not anybody has it still.
    zdev.take_out(&mut token);
    zdev.bring_in(&mut token, device(&zdev, "two"));
    heard.take();
    assigned.port().report(broken.clone());
    drop(view);
    assigned.port().report(broken);
    assert_eq!(heard.take(), []);
    assert_eq!(passed.0.lock().len(), 5);
}

/// Notes the order in which it is told.
#[derive(Default)]
struct Order(Mutex<Vec<&'static str>>);

impl EventSink for Order {
    fn event(&self, _function: &str, _event: assign::Event) {
        self.0.lock().push("passed on");
    }
}

impl Listener for Order {
    fn event(&self, event: &Event) {
        if matches!(event, Event::Error { .. }) {
            self.0.lock().push("told");
        }
    }
}

#[test]
fn what_a_device_says_is_passed_on_before_anybody_hears_of_an_error() {
    let (zpci, mut token) = (machine(), token());
    let zdev = place(&zpci, 1);
    let order = Arc::new(Order::default());
    let _listening = zpci.listen(order.clone());
    let watched = Watched::new(order.clone());
    let assigned = assignment("one", watched.clone());
    let view = View::new(&zdev, &assigned, 128);
    watched.belongs_to(&view);
    assigned.port().freeze("before the machine knows it");
    assert_eq!(std::mem::take(&mut *order.0.lock()), ["passed on"]);
    zdev.bring_in(&mut token, view);
    assigned.port().report(assign::Event::DeviceFault { detail: String::new() });
    assert_eq!(*order.0.lock(), ["passed on", "told"]);
}

#[test]
fn a_card_that_leaves_under_its_device_is_reserved_once_that_is_taken_out_and_not_before_zp_05() {
    let (zpci, mut token) = (machine(), token());
    let zdev = place(&zpci, 1);
    zdev.noticed(&Notice::Card(true));
    zdev.bring_in(&mut token, device(&zdev, "one"));
    let heard = Arc::new(Recorder::default());
    let _listening = zpci.listen(heard.clone());
    let codes = |heard: &Recorder| {
        let code = |event| match event {
            Event::Availability { pec, .. } => Some(pec.code()),
            _ => None,
        };
        heard.take().into_iter().filter_map(code).collect::<Vec<_>>()
    };
    zdev.noticed(&Notice::Card(false));
    zdev.noticed(&Notice::Revoking(Cause::CardLost));
    assert_eq!((codes(&heard), zdev.configuration()), (vec![0x0304], Configuration::Configured));
    zdev.take_out(&mut token);
    assert_eq!((codes(&heard), zdev.configuration()), (vec![0x0308], Configuration::Reserved));
    zdev.noticed(&Notice::Card(true));
    zdev.noticed(&Notice::Card(false));
    assert_eq!(codes(&heard), [0x0302, 0x0308]);

    // One that is back before its device is taken out is there.
    zdev.noticed(&Notice::Card(true));
    zdev.bring_in(&mut token, device(&zdev, "two"));
    zdev.noticed(&Notice::Card(false));
    zdev.noticed(&Notice::Card(true));
    zdev.take_out(&mut token);
    assert_eq!((codes(&heard), zdev.configuration()), (vec![0x0302, 0x0302], Configuration::Standby));
    // And what was not told of it then is not told of the next.
    zdev.bring_in(&mut token, device(&zdev, "three"));
    zdev.card(false);
    zdev.take_out(&mut token);
    assert_eq!((codes(&heard), zdev.configuration()), (vec![], Configuration::Reserved));
}

/// Its configuring took so long that the slot went on without it, and the card was pulled meanwhile.
#[test]
fn a_device_that_is_brought_in_late_does_not_bring_its_card_back() {
    let (zpci, mut token) = (machine(), token());
    let zdev = place(&zpci, 1);
    zdev.card(true);
    zdev.card(false);
    zdev.bring_in(&mut token, device(&zdev, "one"));
    zdev.take_out(&mut token);
    assert_eq!((zdev.configuration(), zdev.handle()), (Configuration::Reserved, Handle::NONE));
}

#[test]
fn the_second_event_of_one_error_is_stale_when_the_first_was_acted_on() {
    let (zpci, mut token) = (machine(), token());
    let zdev = place(&zpci, 1);
    zdev.bring_in(&mut token, device(&zdev, "one"));
    let heard = Arc::new(Recorder::default());
    let _listening = zpci.listen(heard.clone());
    zdev.report_error(ErrorCode::ERROR);
    zdev.report_error(ErrorCode::ERROR);
    zdev.begin(Work::Recovery).unwrap().renew(&mut token, true).unwrap();
    let stale = heard.take().into_iter().filter_map(|event| match event {
        Event::Error { handle, pec, .. } => Some(pec.react(zdev.handle(), handle, zpci::User::Driver)),
        _ => None,
    });
    assert_eq!(stale.collect::<Vec<_>>(), [zpci::ErrorReaction::StaleHandle; 2]);
}

/// Asks what it likes when it is told, and lets go of its subscription.
struct Curious {
    zpci: Arc<Zpci>,
    own: Mutex<Option<Subscription>>,
    heard: AtomicUsize,
}

impl Listener for Curious {
    fn event(&self, event: &Event) {
        self.heard.fetch_add(1, Ordering::Relaxed);
        let Event::Handle { fid, new, .. } = event else { return };
        let zdev = self.zpci.find(*fid).unwrap();
        assert_eq!(zdev.handle(), *new);
        assert!(self.zpci.uid_checking() || zdev.view().is_none() || zdev.begin(Work::Reset).is_some());
        self.zpci.tell(&Event::Error { fid: *fid, handle: *new, pec: ErrorCode(0x002a) });
        let own = self.own.lock().take();
        drop(own);
    }
}

/// Builds with debug assertions panic at a lock under a leaf.
#[test]
fn a_listener_is_told_with_nothing_held_and_may_stop_listening_meanwhile() {
    let (zpci, mut token) = (machine(), token());
    let zdev = place(&zpci, 1);
    let curious = Arc::new(Curious { zpci: zpci.clone(), own: Mutex::new(None), heard: AtomicUsize::new(0) });
    let subscription = zpci.listen(curious.clone());
    *curious.own.lock() = Some(subscription);
    let others = Arc::new(Recorder::default());
    let _listening = zpci.listen(others.clone());
    let old = zdev.handle();
    let new = zdev.bring_in(&mut token, device(&zdev, "one"));
    // Its own event came back to it while it was being told.
    assert_eq!(curious.heard.load(Ordering::Relaxed), 2);
    let mut told = others.take();
    told.sort_by_key(|event| matches!(event, Event::Error { .. }));
    let fid = Fid(1);
    assert_eq!(
        told,
        [Event::Handle { fid, old, new }, Event::Error { fid, handle: new, pec: ErrorCode(0x002a) }]
    );
    zdev.take_out(&mut token);
    assert_eq!(curious.heard.load(Ordering::Relaxed), 2, "it has stopped listening");
    assert_eq!(others.take().len(), 1);
}

/// Ends another's listening when it is told something.
struct Ends(Mutex<Option<Subscription>>);

impl Listener for Ends {
    fn event(&self, _event: &Event) {
        let ended = self.0.lock().take();
        drop(ended);
    }
}

#[test]
fn who_stopped_listening_while_others_were_told_is_not_told_after_it() {
    let zpci = machine();
    let zdev = place(&zpci, 1);
    let ends = Arc::new(Ends(Mutex::new(None)));
    let _listening = zpci.listen(ends.clone());
    let ended = Arc::new(Recorder::default());
    *ends.0.lock() = Some(zpci.listen(ended.clone()));
    zdev.report_error(ErrorCode::ERROR);
    assert_eq!(ended.take(), []);
}

#[test]
fn listeners_come_and_go_while_events_are_told_and_the_others_miss_nothing() {
    const EVENTS: usize = 500;
    let zpci = machine();
    let zdev = place(&zpci, 1);
    let steady = Arc::new(Recorder::default());
    let _listening = zpci.listen(steady.clone());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..EVENTS {
                    drop(zpci.listen(Arc::new(Recorder::default())));
                }
            });
        }
        for _ in 0..EVENTS {
            zdev.report_error(ErrorCode::ERROR);
        }
    });
    assert_eq!(steady.take(), vec![error(&zdev, ErrorCode::ERROR); EVENTS]);
    let late = Arc::new(Recorder::default());
    let gone = Arc::downgrade(&late);
    drop(zpci.listen(late));
    assert!(gone.upgrade().is_none(), "who has gone is not kept");
}
