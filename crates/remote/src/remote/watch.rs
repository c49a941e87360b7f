//! What the owner of a function is told of its back end.

use std::time::Duration;

use gate::ThreadToken;

use crate::fence::Fenced;
use crate::life::Why;
use crate::link::Loss;

/// Who is told, on the thread that keeps the back end's life and in the order of what happened.
pub trait Watch: Send + Sync {
    /// Something happened to the back end. Nothing is held, and `token` is the thread's: it may wait for a bounded time, in which the
    /// life does not go on.
    fn tell(&self, token: &mut ThreadToken, told: Told);
}

/// What happened to a back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was lost. Commands wait, or the function is frozen, until [`Told::Returned`] or [`Told::Failed`].
    Lost {
        /// How.
        loss: Loss,
    },
    /// There is another, and this is known of the old one's I/O.
    Fenced {
        /// See [`Fenced`].
        how: Fenced,
    },
    /// The command that starts it was started.
    Restarting,
    /// An attempt to reconnect failed.
    Retry {
        /// How many have, since the loss.
        attempt: u32,
        /// The pause before the next one.
        after: Duration,
    },
    /// It is back, and everything goes on.
    Returned {
        /// From the loss until now.
        pause: Duration,
        /// Commands that were executed again.
        re_executed: u64,
        /// Commands that could not be, and were answered with an error.
        refused: u64,
    },
    /// What has come instead is something else. [`Told::Failed`] follows.
    Differs {
        /// In which ways: "BAR 0 has 8 KiB, was 16 KiB".
        differences: Vec<String>,
    },
    /// It is given up, for good: the owner should take the function away.
    Failed {
        /// Why.
        why: Why,
    },
}
