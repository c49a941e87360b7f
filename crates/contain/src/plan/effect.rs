//! What a recovery asks of its owner.

use super::{Call, Channel, FunctionId, PeId, Traffic};
use crate::report::{Log, Notice, Outcome, Uevent};
use std::time::Duration;

/// A reset of everything that is recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// A hot reset of the PE (EEH-04, EEH-19).
    Hot {
        /// How long it is held.
        hold: Duration,
        /// How long the PE is left alone afterwards.
        settle: Duration,
    },
    /// A fundamental one, because a function needs it.
    Fundamental {
        /// How long it is held.
        hold: Duration,
        /// How long the PE is left alone afterwards.
        settle: Duration,
    },
    /// A reset of the bus below the port; functions are ready when they say so (RST-09).
    SecondaryBus {
        /// How long it is held.
        hold: Duration,
    },
    /// The port has contained the error, which was a reset, and is released (AER-08).
    ReleasePort {
        /// How long the link may take to be inactive.
        link_inactive: Duration,
        /// How long the root port may be busy.
        root_port_busy: Duration,
    },
}

/// An order to the owner of a recovery, which carries out the effects of one step in their order. Calls to functions of the
/// same depth may run side by side, and are given out together so that they can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Marks a PE as being recovered and to be kept. Never a wait: the root was claimed before.
    Mark(PeId),
    /// Takes both marks off a PE, and takes the PE out of the tree if nothing is left in it. Comes once for every mark,
    /// whichever way the recovery goes (EEH-I5).
    Collect(PeId),
    /// Marks a PE as removed: what it held is out for good (EEH-17).
    MarkRemoved(PeId),
    /// Sets what a function's driver can do with it.
    SetChannel(FunctionId, Channel),
    /// Switches a function's interrupts.
    Interrupts(FunctionId, bool),
    /// Keeps a function frozen whatever is thawed or unfrozen, until its consumer says otherwise (EEH-20, EEH-21).
    Contain(FunctionId),
    /// Calls whoever has a function; answered by [`Event::Answered`](super::Event::Answered) or
    /// [`Event::CallbackLost`](super::Event::CallbackLost).
    Call(FunctionId, Call),
    /// Sends a consumer's error notification; nothing comes back.
    Notify(FunctionId, Channel),
    /// Thaws all that is recovered, parents first, but for what is contained; answered by
    /// [`Event::Thawed`](super::Event::Thawed).
    Thaw(Traffic),
    /// Asks for the PE's state; answered by [`Event::StateIs`](super::Event::StateIs).
    QueryState,
    /// Lets time pass; answered by [`Event::Waited`](super::Event::Waited).
    Wait(Duration),
    /// Resets all that is recovered; answered by [`Event::ResetDone`](super::Event::ResetDone).
    Reset(Reset),
    /// Restores configuration space, bridges before what is below them; answered by
    /// [`Event::ConfigRestored`](super::Event::ConfigRestored).
    RestoreConfig,
    /// Unfreezes all that is recovered after a reset; answered by [`Event::Unfrozen`](super::Event::Unfrozen).
    Unfreeze,
    /// Clears what AER has recorded (AER-06).
    ClearErrorStatus,
    /// Takes a function and what is below it out of the topology, as an unplug does.
    Remove(FunctionId),
    /// Writes down the hardware's state.
    Log(Log),
    /// Tells user space (AER-07).
    Uevent(FunctionId, Uevent),
    /// Tells those who watch.
    Tell(Notice),
    /// The recovery has ended; the last effect of all.
    Finish(Outcome),
}
