//! What a slot shows of itself.

use super::Controller;
use crate::event::{OperationId, Request};
use crate::sight::{Features, Sight};
use crate::slot::State;
use std::time::Duration;

/// A call that did not return in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBehind {
    /// Whose method it is.
    pub who: String,
    /// Which one.
    pub call: &'static str,
    /// When it began, by the slot's clock.
    pub since: Duration,
}

/// A picture of a slot, taken under its lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// What it has.
    pub features: Features,
    /// Where it is in its life.
    pub state: State,
    /// What is seen of it.
    pub sight: Sight,
    /// Names of what is on the card, once that was found.
    pub functions: Vec<String>,
    /// Names of the drivers in this process that have something of it, with the function's.
    pub drivers: Vec<(String, String)>,
    /// Descriptions of the consumers.
    pub consumers: Vec<String>,
    /// Which operations have not ended.
    pub waiting: Vec<(OperationId, Request)>,
    /// Calls that did not return in time, and have not since.
    pub left_behind: Vec<LeftBehind>,
    /// The card is brought up again when it has left.
    pub comes_back: bool,
    /// The call that is under way, and since when.
    pub calling: Option<LeftBehind>,
}

impl Controller {
    /// A picture of the slot. Waits for nobody.
    #[must_use]
    pub fn report(&self) -> Report {
        let desk = self.desk.lock();
        Report {
            name: self.name.to_string(),
            features: desk.slot.features(),
            state: desk.slot.state(),
            sight: desk.slot.sight(),
            functions: desk.card.functions.iter().map(|f| f.function().name().to_owned()).collect(),
            drivers: desk.card.bonds.iter().map(|bond| bond.names()).collect(),
            consumers: desk.seats.iter().map(|seat| seat.name.to_string()).collect(),
            waiting: desk.operations.iter().map(|op| (op.id(), op.request())).collect(),
            left_behind: desk.left_behind.iter().map(|call| call.shown()).collect(),
            comes_back: desk.slot.comes_back(),
            calling: desk.driving.as_ref().and_then(|driving| Some(driving.call.as_ref()?.shown())),
        }
    }
}
