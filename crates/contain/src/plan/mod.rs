//! The recovery of a PE, as a pure function: what happens goes in, what is to be done comes out.
//!
//! [`Plan::step`] takes one [`Event`] and adds [`Effect`]s, orders to the owner of the recovery, who carries them out one after
//! the other and reports back with events. There is no clock, no gate and no device here; times are in the effects.
//!
//! ```text
//!  New -> ErrorDetected -> what is its state? -+- none ---------> unbind everybody ----------+
//!             |                                +- need reset ---> unbind who cannot be told -+-> Save -> reset, <= 3 x
//!             |                                |                         ^    ^                           | restore
//!             |                                |       needs a reset,    |    | frozen again              | unfreeze
//!             |                                |        frozen again     |    |                           v
//!             |                                +- can recover -> thaw MMIO -> |             5 s if unbound -> Probe
//!             |                                   MmioEnabled -> thaw DMA     +----------- SlotReset <-------+
//!             | disconnect                                 |                                  |
//!             v                                            +--> ProbeVirtual <----------------+
//!  PermanentFailure -> all out -> Failed                             |
//!    ^                                                          all on -> Resume -> Recovered
//!    +--- from everywhere, once the calls that are out have returned or are lost
//! ```
//!
//! * **One way out.** Whatever happens, a plan ends by [`Effect::Finish`], after one [`Effect::Collect`] for each
//!   [`Effect::Mark`]. It ends if every effect is answered, which their owner sees to with deadlines.
//! * **A call at a time** for each function, parents before children, siblings side by side. Who does not return is not
//!   called again and counts as *disconnect*.
//! * **Whoever was told of an error is told how it ended**: to go on, or that there is no way back. Nobody is told of a
//!   reset that did not happen, and whose function was reset is told or was unbound.
//!
//! Where Linux differs, this does not follow: a failure tells all drivers also after an error of AER, where Linux leaves them
//! waiting (AER-06); a reset that the driver of a working link asks for takes place (AER-05); and nobody goes on while the PE
//! is frozen, even if everybody answers *recovered* at once.
//!
//! What this does **not** do: it detects nothing, freezes nothing, claims nothing, and counts no budget. A second recovery of a
//! PE, or of one below it, is kept away by whoever claims it. Nor does it know hot-plug's own rules, such as that a link that
//! goes down with its card is no error (AER-08).
//!
//! # Concurrency
//! None: a plan has one owner, who gives it one event at a time, from whichever thread.

mod call;
mod effect;
mod event;
mod member;
mod platform;
mod seat;
mod seats;
mod special;
mod state;
mod step;
mod times;

pub use pci_core::recovery::{Channel, Handlers};

pub use call::{Answer, Call};
pub use effect::{Effect, Reset};
pub use event::{Event, Sight};
pub use member::{Flavour, FunctionId, Member, PeId, Policy, Role, Scope, Severity};
pub use platform::{PlatformState, Queried, Thaw, Traffic};
pub use special::{Response, SpecialEvent};
pub use state::{Goal, Phase, State, Whom};
pub use times::{
    HOT_PLUG_SETTLE, LINK_INACTIVE_WAIT, RESET_ATTEMPTS, RESET_HOLD, RESET_SETTLE, ROOT_PORT_BUSY_WAIT,
    SECONDARY_BUS_RESET_HOLD, STATE_POLL_MAX, STATE_POLL_MIN, STATE_WAIT, UNFREEZE_ATTEMPTS,
};

use crate::merge::Vote;
use crate::report::Doom;
use seat::Seat;
use seats::Seats;

/// The recovery of one PE and of all that is below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    flavour: Flavour,
    host_bridge: bool,
    pes: Vec<PeId>,
    seats: Seats,
    state: State,
    /// What everybody answered to the error.
    voted: Vote,
    /// Whose drivers are unbound before a reset.
    whom: Whom,
    resets: u32,
    /// There was another error since what is recovered was thawed.
    again: bool,
    /// Everybody may use his function again.
    released: bool,
    /// Why there is no way back, once that is known.
    doom: Option<Doom>,
}

impl Plan {
    /// A recovery that has not begun.
    #[must_use]
    pub fn new(scope: Scope) -> Plan {
        let Scope { flavour, host_bridge, pes, members } = scope;
        let mut seats = Seats::default();
        for member in members {
            seats.add(Seat::new(member, false));
        }
        Plan {
            flavour,
            host_bridge,
            pes,
            seats,
            state: State::New,
            voted: Vote::None,
            whom: Whom::WhoCannotBeTold,
            resets: 0,
            again: false,
            released: false,
            doom: None,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether there is no way back.
    #[must_use]
    pub fn doom(&self) -> Option<Doom> {
        self.doom
    }
}
