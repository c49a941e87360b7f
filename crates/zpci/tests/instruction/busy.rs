//! A function that is busy is waited for at its gate, to a deadline. Linux would try again for ever (ZP-13).

use crate::world::{Seen, World, passed, patient, wait_until};
use gate::{Canceller, Deadline, Reason, ThreadToken};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use zpci::{Fault, Request, Status, Work};

/// Executes a load that waits, on a thread of its own, while `w`'s function is closed; `meanwhile` runs once it waits, and then the
/// function reopens.
fn load_while_closed(
    w: &World,
    token: &mut ThreadToken,
    until: Deadline,
    meanwhile: impl FnOnce(&mut ThreadToken, &Canceller),
) -> Result<u64, Fault> {
    let closed = w.function.gate().close(token, Reason::Reset, patient()).unwrap().park();
    let (told, heard) = mpsc::channel();
    std::thread::scope(|scope| {
        let load = scope.spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            told.send(token.canceller()).unwrap();
            w.zpci.load(&mut token, w.request(8), 0x40, until)
        });
        let canceller = heard.recv().unwrap();
        wait_until("the load waits, or is over", || {
            w.function.gate().status().waiting_accesses == 1 || load.is_finished()
        });
        meanwhile(token, &canceller);
        if let Ok(quiesced) = closed.resume(token) {
            drop(quiesced);
        }
        load.join().unwrap()
    })
}

#[test]
fn zp_13_a_busy_function_is_waited_for_and_reached_when_it_is_free() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    assert!(load_while_closed(&w, token, patient(), |_, _| ()).is_ok());
    assert_eq!(w.memory.seen(), [Seen::Load(0x40, 8)]);
    assert_eq!(w.function.dropped().bar_reads, 0, "a wait is no drop");
}

#[test]
fn zp_13_the_retry_of_a_busy_function_is_bounded_by_the_deadline() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let closed = w.function.gate().close(token, Reason::Reset, patient()).unwrap().park();
    let before = Instant::now();
    for until in [passed(), Deadline::after(Duration::from_millis(20))] {
        assert_eq!(w.zpci.load(token, w.request(8), 0, until), Err(Fault::Busy));
        assert_eq!(w.zpci.store(token, w.request(8), 0, 0, until), Err(Fault::Busy));
        assert_eq!(w.zpci.store_block(token, w.request(8), 0, &[0; 8], until), Err(Fault::Busy));
        assert_eq!(w.zpci.store(token, w.config(4), 4, 0, until), Err(Fault::Busy));
    }
    assert!(before.elapsed() >= Duration::from_millis(20));
    drop(closed.resume(token).unwrap());
    assert_eq!(w.memory.seen(), []);
}

#[test]
fn zp_13_the_wait_for_a_busy_function_is_no_loop() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let refused = || w.function.gate().status().refused;
    let before = refused();
    load_while_closed(&w, token, patient(), |_, _| ()).unwrap();
    assert_eq!(refused(), before, "one entry, which was let in");
}

#[test]
fn zp_13_the_wait_for_a_busy_function_can_be_cancelled() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let loaded = load_while_closed(&w, token, patient(), |_, load| {
        load.cancel();
        wait_until("the load gave up", || w.function.gate().status().waiting_accesses == 0);
    });
    assert_eq!(loaded, Err(Fault::Busy));
    assert_eq!(w.memory.seen(), []);
    assert_eq!(w.function.dropped().bar_reads, 1);
}

#[test]
fn zio_i4_the_removal_of_a_busy_function_ends_the_wait_at_once() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let loaded = load_while_closed(&w, token, patient(), |token, _| {
        // Its closer is still inside, so this has nothing to wait for but that.
        let _its_closer = w.function.disconnect(token, passed());
        wait_until("the load ended", || w.function.gate().status().waiting_accesses == 0);
    });
    assert_eq!(loaded, Err(Fault::Gone));
    assert_eq!(w.memory.seen(), []);
}

/// A revoked function is in permanent error too, until it is taken out.
#[test]
fn zio_i4_a_function_that_failed_and_is_gone_says_so_whether_or_not_one_would_wait() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    w.zdev.fail();
    let _nobody_is_inside = w.function.disconnect(token, patient());
    let request = w.config(4);
    assert_eq!(w.zpci.pcilg(token, request, 0), Err(Fault::Gone));
    assert_eq!(w.zpci.load(token, request, 0, patient()), Err(Fault::Gone));
    assert_eq!(w.zpci.store(token, request, 0, 0, patient()), Err(Fault::Gone));
}

#[test]
fn zio_i3_a_handle_that_became_stale_during_the_wait_reaches_nothing() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let loaded = load_while_closed(&w, token, patient(), |token, _| {
        let recovery = w.zdev.begin(Work::Recovery).unwrap();
        recovery.renew(token, false).unwrap();
        recovery.renew(token, true).unwrap();
    });
    assert_eq!(loaded, Err(Fault::InvalidHandle));
    assert_eq!(w.memory.seen(), []);
}

#[test]
fn a_handle_that_reaches_nothing_is_not_waited_with() {
    let token = &mut ThreadToken::at_thread_entry();
    let w = World::new(token);
    let _closed = w.function.gate().close(token, Reason::Reset, patient()).unwrap().park();
    w.zdev.begin(Work::SetFunction).unwrap().renew(token, true).unwrap();
    let until = || -> Deadline { unreachable!("it does not wait") };
    assert_eq!(w.zpci.load(token, w.request(8), 0, until), Err(Fault::InvalidHandle));
    let disabled = w.zdev.begin(Work::SetFunction).unwrap().renew(token, false).unwrap();
    let request = Request { handle: disabled, ..w.request(8) };
    assert_eq!(w.zpci.load(token, request, 0, until), Err(Fault::Error(Status::NotEnabled)));
}
