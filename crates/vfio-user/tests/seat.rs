//! Every order in which a session, a revocation and somebody who comes late can move at one seat.
//!
//! Each operation of a seat is one step under its lock, so the orders of whole operations are all there are. They are tried
//! one after the other; what must hold is asserted after every step. The same parties on the threads of a checker, with the
//! wait that is only a condition here, are in `schedules.rs`.
#![cfg(not(any(loom, shuttle)))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::time::Duration;

use gate::{Deadline, ThreadToken};
use vfio_user::server::{Revocation, Seat, Unavailable};

/// What happens to the holds of one run.
#[derive(Default)]
struct Holds {
    made: Cell<u32>,
    ended: Cell<u32>,
}

/// A hold; it does not matter who ends it, but somebody does, and once.
struct Hold;

impl Holds {
    fn make(&self) -> Hold {
        self.made.set(self.made.get() + 1);
        assert_eq!(self.alive(), 1, "a function has one client at a time");
        Hold
    }

    fn end(&self, hold: Hold) {
        let Hold = hold;
        self.ended.set(self.ended.get() + 1);
    }

    fn alive(&self) -> u32 {
        self.made.get() - self.ended.get()
    }
}

type Place = Seat<&'static str, Hold>;

/// How a step went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Done,
    More,
}

/// Somebody who takes one step at a time.
trait Party {
    fn may_step(&self, _seat: &Place) -> bool {
        true
    }
    fn step(&mut self, seat: &Place, holds: &Holds) -> Step;
}

/// A session that attaches, sleeps and works so many times, and leaves.
struct Session {
    naps: u32,
    next: Next,
}

enum Next {
    Claim,
    Rest(Hold),
    Take,
    /// It has found out that it was revoked, or leaves.
    End(Hold),
    Vacate,
}

fn session(naps: u32) -> Box<dyn Party> {
    Box::new(Session { naps, next: Next::Claim })
}

impl Party for Session {
    fn step(&mut self, seat: &Place, holds: &Holds) -> Step {
        self.next = match std::mem::replace(&mut self.next, Next::Vacate) {
            Next::Claim => match seat.claim() {
                Ok(_) => Next::Rest(holds.make()),
                Err(Unavailable::Taken) => return Step::Done,
                Err(Unavailable::Revoked) => {
                    assert!(seat.is_revoked());
                    return Step::Done;
                }
            },
            Next::Rest(hold) if self.naps == 0 => Next::End(hold),
            Next::Rest(hold) => seat.rest(hold).map_or(Next::Take, Next::End),
            Next::Take => match seat.take() {
                Some(hold) => {
                    self.naps -= 1;
                    Next::Rest(hold)
                }
                None => {
                    assert!(seat.is_revoked(), "nobody else takes a hold away");
                    return Step::Done;
                }
            },
            Next::End(hold) => {
                holds.end(hold);
                Next::Vacate
            }
            Next::Vacate => {
                assert_eq!(holds.alive(), 0);
                seat.vacate();
                return Step::Done;
            }
        };
        Step::More
    }
}

/// A revocation, up to where it has returned.
enum Revoker {
    Begin,
    End(Hold),
    Vacate,
    /// Until the session has given its hold up.
    Wait,
}

impl Party for Revoker {
    fn may_step(&self, seat: &Place) -> bool {
        !matches!(self, Revoker::Wait) || !seat.is_held()
    }

    fn step(&mut self, seat: &Place, holds: &Holds) -> Step {
        *self = match std::mem::replace(self, Revoker::Wait) {
            Revoker::Begin => match seat.revoke() {
                Revocation::Again => return Step::Done,
                Revocation::Vacant(_) | Revocation::InHand(_) => Revoker::Wait,
                Revocation::Taken(_, hold) => Revoker::End(hold),
            },
            Revoker::End(hold) => {
                holds.end(hold);
                Revoker::Vacate
            }
            Revoker::Vacate => {
                assert_eq!(holds.alive(), 0);
                seat.vacate();
                Revoker::Wait
            }
            Revoker::Wait => {
                assert_eq!(holds.alive(), 0, "a revocation that has returned leaves no hold");
                assert!(seat.is_revoked() && seat.function().is_none());
                return Step::Done;
            }
        };
        Step::More
    }
}

