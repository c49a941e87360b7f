//! Other processes' mappings follow the gates of their functions.
#![allow(clippy::disallowed_types, reason = "a list that a test shares with its keeper")]

use super::*;
use crate::memory::lent::Lent;
use crate::{Area, Holds, Memory};
use gate::{AccessKind, Gate, Handle, Subscription, Wake};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, Weak, mpsc};

const DATA: Area = Area { offset: 0, size: 0x4000, holds: Holds::Data };
const BELLS: Area = Area { offset: 0x4000, size: 0x1000, holds: Holds::Doorbells };

/// A function with one memory, which does at its gate's callbacks what `Mappings` does.
struct Function {
    gate: Gate,
    handle: Handle,
    memory: Arc<Memory>,
    lent: Mutex<Vec<Arc<Lent>>>,
    exchanges: AtomicUsize,
    subscription: OnceLock<Subscription>,
}

struct Follower(Weak<Function>);

impl Wake for Follower {
    fn wake(&self) {
        if let Some(function) = self.0.upgrade() {
            if function.handle.is_gone() {
                function.memory.sever().unwrap();
            }
            tell(&(function as Arc<dyn Charge>));
        }
    }
}

impl Function {
    fn new() -> Arc<Function> {
        let gate = Gate::new("test");
        let function = Arc::new(Function {
            handle: gate.handle(),
            gate,
            memory: Memory::new("test", 0x5000),
            lent: Mutex::default(),
            exchanges: AtomicUsize::new(0),
            subscription: OnceLock::new(),
        });
        let follower = Arc::new(Follower(Arc::downgrade(&function)));
        function.subscription.set(function.handle.subscribe(follower)).unwrap();
        function
    }

    fn lend(&self) -> (Arc<Lent>, Foreign) {
        let lent = Arc::new(Lent::new(&self.memory, &[DATA, BELLS]).unwrap());
        self.lent.lock().unwrap().push(Arc::clone(&lent));
        let foreign = Foreign(lent.file().try_clone().unwrap().into());
        (lent, foreign)
    }

    fn leave(self: &Arc<Function>, lent: &Lent) {
        lent.leave();
        tell(&(Arc::clone(self) as Arc<dyn Charge>));
    }

    fn settle(self: &Arc<Function>, token: &mut ThreadToken) {
        let soon = Deadline::after(Duration::from_secs(10));
        assert!(settle(&(Arc::clone(self) as Arc<dyn Charge>), token, soon), "the keeper does not come");
    }

    fn read(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.memory.read(offset, &mut data);
        u32::from_ne_bytes(data)
    }

    fn write(&self, offset: u64, value: u32) {
        self.memory.write(offset, &value.to_ne_bytes());
    }
}

impl Charge for Function {
    fn gate(&self) -> &Gate {
        &self.gate
    }

    fn handle(&self) -> &Handle {
        &self.handle
    }

    fn lent(&self) -> Vec<Arc<Lent>> {
        self.lent.lock().unwrap().clone()
    }

    fn forget(&self, lent: &Arc<Lent>) {
        self.lent.lock().unwrap().retain(|other| !Arc::ptr_eq(other, lent));
    }

    fn before_exchange(&self) {
        self.exchanges.fetch_add(1, Ordering::SeqCst);
    }

    fn after_exchange(&self) {}
}

struct Foreign(File);

impl Foreign {
    fn read(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.0.read_exact_at(&mut data, offset).unwrap();
        u32::from_ne_bytes(data)
    }

    fn write(&self, offset: u64, value: u32) {
        self.0.write_all_at(&value.to_ne_bytes(), offset).unwrap();
    }
}

#[test]
fn what_is_lent_follows_a_freeze_and_a_thaw() {
    let mut token = ThreadToken::at_thread_entry();
    let function = Function::new();
    let (_lent, foreign) = function.lend();
    function.write(8, 1);
    function.gate.freeze();
    function.settle(&mut token);
    assert_eq!((foreign.read(8), foreign.read(BELLS.offset)), (u32::MAX, 0));
    foreign.write(BELLS.offset, 5);
    function.gate.thaw();
    function.settle(&mut token);
    assert_eq!((foreign.read(8), function.read(8), function.read(BELLS.offset)), (1, 1, 5));
    let exchanges = function.exchanges.load(Ordering::SeqCst);
    assert_eq!(exchanges, 2);
    tell(&(Arc::clone(&function) as Arc<dyn Charge>));
    function.settle(&mut token);
    assert_eq!(
        function.exchanges.load(Ordering::SeqCst),
        exchanges,
        "told for nothing: nothing is closed or moved"
    );
}

