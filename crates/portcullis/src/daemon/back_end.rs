//! What becomes of a remote function when its back end is lost, returns, or fails for good.
//!
//! In `replay` the function goes on answering, so nothing is done to it but in the end. In the other modes what died is the device: its
//! PE is frozen while the back end is away, and recovered, with a reset, once there is another. A failure for good takes the
//! card out, and its clients go on with a tombstone.

use std::sync::{Arc, OnceLock, Weak};

use ::slot::Controller;
use assign::Assignment;
use contain::containment::Then;
use contain::pe::{Held, Holder};
use gate::ThreadToken;
use pci_spec::Bdf;
use remote::config::Mode;
use remote::{Told, Watch};

use super::containment::Contained;
use crate::control::stream::Severity;
use crate::events::Journal;
use crate::events::kinds::back_end as kinds;

/// Who owns the function at a place, once the slot is made.
pub(super) struct Owner {
    /// Its slot, which has the place.
    pub(super) controller: Weak<Controller>,
    /// Containment, which has the machine, which has the function.
    pub(super) contained: Weak<Contained>,
}

/// See the module's head.
pub(super) struct Overseer {
    /// Name of the place.
    pub(super) name: String,
    pub(super) address: Bdf,
    pub(super) mode: Mode,
    pub(super) journal: Arc<Journal>,
    pub(super) owner: Arc<OnceLock<Owner>>,
    /// Set when it is built.
    pub(super) assignment: OnceLock<Weak<Assignment>>,
}

impl Overseer {
    /// It was built, and not earlier.
    pub(super) fn belongs_to(&self, assignment: &Arc<Assignment>) {
        // Built once.
        let _ = self.assignment.set(Arc::downgrade(assignment));
    }

    fn tell_journal(&self, kind: &'static str, severity: Severity, text: impl Into<String>) {
        self.journal.slot(&self.name, kind, severity, text);
    }

    fn contained(&self) -> Option<Arc<Contained>> {
        self.owner.get()?.contained.upgrade()
    }

    /// The PE of the function, if the function is this one.
    fn pe(&self, token: &mut ThreadToken, contained: &Contained) -> Option<Held> {
        contained.follow(token);
        let assignment = self.assignment.get()?.upgrade()?;
        let found = contained.containment.tree().of_function(token, self.address, Holder::Operator);
        let (pe, function) = found?;
        Arc::ptr_eq(&function.function, assignment.function()).then_some(pe)
    }

    fn freeze(&self, token: &mut ThreadToken) {
        let Some(contained) = self.contained() else { return };
        let Some(pe) = self.pe(token, &contained) else { return };
        let frozen = contained.containment.freeze(token, pe.address(), "its back end is gone", Then::Stay);
        if let Err(error) = frozen {
            tracing::warn!(function = self.name, "its PE was not frozen: {error}");
        }
    }

    fn recover(&self, token: &mut ThreadToken) {
        let Some(contained) = self.contained() else { return };
        if !contained.containment.recovers() {
            return;
        }
        let Some(pe) = self.pe(token, &contained) else { return };
        if let Err(error) = contained.containment.recover(token, pe.address()) {
            tracing::warn!(function = self.name, "its PE is not recovered: {error}");
        }
    }

    /// Takes the card out. False: it is not in, or on its way out already.
    fn fail(&self) -> bool {
        let assignment = self.assignment.get().and_then(Weak::upgrade);
        let controller = self.owner.get().and_then(|owner| owner.controller.upgrade());
        match (assignment, controller) {
            (Some(assignment), Some(controller)) => controller.fail(assignment.function()),
            _ => false,
        }
    }
}

impl Watch for Overseer {
    fn tell(&self, token: &mut ThreadToken, told: Told) {
        let replays = self.mode == Mode::Replay;
        match told {
            Told::Lost { loss } => {
                self.tell_journal(kinds::LOST, Severity::Warning, format!("the back end is lost: {loss}"));
                if !replays {
                    self.freeze(token);
                }
            }
            Told::Fenced { how } => self.tell_journal(kinds::FENCED, Severity::Info, how.to_string()),
            Told::Restarting => {
                self.tell_journal(kinds::RESTARTED, Severity::Info, "the command that starts it again runs");
            }
            // As many as there are attempts; `portcullis backend` shows them.
            Told::Retry { .. } => {}
            Told::Returned { pause, re_executed, refused } => {
                let lost = if refused == 0 {
                    String::new()
                } else {
                    format!(", {refused} answered with an error, as they could not be")
                };
                let ms = pause.as_secs_f64() * 1e3;
                let text = format!(
                    "the back end is back: it was away for {ms:.1} ms; {re_executed} commands executed again{lost}"
                );
                let severity = if refused == 0 { Severity::Info } else { Severity::Warning };
                self.tell_journal(kinds::RETURNED, severity, text);
                if !replays {
                    self.recover(token);
                }
            }
            Told::Differs { differences } => {
                let list = differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                let text = format!("what answers now is not what it was: {list}");
                self.tell_journal(kinds::DIFFERS, Severity::Warning, text);
            }
            Told::Failed { why } => {
                let text = format!("the back end failed for good: {why}; its card is taken out");
                // Told first: what follows from it is told too.
                self.tell_journal(kinds::FAILED, Severity::Warning, text);
                if !self.fail() {
                    tracing::warn!(function = self.name, "its card is not up, or is on its way out already");
                }
            }
        }
    }
}
