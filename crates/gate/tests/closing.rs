//! Closing on real threads: parked gates, several gates at once, cancelled waits, published values, and what is shown of
//! all that. What needs every interleaving is in `loom.rs`.
#![cfg(not(any(loom, shuttle)))]

use gate::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// A thread with a name and a token.
fn named<T: Send + 'static>(
    name: &str,
    body: impl FnOnce(&mut ThreadToken) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let with_token = || body(&mut ThreadToken::at_thread_entry());
    thread::Builder::new().name(name.to_owned()).spawn(with_token).expect("a thread starts")
}

#[test]
fn a_parked_gate_stays_closed_and_its_thread_may_wait() {
    // CFG-I6
    let gate = Gate::new("f");
    let handle = gate.handle();
    let mut token = ThreadToken::at_thread_entry();
    let closed = gate.close(&mut token, Reason::PowerChange, now()).unwrap().park();
    assert_eq!(handle.try_enter(&token, CONFIG).err(), Some(Refusal::Blocked(Reason::PowerChange)));
    closed.wait(&mut token, Deadline::after(Duration::from_millis(2))).unwrap();
    assert!(gate.status().owner.is_some_and(|owner| owner.parked));
    let quiesced = closed.resume(&mut token).unwrap();
    assert!(gate.is_held_by(&quiesced));
    assert!(gate.status().owner.is_some_and(|owner| !owner.parked));
    drop(quiesced);
    assert!(handle.try_enter(&token, CONFIG).is_ok());
}

#[test]
fn a_parked_gate_that_is_dropped_reopens_and_one_that_was_frozen_stays_frozen() {
    let gate = Gate::new("f");
    let mut token = ThreadToken::at_thread_entry();
    drop(gate.close(&mut token, Reason::Reset, now()).unwrap().park());
    assert_eq!(gate.status().state, GateState::Open);
    gate.freeze();
    drop(gate.close(&mut token, Reason::Recovery, now()).unwrap().park());
    assert_eq!(gate.status().state, GateState::Frozen);
    assert!(
        gate.close(&mut token, Reason::Recovery, now()).unwrap().park().resume(&mut token).unwrap().thaw()
    );
    assert_eq!(gate.status().state, GateState::Open);
}

#[test]
fn a_parked_gate_that_was_removed_is_an_orphan_and_gone_also_in_the_next_epoch() {
    let gate = Gate::new("f");
    let mut token = ThreadToken::at_thread_entry();
    let closed = gate.close(&mut token, Reason::Reset, now()).unwrap().park();
    let retired = gate.retire(&mut token, now());
    assert_eq!(retired.orphans[0].kind, InsideKind::Proof(Reason::Reset));
    assert_eq!(closed.wait(&mut token, ahead()), Err(Gone));
    let next = gate.renew().unwrap();
    assert!(closed.is_gone());
    assert_eq!(next.try_enter(&token, CONFIG).err(), Some(Refusal::Blocked(Reason::Reset)));
    assert_eq!(closed.resume(&mut token).err(), Some(Gone));
    assert!(next.try_enter(&token, CONFIG).is_ok(), "who is told that it is gone lets go of it");
}

#[test]
fn a_thaw_by_the_closer_of_a_former_device_says_that_it_came_too_late() {
    // Law 5
    let gate = Gate::new("f");
    gate.freeze();
    let (is_closed, closed) = std::sync::mpsc::channel();
    let (renewed, go_on) = std::sync::mpsc::channel::<()>();
    let closer = named("closer", {
        let gate = gate.clone();
        move |token| {
            let quiesced = gate.close(token, Reason::Recovery, now()).unwrap();
            is_closed.send(()).unwrap();
            let _ = go_on.recv();
            quiesced.thaw()
        }
    });
    closed.recv().unwrap();
    let mut token = ThreadToken::at_thread_entry();
    assert_eq!(gate.retire(&mut token, now()).orphans.len(), 1);
    assert!(gate.renew().is_some());
    drop(renewed);
    assert!(!closer.join().unwrap(), "that device was retired");
    assert_eq!(gate.status().state, GateState::Open);
}

