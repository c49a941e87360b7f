//! The way into a buffer of a peer.

use std::sync::Arc;

use gate::{Deadline, ThreadToken};
use zpci::{AddressSpace, Fault, Handle, Status};

use super::super::command::{Command, Outcome};
use super::super::layout::{Register, window_offset};
use super::super::moves::Refused;
use super::super::pci::WINDOW_BAR;
use super::error::HostError;
use super::interface::{Interface, is_lost};
use super::{TIMEOUT, commands};

/// A block lies within this many aligned bytes (ZP-14).
const PAGE: u64 = 4096;

/// An open channel. Give it back with [`Channel::close`]; one that is dropped stays open as long as the function is there.
#[derive(Debug)]
#[must_use = "dropped, it stays open as long as the function is there"]
pub struct Channel {
    interface: Arc<Interface>,
    handle: Handle,
    number: u16,
    length: u64,
    open: bool,
}

impl Channel {
    /// `opened` is what the command gave back.
    pub(super) fn new(interface: Arc<Interface>, handle: Handle, opened: u64) -> Channel {
        let number = u16::try_from(opened & 0xffff_ffff).unwrap_or(u16::MAX);
        Channel { interface, handle, number, length: opened >> 32, open: true }
    }

    /// Bytes of the peer's buffer.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Writes `data` at `offset` of the buffer, in blocks as long as the function takes; with `signal` the last of them tells the
    /// peer. All of them share a deadline. Several threads' blocks may come between.
    ///
    /// # Errors
    /// [`HostError::Range`]: nothing was moved. [`HostError::Refused`]: why a block was not, as far as can be told while other
    /// threads move too; the blocks before it were. [`HostError::Instruction`] otherwise.
    pub fn send(
        &self,
        token: &mut ThreadToken,
        offset: u64,
        data: &[u8],
        signal: bool,
    ) -> Result<(), HostError> {
        let length = data.len() as u64;
        if !offset.is_multiple_of(8)
            || !length.is_multiple_of(8)
            || length > self.length.saturating_sub(offset)
        {
            return Err(HostError::Range);
        }
        let deadline = Deadline::after(TIMEOUT);
        let longest = u64::from(self.interface.view().max_store()).max(8);
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let block = (rest.len() as u64).min(longest).min(PAGE - at % PAGE);
            let (now, later) = rest.split_at(usize::try_from(block).unwrap_or(rest.len()));
            self.store(token, at, now, signal && later.is_empty(), deadline)?;
            (at, rest) = (at + block, later);
        }
        Ok(())
    }

    /// Signals the peer, without moving anything.
    ///
    /// # Errors
    /// [`HostError`]
    pub fn signal(&self, token: &mut ThreadToken) -> Result<(), HostError> {
        self.check_open()?;
        let command = Command::Signal { channel: self.number.into() };
        self.interface.ask(token, self.handle, command).map(drop)
    }

    /// Closes it. If the driver was to let the function go and this was its last use, it does. Nothing happens the second time.
    ///
    /// # Errors
    /// [`HostError::CommandUnderWay`], or an instruction that failed: the channel is as it was, to be closed again.
    pub fn close(&mut self, token: &mut ThreadToken) -> Result<(), HostError> {
        if !self.open {
            return Ok(());
        }
        let close = Command::CloseChannel { channel: self.number.into() };
        match self.interface.ask(token, self.handle, close) {
            Err(HostError::Command(Outcome::NoChannel)) => {}
            Err(error) if !is_lost(&error) => return Err(error),
            Ok(_) | Err(_) => {}
        }
        self.open = false;
        self.interface.end_use(token);
        Ok(())
    }

    fn store(
        &self,
        token: &mut ThreadToken,
        at: u64,
        block: &[u8],
        signals: bool,
        deadline: Deadline,
    ) -> Result<(), HostError> {
        self.check_open()?;
        let accessor = self.interface.zpci().accessor(self.handle);
        let offset = window_offset(self.number, at, signals);
        let stored =
            accessor.store_block(token, AddressSpace::from_code(WINDOW_BAR), offset, block, deadline);
        stored.map_err(|fault| match fault {
            Fault::Error(Status::NoResources | Status::NotAvailable) => self.refused(token, fault),
            _ => fault.into(),
        })
    }

    /// Why the device has refused a block.
    fn refused(&self, token: &mut ThreadToken, fault: Fault) -> HostError {
        let last = commands::load(token, self.interface.zpci(), self.handle, Register::LastRefused);
        let refused = last
            .ok()
            .filter(|last| last >> 16 == u64::from(self.number))
            .and_then(|last| Refused::from_code(u16::try_from(last & 0xffff).unwrap_or_default()));
        refused.map_or(fault.into(), HostError::from)
    }

    fn check_open(&self) -> Result<(), HostError> {
        // Once the driver has let the function go, somebody else's driver may have it.
        if self.open && !self.interface.uses().has_ended() { Ok(()) } else { Err(HostError::Ended) }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if self.open {
            self.interface.uses().abandon();
        }
    }
}
