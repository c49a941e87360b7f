//! Attaching and leaving.
//!
//! A function that was frozen, because DMA did not end when its memory was unmapped, stays frozen when its client
//! leaves. The next client's attach resets it: once what was in flight has ended the reset succeeds, thaws it, and
//! the client is served. Otherwise the client is refused and may come back.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gate::{CloseError, Deadline, GateState, ThreadToken};
use pci_core::{ErrorSign, ResetError, ResetKind};
use pci_spec::Command;
use thiserror::Error;

use super::Assignment;
use super::outcome::{access_failed, reset_failed};
use super::share::Answer;
use crate::dma::Unmapped;
use crate::error::{Errno, RequestError};
use crate::event::Event;

/// Why a consumer could not attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AttachError {
    /// Another consumer has the function, or has not finished leaving it.
    #[error("the function is in use")]
    Busy,
    /// The function cannot be used now.
    #[error("the function cannot be opened: {0}")]
    Refused(#[from] RequestError),
}

/// A consumer's hold on a function. Leave with [`Attached::detach`].
///
/// Dropped without (a panic, an early return), it leaves on a thread of its own; until that is done nobody else
/// can attach.
#[must_use = "dropping it detaches"]
pub struct Attached {
    assignment: Option<Arc<Assignment>>,
    /// What methods go to; the same assignment, which `assignment` empties when the hold is given up.
    pub(super) target: Arc<Assignment>,
    /// What the consumer was given of the function's memory, if it is another process.
    pub(super) answers: Vec<Answer>,
    /// How long that may wait for what the last consumer had.
    pub(super) share_until: Deadline,
}

impl Assignment {
    /// Gives the function to a consumer: bus mastering off, decoding on, as vfio's open does (VF-02). A frozen function
    /// is reset and thawed first. Takes at most `Limits::attach_timeout`.
    ///
    /// # Errors
    /// [`AttachError::Busy`]. [`AttachError::Refused`] with EBUSY: the function is frozen and what was in flight has not
    /// ended, or an error of its PE is contained, which no reset ends; with ENODEV or EIO: it is gone. Nothing has changed.
    pub fn attach(self: &Arc<Self>, token: &mut ThreadToken) -> Result<Attached, AttachError> {
        if self.attached.swap(true, Ordering::AcqRel) {
            return Err(AttachError::Busy);
        }
        if let Err(error) = self.open(token) {
            self.attached.store(false, Ordering::Release);
            self.port.report(Event::AttachRefused { reason: error.reason });
            return Err(AttachError::Refused(error));
        }
        self.port.report(Event::ClientAttached);
        let share_until = Deadline::after(self.limits.access_timeout);
        Ok(Attached {
            assignment: Some(Arc::clone(self)),
            target: Arc::clone(self),
            answers: Vec::new(),
            share_until,
        })
    }

    fn open(&self, token: &mut ThreadToken) -> Result<(), RequestError> {
        let deadline = Deadline::after(self.limits.attach_timeout);
        if self.function.gate().status().state == GateState::Frozen {
            self.recover(token, deadline)?;
        }
        self.set_command(token, Command::MEMORY_SPACE | Command::IO_SPACE, Command::BUS_MASTER, deadline)
    }

    /// Thaws a frozen function by a reset. What a former client's I/O still holds must be given back before: the kernel
    /// may have pinned its pages, and nobody can tell a reset device from one that still moves data.
    fn recover(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), RequestError> {
        const CONTAINED: RequestError =
            RequestError::new(Errno::EBUSY, "its PE is frozen; it can be attached when it has recovered");
        const IN_FLIGHT: RequestError =
            RequestError::new(Errno::EBUSY, "the function is frozen and what was in flight has not ended");
        if self.function.is_contained() {
            return Err(CONTAINED);
        }
        if !self.port.dma().wait_for_orphans(token, deadline) {
            return Err(IN_FLIGHT);
        }
        match self.function.reset(token, ResetKind::DeviceReset, deadline) {
            Ok(()) => {}
            Err(ResetError::NotQuiesced { cause: CloseError::Gone, .. }) => {
                return Err(RequestError::new(Errno::ENODEV, "the function is gone"));
            }
            Err(error @ ResetError::DevicePanicked(_)) => return Err(reset_failed(&error)),
            Err(_) => return Err(IN_FLIGHT),
        }
        self.port.report(Event::Reset { reason: "a client attached to the frozen function" });
        // An access that was stuck may have kept the table of the former client in place.
        self.port.dma().publish(token, deadline).map_err(|_| IN_FLIGHT)
    }

