//! What the platform's events make a slot do (ZP-05 to ZP-07).
//!
//! What is to be done is decided by pure functions ([`Availability::react`], [`ErrorCode::react`](crate::ErrorCode::react)); here it is
//! done. Whoever brings an event tells those who listen, if they are to know; this does not.

use super::error::OperationError;
use super::recover::Recovered;
use super::renewal::is_frozen;
use super::slot::HotplugSlot;
use super::unit::contained;
use crate::events::{Availability, AvailabilityReaction, ErrorCode, ErrorReaction, Event, User};
use crate::handle::Handle;
use crate::resets::Moment;
use crate::state::Work;
use crate::view::View;
use gate::{Deadline, ThreadToken};
use slot::{Operation, Request};
use std::sync::Arc;
use std::time::Duration;

/// What was done about an event.
#[derive(Clone, Debug)]
#[must_use = "a rescan is for whoever owns the topology"]
pub enum Carried {
    /// Nothing: it is another function's, late, of no meaning for this one, or somebody else has recovered or reset the function meanwhile.
    Ignored,
    /// The card's owner was asked, and will say how it ended.
    Asked(Arc<Operation>),
    /// The card's owner was told that a card has come, or gone.
    Posted,
    /// The function was frozen, and is in permanent error.
    GivenUp,
    /// The function was frozen, and is its consumer's to recover (ZP-07).
    LeftToUser,
    /// The function was frozen, and somebody works on it still, for longer than there was time for: nobody recovers it from this error,
    /// unless that work does. The error is to be told again, or the function recovered.
    Contained,
    /// The function was frozen, and recovered, or was not.
    Recovered(Result<Recovered, OperationError>),
    /// Anything may have changed: all of the topology is to be looked at.
    RescanAll,
}

impl HotplugSlot {
    /// Carries out what the platform says of this function. Nobody who uses the function is waited for: consumers are asked by the card's
    /// owner, in its own time. A recovery waits as [`HotplugSlot::recover`] does, to the deadline, and for who works on the function
    /// before: an error is not lost because of that.
    ///
    /// Not for events that come from this machine's own slots ([`Zdev::noticed`](crate::Zdev::noticed)): what they say was done already.
    pub fn event(&self, token: &mut ThreadToken, event: &Event, deadline: Deadline) -> Carried {
        match *event {
            Event::Availability { fid, pec, .. } if fid == self.zdev().fid() => self.availability(pec),
            Event::Error { fid, handle, pec } if fid == self.zdev().fid() => {
                self.error(token, handle, pec, deadline)
            }
            Event::Availability { .. } | Event::Error { .. } | Event::Handle { .. } => Carried::Ignored,
        }
    }

    fn availability(&self, pec: Availability) -> Carried {
        let reaction = pec.react(self.zdev().configuration());
        match reaction {
            AvailabilityReaction::RescanAll => Carried::RescanAll,
            AvailabilityReaction::HardDeconfigure => self.deconfigure_hard(pec),
            // Virtual functions come and go with their physical function only.
            _ if self.is_virtual() => Carried::Ignored,
            AvailabilityReaction::Configure => self.configure(),
            AvailabilityReaction::ToStandby => self.appear(),
            AvailabilityReaction::AskToLetGo => self.ask(Request::Disable { timeout: self.unplug_timeout() }),
            AvailabilityReaction::ToReserved => self.disappear(),
            AvailabilityReaction::Stale | AvailabilityReaction::Ignore => Carried::Ignored,
        }
    }

    fn configure(&self) -> Carried {
        let report = self.controller().report();
        if report.sight.card {
            return self.ask(Request::Enable);
        }
        let appeared = self.appear();
        // Without a button a card comes up by itself.
        if report.features.attention_button { self.ask(Request::Enable) } else { appeared }
    }

    /// A card is there, and its link, unless that comes with the power.
    fn appear(&self) -> Carried {
        let controller = self.controller();
        controller.post(slot::Event::Card(true));
        if !controller.report().features.power_controller {
            controller.post(slot::Event::Link(true));
        }
        Carried::Posted
    }

    fn disappear(&self) -> Carried {
        self.controller().post(slot::Event::Card(false));
        Carried::Posted
    }

    /// The device is not ours any more, whoever uses it: from here on nothing reaches it, and nobody is asked.
    fn deconfigure_hard(&self, pec: Availability) -> Carried {
        match self.zdev().view() {
            Some(view) => lose(&view, "the platform took it away"),
            // It has left between the look and here.
            None => return Carried::Ignored,
        }
        match pec {
            _ if self.is_virtual() => Carried::GivenUp,
            Availability::Reserved => self.disappear(),
            _ => self.ask(Request::Disable { timeout: Duration::ZERO }),
        }
    }

    fn ask(&self, request: Request) -> Carried {
        Carried::Asked(self.controller().ask(request))
    }

    /// Everything is done to the device that had the handle when this looked, and to none that comes after it (law 5).
    fn error(&self, token: &mut ThreadToken, named: Handle, pec: ErrorCode, deadline: Deadline) -> Carried {
        let Some(view) = self.zdev().view() else { return Carried::Ignored };
        let came = view.resets().now();
        match pec.react(view.handle(), named, self.user(&view)) {
            ErrorReaction::StaleHandle | ErrorReaction::MeasurementOnly | ErrorReaction::AlreadyFailed => {
                Carried::Ignored
            }
            ErrorReaction::PermanentFailure => {
                lose(&view, "permanent error");
                Carried::GivenUp
            }
            ErrorReaction::LeftToUser => {
                view.function().freeze("an error that its consumer is to recover from");
                Carried::LeftToUser
            }
            ErrorReaction::CannotRecover => {
                lose(&view, "an error that nobody can recover from");
                let pec = ErrorCode::RECOVERY_FAILED;
                self.zdev().tell(&Event::Error { fid: self.zdev().fid(), handle: named, pec });
                Carried::GivenUp
            }
            ErrorReaction::Recover => self.recover_from(token, &view, came, deadline),
        }
    }

    /// Recovers the device of `view` from an error that came at that moment, unless somebody else has done so. It is frozen under the claim
    /// only: a freeze beside another's work would destroy that, or come after it and stay.
    fn recover_from(
        &self,
        token: &mut ThreadToken,
        view: &Arc<View>,
        came: Moment,
        deadline: Deadline,
    ) -> Carried {
        let claim = self.zdev().begin_by(token, Work::Recovery, deadline);
        let there = claim.as_ref().map_or_else(|| self.zdev().view(), |claim| claim.view().cloned());
        if !there.is_some_and(|there| Arc::ptr_eq(&there, view)) {
            // It has left; what stands there now has no part in it.
            return Carried::Ignored;
        }
        let dealt_with = view.resets().any_since(came) && !is_frozen(view);
        if dealt_with || view.has_failed() || view.function().handle().is_gone() {
            return Carried::Ignored;
        }
        view.function().freeze("an error");
        match claim {
            Some(claim) => Carried::Recovered(self.recover_claimed(token, claim, view, deadline)),
            None => Carried::Contained,
        }
    }

    fn user(&self, view: &View) -> User {
        if view.has_failed() {
            return User::Failed;
        }
        // Who cannot say is to be left alone.
        contained(|| self.unit().user(view.function())).unwrap_or(User::PassedThrough)
    }
}

/// Nothing reaches the device from here on, and no recovery is tried but an operator's.
fn lose(view: &View, why: &str) {
    view.set_failed();
    view.function().freeze(why);
}
