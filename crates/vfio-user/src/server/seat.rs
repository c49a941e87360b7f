//! The place of a function's one client, from which its hold can be taken away.
//!
//! A session that waits for its client's next message must not keep the function alive, and nobody can wake it: it
//! sleeps in the kernel, and its connection is to stay. So while it waits its hold *rests* here, and it *takes* it when it
//! has something to do with it. A revocation takes a hold that rests, and ends it. A hold that is in its session's hand
//! it cannot take: the session finds out when it is about to rest, and ends the hold itself.
//!
//! ```text
//!            claim                    rest
//!  Nobody ----------> InHand <-------------------> Resting
//!     ^                  |            take            |
//!     +------------------+ <--------------------------+
//!           vacate                   revoke (the revoker has it in hand)
//! ```
//!
//! Beside this stands the function itself, until it is revoked: a seat without it is nobody's any more once it is vacant,
//! and never anybody's again. The next function on the socket gets a seat of its own, so that no session reaches it by
//! the seat of the last one (law 5).
//!
//! What it does not do: it knows neither what a function nor what a hold is, and ends none.
//!
//! # Concurrency
//! One leaf lock, held for a look and a move. Whoever has the hold in hand is the one to vacate the seat, after the hold
//! has ended; only a revoker waits for that, with a deadline.

use gate::lock::{Condvar, Leaf};
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};

use crate::ranks;

/// The place of the one client of a function `F`, whose hold is an `H`. See the module's head.
#[derive(Debug)]
pub struct Seat<F, H> {
    /// Rank: 83, seat; a leaf. Where the hold is and whether the function was taken away are one decision; and a hold is
    /// moved through it, which no atomic can.
    state: Leaf<ranks::Seat, State<F, H>>,
    vacated: Condvar,
}

#[derive(Debug)]
struct State<F, H> {
    /// `None`: it was revoked.
    function: Option<F>,
    holder: Holder<H>,
}

#[derive(Debug)]
enum Holder<H> {
    Nobody,
    /// Of the session or of a revoker.
    InHand,
    /// Its session waits for its client.
    Resting(H),
}

/// Why a seat cannot be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// Somebody has the function.
    Taken,
    /// The function was revoked.
    Revoked,
}

/// What a revocation found.
#[derive(Debug, PartialEq, Eq)]
pub enum Revocation<F, H> {
    /// It had been revoked before.
    Again,
    /// Nobody has a hold, and nobody will.
    Vacant(F),
    /// The hold is in its session's hand, which will end it: see [`Seat::wait_until_vacant`].
    InHand(F),
    /// The hold is in the caller's hand: to be ended, and the seat vacated then.
    Taken(F, H),
}

impl<F: Clone, H> Seat<F, H> {
    /// The seat of a function that nobody has.
    pub fn new(function: F) -> Seat<F, H> {
        let state = State { function: Some(function), holder: Holder::Nobody };
        Seat { state: Leaf::new(state), vacated: Condvar::new() }
    }

    /// The function, unless it was revoked.
    pub fn function(&self) -> Option<F> {
        self.state.lock().function.clone()
    }

    /// Makes the caller the only one who may get a hold on the function: it has the seat in hand, and vacates it if it gets
    /// none.
    ///
    /// # Errors
    /// Somebody else has it, or nobody can have it any more.
    pub fn claim(&self) -> Result<F, Unavailable> {
        let mut state = self.state.lock();
        let function = state.function.clone().ok_or(Unavailable::Revoked)?;
        match state.holder {
            Holder::Nobody => {
                state.holder = Holder::InHand;
                Ok(function)
            }
            Holder::InHand | Holder::Resting(_) => Err(Unavailable::Taken),
        }
    }
}

impl<F, H> Seat<F, H> {
    /// Leaves the hold here, for as long as the session waits for its client. A hold on a function that was revoked comes
    /// back: its session ends it and vacates the seat.
    #[inline]
    pub fn rest(&self, hold: H) -> Option<H> {
        let mut state = self.state.lock();
        if state.function.is_none() {
            return Some(hold);
        }
        state.holder = Holder::Resting(hold);
        None
    }

    /// Takes up the hold that rests here. `None`: it has been taken away, or the session has ended it itself.
    #[inline]
    pub fn take(&self) -> Option<H> {
        let mut state = self.state.lock();
        if !matches!(state.holder, Holder::Resting(_)) {
            return None;
        }
        match std::mem::replace(&mut state.holder, Holder::InHand) {
            Holder::Resting(hold) => Some(hold),
            Holder::Nobody | Holder::InHand => None,
        }
    }

    /// The hold that was in hand has ended.
    pub fn vacate(&self) {
        self.state.lock().holder = Holder::Nobody;
        self.vacated.notify_all();
    }

    /// Takes the function away, for good.
    pub fn revoke(&self) -> Revocation<F, H> {
        let mut state = self.state.lock();
        let Some(function) = state.function.take() else { return Revocation::Again };
        match std::mem::replace(&mut state.holder, Holder::InHand) {
            Holder::Resting(hold) => Revocation::Taken(function, hold),
            Holder::InHand => Revocation::InHand(function),
            Holder::Nobody => {
                state.holder = Holder::Nobody;
                Revocation::Vacant(function)
            }
        }
    }

    /// Whether somebody has a hold, or is about to get one.
    pub fn is_held(&self) -> bool {
        !matches!(self.state.lock().holder, Holder::Nobody)
    }

    /// Whether the function was taken away.
    pub fn is_revoked(&self) -> bool {
        self.state.lock().function.is_none()
    }

    /// Waits until the hold has ended, for the sake of `doing`, which an operator is shown. False: it has not at the deadline.
    pub fn wait_until_vacant(
        &self,
        token: &mut ThreadToken,
        doing: &'static str,
        deadline: Deadline,
    ) -> bool {
        let vacant = |state: &State<F, H>| matches!(state.holder, Holder::Nobody);
        if vacant(&self.state.lock()) {
            return true;
        }
        let _shown = Waiting::new(token, doing, None, "a client's hold on a function to end");
        let mut state = self.state.lock();
        let mut expired = false;
        while !vacant(&state) && !expired {
            (state, expired) = self.vacated.wait(state, token, deadline);
        }
        vacant(&state)
    }
}