#[test]
#[cfg(debug_assertions)]
fn a_thread_that_may_not_wait_is_told_before_anybody_depends_on_it() {
    let gate = Gate::new("f");
    let handle = gate.handle();
    let mut token = ThreadToken::at_thread_entry();
    let closed = gate.try_close(&token, Reason::Reset).unwrap().park();
    for turn in 0..3 {
        let (gate, handle) = (gate.clone(), gate.handle());
        let ended = named("forgetful", move |token| {
            let other = Gate::new("g").handle();
            std::mem::forget(other.try_enter(token, CONFIG).unwrap());
            match turn {
                0 => drop(handle.enter(token, CONFIG, ahead())),
                1 => drop(gate.close(token, Reason::Reset, ahead())),
                _ => drop(gate.retire(token, ahead())),
            }
        });
        assert!(ended.join().is_err(), "it panicked");
    }
    let status = gate.status();
    assert_eq!((status.waiting_accesses, status.waiting_closers), (0, 0));
    drop(closed);
    assert!(handle.enter(&mut token, CONFIG, now()).is_ok());
    assert!(gate.close(&mut token, Reason::Reset, now()).is_ok(), "nobody is waited for who has gone");
    assert!(gate.retire(&mut token, now()).orphans.is_empty());
    assert!(gate.renew().is_some(), "no removal is left over");
}

#[test]
fn a_gate_shows_its_owner_and_who_waits_by_name() {
    // CFG-I5: owner-tracked.
    let gate = Gate::new("f");
    let mut token = ThreadToken::at_thread_entry();
    let closed = gate.close(&mut token, Reason::Reset, now()).unwrap().park();
    let closed = named("resetter", move |token| closed.resume(token).unwrap().park()).join().unwrap();
    let reader = named("reader", {
        let handle = gate.handle();
        move |token| handle.enter(token, CONFIG, ahead()).map(drop)
    });
    let closer = named("closer", {
        let gate = gate.clone();
        move |token| gate.close(token, Reason::Unplug, ahead()).map(drop).is_ok()
    });
    until(&gate, "both wait", |status| status.waiters.len() == 2);
    let status = gate.status();
    let owner = status.owner.unwrap();
    assert_eq!((owner.thread.as_str(), owner.reason, owner.parked), ("resetter", Reason::Reset, true));
    assert_eq!(status.inside[0].what, "resetter");
    let mut waiters: Vec<_> = status.waiters.into_iter().map(|waiter| (waiter.thread, waiter.to)).collect();
    waiters.sort_by(|one, other| one.0.cmp(&other.0));
    let close = ("closer".to_owned(), WaitsTo::Close(Reason::Unplug));
    assert_eq!(waiters, [close, ("reader".to_owned(), WaitsTo::Enter(CONFIG))]);
    drop(closed);
    assert!(reader.join().unwrap().is_ok() && closer.join().unwrap());
    assert!(gate.status().waiters.is_empty());
}

#[test]
fn a_set_closes_each_gate_once_and_gives_its_proof() {
    let gates = [Gate::new("f"), Gate::new("g"), Gate::new("outside")];
    let mut token = ThreadToken::at_thread_entry();
    let named = [gates[1].clone(), gates[0].clone(), gates[1].clone()];
    let mut set = close_all(&named, &mut token, Reason::Reset, now()).unwrap();
    assert_eq!(set.iter().count(), 2);
    let cell = GateCell::new(&gates[0], 1);
    assert_eq!(cell.replace(set.proof_mut(&gates[0]).unwrap(), 2), 1);
    assert!(set.proof(&gates[2]).is_none());
    assert_eq!(gates[2].status().state, GateState::Open);
    let parked = set.park();
    parked.wait(&mut token, Deadline::after(Duration::from_millis(2))).unwrap();
    drop(parked.resume(&mut token).unwrap());
    assert!(gates.iter().all(|gate| gate.status().state == GateState::Open));
    drop(close_all(&[], &mut token, Reason::Reset, now()).unwrap());
}

