//! The instructions from outside the gate of a function: those that never wait, and those that wait there to a deadline.

use super::fault::Fault;
use super::operand;
use super::request::{AddressSpace, Request};
use crate::handle::Handle;
use crate::view::View;
use gate::{AccessKind, Deadline, Pass, Refusal, ThreadToken, Until};

impl View {
    /// PCI LOAD at once.
    #[inline]
    pub(super) fn try_load(&self, token: &ThreadToken, request: Request, offset: u64) -> Result<u64, Fault> {
        operand::check_single(request.length, offset)?;
        match self.function().handle().try_enter(token, kind(request.space)) {
            Ok(pass) => self.load_within(&pass, request, offset),
            Err(refusal) => Err(self.load_refused(request, refusal)),
        }
    }

    /// PCI STORE to a BAR at once.
    #[inline]
    pub(super) fn try_store(
        &self,
        token: &ThreadToken,
        request: Request,
        offset: u64,
        value: u64,
    ) -> Result<(), Fault> {
        operand::check_single(request.length, offset)?;
        match self.function().handle().try_enter(token, AccessKind::Bar) {
            Ok(pass) => self.store_within(&pass, request, offset, value),
            Err(refusal) => Err(self.store_refused(request, refusal)),
        }
    }

    /// PCI STORE BLOCK at once.
    #[inline]
    pub(super) fn try_store_block(
        &self,
        token: &ThreadToken,
        request: Request,
        offset: u64,
        data: &[u8],
    ) -> Result<(), Fault> {
        operand::check_block(request.length, offset)?;
        match self.function().handle().try_enter(token, AccessKind::Bar) {
            Ok(pass) => self.store_block_within(&pass, request, offset, data),
            Err(refusal) => Err(self.store_refused(request, refusal)),
        }
    }

    /// PCI LOAD, waiting at the gate while the function is busy.
    pub(super) fn load(
        &self,
        token: &mut ThreadToken,
        request: Request,
        offset: u64,
        until: impl Until,
    ) -> Result<u64, Fault> {
        operand::check_single(request.length, offset)?;
        match self.enter(token, request, until)? {
            Ok(pass) => self.load_within(&pass, request, offset),
            Err(refusal) => Err(self.load_refused(request, refusal)),
        }
    }

    /// PCI STORE, to a BAR or a register of configuration space, waiting at the gate while the function is busy. What a register
    /// asks for is carried out, in the same time.
    pub(super) fn store(
        &self,
        token: &mut ThreadToken,
        request: Request,
        offset: u64,
        value: u64,
        until: impl Until,
    ) -> Result<(), Fault> {
        operand::check_single(request.length, offset)?;
        if request.space == AddressSpace::CONFIG {
            return self.store_config(token, request, offset, value, until.deadline());
        }
        match self.enter(token, request, until)? {
            Ok(pass) => self.store_within(&pass, request, offset, value),
            Err(refusal) => Err(self.store_refused(request, refusal)),
        }
    }

    /// PCI STORE BLOCK, waiting at the gate while the function is busy.
    pub(super) fn store_block(
        &self,
        token: &mut ThreadToken,
        request: Request,
        offset: u64,
        data: &[u8],
        until: impl Until,
    ) -> Result<(), Fault> {
        operand::check_block(request.length, offset)?;
        match self.enter(token, request, until)? {
            Ok(pass) => self.store_block_within(&pass, request, offset, data),
            Err(refusal) => Err(self.store_refused(request, refusal)),
        }
    }

    fn store_config(
        &self,
        token: &mut ThreadToken,
        request: Request,
        offset: u64,
        value: u64,
        deadline: Deadline,
    ) -> Result<(), Fault> {
        let written = match self.enter(token, request, deadline)? {
            Ok(pass) => self.store_config_within(&pass, request, offset, value)?,
            Err(refusal) => return Err(self.store_refused(request, refusal)),
        };
        written.carry_out(token, deadline)?;
        Ok(())
    }

    /// The handle is looked at before as well: nobody waits with one that is stale already.
    fn enter<'t>(
        &'t self,
        token: &'t mut ThreadToken,
        request: Request,
        until: impl Until,
    ) -> Result<Result<Pass<'t>, Refusal>, Fault> {
        let gate = self.function().handle();
        // One that is gone keeps nobody waiting, and its gate says so.
        if !gate.is_gone() {
            self.check_named(request.handle)?;
        }
        Ok(gate.enter(token, kind(request.space), until))
    }

    #[cold]
    fn load_refused(&self, request: Request, refusal: Refusal) -> Fault {
        self.function().read_was_refused(kind(request.space), &mut []);
        self.refused(request.handle, refusal)
    }

    #[cold]
    fn store_refused(&self, request: Request, refusal: Refusal) -> Fault {
        self.function().write_was_refused(kind(request.space));
        self.refused(request.handle, refusal)
    }

    /// A handle that is stale by now, and permanent error, say more than the gate does.
    fn refused(&self, handle: Handle, refusal: Refusal) -> Fault {
        let fault = refusal.into();
        if fault == Fault::Gone { fault } else { self.check_named(handle).err().unwrap_or(fault) }
    }
}

fn kind(space: AddressSpace) -> AccessKind {
    if space == AddressSpace::CONFIG { AccessKind::Config } else { AccessKind::Bar }
}
