//! The life of a back end as a pure function: connected, lost, on its way back, or given up.
//!
//! ```text
//!             lost                     not alive         started
//! Connected --------> Fencing --------------> Restarting --------> Connecting --------> Checking --------> Replaying --> Connected
//!                       ^  | over; no command   ^                   ^    | nobody         | still alive,       | broken
//!                       |  +--------------------|-------------------+    | there          | broken             |
//!                       |                       |                        v                v                    v
//!                       +---- time is up ---- Waiting <------------------+----------------+--------------------+
//!                                               |                                         |                    |
//!                            too often, too long v                            differs     v                    v
//!                                             Failed <-------------------------------------+--------------------+
//! ```
//!
//! From every state, [`Event::Close`] leads to [`State::Closed`].
//!
//! [`Life::step`] takes what happened and says what is to be done. It has no clock, no thread and no descriptor: times are those of
//! the owner's clock, and whoever calls it carries the effects out, in their order, with nothing held. At most one of the effects of a
//! step is *work* ([`Effect::is_work`]), and it comes last: it takes time, and its result is the next event. In every state in which
//! a back end is away one work is under way, so a life never comes to rest there.
//!
//! What is bounded: attempts, by the growing pauses between them and by [`Rules::give_up_after`]; losses, by [`Rules::budget`]. A loss
//! during a replay counts like one of a connected back end, since commands of the consumer may be what kills it.
//!
//! What it does **not** do: it does not know what a back end is compared with, nor what is executed again.

mod back_off;
mod step;

use std::time::Duration;

use contain::budget::{FreezeBudget, FreezeCount};

use crate::config::{BackOff, RemoteConfig};
use crate::fence::{Fenced, Known};

/// How long the process of a lost back end may take to end before the socket is looked at again all the same: it may be the same
/// process that serves on.
pub const FENCE_PATIENCE: Duration = Duration::from_secs(1);

/// What a life goes by; from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Pauses between attempts.
    pub back_off: BackOff,
    /// How long a back end may be away.
    pub give_up_after: Duration,
    /// How often it may be lost.
    pub budget: FreezeBudget,
    /// There is a command that starts it again.
    pub restarts: bool,
    /// One that hangs is killed.
    pub kill_hung: bool,
    /// Writes are executed again also when nobody knows whether the old server's I/O is over.
    pub accept_late_writes: bool,
    /// Chooses the jitter of the pauses.
    pub seed: u64,
}

impl Rules {
    /// The rules of a configuration; `seed` should differ from function to function.
    #[must_use]
    pub fn new(config: &RemoteConfig, seed: u64) -> Rules {
        Rules {
            back_off: config.back_off,
            give_up_after: config.give_up_after,
            budget: config.budget,
            restarts: config.restart.is_some(),
            kill_hung: config.kill_hung,
            accept_late_writes: config.accept_late_writes,
            seed,
        }
    }
}

/// Where a life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The back end serves.
    Connected,
    /// It is lost, and its process may still be there.
    Fencing(Away),
    /// The next attempt is not due.
    Waiting {
        /// See [`Away`].
        away: Away,
        /// When it is due.
        until: Duration,
    },
    /// The command that starts it is being started itself.
    Restarting(Away),
    /// An attempt.
    Connecting(Away),
    /// A back end is there; whether it is the one that was lost is being looked at.
    Checking(Away),
    /// It is being set up as the last one was.
    Replaying(Away),
    /// Given up, for good.
    Failed(Why),
    /// Its owner has let it go.
    Closed,
}

impl State {
    /// The word for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            State::Connected => "connected",
            State::Fencing(_) => "fencing",
            State::Waiting { .. } => "waiting",
            State::Restarting(_) => "restarting",
            State::Connecting(_) => "connecting",
            State::Checking(_) => "checking",
            State::Replaying(_) => "replaying",
            State::Failed(_) => "failed",
            State::Closed => "closed",
        }
    }

    /// What is known of the absence, while there is one.
    #[must_use]
    pub fn away(&self) -> Option<&Away> {
        match self {
            State::Fencing(away)
            | State::Waiting { away, .. }
            | State::Restarting(away)
            | State::Connecting(away)
            | State::Checking(away)
            | State::Replaying(away) => Some(away),
            State::Connected | State::Failed(_) | State::Closed => None,
        }
    }
}

/// An absence of the back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away {
    /// When it was lost.
    pub since: Duration,
    /// Attempts that failed.
    pub attempts: u32,
    /// The earliest time of the next start of the command.
    pub restart_at: Duration,
    /// Its process was alive when it was last looked at.
    pub alive: bool,
}

