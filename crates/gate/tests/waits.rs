//! What `gate::waits` shows of threads that wait, and that nothing of it stays behind (law 9).
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use gate::lock::{Leaf, Lock};
use gate::waits::{Holder, Waiting, chain, snapshot};
use gate::{AccessKind, CloseError, Deadline, Gate, Published, Reason, Refusal, ThreadToken};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
const CONFIG: AccessKind = AccessKind::Config;

mod ranks {
    gate::ranks! {
        /// The lock of these tests.
        pub Test = 10, "test";
    }
}

fn ahead() -> Deadline {
    Deadline::after(PATIENCE)
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_millis(5))
}

/// Runs `body` in a thread of that name with a token; tests of one process are told apart by these names.
fn named<'s, T: Send + 's>(
    scope: &'s thread::Scope<'s, '_>,
    name: &str,
    body: impl FnOnce(&mut ThreadToken) -> T + Send + 's,
) -> thread::ScopedJoinHandle<'s, T> {
    let body = move || body(&mut ThreadToken::at_thread_entry());
    thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, body).unwrap()
}

/// Takes snapshots until one satisfies.
fn until(satisfies: impl Fn(&[Holder]) -> bool) -> Vec<Holder> {
    let end = Instant::now() + PATIENCE;
    loop {
        let holders = snapshot();
        if satisfies(&holders) {
            return holders;
        }
        assert!(Instant::now() < end, "never so: {holders:#?}");
        thread::yield_now();
    }
}

fn is_of(holder: &Holder, thread: &str) -> bool {
    holder.thread.as_ref().is_some_and(|t| t.name == thread)
}

/// The wait of a thread.
fn wait_of<'h>(holders: &'h [Holder], thread: &str) -> Option<&'h Holder> {
    holders.iter().find(|holder| holder.wait.is_some() && is_of(holder, thread))
}

fn waits(thread: &str) -> impl Fn(&[Holder]) -> bool {
    move |holders| wait_of(holders, thread).is_some()
}

