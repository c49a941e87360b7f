//! The gate on real threads, through its public interface. What needs every interleaving is in `loom.rs`.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::disallowed_types, reason = "a test's own list")]
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use gate::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

const CONFIG: AccessKind = AccessKind::Config;

/// Long enough for a loaded machine; a test that needs it to pass has failed.
fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

fn now() -> Deadline {
    Deadline::after(Duration::ZERO)
}

/// Looks until the gate shows what the test waits for.
fn until(gate: &Gate, what: &str, shows: impl Fn(&GateStatus) -> bool) {
    let deadline = ahead();
    while !shows(&gate.status()) {
        assert!(deadline.remaining().is_some(), "never came: {what}");
        thread::yield_now();
    }
}

#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_quiesced_gate_blocks_and_the_dropped_proof_reopens_it() {
    let gate = Gate::new("f");
    let handle = gate.handle();
    let mut token = ThreadToken::at_thread_entry();
    let quiesced = gate.close(&mut token, Reason::Reset, ahead()).unwrap();
    assert_eq!(handle.try_enter(quiesced.token(), CONFIG).err(), Some(Refusal::Blocked(Reason::Reset)));
    assert_eq!(gate.status().state, GateState::Blocked(Reason::Reset));
    drop(quiesced);
    assert!(handle.try_enter(&token, CONFIG).is_ok());
    assert_eq!(gate.status().refused, Refused { blocked: 1, ..Refused::default() });
}

#[test]
fn a_blocked_access_gives_up_at_its_deadline() {
    // CFG-I8
    let gate = Gate::new("f");
    let handle = gate.handle();
    let mut token = ThreadToken::at_thread_entry();
    std::mem::forget(gate.try_close(&token, Reason::PowerChange).unwrap());
    let refused = handle.enter(&mut token, CONFIG, Deadline::after(Duration::from_millis(5))).map(drop);
    assert_eq!(refused, Err(Refusal::Blocked(Reason::PowerChange)));
    assert_eq!(gate.status().waiting_accesses, 0);
}

#[test]
fn try_close_is_busy_while_a_pass_of_its_own_thread_is_inside() {
    // RST-12: contention changes nothing.
    let gate = Gate::new("f");
    let handle = gate.handle();
    let token = ThreadToken::at_thread_entry();
    let pass = handle.try_enter(&token, CONFIG).unwrap();
    assert_eq!(gate.try_close(pass.token(), Reason::Reset).err(), Some(Busy::Inside));
    assert_eq!(gate.status().state, GateState::Open);
    drop(pass);
    let quiesced = gate.try_close(&token, Reason::Reset).unwrap();
    assert_eq!(gate.try_close(&token, Reason::Unplug).err(), Some(Busy::Closed(Reason::Reset)));
    drop(quiesced);
}

#[test]
fn a_drain_that_misses_its_deadline_names_what_is_inside_and_puts_the_gate_back() {
    let gate = Gate::new("f");
    let handle = gate.handle();
    let mut token = ThreadToken::at_thread_entry();
    let long = handle.enter_long(&mut token, AccessKind::Dma, "nvme read", now()).unwrap();
    let missed = gate.close(&mut token, Reason::Reset, now()).err();
    let Some(CloseError::Drain { inside }) = missed else { panic!("{missed:?}") };
    assert_eq!(inside.len(), 1);
    assert_eq!(inside[0].what, "nvme read");
    assert_eq!(inside[0].kind, InsideKind::Long(AccessKind::Dma));
    assert_eq!(gate.status().state, GateState::Open);
    assert!(handle.try_enter(&token, CONFIG).is_ok());
    drop(long);
    assert!(gate.close(&mut token, Reason::Reset, now()).is_ok());
}