/// Why a back end was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was lost too often.
    Budget {
        /// Losses within the window, the last included.
        losses: u32,
        /// The rule.
        budget: FreezeBudget,
    },
    /// It was away for too long.
    Away {
        /// How long.
        for_: Duration,
    },
    /// Its process lives on, and does not answer.
    StillAlive {
        /// How long it has been lost.
        for_: Duration,
    },
    /// What has come instead is not what it was.
    Differs,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Budget { losses, budget } => {
                write!(f, "the back end was lost {losses} times within {} s", budget.window.as_secs())
            }
            Why::Away { for_ } => write!(f, "the back end was away for {} s", for_.as_secs()),
            Why::StillAlive { for_ } => write!(
                f,
                "the process of the back end has not answered for {} s and is still alive: end it, or let it be killed (kill_hung)",
                for_.as_secs()
            ),
            Why::Differs => f.write_str("what came back is not what the back end was"),
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The link was lost.
    Lost {
        /// It did not answer, or did not read: its process may well be alive.
        hung: bool,
    },
    /// What is known of the old server: the result of [`Effect::AwaitFence`], and possible during [`Effect::Sleep`].
    Fence(Known),
    /// A [`Effect::Sleep`] is over.
    TimeUp,
    /// The command was started, or is still running, or could not be started: an attempt is made all the same.
    Restarted,
    /// [`Effect::Connect`] has a link.
    Connected,
    /// [`Effect::Connect`] has none.
    NotConnected,
    /// [`Effect::Check`]: it is the same, and this is known of the old server.
    Checked(Known),
    /// [`Effect::Check`] or [`Effect::Replay`]: it is another.
    Differs,
    /// [`Effect::Check`] or [`Effect::Replay`] failed for another reason; it may go better with the next link.
    Broken,
    /// [`Effect::Replay`] is done.
    Replayed,
    /// The owner lets the back end go.
    Close,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing uses the link any more; its server is the old one from now on. Tell that it was lost.
    Detach,
    /// Kill the old server's process: it hangs.
    Kill,
    /// Close the new link: it is of no use.
    Cut,
    /// Work: wait for the old server to be over. Gives [`Event::Fence`].
    AwaitFence {
        /// Until when.
        until: Duration,
    },
    /// Work: wait. Gives [`Event::TimeUp`], or [`Event::Fence`] when the old server's process has ended.
    Sleep {
        /// Until when.
        until: Duration,
    },
    /// Work: start the command, unless it still runs. Gives [`Event::Restarted`].
    Restart,
    /// Work: connect. Gives [`Event::Connected`] or [`Event::NotConnected`].
    Connect,
    /// Work: compare it with what was. Gives [`Event::Checked`], [`Event::Differs`] or [`Event::Broken`].
    Check,
    /// Work: set it up and execute what was in flight. Gives [`Event::Replayed`], [`Event::Differs`] or [`Event::Broken`].
    Replay {
        /// What commands in flight may count on.
        fenced: Fenced,
    },
    /// Tell that it is back.
    Returned {
        /// How long it was away.
        pause: Duration,
    },
    /// It does not come back: whoever waits for it is answered. Tell that.
    GiveUp(Why),
    /// Let go of everything.
    Release,
}

impl Effect {
    /// Whether it takes time, and its result is an event.
    #[must_use]
    pub fn is_work(&self) -> bool {
        match self {
            Effect::AwaitFence { .. }
            | Effect::Sleep { .. }
            | Effect::Restart
            | Effect::Connect
            | Effect::Check
            | Effect::Replay { .. } => true,
            Effect::Detach
            | Effect::Kill
            | Effect::Cut
            | Effect::Returned { .. }
            | Effect::GiveUp(_)
            | Effect::Release => false,
        }
    }
}

/// A back end's life. It begins connected.
#[derive(Debug)]
pub struct Life {
    rules: Rules,
    losses: FreezeCount,
    state: State,
}

impl Life {
    /// A life that begins now.
    #[must_use]
    pub fn new(rules: Rules) -> Life {
        Life::resumed(rules, State::Connected)
    }

    /// A life in the midst of it.
    #[must_use]
    pub fn resumed(rules: Rules, state: State) -> Life {
        Life { rules, losses: FreezeCount::default(), state }
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Losses so far within the window of the budget.
    #[must_use]
    pub fn losses(&self) -> u32 {
        self.losses.freezes()
    }
}