#[test]
fn who_leaves_is_left_behind_in_any_state_and_the_next_one_shares_the_memory() {
    let mut token = ThreadToken::at_thread_entry();
    for frozen in [false, true] {
        let function = Function::new();
        let (lent, first) = function.lend();
        function.write(8, 1);
        if frozen {
            function.gate.freeze();
            function.settle(&mut token);
        }
        function.leave(&lent);
        function.settle(&mut token);
        assert!(function.lent().is_empty(), "forgotten");
        function.gate.thaw();
        first.write(8, 66);
        let (_lent, second) = function.lend();
        function.settle(&mut token);
        assert_eq!(
            (function.read(8), second.read(8), first.read(0x4000)),
            (1, 1, u32::MAX),
            "frozen: {frozen}"
        );
    }
}

#[test]
fn a_memory_is_left_behind_when_the_last_who_has_it_leaves() {
    let mut token = ThreadToken::at_thread_entry();
    let function = Function::new();
    let ((one, first), (two, _second)) = (function.lend(), function.lend());
    function.leave(&one);
    function.settle(&mut token);
    first.write(8, 7);
    assert_eq!((function.lent().len(), function.read(8)), (2, 7));
    function.leave(&two);
    function.settle(&mut token);
    assert_eq!((function.lent().len(), function.read(8), first.read(8)), (0, 7, u32::MAX));
}

#[test]
fn what_is_gone_reads_all_ones_and_is_reached_by_nobody() {
    let mut token = ThreadToken::at_thread_entry();
    for frozen in [false, true] {
        let function = Function::new();
        let (lent, foreign) = function.lend();
        function.write(8, 1);
        if frozen {
            function.gate.freeze();
        }
        let _retired = function.gate.retire(&mut token, Deadline::after(Duration::from_secs(5)));
        foreign.write(16, 2);
        assert_eq!((function.read(8), function.read(16)), (0, 0), "at once");
        function.settle(&mut token);
        assert_eq!((foreign.read(8), foreign.read(BELLS.offset)), (u32::MAX, u32::MAX));
        assert_eq!(function.lent().len(), 1);
        function.leave(&lent);
        function.settle(&mut token);
        assert!(function.lent().is_empty());
    }
}

#[test]
fn a_function_that_cannot_be_closed_is_tried_again_and_holds_nobody_up() {
    let mut token = ThreadToken::at_thread_entry();
    let (stuck, other) = (Function::new(), Function::new());
    let ((_a, foreign), (_b, others)) = (stuck.lend(), other.lend());
    stuck.write(8, 1);
    let handle = stuck.handle.clone();
    let (entered, is_entered) = mpsc::channel();
    let (leave, is_to_leave) = mpsc::channel::<()>();
    let inside = std::thread::spawn(move || {
        let token = ThreadToken::at_thread_entry();
        let _pass = handle.try_enter(&token, AccessKind::Bar).unwrap();
        entered.send(()).unwrap();
        is_to_leave.recv().unwrap();
    });
    is_entered.recv().unwrap();
    stuck.gate.freeze();
    other.gate.freeze();
    other.settle(&mut token);
    assert_eq!((foreign.read(8), others.read(8)), (1, u32::MAX));
    let soon = Deadline::after(Duration::from_millis(1));
    assert!(!settle(&(Arc::clone(&stuck) as Arc<dyn Charge>), &mut token, soon));
    leave.send(()).unwrap();
    inside.join().unwrap();
    stuck.settle(&mut token);
    assert_eq!(foreign.read(8), u32::MAX);
}

#[test]
fn the_last_state_of_a_gate_is_the_one_that_shows_however_often_it_changed() {
    let mut token = ThreadToken::at_thread_entry();
    let function = Function::new();
    let (_lent, foreign) = function.lend();
    for round in 0..300 {
        function.gate.freeze();
        if round % 3 == 0 {
            function.settle(&mut token);
            assert_eq!(foreign.read(0x2000), u32::MAX, "round {round}");
            foreign.write(BELLS.offset, round);
        }
        function.gate.thaw();
        if round % 5 == 0 {
            function.settle(&mut token);
            foreign.write(0x2000, round);
            assert_eq!((function.read(0x2000), foreign.read(0x2000)), (round, round));
        }
        if round % 15 == 0 {
            assert_eq!(function.read(BELLS.offset), round);
        }
    }
    function.settle(&mut token);
    assert!(function.memory.is_revealed());
}

