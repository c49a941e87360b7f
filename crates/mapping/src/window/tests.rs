//! What lies only inside a window; what a consumer can see is in tests/windows.

#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]

use super::*;
use gate::{Gate, Quiesced, Reason, Wake};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

const PAGE: u64 = 4096;
const LIMIT: Duration = Duration::from_secs(60);

fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

struct Switch(AtomicBool);

impl Reach for Switch {
    fn is_reachable(&self, _: u32) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Writes down what is done to it.
#[derive(Default)]
struct Record {
    calls: Mutex<Vec<&'static str>>,
    populate_fails: AtomicBool,
    uncover_fails: AtomicBool,
}

impl Record {
    fn note(&self, call: &'static str) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }

    /// Since the last time.
    fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pages for Record {
    fn populate(&self, _: u64) -> Result<(), PagesError> {
        self.note("populate");
        if self.populate_fails.load(Ordering::SeqCst) { Err(PagesError::NoMemory) } else { Ok(()) }
    }

    fn poison(&self, _: u64) {
        self.note("poison");
    }

    fn zap(&self) {
        self.note("zap");
    }

    fn cover(&self) {
        self.note("cover");
    }

    fn uncover(&self) -> Result<(), PagesError> {
        self.note("uncover");
        if self.uncover_fails.load(Ordering::SeqCst) { Err(PagesError::NoMemory) } else { Ok(()) }
    }

    fn wake(&self) {
        self.note("wake");
    }

    fn base(&self) -> Option<NonNull<u8>> {
        None
    }
}

/// A window that its gate tells nothing: looks are the test's.
struct World {
    gate: Gate,
    reach: Arc<Switch>,
    pages: Arc<Record>,
    window: Arc<Window>,
}

impl World {
    fn new(on_disabled: OnDisabled) -> World {
        let gate = Gate::new("f");
        let reach = Arc::new(Switch(AtomicBool::new(true)));
        let pages = Arc::new(Record::default());
        let rules = Rules { handle: gate.handle(), reach: reach.clone(), region: 2, on_disabled };
        let window = Window::new(rules, pages.clone());
        World { gate, reach, pages, window }
    }

    fn enable(&self, enabled: bool) {
        self.reach.0.store(enabled, Ordering::SeqCst);
    }

    fn close<'t>(&self, token: &'t mut ThreadToken) -> Quiesced<'t> {
        self.gate.close(token, Reason::Reset, ahead()).unwrap()
    }