#[test]
fn a_short_pass_that_keeps_a_closer_out_is_named_by_its_thread() {
    let gate = Gate::new("f");
    let handle = gate.handle();
    let (entered, is_inside) = mpsc::channel();
    let (leave, told) = mpsc::channel::<()>();
    let reader = thread::Builder::new().name("worker 7".into()).spawn(move || {
        let token = ThreadToken::at_thread_entry();
        let _pass = handle.try_enter(&token, CONFIG).unwrap();
        entered.send(()).unwrap();
        let _ = told.recv();
    });
    is_inside.recv().unwrap();
    let mut token = ThreadToken::at_thread_entry();
    let missed = gate.close(&mut token, Reason::Reset, now()).err();
    let Some(CloseError::Drain { inside }) = missed else { panic!("{missed:?}") };
    assert_eq!(inside[0].to_string(), "short pass of thread worker 7");
    drop(leave);
    assert!(gate.close(&mut token, Reason::Reset, ahead()).is_ok());
    reader.unwrap().join().unwrap();
}

#[test]
fn close_short_leaves_long_passes_inside_and_works_on_a_frozen_gate() {
    let gate = Gate::new("f");
    let handle = gate.handle();
    let mut token = ThreadToken::at_thread_entry();
    let _long = handle.enter_long(&mut token, AccessKind::Dma, "nvme read", now()).unwrap();
    assert!(gate.freeze());
    let short = gate.close_short(&mut token, Reason::DmaUnmap, now()).unwrap();
    drop(short);
    assert_eq!(gate.status().state, GateState::Frozen);
}

#[test]
fn a_frozen_gate_refuses_at_once_even_those_who_would_wait() {
    let gate = Gate::new("f");
    let handle = gate.handle();
    let mut token = ThreadToken::at_thread_entry();
    assert!(gate.freeze());
    assert!(!gate.freeze());
    assert_eq!(handle.enter(&mut token, CONFIG, ahead()).err(), Some(Refusal::Frozen));
    assert!(gate.thaw());
    assert!(!gate.thaw());
    assert!(handle.enter(&mut token, CONFIG, now()).is_ok());
}

#[test]
fn a_proof_goes_back_to_frozen_unless_it_thaws() {
    let gate = Gate::new("f");
    let mut token = ThreadToken::at_thread_entry();
    gate.freeze();
    drop(gate.close(&mut token, Reason::Recovery, now()).unwrap());
    assert_eq!(gate.status().state, GateState::Frozen);
    assert!(gate.close(&mut token, Reason::Recovery, now()).unwrap().thaw());
    assert_eq!(gate.status().state, GateState::Open);
}

#[test]
fn a_freeze_during_a_proof_outlives_its_thaw() {
    let gate = Gate::new("f");
    let mut token = ThreadToken::at_thread_entry();
    gate.freeze();
    let quiesced = gate.close(&mut token, Reason::Recovery, now()).unwrap();
    assert!(gate.freeze(), "an error during the recovery of another one is news");
    assert!(!gate.freeze());
    assert!(!quiesced.thaw());
    assert_eq!(gate.status().state, GateState::Frozen);
}

#[test]
fn a_retired_epoch_is_gone_and_its_handles_are_stale_in_the_next() {
    let gate = Gate::new("f");
    let old = gate.handle();
    let mut token = ThreadToken::at_thread_entry();
    assert!(gate.renew().is_none());
    assert!(gate.retire(&mut token, now()).orphans.is_empty());
    let between = gate.handle();
    assert_eq!(old.try_enter(&token, CONFIG).err(), Some(Refusal::Gone));
    assert!(matches!(gate.close(&mut token, Reason::Reset, ahead()), Err(CloseError::Gone)));
    assert_eq!(gate.try_close(&token, Reason::Reset).err(), Some(Busy::Gone));
    assert!(!gate.freeze());
    let new = gate.renew().unwrap();
    assert!(gate.renew().is_none());
    let stale = Refusal::StaleEpoch { handle: old.epoch(), current: new.epoch() };
    assert_eq!(old.enter(&mut token, CONFIG, ahead()).err(), Some(stale));
    assert!(matches!(between.try_enter(&token, CONFIG), Err(Refusal::StaleEpoch { .. })));
    assert!(new.try_enter(&token, CONFIG).is_ok());
}

