//! The instructions under a pass of the function: whoever executes one has entered, and the handle is looked at inside, where a
//! change of it that closes the gate waits. So what was named is what is reached (ZIO-I3), and nothing here waits.

use super::fault::{Fault, ProgramCheck, Status};
use super::operand;
use super::request::{Request, Space};
use crate::handle::Handle;
use crate::view::View;
use gate::{AccessKind, Pass};
use pci_core::{BarIndex, Width, Written};

impl View {
    /// PCI LOAD: the bytes in their order from the lowest of the answer on, which is zero beyond them.
    ///
    /// # Errors
    /// [`Fault`].
    #[inline]
    pub(crate) fn load_within(&self, pass: &Pass<'_>, request: Request, offset: u64) -> Result<u64, Fault> {
        operand::check_single(request.length, offset)?;
        self.check_named(request.handle)?;
        match request.space.space() {
            Some(Space::Bar(bar)) => self.load_bar(pass, bar, request.length, offset),
            Some(Space::Config) => self.load_config(pass, request.length, offset),
            None => Err(Fault::Error(Status::InvalidSpace)),
        }
    }

    /// PCI STORE to a BAR: the lowest bytes of `value` in their order. Configuration space has its own way
    /// ([`View::store_config_within`]).
    ///
    /// # Errors
    /// [`Fault`].
    #[inline]
    pub(crate) fn store_within(
        &self,
        pass: &Pass<'_>,
        request: Request,
        offset: u64,
        value: u64,
    ) -> Result<(), Fault> {
        operand::check_single(request.length, offset)?;
        self.check_named(request.handle)?;
        let Some(Space::Bar(bar)) = request.space.space() else {
            return Err(Fault::Error(Status::InvalidSpace));
        };
        let bytes = value.to_le_bytes();
        let data = bytes.get(..usize::from(request.length)).ok_or(ProgramCheck::Length)?;
        Ok(self.function().store_bar(pass, bar, offset, data)?)
    }

    /// PCI STORE to configuration space. What the write asks for is to be carried out when the pass was left.
    ///
    /// # Errors
    /// [`Fault`].
    pub(crate) fn store_config_within<'v>(
        &'v self,
        pass: &Pass<'_>,
        request: Request,
        offset: u64,
        value: u64,
    ) -> Result<Written<'v>, Fault> {
        operand::check_single(request.length, offset)?;
        self.check_named(request.handle)?;
        let (register, width) = register(request.length, offset)?;
        let [a, b, c, d, ..] = value.to_le_bytes();
        let value = u32::from_le_bytes([a, b, c, d]);
        let written = self.function().user_config_write(pass, register, width, value);
        if written.is_err() {
            self.function().write_was_refused(AccessKind::Config);
        }
        Ok(written?)
    }

    /// PCI STORE BLOCK to a BAR: `data` has the length of the request, and reaches the device as a whole.
    ///
    /// # Errors
    /// [`Fault`].
    #[inline]
    pub(crate) fn store_block_within(
        &self,
        pass: &Pass<'_>,
        request: Request,
        offset: u64,
        data: &[u8],
    ) -> Result<(), Fault> {
        operand::check_block(request.length, offset)?;
        if data.len() != usize::from(request.length) {
            return Err(Fault::Check(ProgramCheck::Length));
        }
        self.check_named(request.handle)?;
        let Some(Space::Bar(bar)) = request.space.space() else {
            return Err(Fault::Error(Status::InvalidSpace));
        };
        if request.length > self.max_store() {
            return Err(Fault::Check(ProgramCheck::TooLong));
        }
        Ok(self.function().store_block(pass, bar, offset, data)?)
    }

    /// Whether instructions that name `handle` reach the function.
    #[inline]
    pub(super) fn check_named(&self, handle: Handle) -> Result<(), Fault> {
        if self.is_named(handle) && handle.is_enabled() && !self.has_failed() {
            return Ok(());
        }
        Err(self.misnamed(handle))
    }

    /// Why not; it may be so again by now.
    #[cold]
    fn misnamed(&self, handle: Handle) -> Fault {
        if !self.is_named(handle) {
            Fault::InvalidHandle
        } else if !handle.is_enabled() {
            Fault::Error(Status::NotEnabled)
        } else {
            Fault::Error(Status::InError)
        }
    }

    #[inline]
    fn load_bar(&self, pass: &Pass<'_>, bar: BarIndex, length: u16, offset: u64) -> Result<u64, Fault> {
        let mut bytes = [0; 8];
        let data = bytes.get_mut(..usize::from(length)).ok_or(ProgramCheck::Length)?;
        self.function().load_bar(pass, bar, offset, data)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn load_config(&self, pass: &Pass<'_>, length: u16, offset: u64) -> Result<u64, Fault> {
        let (register, width) = register(length, offset)?;
        let read = self.function().config_read(pass, register, width);
        if read.is_err() {
            self.function().read_was_refused(AccessKind::Config, &mut []);
        }
        Ok(read?.into())
    }
}

/// One register of configuration space.
fn register(length: u16, offset: u64) -> Result<(u16, Width), ProgramCheck> {
    let width = match length {
        1 => Width::Byte,
        2 => Width::Word,
        4 => Width::Dword,
        _ => return Err(ProgramCheck::Length),
    };
    let register = u16::try_from(offset).map_err(|_| ProgramCheck::Outside)?;
    if width.is_aligned(register) { Ok((register, width)) } else { Err(ProgramCheck::Alignment) }
}
