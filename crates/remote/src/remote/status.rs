//! What an operator is shown of a back end.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::config::Mode;
use crate::link::Loss;

/// A look at a back end.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its socket.
    pub upstream: PathBuf,
    /// See [`Mode`].
    pub mode: Mode,
    /// Where its life is: [`crate::life::State::name`].
    pub state: &'static str,
    /// How long it has been there.
    pub since: Duration,
    /// Its process, while it is connected and where that can be known.
    pub pid: Option<i32>,
    /// Attempts to reconnect that failed since it was lost; 0 while it is connected.
    pub attempts: u64,
    /// How often it was lost.
    pub losses: u64,
    /// How it was lost last.
    pub last_loss: Option<Loss>,
    /// How long it was away last, until everything was in flight again.
    pub last_pause: Option<Duration>,
    /// Commands that were executed again, of all losses.
    pub replayed: u64,
    /// Commands that could not be, and were answered with an error.
    pub refused: u64,
    /// Commands at the back end, or waiting for it; 0 where they are not looked into.
    pub in_flight: usize,
    /// What of its configuration space consumers do not find.
    pub left_out: Vec<String>,
}

/// The part of it that changes; behind the leaf of `shared`.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) state: &'static str,
    pub(super) entered: Instant,
    pub(super) pid: Option<i32>,
    pub(super) attempts: u64,
    pub(super) losses: u64,
    pub(super) last_loss: Option<Loss>,
    pub(super) last_pause: Option<Duration>,
    pub(super) replayed: u64,
    pub(super) refused: u64,
}

impl Record {
    pub(super) fn new(state: &'static str) -> Record {
        Record {
            state,
            entered: Instant::now(),
            pid: None,
            attempts: 0,
            losses: 0,
            last_loss: None,
            last_pause: None,
            replayed: 0,
            refused: 0,
        }
    }

    /// The life is in this state now.
    pub(super) fn enter(&mut self, state: &'static str, attempts: u32) {
        if self.state != state {
            self.state = state;
            self.entered = Instant::now();
        }
        self.attempts = attempts.into();
    }
}