#[test]
fn a_long_pass_that_outlives_retire_is_an_orphan_and_holds_up_no_closer_of_the_next_epoch() {
    let gate = Gate::new("f");
    let handle = gate.handle();
    let mut token = ThreadToken::at_thread_entry();
    let orphan = handle.enter_long(&mut token, AccessKind::Dma, "nvme write", now()).unwrap();
    let retired = gate.retire(&mut token, now());
    assert_eq!(retired.orphans.len(), 1);
    assert_eq!(retired.orphans[0].what, "nvme write");
    let next = gate.renew().unwrap();
    let long = next.enter_long(&mut token, AccessKind::Dma, "nvme read", now()).unwrap();
    drop(long);
    assert!(gate.close(&mut token, Reason::Reset, now()).is_ok());
    assert!(gate.try_close(&token, Reason::Reset).is_ok());
    assert_eq!(gate.status().inside.len(), 1, "the orphan stays visible");
    assert!(gate.retire(&mut token, now()).orphans.is_empty());
    drop(orphan);
    assert!(gate.status().inside.is_empty());
}

#[test]
fn a_proof_that_outlives_retire_keeps_the_next_device_closed_until_it_is_dropped() {
    let gate = Gate::new("f");
    let second = gate.clone();
    let (closed, is_closed) = mpsc::channel();
    let (leave, told) = mpsc::channel::<()>();
    let closer = thread::spawn(move || {
        let mut token = ThreadToken::at_thread_entry();
        let _quiesced = second.close(&mut token, Reason::Reset, ahead()).unwrap();
        closed.send(()).unwrap();
        let _ = told.recv();
    });
    is_closed.recv().unwrap();
    let mut token = ThreadToken::at_thread_entry();
    let retired = gate.retire(&mut token, now());
    assert_eq!(retired.orphans[0].kind, InsideKind::Proof(Reason::Reset));
    let next = gate.renew().unwrap();
    assert_eq!(next.try_enter(&token, CONFIG).err(), Some(Refusal::Blocked(Reason::Reset)));
    drop(leave);
    assert!(next.enter(&mut token, CONFIG, ahead()).is_ok());
    closer.join().unwrap();
}

#[test]
fn accesses_that_wait_when_a_closer_leaves_get_in_before_the_next_closer() {
    let gate = Gate::new("f");
    let cell = Arc::new(GateCell::new(&gate, Vec::<&'static str>::new()));
    let order = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut token = ThreadToken::at_thread_entry();
    let first = gate.close(&mut token, Reason::Reset, ahead()).unwrap();
    let closer = thread::spawn({
        let (gate, order, cell) = (gate.clone(), order.clone(), cell.clone());
        move || {
            let mut token = ThreadToken::at_thread_entry();
            let mut quiesced = gate.close(&mut token, Reason::Reset, ahead()).unwrap();
            cell.replace(&mut quiesced, vec!["closed"]);
            order.load(Ordering::SeqCst)
        }
    });
    until(&gate, "the second closer waits", |status| status.waiting_closers == 1);
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (handle, order, cell) = (gate.handle(), order.clone(), cell.clone());
            thread::spawn(move || {
                let mut token = ThreadToken::at_thread_entry();
                let pass = handle.enter(&mut token, CONFIG, ahead()).unwrap();
                order.fetch_add(1, Ordering::SeqCst);
                cell.get(&pass).is_empty()
            })
        })
        .collect();
    until(&gate, "three accesses wait", |status| status.waiting_accesses == 3);
    drop(first);
    assert_eq!(closer.join().unwrap(), 3, "the closer overtook an access that waited before");
    assert!(readers.into_iter().all(|reader| reader.join().unwrap()));
}

