//! What happens to a recovery.

use super::{Answer, Call, FunctionId, Member, PeId, Queried, Role, Thaw, Traffic};
use crate::report::Doom;

/// What is known when a recovery begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// At least one device is there (EEH-11).
    pub present: bool,
    /// It has not frozen too often within the hour, this time included (EEH-10).
    pub within_budget: bool,
}

/// Something that happens to a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The PE is claimed; go.
    Begin(Sight),
    /// A call has returned.
    Answered(FunctionId, Call, Answer),
    /// A call did not return by its deadline, or panicked.
    CallbackLost(FunctionId, Call),
    /// What was to be thawed is, or is not.
    Thawed(Traffic, Thaw),
    /// The platform said, or could not say, in which state the PE is.
    StateIs(Queried),
    /// The time has passed.
    Waited,
    /// The reset was carried out, with its times; or could not be.
    ResetDone(bool),
    /// The configuration is as it was before the reset; or is not.
    ConfigRestored(bool),
    /// The PE is unfrozen after its reset; or is not.
    Unfrozen(bool),
    /// There was another error in the PE. Before anything was thawed it is the same one (EEH-07); later it leads to a reset, and
    /// when everybody was told to go on, to [`Outcome::FrozenAgain`](crate::report::Outcome::FrozenAgain).
    FrozenAgain,
    /// Somebody knows that there is no way back.
    Doomed(Doom),
    /// A PE was put into the tree below.
    PeAdded(PeId),
    /// A function was plugged.
    Added(Member),
    /// A function was unplugged.
    Removed(FunctionId),
    /// Somebody else has a function now. A driver that comes before a reset is unbound for it; a consumer that comes cannot
    /// be told of it, and should be refused as long as the PE is marked.
    Bound(FunctionId, Role),
}
