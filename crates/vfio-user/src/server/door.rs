//! Which function is on a socket, and who has come through it.
//!
//! A door has at most one seat: that of the function that is plugged. It also remembers every client until its connection
//! ends, with the seat that it came for; those whose seat is not the door's any more are *tombstones*.
//!
//! # Concurrency
//! One leaf lock, for a look or a change of the list. Nobody is told anything under it.

use std::sync::Arc;

use assign::{Assignment, Attached};
use gate::lock::Leaf;

use super::clients::{ClientInfo, Visit, Visits};
use super::seat::Seat;
use crate::ranks;

/// The seat of a function.
pub(super) type FunctionSeat = Seat<Arc<Assignment>, Attached>;

/// See the module's head.
#[derive(Default)]
pub(super) struct Door {
    /// Rank: 82, server's door; a leaf. The seat and the list of who sits where change together, or a client that comes
    /// while its function is exchanged would be counted for the wrong one.
    state: Leaf<ranks::Door, State>,
    visits: Option<Arc<dyn Visits>>,
}

#[derive(Default)]
struct State {
    seat: Option<Arc<FunctionSeat>>,
    /// What the last function was called. Not asked of it: to ask would keep it alive.
    name: Option<Arc<str>>,
    clients: Vec<Known>,
}

struct Known {
    seat: Arc<FunctionSeat>,
    info: ClientInfo,
    /// It has not been told of as released.
    holds: bool,
}

/// Why a function cannot be put behind a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occupied {
    ByAFunction,
    ByTombstones,
}

impl Door {
    pub(super) fn watched_by(self, visits: Arc<dyn Visits>) -> Door {
        Door { visits: Some(visits), ..self }
    }

    /// The seat of the function that is plugged.
    pub(super) fn seat(&self) -> Option<Arc<FunctionSeat>> {
        self.state.lock().seat.clone()
    }

    /// What the function is called, or was that was here last.
    pub(super) fn name(&self) -> Option<Arc<str>> {
        self.state.lock().name.clone()
    }

    /// Puts a function behind the door, unless there is one or there are `most` tombstones.
    pub(super) fn plug(&self, function: Arc<Assignment>, most: usize) -> Result<(), Occupied> {
        let name = Arc::from(function.function().name());
        let seat = Arc::new(Seat::new(function));
        let mut state = self.state.lock();
        if state.seat.is_some() {
            return Err(Occupied::ByAFunction);
        }
        if state.clients.len() >= most {
            return Err(Occupied::ByTombstones);
        }
        (state.seat, state.name) = (Some(seat), Some(name));
        Ok(())
    }

    /// Takes the seat of the function away: nobody who comes from now on gets it.
    pub(super) fn unplug(&self) -> Option<Arc<FunctionSeat>> {
        self.state.lock().seat.take()
    }

    /// A client has got a hold.
    pub(super) fn came(&self, seat: &Arc<FunctionSeat>, info: ClientInfo) {
        self.state.lock().clients.push(Known { seat: Arc::clone(seat), info, holds: true });
        self.tell(Visit::Attached(info));
    }

    /// The hold of a seat's client has ended. May be called again.
    pub(super) fn released(&self, seat: &Arc<FunctionSeat>) {
        let mut state = self.state.lock();
        let client = state.clients.iter_mut().find(|client| client.holds && Arc::ptr_eq(&client.seat, seat));
        let released = client.map(|client| {
            client.holds = false;
            client.info
        });
        drop(state);
        if let Some(info) = released {
            self.tell(Visit::Released(info));
        }
    }

    /// The session of a seat's client has ended; there was a client only if it had got a hold.
    pub(super) fn left(&self, seat: &Arc<FunctionSeat>) {
        self.released(seat);
        let mut state = self.state.lock();
        let at = state.clients.iter().position(|client| Arc::ptr_eq(&client.seat, seat));
        let gone = at.map(|at| state.clients.remove(at));
        drop(state);
        if let Some(Known { info, .. }) = gone {
            self.tell(Visit::Left(info));
        }
    }

    /// Who came for this seat.
    pub(super) fn client_of(&self, seat: &Arc<FunctionSeat>) -> Option<ClientInfo> {
        let state = self.state.lock();
        state.clients.iter().find(|client| Arc::ptr_eq(&client.seat, seat)).map(|client| client.info)
    }

    /// Who came for the function that is plugged.
    pub(super) fn client(&self) -> Option<ClientInfo> {
        let state = self.state.lock();
        let seat = state.seat.as_ref()?;
        state.clients.iter().find(|client| Arc::ptr_eq(&client.seat, seat)).map(|client| client.info)
    }

    /// Who came for functions that have been taken away since, in the order in which they came.
    pub(super) fn tombstones(&self) -> Vec<ClientInfo> {
        let state = self.state.lock();
        let stale = |client: &&Known| state.seat.as_ref().is_none_or(|seat| !Arc::ptr_eq(&client.seat, seat));
        state.clients.iter().filter(stale).map(|client| client.info).collect()
    }

    /// Somebody has a hold on a function that is or was behind this door, or is about to get one.
    pub(super) fn holds(&self) -> bool {
        let state = self.state.lock();
        let (seat, held) = (state.seat.clone(), state.clients.iter().any(|client| client.holds));
        drop(state);
        held || seat.is_some_and(|seat| seat.is_held())
    }

    fn tell(&self, visit: Visit) {
        if let Some(visits) = &self.visits {
            visits.visit(visit);
        }
    }
}
