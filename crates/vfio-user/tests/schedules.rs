//! A session, a revocation and clients that come late at one seat, on the threads of a checker.
//!
//! Run with `RUSTFLAGS="--cfg shuttle" cargo test -p vfio-user --release --test schedules`. It prints `schedules explored: N`
//! for each scenario. A wait of shuttle's never ends by its deadline, so a schedule in which somebody is not woken fails as
//! one in which all sleep.
#![cfg(shuttle)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says how much it has seen"
)]

use std::sync::Arc;
use std::time::Duration;

use gate::{Deadline, ThreadToken};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::atomic::{AtomicU32, Ordering::SeqCst};
use shuttle::{Config, FailurePersistence, Runner, thread};
use vfio_user::server::{Revocation, Seat};

/// What a hold keeps: how many there are.
struct Hold(Arc<AtomicU32>);

impl Hold {
    fn new(alive: &Arc<AtomicU32>) -> Hold {
        assert_eq!(alive.fetch_add(1, SeqCst), 0, "one client at a time");
        Hold(Arc::clone(alive))
    }

    /// Takes a while, as a detach does.
    fn end(self) {
        thread::yield_now();
        self.0.fetch_sub(1, SeqCst);
    }
}

type Place = Arc<Seat<u32, Hold>>;

fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(3600))
}

/// A client that says something so many times and leaves.
fn session(seat: &Place, alive: &Arc<AtomicU32>, messages: u32) {
    if seat.claim().is_err() {
        return;
    }
    let mut hold = Hold::new(alive);
    for _ in 0..messages {
        if let Some(revoked) = seat.rest(hold) {
            revoked.end();
            return seat.vacate();
        }
        thread::yield_now();
        match seat.take() {
            Some(taken) => hold = taken,
            None => return,
        }
    }
    hold.end();
    seat.vacate();
}

fn revoke(seat: &Place, alive: &Arc<AtomicU32>) {
    let mut token = ThreadToken::at_thread_entry();
    match seat.revoke() {
        Revocation::Taken(_, hold) => {
            hold.end();
            seat.vacate();
        }
        Revocation::Again | Revocation::Vacant(_) | Revocation::InHand(_) => {}
    }
    // What an unmap on a tombstone waits for too.
    assert!(seat.wait_until_vacant(&mut token, "revoke", ahead()));
    assert_eq!(alive.load(SeqCst), 0);
    assert!(seat.claim().is_err());
}

fn explore(scenario: fn()) {
    let iterations =
        std::env::var("SHUTTLE_ITERATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(5000);
    let run = |scheduler: Box<dyn Scheduler + Send>| {
        let mut config = Config::new();
        config.failure_persistence = FailurePersistence::None;
        config.silence_warnings = true;
        Runner::new(scheduler, config).run(scenario)
    };
    let explored = run(Box::new(PctScheduler::new_from_seed(7, 4, iterations)))
        + run(Box::new(RandomScheduler::new_from_seed(7, iterations)));
    println!("schedules explored: {explored}");
}

#[test]
fn a_revocation_that_returns_leaves_no_hold() {
    explore(|| {
        let (seat, alive): (Place, _) = (Arc::new(Seat::new(1)), Arc::new(AtomicU32::new(0)));
        let threads: Vec<_> = [3, 1]
            .into_iter()
            .map(|messages| {
                let (seat, alive) = (Arc::clone(&seat), Arc::clone(&alive));
                thread::spawn(move || session(&seat, &alive, messages))
            })
            .collect();
        revoke(&seat, &alive);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(!seat.is_held());
    });
}

#[test]
fn all_revocations_wait_for_the_hold() {
    explore(|| {
        let (seat, alive): (Place, _) = (Arc::new(Seat::new(1)), Arc::new(AtomicU32::new(0)));
        let revokers: Vec<_> = (0..2)
            .map(|_| {
                let (seat, alive) = (Arc::clone(&seat), Arc::clone(&alive));
                thread::spawn(move || revoke(&seat, &alive))
            })
            .collect();
        session(&seat, &alive, 2);
        revokers.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(seat.is_revoked() && !seat.is_held());
    });
}