#[test]
fn a_closer_gets_in_under_a_stream_of_accesses() {
    let gate = Gate::new("f");
    let stop = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (handle, stop) = (gate.handle(), stop.clone());
            thread::spawn(move || {
                let mut token = ThreadToken::at_thread_entry();
                while stop.load(Ordering::Relaxed) == 0 {
                    drop(handle.enter(&mut token, CONFIG, ahead()).unwrap());
                }
            })
        })
        .collect();
    let mut token = ThreadToken::at_thread_entry();
    for _ in 0..100 {
        drop(gate.close(&mut token, Reason::Reset, ahead()).unwrap());
    }
    stop.store(1, Ordering::Relaxed);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

#[test]
fn a_closer_behind_another_gives_up_at_its_deadline_and_says_who_was_in() {
    let gate = Gate::new("f");
    let mut token = ThreadToken::at_thread_entry();
    std::mem::forget(gate.try_close(&token, Reason::Recovery).unwrap());
    let refused = gate.close(&mut token, Reason::Reset, now()).err();
    assert!(matches!(refused, Some(CloseError::Contended { holder: Some(Reason::Recovery) })), "{refused:?}");
    assert_eq!(gate.status().waiting_closers, 0);
}

#[test]
fn passes_nest_beyond_the_slots_of_a_thread_and_are_all_drained() {
    let gate = Gate::new("f");
    let handle = gate.handle();
    let mut token = ThreadToken::at_thread_entry();
    let passes: Vec<_> = (0..10).map(|_| handle.try_enter(&token, CONFIG).unwrap()).collect();
    assert_eq!(gate.status().inside.len(), 10);
    drop(passes);
    assert!(gate.status().inside.is_empty());
    assert!(gate.close(&mut token, Reason::Reset, now()).is_ok());
}

#[test]
fn subscribers_are_woken_on_reopen_freeze_thaw_and_retire_until_they_unsubscribe() {
    let gate = Gate::new("f");
    let wake = Arc::new(Counted::default());
    let subscription = gate.handle().subscribe(wake.clone());
    let mut token = ThreadToken::at_thread_entry();
    drop(gate.close(&mut token, Reason::Reset, now()).unwrap());
    assert_eq!(wake.0.load(Ordering::SeqCst), 1);
    assert!(gate.freeze());
    assert_eq!(wake.0.load(Ordering::SeqCst), 2);
    assert!(!gate.freeze());
    assert_eq!(wake.0.load(Ordering::SeqCst), 2, "nothing has changed");
    gate.thaw();
    assert_eq!(wake.0.load(Ordering::SeqCst), 3);
    let _ = gate.retire(&mut token, now());
    assert_eq!(wake.0.load(Ordering::SeqCst), 4);
    drop(subscription);
    assert_eq!(Arc::strong_count(&wake), 1);
}

/// Keeps what the gate admitted at each call.
struct Follows(Handle, Mutex<Vec<Admission>>);

impl Follows {
    fn seen(&self) -> Vec<Admission> {
        std::mem::take(&mut self.1.lock().unwrap())
    }
}

impl Wake for Follows {
    fn wake(&self) {
        self.1.lock().unwrap().push(self.0.admission());
    }
}

#[test]
fn a_subscriber_finds_what_the_gate_came_to() {
    let gate = Gate::new("f");
    let mut token = ThreadToken::at_thread_entry();
    let follower = Arc::new(Follows(gate.handle(), Mutex::default()));
    let _subscription = gate.handle().subscribe(follower.clone());
    assert_eq!(follower.0.admission(), Admission::Open);
    let closed = gate.close(&mut token, Reason::Reset, now()).unwrap();
    assert_eq!((follower.0.admission(), follower.seen()), (Admission::Blocked, vec![]));
    assert!(gate.freeze());
    assert_eq!(follower.seen(), [Admission::Frozen], "frozen although a closer has it");
    assert!(gate.thaw());
    assert_eq!(follower.seen(), [Admission::Blocked]);
    drop(closed);
    assert_eq!(follower.seen(), [Admission::Open]);
    assert!(gate.freeze());
    drop(gate.close_short(&mut token, Reason::Remap, now()).unwrap());
    assert_eq!(
        follower.seen(),
        [Admission::Frozen, Admission::Frozen],
        "also when a closer leaves a frozen gate"
    );
    assert!(gate.close(&mut token, Reason::Reset, now()).unwrap().thaw());
    assert_eq!(follower.seen(), [Admission::Open]);
    let _ = gate.retire(&mut token, now());
    assert_eq!(follower.seen(), [Admission::Gone]);
    gate.renew().unwrap();
    assert_eq!((follower.0.admission(), gate.handle().admission()), (Admission::Gone, Admission::Open));
}