    /// Faults until it fails: those who wait are told that time is up.
    fn time_out(&self, token: &mut ThreadToken) {
        let deadline = self.window.fault(token, 0).unwrap();
        self.window.expire(deadline.instant());
        assert_eq!(self.window.fault(token, 0), None);
    }
}

fn token() -> ThreadToken {
    ThreadToken::at_thread_entry()
}

#[test]
fn that_there_was_no_memory_is_told_once() {
    let (world, token) = (World::new(OnDisabled::Fail), &mut token());
    world.pages.populate_fails.store(true, Ordering::SeqCst);
    let turn = world.window.begin(token).unwrap();
    world.window.fault(token, PAGE);
    assert_eq!(world.pages.calls(), ["populate", "poison"]);
    assert_eq!(world.window.judge(turn, None::<u8>), Err(MappingError::NoMemory));
    assert_eq!(world.pages.calls(), ["zap"], "the next access faults again");
    // Of a second access that met the same poison: nothing is left to be taken away.
    assert_eq!(world.window.judge(turn, None::<u8>), Err(MappingError::NoMemory));
    assert_eq!(world.pages.calls(), [""; 0]);
}

#[test]
fn an_expiry_before_its_time_or_when_nobody_waits_does_nothing() {
    let (world, token) = (World::new(OnDisabled::Wait(LIMIT)), &mut token());
    world.window.expire(Instant::now() + LIMIT);
    world.enable(false);
    let deadline = world.window.fault(token, 0).unwrap();
    world.window.expire(deadline.instant() - Duration::from_nanos(1));
    assert_eq!((world.pages.calls(), world.window.deadline()), (vec![], Some(deadline)));
    world.window.expire(deadline.instant());
    assert_eq!((world.pages.calls(), world.window.deadline()), (vec!["wake"], None));
    world.window.expire(deadline.instant());
    assert_eq!(world.pages.calls(), [""; 0]);
}

#[test]
fn a_window_that_is_abandoned_shows_ones_for_ever_whatever_it_showed() {
    type Change = fn(&World);
    let ways: [(Change, &[&str]); 3] = [
        (|_| {}, &["cover"]),
        (|world| assert!(world.gate.freeze()), &[]),
        (|world| drop(world.gate.retire(&mut token(), ahead())), &[]),
    ];
    for (change, expected) in ways {
        let world = World::new(OnDisabled::Fail);
        change(&world);
        world.window.look();
        world.pages.calls();
        world.window.abandon();
        world.window.abandon();
        assert_eq!(world.pages.calls(), expected);
        world.gate.thaw();
        world.window.look();
        world.window.zap();
        world.window.remap();
        assert_eq!((world.pages.calls(), world.window.account().state), (vec![], MappingState::Gone));
        assert_eq!(world.window.begin(&mut token()), Err(MappingError::Gone));
        world.window.fault(&mut token(), 0);
        assert!(!world.pages.calls().contains(&"uncover"));
    }
}

#[test]
fn a_file_that_is_exchanged_is_mapped_anew_when_the_gate_reopens_and_not_under_a_freeze() {
    let (world, token) = (World::new(OnDisabled::Fail), &mut token());
    let closed = world.close(token);
    world.window.remap();
    world.window.remap();
    world.window.look();
    assert_eq!(world.pages.calls(), ["cover"]);
    drop(closed);
    world.window.look();
    assert_eq!((world.pages.calls(), world.window.account().state), (vec!["uncover"], MappingState::Live));
    assert!(world.gate.freeze());
    world.window.look();
    world.window.remap();
    assert_eq!(world.pages.calls(), ["cover"]);
}

#[test]
fn an_access_that_met_a_freeze_is_told_so_also_after_the_freeze() {
    let (world, token) = (World::new(OnDisabled::Fail), &mut token());
    let turn = world.window.begin(token).unwrap();
    assert_eq!(world.window.judge(turn, Some(1)), Ok(1));
    assert!(world.gate.freeze());
    world.window.look();
    assert!(world.gate.thaw());
    world.window.look();
    assert_eq!(world.window.judge(turn, Some(1)), Err(MappingError::Frozen));
    let turn = world.window.begin(token).unwrap();
    assert_eq!(world.window.judge(turn, Some(1)), Ok(1));
    let _ = world.gate.retire(token, ahead());
    world.window.look();
    assert_eq!(world.window.judge(turn, Some(1)), Err(MappingError::Gone));
}

/// Has a window look.
struct Look(Arc<Window>);

impl Wake for Look {
    fn wake(&self) {
        self.0.look();
    }
}

#[test]
fn poison_without_a_pass_is_taken_back_at_the_reopening_and_other_poison_is_not() {
    let (world, token) = (World::new(OnDisabled::Wait(LIMIT)), &mut token());
    let closed = world.close(token).park();
    world.time_out(&mut *token);
    assert_eq!(world.pages.calls(), ["wake", "poison"]);
    let _subscription = world.gate.handle().subscribe(Arc::new(Look(world.window.clone())));
    drop(closed);
    assert_eq!(world.pages.calls(), ["zap"]);
    drop(world.close(token));
    assert_eq!(world.pages.calls(), [""; 0], "once");

    let (world, token) = (World::new(OnDisabled::Wait(LIMIT)), token);
    world.enable(false);
    world.time_out(token);
    world.window.look();
    assert_eq!(world.pages.calls(), ["wake", "poison"], "as true as it was");
}

#[test]
fn a_range_is_uncovered_only_while_the_gate_is_open_and_the_region_can_be_reached() {
    let (world, token) = (World::new(OnDisabled::Fail), &mut token());
    world.enable(false);
    assert!(world.gate.freeze());
    world.window.look();
    assert!(world.gate.thaw());
    world.window.look();
    world.window.zap();
    assert_eq!(world.pages.calls(), ["cover"], "disabled");
    assert_eq!(world.window.begin(token), Err(MappingError::Disabled));
    let closed = world.close(token);
    world.enable(true);
    world.window.zap();
    world.window.look();
    assert_eq!(world.pages.calls(), [""; 0], "closed");
    drop(closed);
    world.pages.uncover_fails.store(true, Ordering::SeqCst);
    assert_eq!(world.window.begin(token), Err(MappingError::NoMemory));
    world.pages.uncover_fails.store(false, Ordering::SeqCst);
    assert!(world.window.begin(token).is_ok());
    assert_eq!(world.pages.calls(), ["uncover", "uncover"]);
}

#[test]
fn an_access_that_waits_for_the_end_of_a_cover_hears_that_the_window_was_given_up() {
    let world = World::new(OnDisabled::Wait(LIMIT));
    world.enable(false);
    assert!(world.gate.freeze());
    world.window.look();
    assert!(world.gate.thaw());
    std::thread::scope(|scope| {
        let begun = scope.spawn(|| world.window.begin(&mut token()));
        let deadline = ahead();
        while !world.window.account().parked && deadline.remaining().is_some() {
            std::thread::yield_now();
        }
        world.window.abandon();
        assert_eq!(begun.join().unwrap(), Err(MappingError::Gone));
    });
}
