//! A slot, as far as its life goes.

use crate::event::OperationId;
use crate::settings::Settings;
use crate::sight::{Features, Sight};
use std::time::Duration;

/// Why a card leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nobody has anything of it any more.
    Released,
    /// An operator or the button asked for it, and the consumer has not let go in time.
    Deadline,
    /// An operator does not want the consumer to be asked.
    Forced,
    /// The card was taken out.
    CardLost,
    /// The link went down.
    LinkLost,
    /// Another card is in its place.
    Replaced,
    /// It does not work any more, and nothing could be done about it (EEH-17).
    Failed,
}

impl Cause {
    /// Whether the hardware cannot be reached any more, or is not to be.
    #[must_use]
    pub const fn is_surprise(self) -> bool {
        matches!(self, Cause::CardLost | Cause::LinkLost | Cause::Replaced | Cause::Failed)
    }
}

/// How far a slot is on its way on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Powering {
    /// It is being given power.
    Power,
    /// It waits for card and link, until then.
    CardAndLink {
        /// By the owner's clock.
        until: Duration,
    },
    /// What is on the card is being found.
    Configure,
}

/// How far a slot is on its way off: the rungs of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// The consumer is asked to let go, and everything it does goes on working.
    Asked {
        /// How often it was asked.
        times: u32,
        /// When it is asked again.
        remind: Duration,
        /// When it is not asked any more.
        deadline: Duration,
    },
    /// What it holds is being taken away.
    Revoking(Cause),
    /// What is on the card is being taken out of the topology.
    Removing {
        /// The hardware is gone.
        surprise: bool,
    },
    /// The power is being cut, or was and the time that this takes has not passed.
    CuttingPower {
        /// Until then, once the power is cut.
        until: Option<Duration>,
    },
}

/// Where a slot is in its life (HP-07).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// No power, or nothing in it.
    #[default]
    Off,
    /// The button was pressed: on, unless it is pressed again until then.
    BlinkingOn {
        /// By the owner's clock.
        until: Duration,
    },
    /// On its way on.
    PoweringOn(Powering),
    /// On; what is on the card is in the topology.
    On,
    /// The button was pressed: off, unless it is pressed again until then.
    BlinkingOff {
        /// By the owner's clock.
        until: Duration,
    },
    /// On its way off.
    Leaving(Leaving),
}

/// One slot: its state, what is seen of it, and who waits for it. Times are of the owner's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    pub(crate) features: Features,
    /// How often a consumer is asked again.
    pub(crate) remind: Duration,
    /// How long consumers are asked when the button was pressed.
    pub(crate) unplug_timeout: Duration,
    pub(crate) state: State,
    pub(crate) sight: Sight,
    /// Those who wait for what is under way, at most [`MAX_OPERATIONS`](crate::MAX_OPERATIONS).
    pub(crate) waiting: Vec<OperationId>,
    /// Somebody wants it off, which nothing that the hardware does undoes (HP-17).
    pub(crate) wanted_off: bool,
    /// Bring the card up again when it has left: it is another one, or its link came back (HP-14, HP-15).
    pub(crate) comes_back: bool,
}

impl Slot {
    /// An empty slot without power.
    #[must_use]
    pub fn new(features: Features, settings: &Settings) -> Slot {
        Slot {
            features,
            // A timer that is due at once, for ever, would be a loop without end.
            remind: settings.remind.max(Duration::from_millis(1)),
            unplug_timeout: settings.unplug_timeout,
            state: State::Off,
            sight: Sight::default(),
            waiting: Vec::new(),
            wanted_off: false,
            comes_back: false,
        }
    }

    /// Whether the card is brought up again when it has left (HP-14, HP-15).
    #[must_use]
    pub fn comes_back(&self) -> bool {
        self.comes_back
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// What is seen of it.
    #[must_use]
    pub fn sight(&self) -> Sight {
        self.sight
    }

    /// What it has.
    #[must_use]
    pub fn features(&self) -> Features {
        self.features
    }
}