    /// Drops what the consumer brought, and takes back what it was given; the device's state stays. How many of its
    /// mappings are left over as orphans.
    fn leave(&self, token: &mut ThreadToken, given: Vec<Answer>, by: Deadline) -> usize {
        // Best effort: a function that is frozen or gone has its DMA cut off already.
        let command = Deadline::after(self.limits.access_timeout).min(by);
        let _ = self.set_command(token, Command::empty(), Command::BUS_MASTER, command);
        let deadline = Deadline::after(self.limits.detach_timeout).min(by);
        match self.port.interrupts().clear(token, deadline) {
            Ok(()) | Err(CloseError::Gone) => {}
            Err(error) => {
                let function = self.function.name();
                tracing::warn!(function, %error, "eventfds of the last client were cut off, not taken out");
            }
        }
        let orphans = match self.port.dma().unmap(token, None, deadline) {
            Ok(unmapped) => {
                let stuck = "an access of the device did not end when its client left";
                if let Some(reason) = unmapped.elsewhere.or(unmapped.pass_stuck.then_some(stuck)) {
                    self.port.freeze_for(token, reason, ErrorSign::DeviceFault(reason));
                }
                self.report_orphans(&unmapped);
                unmapped.orphans.len()
            }
            Err(_) => 0,
        };
        self.take_back(token, given, deadline);
        self.attached.store(false, Ordering::Release);
        self.port.report(Event::ClientDetached { orphans });
        orphans
    }

    pub(super) fn report_orphans(&self, unmapped: &Unmapped) {
        for &(iova, size, held) in &unmapped.orphans {
            self.port.report(Event::DmaOrphaned { iova, size, held });
        }
    }

    fn set_command(
        &self,
        token: &mut ThreadToken,
        set: Command,
        clear: Command,
        deadline: Deadline,
    ) -> Result<(), RequestError> {
        self.write_command(token, (self.function.config().command() | set) - clear, deadline)
    }

    pub(super) fn write_command(
        &self,
        token: &mut ThreadToken,
        command: Command,
        deadline: Deadline,
    ) -> Result<(), RequestError> {
        let bytes = command.bits().to_le_bytes();
        let written = self.function.write_config(token, pci_spec::config::COMMAND, &bytes, deadline);
        written.map(drop).map_err(|error| match access_failed(&error) {
            Ok(()) => RequestError::new(Errno::EIO, "the function is frozen or gone"),
            Err(error) => error,
        })
    }
}

impl Attached {
    /// Leaves: drops the DMA map, the eventfds and what was shared of the function's memory, and waits, at most
    /// `Limits::detach_timeout`, for DMA in flight. What is left then keeps its addresses as an orphan, which an event tells of. The device's state stays.
    pub fn detach(self, token: &mut ThreadToken) {
        let deadline = Deadline::after(self.target.limits.detach_timeout);
        self.detach_by(token, deadline);
    }

    /// As [`Attached::detach`], but waits no longer than until `deadline`. Of a function that is gone everything is taken
    /// away at once: no more of its DMA reaches the consumer's memory, and no interrupt its eventfds.
    ///
    /// How many mappings are left over as orphans.
    pub fn detach_by(mut self, token: &mut ThreadToken, deadline: Deadline) -> usize {
        let given = std::mem::take(&mut self.answers);
        self.assignment.take().map_or(0, |assignment| assignment.leave(token, given, deadline))
    }
}

impl Deref for Attached {
    type Target = Assignment;

    fn deref(&self) -> &Assignment {
        &self.target
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let Some(assignment) = self.assignment.take() else { return };
        let given = std::mem::take(&mut self.answers);
        let leaving = std::thread::Builder::new().name("detach".into()).spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            let deadline = Deadline::after(assignment.limits.detach_timeout);
            assignment.leave(&mut token, given, deadline);
        });
        if let Err(error) = leaving {
            tracing::error!(%error, "a client could not be detached; its function stays in use");
        }
    }
}
