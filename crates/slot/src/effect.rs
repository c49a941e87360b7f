//! What a slot asks of its owner.

use crate::event::OperationId;
use crate::slot::Cause;
use std::time::Duration;

/// How an indicator shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lamp {
    /// Dark.
    Off,
    /// Steady.
    On,
    /// Blinking.
    Blink,
}

/// How something leaves the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The hardware is still there: bus mastering, system errors and INTx are switched off first (HP-13).
    Orderly,
    /// It is not, or has failed: nothing is touched any more.
    Surprise,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// As asked for.
    Done,
    /// Somebody called it off, and the slot is as before.
    Cancelled,
    /// Refused at once: the slot is not in a state for it (HP-08).
    WrongState,
    /// Refused at once: there is no card, or it was taken out before it was up (HP-08).
    NoCard,
    /// Refused at once: the latch is open (HP-08).
    LatchOpen,
    /// The slot got no power, or its power failed (HP-08).
    PowerFault,
    /// The card did not come up in time (HP-08).
    NoLink,
    /// What is on the card could not be brought into the topology.
    NotConfigured,
    /// Refused at once: too late to cancel, or nothing to.
    TooLate,
    /// Refused at once: too many wait for this slot already.
    TooMany,
    /// The card was taken out, or failed, while it was wanted.
    Lost,
    /// The slot was shut down, with everything else.
    ShutDown,
}

/// Something that those who watch want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The button was pressed and the slot acts on it when the time has passed; on, or off.
    ButtonPressed {
        /// It is being switched on.
        on: bool,
    },
    /// The button was pressed again, or somebody called it off: nothing happens.
    ButtonCancelled,
    /// The button was pressed while the slot is busy, which means nothing.
    ButtonIgnored,
    /// A card was put in, or taken out.
    Card(bool),
    /// The link came up, or went down.
    Link(bool),
    /// The latch was opened, or closed.
    Latch(bool),
    /// The power of the slot failed.
    PowerFault,
    /// The slot is on.
    On,
    /// The card did not come up.
    NotOn(Finished),
    /// The consumer is asked to let go; the number counts from 1, later ones are reminders.
    Asked(u32),
    /// The consumer lets go no longer because it was called off.
    Kept,
    /// The consumer has let go.
    Released,
    /// The consumer is not asked any more: what it holds is taken away.
    Revoking(Cause),
    /// Nothing reaches the card any more.
    Revoked,
    /// What was on the card is out of the topology.
    Removed,
    /// The slot is off.
    Off,
}

/// An order to the owner of a slot, which carries out the effects of one step in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Everything on the card is gone from this moment: its gates are retired, and nothing is waited for. Comes before
    /// everything else of a surprise removal (HP-12).
    Disconnect,
    /// Sets the power indicator.
    PowerLamp(Lamp),
    /// Sets the attention indicator.
    AttentionLamp(Lamp),
    /// Sends [`Event::Timer`](crate::Event::Timer) at this time; replaces a timer that was set before.
    SetTimer(Duration),
    /// Forgets the timer.
    StopTimer,
    /// Gives the slot power; answered by [`Event::Powered`](crate::Event::Powered).
    ApplyPower,
    /// Finds what is on the card, in a new epoch, and shows it; answered by
    /// [`Event::Configured`](crate::Event::Configured).
    Configure,
    /// Asks the consumers to let go. Everything they do goes on working. Answered, some day or never, by
    /// [`Event::Released`](crate::Event::Released).
    Ask {
        /// From 1 on.
        nth: u32,
    },
    /// Tells the consumers that they may stay.
    Keep,
    /// Takes everything away from the consumers, within a bounded time; answered by
    /// [`Event::Revoked`](crate::Event::Revoked).
    Revoke,
    /// Takes what is on the card out of the topology, deepest first; answered by
    /// [`Event::Removed`](crate::Event::Removed).
    Remove(Removal),
    /// Takes the slot's power; answered by [`Event::PoweredOff`](crate::Event::PoweredOff).
    CutPower,
    /// Tells whoever waits for an operation how it ended.
    Finish(OperationId, Finished),
    /// Tells those who watch.
    Tell(Notice),
}
