//! Signals while somebody decides about them ([`InterruptTap`]): kept out of the way of all others.

use std::sync::Arc;

use gate::{CloseError, Deadline, Pass, ThreadToken};

use super::Interrupts;
use crate::eventfd::EventFd;
use crate::tap::{InterruptTap, InterruptVerdict};

impl Interrupts {
    /// Signals what a tap has kept back with [`InterruptVerdict::Later`], a vector or INTx (`None`), without asking it again. As
    /// [`Interrupts::signal`], and INTx only if it is still asserted and not masked.
    pub fn deliver_late(&self, pass: &Pass<'_>, vector: Option<u16>) {
        let wiring = self.wiring.get(pass);
        match vector {
            Some(vector) => self.deliver(self.message(wiring, vector)),
            None => {
                if let Some(wired) = self.line_listener(wiring) {
                    self.deliver_line(wired);
                }
            }
        }
    }

    #[cold]
    pub(super) fn deliver_tapped(&self, tap: &dyn InterruptTap, wired: Option<&Arc<EventFd>>, vector: u16) {
        // What nobody would hear is dropped as ever, and not the tap's business.
        let verdict = wired.map_or(InterruptVerdict::Deliver, |_| tap.signalled(Some(vector)));
        match verdict {
            InterruptVerdict::Deliver => self.deliver(wired),
            InterruptVerdict::Drop => self.deliver(None),
            InterruptVerdict::Twice => {
                self.deliver(wired);
                self.deliver(wired);
            }
            InterruptVerdict::Later => {}
        }
    }

    #[cold]
    pub(super) fn deliver_line_tapped(&self, tap: &dyn InterruptTap, wired: &Arc<EventFd>) {
        if !self.line.is_ready() {
            return;
        }
        match tap.signalled(None) {
            InterruptVerdict::Deliver => self.deliver_line(wired),
            InterruptVerdict::Drop => self.deliver(None),
            InterruptVerdict::Twice => {
                if self.line.take() {
                    self.deliver(Some(wired));
                    self.deliver(Some(wired));
                }
            }
            InterruptVerdict::Later => {}
        }
    }

    /// Sets or takes away who decides about signals.
    ///
    /// # Errors
    /// The gate could not be closed for a moment; the wiring that the device sees is as it was until the next change.
    pub(crate) fn tap(
        &self,
        token: &mut ThreadToken,
        tap: Option<Arc<dyn InterruptTap>>,
        deadline: Deadline,
    ) -> Result<(), CloseError> {
        let old = std::mem::replace(&mut self.control.lock(token).tap, tap);
        let published = self.publish(token, deadline);
        drop(old);
        published
    }
}