/// Makes the same choices as last time but for the last one that can be made otherwise.
#[derive(Default)]
struct Choices {
    made: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    fn choose(&mut self, of: usize) -> usize {
        if self.at == self.made.len() {
            self.made.push((0, of));
        }
        self.at += 1;
        self.made[self.at - 1].0
    }

    fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((choice, of)) = self.made.pop() {
            if choice + 1 < of {
                self.made.push((choice + 1, of));
                return true;
            }
        }
        false
    }
}

/// Tries all orders of the parties' steps; gives how many there are.
fn explore(parties: impl Fn() -> Vec<Box<dyn Party>>) -> usize {
    let mut choices = Choices::default();
    for order in 1.. {
        let (seat, holds) = (Place::new("function"), Holds::default());
        let mut parties = parties();
        while !parties.is_empty() {
            let able: Vec<usize> = (0..parties.len()).filter(|nth| parties[*nth].may_step(&seat)).collect();
            assert!(!able.is_empty(), "everybody waits: {:?}", choices.made);
            let nth = able[choices.choose(able.len())];
            if parties[nth].step(&seat, &holds) == Step::Done {
                drop(parties.remove(nth));
            }
        }
        assert_eq!((holds.alive(), seat.is_held()), (0, false), "{:?}", choices.made);
        if !choices.advance() {
            return order;
        }
    }
    unreachable!("the orders are counted out")
}

#[test]
fn a_revocation_that_returns_leaves_no_hold_whatever_the_session_was_about_to_do() {
    let orders = explore(|| vec![session(3), Box::new(Revoker::Begin)]);
    assert!(orders > 20, "{orders}");
}

#[test]
fn two_revocations_and_a_second_client_change_nothing_about_that() {
    let parties = || -> Vec<Box<dyn Party>> {
        vec![session(1), session(1), Box::new(Revoker::Begin), Box::new(Revoker::Begin)]
    };
    let orders = explore(parties);
    assert!(orders > 1000, "{orders}");
}

#[test]
fn clients_come_one_after_the_other_without_a_revocation() {
    assert!(explore(|| vec![session(2), session(1), session(0)]) > 100);
}

#[test]
fn a_revocation_waits_for_a_hold_in_hand_to_its_deadline_and_no_longer() {
    let mut token = ThreadToken::at_thread_entry();
    let seat: Seat<u32, u32> = Seat::new(1);
    assert!(seat.wait_until_vacant(&mut token, "revoke", Deadline::after(Duration::ZERO)));
    assert_eq!(seat.claim(), Ok(1));
    assert_eq!(seat.claim(), Err(Unavailable::Taken));
    assert_eq!(seat.revoke(), Revocation::InHand(1));
    assert!(!seat.wait_until_vacant(&mut token, "revoke", Deadline::after(Duration::from_millis(1))));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let mut token = ThreadToken::at_thread_entry();
            // Who is not told is here until then.
            let deadline = Deadline::after(Duration::from_secs(10));
            seat.wait_until_vacant(&mut token, "revoke", deadline) && deadline.remaining().is_some()
        });
        while !gate::waits::snapshot().iter().any(|wait| wait.operation == "revoke") {
            std::thread::yield_now();
        }
        assert_eq!(seat.rest(2), Some(2), "it comes back");
        seat.vacate();
        assert!(waiter.join().unwrap());
    });
    assert_eq!(seat.claim(), Err(Unavailable::Revoked));
    assert_eq!(seat.revoke(), Revocation::Again);
}