#[test]
fn a_set_that_fails_names_the_gate_and_puts_all_back() {
    let gates = [Gate::new("f"), Gate::new("g"), Gate::new("h")];
    let mut token = ThreadToken::at_thread_entry();
    let long = gates[1].handle().enter_long(&mut token, AccessKind::Dma, "nvme read", now()).unwrap();
    let failed = close_all(&gates, &mut token, Reason::Reset, now()).unwrap_err();
    assert_eq!(failed.to_string(), "g: 1 accesses did not end by the deadline");
    let failed = try_close_all(&gates, &token, Reason::Reset).unwrap_err();
    assert_eq!((failed.gate.name(), failed.cause), ("g", Busy::Inside));
    drop(long);
    let closed = gates[2].try_close(&token, Reason::Recovery).unwrap().park();
    let failed = close_all(&gates, &mut token, Reason::Reset, now()).unwrap_err();
    assert_eq!(failed.gate.name(), "h");
    assert!(matches!(failed.cause, CloseError::Contended { holder: Some(Reason::Recovery) }));
    drop(closed);
    let _ = gates[0].retire(&mut token, now());
    assert!(matches!(
        close_all(&gates, &mut token, Reason::Reset, ahead()).unwrap_err().cause,
        CloseError::Gone
    ));
    let others = &gates[1..];
    assert!(others.iter().all(|gate| gate.status().state == GateState::Open));
    assert!(others.iter().all(|gate| gate.status().refused == Refused::default()));
    assert!(close_all(others, &mut token, Reason::Reset, now()).is_ok());
}

#[test]
fn an_attempt_at_a_gate_whose_turn_another_closer_has_is_refused_and_accesses_are_not() {
    let gates = [Gate::new("f"), Gate::new("g")];
    let token = ThreadToken::at_thread_entry();
    let closed = gates[1].try_close(&token, Reason::Reset).unwrap().park();
    let closer = named("set", {
        let gates = gates.clone();
        move |token| close_all(&gates, token, Reason::Reset, ahead()).map(drop).is_ok()
    });
    until(&gates[1], "the set waits for its second turn", |status| status.waiting_closers == 1);
    assert_eq!(gates[0].try_close(&token, Reason::Unplug).err(), Some(Busy::Queued));
    assert!(gates[0].handle().try_enter(&token, CONFIG).is_ok());
    drop(closed);
    assert!(closer.join().unwrap());
    assert!(gates[0].try_close(&token, Reason::Unplug).is_ok());
}

#[test]
fn a_cancelled_thread_waits_for_nothing_until_it_is_rearmed() {
    // CFG-I8
    let gate = Gate::new("f");
    let mut token = ThreadToken::at_thread_entry();
    let closed = gate.try_close(&token, Reason::Reset).unwrap().park();
    assert!(!token.is_cancelled() && !token.rearm());
    token.canceller().cancel();
    let handle = gate.handle();
    assert_eq!(handle.enter(&mut token, CONFIG, ahead()).err(), Some(Refusal::Blocked(Reason::Reset)));
    assert!(matches!(gate.close(&mut token, Reason::Reset, ahead()), Err(CloseError::Contended { .. })));
    assert!(token.is_cancelled());
    assert_eq!(gate.retire(&mut token, ahead()).orphans.len(), 1);
    assert!(token.rearm() && !token.is_cancelled());
    drop(closed);
}

#[test]
fn a_delay_of_the_hardware_is_not_cut_short_by_a_cancel() {
    // CFG-I10
    let gate = Gate::new("f");
    let mut token = ThreadToken::at_thread_entry();
    let closed = gate.try_close(&token, Reason::Reset).unwrap().park();
    token.canceller().cancel();
    let deadline = Deadline::after(Duration::from_millis(20));
    closed.wait(&mut token, deadline).unwrap();
    assert_eq!(deadline.remaining(), None);
}

/// A value that counts how often it was dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_replacement_is_seen_at_once_and_the_old_value_comes_back() {
    let value = Published::new(1);
    let mut token = ThreadToken::at_thread_entry();
    assert_eq!(value.replace(&mut token, 2, now()), Ok(1));
    assert_eq!(*value.read(&token), 2);
    let nested: Vec<_> = (0..10).map(|_| value.read(&token)).collect();
    assert!(nested.iter().all(|reading| **reading == 2), "beyond the slots of the thread too");
    drop(nested);
    assert_eq!(value.replace(&mut token, 3, now()), Ok(2));
}