#[test]
fn who_freezes_with_a_pass_held_is_told_of_at_once() {
    let gate = Gate::new("f");
    let token = ThreadToken::at_thread_entry();
    let follower = Arc::new(Follows(gate.handle(), Mutex::default()));
    let _subscription = gate.handle().subscribe(follower.clone());
    let handle = gate.handle();
    let _pass = handle.try_enter(&token, CONFIG).unwrap();
    assert!(handle.freeze());
    assert_eq!(follower.seen(), [Admission::Frozen]);
}

#[test]
fn a_trial_that_comes_to_nothing_is_not_seen() {
    let gate = Gate::new("f");
    let token = ThreadToken::at_thread_entry();
    let follower = Arc::new(Follows(gate.handle(), Mutex::default()));
    let _subscription = gate.handle().subscribe(follower.clone());
    let handle = gate.handle();
    let pass = handle.try_enter(&token, CONFIG).unwrap();
    assert!(gate.try_close(&token, Reason::Reset).is_err());
    assert_eq!((follower.0.admission(), follower.seen()), (Admission::Open, vec![]));
    drop(pass);
    let closed = gate.try_close(&token, Reason::Reset).unwrap();
    assert_eq!(follower.0.admission(), Admission::Blocked);
    drop(closed);
    assert_eq!(follower.seen(), [Admission::Open]);
}

#[test]
fn a_gate_that_is_closed_costs_the_accesses_of_another_nothing() {
    // CFG-09, CFG-I8
    let (closed, open) = (Gate::new("f"), Gate::new("g"));
    let handle = open.handle();
    let token = ThreadToken::at_thread_entry();
    let _quiesced = closed.try_close(&token, Reason::Reset).unwrap();
    assert!(handle.try_enter(&token, CONFIG).is_ok());
    assert_eq!(open.status().refused, Refused::default());
}

#[test]
#[should_panic(expected = "another gate")]
fn a_cell_refuses_the_proof_of_another_gate() {
    let (gate, other) = (Gate::new("f"), Gate::new("g"));
    let cell = GateCell::new(&gate, 1);
    let handle = other.handle();
    let token = ThreadToken::at_thread_entry();
    let pass = handle.try_enter(&token, CONFIG).unwrap();
    cell.get(&pass);
}

#[test]
fn a_thread_has_one_token_at_a_time() {
    let first = ThreadToken::at_thread_entry();
    assert!(std::panic::catch_unwind(ThreadToken::at_thread_entry).is_err());
    drop(first);
    let _second = ThreadToken::at_thread_entry();
}

#[test]
fn a_record_whose_thread_has_ended_holds_up_nobody() {
    let gate = Gate::new("f");
    let handle = gate.handle();
    thread::spawn(move || {
        let token = ThreadToken::at_thread_entry();
        std::mem::forget(handle.try_enter(&token, CONFIG).unwrap());
    })
    .join()
    .unwrap();
    let mut token = ThreadToken::at_thread_entry();
    assert!(gate.close(&mut token, Reason::Reset, now()).is_ok());
}

#[test]
fn handles_and_long_passes_go_to_other_threads() {
    fn sendable<T: Send>() {}
    fn shareable<T: Send + Sync>() {}
    shareable::<Gate>();
    shareable::<Handle>();
    shareable::<GateCell<u8>>();
    sendable::<LongPass>();
    sendable::<Subscription>();
}