fn shown(holders: &[Holder], thread: &str) -> String {
    let text = wait_of(holders, thread).unwrap().to_string();
    // Times differ from run to run.
    text.split(' ')
        .map(|word| if word.parse::<u64>().is_ok() { "N" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn an_access_that_waits_is_shown_with_the_closer_and_with_what_the_closer_waits_for() {
    let gate = &Gate::new("f-enter");
    let handle = &gate.handle();
    thread::scope(|scope| {
        let (release, may_end) = channel::<()>();
        let io =
            |token: &mut ThreadToken| handle.enter_long(token, AccessKind::Dma, "test I/O", ahead()).unwrap();
        let long = named(scope, "long-enter", io).join().unwrap();
        let closer = named(scope, "closer-enter", move |token| {
            let quiesced = gate.close(token, Reason::Reset, ahead()).unwrap();
            may_end.recv().unwrap();
            drop(quiesced);
        });
        until(waits("closer-enter"));
        let access = named(scope, "access-enter", |token| handle.enter(token, CONFIG, ahead()).is_ok());
        let holders = until(waits("access-enter"));
        assert_eq!(
            shown(&holders, "access-enter"),
            "access-enter: enter config of f-enter, waiting for the gate to open for N ms, \
             held by [closer-enter: closed for reset, N ms]"
        );
        let at = holders.iter().position(|h| h.wait.is_some() && is_of(h, "access-enter")).unwrap();
        let links: Vec<_> =
            chain(&holders, at).iter().map(|link| link.thread.as_ref().unwrap().name.clone()).collect();
        assert_eq!(links, ["access-enter", "closer-enter"]);
        assert_eq!(
            shown(&holders, "closer-enter"),
            "closer-enter: close for reset of f-enter, waiting for what is inside to leave for N ms, \
             held by [test I/O (DMA), N ms]"
        );
        let inside =
            holders.iter().find(|h| h.operation == "test I/O (DMA)").expect("what is waited for has a line");
        assert_eq!((inside.function.as_deref(), inside.thread.as_ref()), (Some("f-enter"), None));
        // The drain ends; the gate is held by a proof, of a thread that waits for nothing.
        drop(long);
        let holders = until(|holders| holders.iter().any(|h| is_of(h, "closer-enter") && h.wait.is_none()));
        let owner = holders.iter().find(|h| is_of(h, "closer-enter")).unwrap();
        assert_eq!(
            (owner.operation.as_str(), owner.function.as_deref()),
            ("closed for reset", Some("f-enter"))
        );
        release.send(()).unwrap();
        assert!(access.join().unwrap());
        closer.join().unwrap();
    });
    assert!(!snapshot().iter().any(|holder| holder.function.as_deref() == Some("f-enter")));
}

#[test]
fn a_closer_that_waits_for_its_turn_is_shown_with_the_parked_one_and_its_delay() {
    let gate = Gate::new("f-turn");
    let mut token = ThreadToken::at_thread_entry();
    let parked = gate.close(&mut token, Reason::PowerChange, ahead()).unwrap().park();
    thread::scope(|scope| {
        let turn = named(scope, "turn", |token| gate.close(token, Reason::Reset, ahead()).is_ok());
        let holders = until(waits("turn"));
        assert!(
            shown(&holders, "turn").starts_with(
                "turn: close for reset of f-turn, waiting for its turn to close for N ms, held by ["
            ),
            "{}",
            shown(&holders, "turn")
        );
        assert!(shown(&holders, "turn").contains("closed for power change (parked), N ms]"));
        let (stop, stopped) = channel();
        let delay = named(scope, "delay", move |token| {
            let quiesced = parked.resume(token).unwrap();
            let parked = quiesced.park();
            while stopped.try_recv().is_err() {
                parked.wait(token, soon()).unwrap();
            }
        });
        let holders = until(waits("delay"));
        assert_eq!(
            shown(&holders, "delay"),
            "delay: power change of f-turn, waiting for a delay to pass for N ms"
        );
        let at = holders.iter().position(|h| h.wait.is_some() && is_of(h, "turn")).unwrap();
        assert_eq!(chain(&holders, at).len(), 2, "the delay is the end of the chain");
        stop.send(()).unwrap();
        delay.join().unwrap();
        assert!(turn.join().unwrap());
    });
}

#[test]
fn a_short_pass_that_a_closer_waits_for_is_shown_with_its_thread() {
    let gate = &Gate::new("f-short");
    let handle = &gate.handle();
    thread::scope(|scope| {
        let (release, may_leave) = channel::<()>();
        let (entered, is_in) = channel();
        let inside = named(scope, "inside-short", move |token| {
            let _pass = handle.try_enter(token, AccessKind::Bar).unwrap();
            entered.send(()).unwrap();
            may_leave.recv().unwrap();
        });
        is_in.recv().unwrap();
        let closer =
            named(scope, "closer-short", |token| gate.close_short(token, Reason::DmaUnmap, ahead()).is_ok());
        let holders = until(waits("closer-short"));
        assert_eq!(
            shown(&holders, "closer-short"),
            "closer-short: close for change of DMA mappings of f-short, waiting for what is inside to leave for N ms, \
             held by [inside-short: a short pass]"
        );
        assert!(holders.iter().any(|h| is_of(h, "inside-short") && h.operation == "a short pass"));
        release.send(()).unwrap();
        inside.join().unwrap();
        assert!(closer.join().unwrap());
    });
}

#[test]
fn a_lock_that_is_not_free_is_shown_with_its_name_and_its_holder() {
    let lock = Lock::<ranks::Test, u32>::new(0);
    thread::scope(|scope| {
        let (release, may_free) = channel::<()>();
        let (locked, is_locked) = channel();
        let (lock, may_free) = (&lock, may_free);
        let holder = named(scope, "holder-lock", move |token| {
            let _guard = lock.lock(token);
            locked.send(()).unwrap();
            may_free.recv().unwrap();
        });
        is_locked.recv().unwrap();
        let waiter = named(scope, "waiter-lock", move |token| *lock.lock(token));
        let holders = until(waits("waiter-lock"));
        assert_eq!(
            shown(&holders, "waiter-lock"),
            "waiter-lock: take a lock, waiting for lock test for N ms, held by [holder-lock: took it last]"
        );
        release.send(()).unwrap();
        holder.join().unwrap();
        waiter.join().unwrap();
    });
    assert!(wait_of(&snapshot(), "waiter-lock").is_none());
}

#[test]
fn a_leaf_that_is_not_free_is_shown_as_well() {
    let leaf = Leaf::<ranks::Test, u32>::new(0);
    thread::scope(|scope| {
        let (release, may_free) = channel::<()>();
        let (locked, is_locked) = channel();
        let (leaf, may_free) = (&leaf, may_free);
        let holder = named(scope, "holder-leaf", move |_| {
            let _guard = leaf.lock();
            locked.send(()).unwrap();
            may_free.recv().unwrap();
        });
        is_locked.recv().unwrap();
        let waiter = named(scope, "waiter-leaf", move |_| *leaf.lock());
        until(waits("waiter-leaf"));
        release.send(()).unwrap();
        holder.join().unwrap();
        assert_eq!(waiter.join().unwrap(), 0);
    });
    assert!(wait_of(&snapshot(), "waiter-leaf").is_none());
}

#[test]
fn a_wait_of_others_is_shown_in_their_words_and_the_one_around_it_after_it() {
    let gate = Gate::new("f-other");
    thread::scope(|scope| {
        named(scope, "other", |token| {
            let outer = Waiting::new(token, "unmap", Some(&gate), "DMA in flight to end");
            let inner = Waiting::new(token, "inner", None, "something");
            assert_eq!(shown(&snapshot(), "other"), "other: inner, waiting for something for N ms");
            drop(inner);
            assert_eq!(
                shown(&snapshot(), "other"),
                "other: unmap of f-other, waiting for DMA in flight to end for N ms"
            );
            drop(outer);
            assert!(wait_of(&snapshot(), "other").is_none());
        })
        .join()
        .unwrap();
    });
}

#[test]
fn readers_that_a_replacement_waits_for_are_shown() {
    let value = &Published::new(1);
    thread::scope(|scope| {
        let (release, may_leave) = channel::<()>();
        let (entered, reads) = channel();
        let reader = named(scope, "reader", move |token| {
            let _reading = value.read(token);
            entered.send(()).unwrap();
            may_leave.recv().unwrap();
        });
        reads.recv().unwrap();
        let replacement = named(scope, "replacement", |token| value.replace(token, 2, ahead()).is_ok());
        let holders = until(waits("replacement"));
        assert_eq!(
            shown(&holders, "replacement"),
            "replacement: replace a value, waiting for its readers to leave for N ms, held by [reader: a read]"
        );
        release.send(()).unwrap();
        reader.join().unwrap();
        assert!(replacement.join().unwrap());
        assert!(wait_of(&snapshot(), "replacement").is_none());
    });
}

/// Law 9. Each way out of each wait, taken while the wait was seen from outside.
#[test]
fn no_way_out_of_a_wait_leaves_an_entry() {
    let (gate, other) = (Gate::new("f-exits"), Gate::new("f-exits-2"));
    let handle = gate.handle();
    thread::scope(|scope| {
        let mut token = ThreadToken::at_thread_entry();
        let exit =
            |name: &'static str, wait: &(dyn Fn(&mut ThreadToken) -> bool + Sync), end: &mut dyn FnMut()| {
                let thread = thread::Builder::new().name(name.to_owned());
                thread::scope(|inner| {
                    let waiter = thread
                        .spawn_scoped(inner, move || {
                            let mut token = ThreadToken::at_thread_entry();
                            let as_expected = wait(&mut token);
                            (as_expected, wait_of(&snapshot(), name).is_none())
                        })
                        .unwrap();
                    until(waits(name));
                    end();
                    assert_eq!(waiter.join().unwrap(), (true, true), "{name}");
                });
            };
        // Long enough to be seen from outside.
        let seen = || Deadline::after(Duration::from_millis(300));

        let mut closed = Some(gate.close(&mut token, Reason::Reset, ahead()).unwrap().park());
        exit("entered", &|token| handle.enter(token, CONFIG, ahead()).is_ok(), &mut || drop(closed.take()));
        let closed = gate.close(&mut token, Reason::Reset, ahead()).unwrap().park();
        exit(
            "blocked",
            &|token| matches!(handle.enter(token, CONFIG, seen()), Err(Refusal::Blocked(_))),
            &mut || {},
        );
        exit(
            "contended",
            &|token| matches!(gate.close(token, Reason::Reset, seen()), Err(CloseError::Contended { .. })),
            &mut || {},
        );
        exit(
            "frozen",
            &|token| matches!(handle.enter(token, CONFIG, ahead()), Err(Refusal::Frozen)),
            &mut || {
                gate.freeze();
            },
        );
        gate.thaw();
        let (give, taken) = channel();
        exit(
            "cancelled",
            &|token| {
                give.send(token.canceller()).unwrap();
                handle.enter(token, CONFIG, ahead()).is_err()
            },
            &mut || taken.recv().unwrap().cancel(),
        );
        drop(closed);

        let long = handle.enter_long(&mut token, CONFIG, "test I/O", ahead()).unwrap();
        exit(
            "drain",
            &|token| matches!(gate.close(token, Reason::Reset, seen()), Err(CloseError::Drain { .. })),
            &mut || {},
        );
        exit("retire", &|token| !gate.retire(token, seen()).orphans.is_empty(), &mut || {});
        drop(long);

        let closed = other.close(&mut token, Reason::Reset, ahead()).unwrap().park();
        let their_handle = other.handle();
        exit("passed", &|token| closed.wait(token, seen()).is_ok(), &mut || {});
        let end = || drop(other.retire(&mut ThreadToken::at_thread_entry(), Deadline::after(Duration::ZERO)));
        let retire = &|| drop(thread::Builder::new().spawn_scoped(scope, end).unwrap().join());
        exit("gone-delay", &|token| closed.wait(token, ahead()).is_err(), &mut || retire());
        drop(closed);
        other.renew().unwrap();
        let closed = other.close(&mut token, Reason::Reset, ahead()).unwrap().park();
        let renewed = other.handle();
        exit(
            "gone",
            &|token| matches!(renewed.enter(token, CONFIG, ahead()), Err(Refusal::Gone)),
            &mut || retire(),
        );
        drop((closed, their_handle));
        other.renew().unwrap();
        let closed = other.close(&mut token, Reason::Reset, ahead()).unwrap().park();
        exit(
            "gone-turn",
            &|token| matches!(other.close(token, Reason::Reset, ahead()), Err(CloseError::Gone)),
            &mut || {
                retire();
            },
        );
        drop(closed);
    });
}

#[test]
fn a_thread_that_ends_is_not_shown_under_the_name_of_the_next_one() {
    thread::scope(|scope| {
        named(scope, "first", |token| std::mem::forget(Waiting::new(token, "forgotten", None, "ever")))
            .join()
            .unwrap();
        named(scope, "second", |_| assert!(wait_of(&snapshot(), "second").is_none())).join().unwrap();
    });
    assert!(wait_of(&snapshot(), "first").is_none());
}