#[test]
fn a_reader_that_outlives_the_deadline_is_named_and_drops_the_old_value() {
    // Law 6
    let dropped = Arc::new(AtomicUsize::new(0));
    let value = Arc::new(Published::new(Counted(dropped.clone())));
    let (reads, is_read) = std::sync::mpsc::channel();
    let (leave, told) = std::sync::mpsc::channel::<()>();
    let reader = named("reader", {
        let value = value.clone();
        move |token| {
            let reading = value.read(token);
            reads.send(()).unwrap();
            let _ = told.recv();
            reading.0.load(Ordering::SeqCst)
        }
    });
    is_read.recv().unwrap();
    let mut token = ThreadToken::at_thread_entry();
    let missed = value.replace(&mut token, Counted(Arc::default()), now()).err().unwrap();
    assert_eq!(missed.to_string(), "the old value is still read by reader");
    assert!(
        value.replace(&mut token, Counted(Arc::default()), ahead()).is_ok(),
        "nobody waits for old readers"
    );
    drop(leave);
    assert_eq!(reader.join().unwrap(), 0, "not dropped while it was read");
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

/// Reads `value` on a thread of its own, with all slots of that thread taken if `counted`, until it is told to leave.
fn reads(
    name: &str,
    value: &Arc<Published<Counted>>,
    counted: bool,
) -> (thread::JoinHandle<()>, std::sync::mpsc::Sender<()>) {
    let (value, handle) = (value.clone(), Gate::new("f").handle());
    let (is_inside, inside) = std::sync::mpsc::channel();
    let (leave, told) = std::sync::mpsc::channel::<()>();
    let reader = named(name, move |token| {
        let token = &*token;
        // More than a thread has slots.
        let passes: Vec<_> = (0..if counted { 8 } else { 0 })
            .map(|_| handle.try_enter(token, CONFIG).expect("the gate is open"))
            .collect();
        let reading = value.read(token);
        is_inside.send(()).expect("somebody listens");
        let _ = told.recv();
        drop(reading);
        drop(passes);
    });
    inside.recv().expect("it gets in");
    (reader, leave)
}

#[test]
fn a_value_whose_replacement_gave_up_is_dropped_by_its_last_reader_and_not_before() {
    // Law 6
    let dropped = Arc::new(AtomicUsize::new(0));
    let value = Arc::new(Published::new(Counted(dropped.clone())));
    let (one, other) = (reads("one", &value, false), reads("other", &value, false));
    let mut token = ThreadToken::at_thread_entry();
    assert!(value.replace(&mut token, Counted(Arc::default()), now()).is_err());
    // Takes a free node, if there is one.
    assert!(value.replace(&mut token, Counted(Arc::default()), ahead()).is_ok());
    assert_eq!(dropped.load(Ordering::SeqCst), 0, "two read it");
    drop(one.1);
    one.0.join().unwrap();
    assert_eq!(dropped.load(Ordering::SeqCst), 0, "one reads it");
    drop(other.1);
    other.0.join().unwrap();
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[test]
fn a_reader_beyond_the_slots_of_its_thread_keeps_the_value_and_is_named() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let value = Arc::new(Published::new(Counted(dropped.clone())));
    let (reader, leave) = reads("reader", &value, true);
    let mut token = ThreadToken::at_thread_entry();
    let missed = value.replace(&mut token, Counted(Arc::default()), now()).err().unwrap();
    assert_eq!(missed.to_string(), "the old value is still read by a thread with deeply nested passes");
    assert_eq!(dropped.load(Ordering::SeqCst), 0, "not dropped while it is read");
    drop(leave);
    reader.join().unwrap();
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[test]
fn a_published_value_is_never_torn_under_a_stream_of_replacements() {
    let value = Published::new([0_u64; 32]);
    let stop = AtomicUsize::new(0);
    let rounds = if cfg!(miri) { 10 } else { 2000 };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let token = ThreadToken::at_thread_entry();
                let mut last = 0;
                while stop.load(Ordering::Relaxed) == 0 {
                    let reading = value.read(&token);
                    assert!(reading.iter().all(|word| *word == reading[0]), "torn: {:?}", *reading);
                    assert!(reading[0] >= last, "an old value came back");
                    last = reading[0];
                }
            });
        }
        let mut token = ThreadToken::at_thread_entry();
        for round in 1..=rounds {
            assert_eq!(value.replace(&mut token, [round; 32], ahead()).unwrap(), [round - 1; 32]);
        }
        stop.store(1, Ordering::Relaxed);
    });
}

#[test]
fn parked_gates_and_cancellers_go_to_other_threads() {
    fn sendable<T: Send>() {}
    fn shareable<T: Send + Sync>() {}
    sendable::<Closed>();
    sendable::<ClosedSet>();
    shareable::<Canceller>();
    shareable::<Published<u8>>();
}