#[test]
fn readers_never_see_half_a_replacement() {
    // The same with fences instead of membarrier is in `fallback.rs`.
    let gate = Gate::new("f");
    let cell = GateCell::new(&gate, [0_u64; 32]);
    let stop = AtomicUsize::new(0);
    let rounds = if cfg!(miri) { 10 } else { 2000 };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let (handle, token) = (gate.handle(), ThreadToken::at_thread_entry());
                while stop.load(Ordering::Relaxed) == 0 {
                    let Ok(pass) = handle.try_enter(&token, AccessKind::Dma) else { continue };
                    let value = cell.get(&pass);
                    assert!(value.iter().all(|word| *word == value[0]), "torn: {value:?}");
                }
            });
        }
        let mut token = ThreadToken::at_thread_entry();
        for round in 1..=rounds {
            let mut quiesced = gate.close_short(&mut token, Reason::DmaUnmap, ahead()).unwrap();
            cell.replace(&mut quiesced, [round; 32]);
        }
        stop.store(1, Ordering::Relaxed);
    });
}

#[test]
fn closers_have_a_gate_in_the_order_of_their_arrival() {
    let gate = Gate::new("f");
    let token = ThreadToken::at_thread_entry();
    let first = gate.try_close(&token, Reason::Reset).unwrap();
    let (came, order) = mpsc::channel();
    let closers: Vec<_> = (0..4)
        .map(|nth| {
            let (second, came) = (gate.clone(), came.clone());
            let closer = thread::spawn(move || {
                let mut token = ThreadToken::at_thread_entry();
                let _quiesced = second.close(&mut token, Reason::Reset, ahead()).unwrap();
                came.send(nth).unwrap();
            });
            until(&gate, "it waits", |status| status.waiting_closers == nth + 1);
            closer
        })
        .collect();
    assert_eq!(gate.try_close(&token, Reason::Reset).err(), Some(Busy::Closed(Reason::Reset)));
    drop(first);
    closers.into_iter().for_each(|closer| closer.join().unwrap());
    assert_eq!(order.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn a_waiter_that_is_woken_for_another_looks_again_and_goes_on_waiting() {
    // CFG-I1, CFG-I3
    let gate = Gate::new("f");
    let token = ThreadToken::at_thread_entry();
    let closed = gate.try_close(&token, Reason::Reset).unwrap();
    let (sender, cancellers) = mpsc::channel();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (handle, sender) = (gate.handle(), sender.clone());
            thread::spawn(move || {
                let mut token = ThreadToken::at_thread_entry();
                sender.send(token.canceller()).unwrap();
                handle.enter(&mut token, CONFIG, ahead()).is_ok()
            })
        })
        .collect();
    until(&gate, "both wait", |status| status.waiting_accesses == 2);
    // Cancelling one lets all who wait at this gate look again.
    cancellers.recv().unwrap().cancel();
    until(&gate, "one gave up", |status| status.waiting_accesses == 1);
    drop(closed);
    let entered = readers.into_iter().map(|reader| reader.join().unwrap());
    assert_eq!(entered.filter(|entered| *entered).count(), 1);
}

/// Uses the gate from where it is told that the gate has changed.
struct Looks(Gate, AtomicUsize);

impl Wake for Looks {
    fn wake(&self) {
        let inside = self.0.status().inside.len();
        self.1.fetch_add(1 + inside, Ordering::SeqCst);
    }
}

#[test]
fn nobody_is_called_and_nobody_sleeps_with_a_lock_of_the_gate_held() {
    // CFG-I7
    let gate = Gate::new("f");
    let looks = Arc::new(Looks(gate.clone(), AtomicUsize::new(0)));
    let subscription = gate.handle().subscribe(looks.clone());
    let token = ThreadToken::at_thread_entry();
    let closed = gate.try_close(&token, Reason::Reset).unwrap();
    let reader = thread::spawn({
        let handle = gate.handle();
        move || handle.enter(&mut ThreadToken::at_thread_entry(), CONFIG, ahead()).map(drop)
    });
    // `status` takes the lock while the reader sleeps, and so does the subscriber while the closer leaves.
    until(&gate, "it waits", |status| status.waiting_accesses == 1);
    drop(closed);
    assert!(reader.join().unwrap().is_ok());
    let seen = || looks.1.swap(0, Ordering::SeqCst);
    assert!(seen() >= 1);
    assert!(gate.freeze() && seen() >= 1);
    drop(gate.try_close(&token, Reason::Reset).unwrap());
    assert!(seen() >= 1, "a closer has left a frozen gate");
    assert!(gate.thaw() && seen() >= 1);
    let mut token = token;
    assert!(gate.retire(&mut token, now()).orphans.is_empty() && seen() >= 1);
    drop(subscription);
}

