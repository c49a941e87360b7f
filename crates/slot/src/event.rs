//! What happens to a slot.

use std::time::Duration;

/// An operation that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub u64);

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Bring the card up.
    Enable,
    /// Take the card away from its consumer, by the ladder.
    Disable {
        /// How long the consumer is asked before it is revoked; no time at all starts with the revocation.
        timeout: Duration,
    },
    /// Leave off what was begun: a blinking, or an unplug whose consumer is still being asked.
    Cancel,
}

/// Something that happens to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody asks for something and waits for its end.
    Asked(OperationId, Request),
    /// The attention button was pressed.
    Button,
    /// A card was put in, or taken out.
    Card(bool),
    /// The link came up, or went down.
    Link(bool),
    /// The latch was opened, or closed.
    Latch(bool),
    /// The power of the slot failed.
    PowerFault,
    /// The card in the slot is another one than before (HP-15).
    Replaced,
    /// What is on the card does not work any more, and will not (EEH-17). See [`Controller::fail`](crate::Controller::fail).
    Failed,
    /// The slot has power, or did not get it.
    Powered(bool),
    /// What is on the card was found and is in the topology; or could not be.
    Configured(bool),
    /// Nobody uses what is on the card any more.
    Released,
    /// Nothing reaches what is on the card any more.
    Revoked,
    /// What was on the card is out of the topology.
    Removed,
    /// The slot has no power any more.
    PoweredOff,
    /// A timer that was set has run out. One that is not the latest is ignored.
    Timer,
}