#[test]
fn areas_that_no_device_has_are_not_lent() {
    let function = Function::new();
    let lend = |areas: &[Area]| Lent::new(&function.memory, areas).map(|_| ()).map_err(|error| error.kind());
    let refused = Err(io::ErrorKind::InvalidInput);
    assert_eq!(lend(&[DATA]), Ok(()));
    assert_eq!(lend(&[BELLS, DATA]), Ok(()), "again, and with others");
    assert_eq!(lend(&[]), refused);
    for (offset, size) in [
        (0x1000, 0x1000),
        (0, 0x5000),
        (0x4000, 0x2000),
        (0x800, 0x1000),
        (0x4000, 0),
        (u64::MAX - 0xfff, 0x1000),
    ] {
        assert_eq!(lend(&[Area { offset, size, holds: Holds::Data }]), refused, "{offset:#x} {size:#x}");
    }
}

#[test]
fn who_finds_nothing_to_do_touches_no_window() {
    let mut token = ThreadToken::at_thread_entry();
    let function = Function::new();
    let (_lent, _foreign) = function.lend();
    let soon = Deadline::after(Duration::from_secs(5));
    let held = function.gate.close_short(&mut token, Reason::Remap, soon).unwrap();
    lent::follow(&*function, &held, false).unwrap();
    assert_eq!(function.exchanges.load(Ordering::SeqCst), 0);
    lent::follow(&*function, &held, true).unwrap();
    assert_eq!(function.exchanges.load(Ordering::SeqCst), 1);
}

#[test]
fn a_state_that_changed_before_the_gate_was_closed_is_what_counts() {
    let mut token = ThreadToken::at_thread_entry();
    let function = Function::new();
    let (_lent, foreign) = function.lend();
    function.write(8, 1);
    let done = |outcome: Result<ControlFlow<()>, Failure>| outcome.unwrap() == ControlFlow::Continue(());
    assert!(done(close_and_follow(&*function, &mut token, true)), "thawed meanwhile");
    assert_eq!(foreign.read(8), 1);
    function.gate.freeze();
    function.settle(&mut token);
    assert!(done(close_and_follow(&*function, &mut token, false)), "frozen meanwhile");
    assert_eq!(foreign.read(8), u32::MAX);
    let _retired = function.gate.retire(&mut token, Deadline::after(Duration::from_secs(5)));
    function.settle(&mut token);
    function.exchanges.store(0, Ordering::SeqCst);
    assert!(!done(close_and_follow(&*function, &mut token, false)), "removed meanwhile");
    function.gate.renew().unwrap();
    assert!(!done(close_and_follow(&*function, &mut token, false)), "it is the next device's gate by now");
    assert_eq!(function.exchanges.load(Ordering::SeqCst), 0);
}

#[test]
fn the_end_cuts_the_device_off_if_nobody_has_done_so() {
    let function = Function::new();
    let (_lent, foreign) = function.lend();
    function.write(8, 1);
    lent::end(&*function).unwrap();
    foreign.write(16, 2);
    assert_eq!((function.read(8), function.read(16), foreign.read(8)), (0, 0, u32::MAX));
}

#[test]
fn a_function_is_in_the_queue_once_and_settled_when_it_was_seen_to() {
    let mut token = ThreadToken::at_thread_entry();
    let keeper = Keeper::default();
    let function: Arc<dyn Charge> = Function::new();
    let now = Deadline::after(Duration::ZERO);
    assert!(keeper.settle(&function, &mut token, now));
    keeper.tell(&function);
    keeper.tell(&function);
    assert_eq!(keeper.state.lock().queue.len(), 1);
    assert!(!keeper.settle(&function, &mut token, now));
    let entry = keeper.next(&mut token).unwrap();
    assert!(!keeper.settle(&function, &mut token, now), "it is being seen to");
    keeper.tell(&function);
    keeper.finish(entry, Ok(()));
    assert!(!keeper.settle(&function, &mut token, now), "told meanwhile");
    let entry = keeper.next(&mut token).unwrap();
    keeper.finish(entry, Ok(()));
    assert!(keeper.settle(&function, &mut token, now));
}

#[test]
fn a_failure_waits_longer_each_time_also_if_the_keeper_was_told_meanwhile() {
    let keeper = Keeper::default();
    let function: Arc<dyn Charge> = Function::new();
    let entry = |failures| Entry { charge: Arc::clone(&function), due: Instant::now(), failures };
    let fail = || Err(Failure::System(io::ErrorKind::OutOfMemory.into()));
    let mut last = Duration::ZERO;
    for failures in [1, 3, 6, 40] {
        keeper.state.lock().queue = vec![entry(0)];
        keeper.finish(entry(failures), fail());
        let state = keeper.state.lock();
        assert_eq!((state.queue.len(), state.queue[0].failures), (1, failures + 1));
        let wait = state.queue[0].due.saturating_duration_since(Instant::now());
        assert!(wait > last && wait <= RETRY.1, "{wait:?} after {failures}");
        last = wait;
    }
    keeper.state.lock().queue.clear();
    keeper.finish(entry(0), Ok(()));
    assert!(keeper.state.lock().queue.is_empty());
}