#[test]
fn a_change_is_admitted_from_the_return_of_who_made_it() {
    let gate = Gate::new("f");
    let token = &mut ThreadToken::at_thread_entry();
    let handle = gate.handle();
    assert_eq!(handle.admission(), Admission::Open);
    assert!(gate.freeze());
    assert_eq!(handle.admission(), Admission::Frozen);
    let closed = gate.close(token, Reason::Reset, now()).unwrap();
    assert_eq!(handle.admission(), Admission::Frozen, "somebody owns it");
    assert!(gate.thaw());
    assert_eq!(handle.admission(), Admission::Blocked);
    let parked = closed.park();
    assert_eq!(handle.admission(), Admission::Blocked);
    // Somebody is inside beyond the end of the epoch: the next device's handle finds the gate closed, the old one's gone.
    assert_eq!(gate.retire(token, now()).orphans.len(), 1);
    assert_eq!(handle.admission(), Admission::Gone);
    let between = gate.handle();
    let next = gate.renew().unwrap();
    let admissions = || [&handle, &between, &next].map(Handle::admission);
    assert_eq!(admissions(), [Admission::Gone, Admission::Gone, Admission::Blocked]);
    drop(parked);
    assert_eq!(admissions(), [Admission::Gone, Admission::Gone, Admission::Open]);
}

#[test]
fn waking_one_gate_wakes_no_waiter_of_another() {
    // CFG-I8: each waiter's count of looks at its own gate is not to be seen from outside, but that it still waits is.
    let gates = [Gate::new("f"), Gate::new("g")];
    let token = ThreadToken::at_thread_entry();
    let closed = gates[0].try_close(&token, Reason::Reset).unwrap();
    let other = gates[1].try_close(&token, Reason::Reset).unwrap();
    let readers = gates.clone().map(|gate| {
        thread::spawn(move || {
            let handle = gate.handle();
            handle.enter(&mut ThreadToken::at_thread_entry(), CONFIG, ahead()).map(drop).is_ok()
        })
    });
    gates.iter().for_each(|gate| until(gate, "it waits", |status| status.waiting_accesses == 1));
    drop(closed);
    until(&gates[0], "it went in", |status| status.waiting_accesses == 0);
    assert_eq!(gates[1].status().waiting_accesses, 1);
    drop(other);
    assert!(readers.into_iter().all(|reader| reader.join().unwrap()));
}

#[test]
fn who_freezes_or_retires_one_device_never_hits_the_next_in_its_place() {
    // Law 5
    let token = &mut ThreadToken::at_thread_entry();
    let gate = Gate::new("slot");
    let old = gate.handle();
    assert!(old.freeze() && !old.freeze());
    assert!(old.thaw() && !old.thaw());
    assert!(gate.retire(token, ahead()).orphans.is_empty());
    let new = gate.renew().unwrap();
    assert!(!old.freeze());
    assert!(gate.retire_epoch_of(&old, token, ahead()).orphans.is_empty());
    assert!(new.try_enter(token, AccessKind::Config).is_ok(), "the next device works");
    assert!(new.freeze() && !old.thaw());
    assert_eq!(new.try_enter(token, AccessKind::Config).err(), Some(Refusal::Frozen));
    assert!(gate.retire_epoch_of(&new, token, ahead()).orphans.is_empty());
    assert_eq!(new.try_enter(token, AccessKind::Config).err(), Some(Refusal::Gone));
}
