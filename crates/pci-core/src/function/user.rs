//! The accessors of users: consumers, front ends, operators. They enter the gate, so they wait while the function is
//! blocked (CFG-09), and what a write asks for is carried out once it has left.

use super::Function;
use super::registers::Store;
use super::written::{Stored, Written};
use crate::access::{ConfigStatus, Width};
use crate::config::{CONFIG_SIZE, ConfigEffects};
use crate::error::AccessError;
use gate::{AccessKind, Deadline, Pass, ThreadToken, Until};
use pci_spec::extended::sr_iov;

impl Function {
    /// Reads configuration space; waits to `until` while the function is blocked (CFG-09). Behind a bridge the bytes are
    /// fetched in naturally aligned pieces.
    ///
    /// # Errors
    /// [`AccessError::Refused`] or [`AccessError::OutOfRange`]: `data` is all-ones. [`AccessError::Config`]: what could not
    /// be read is (CFG-03).
    pub fn read_config(
        &self,
        token: &mut ThreadToken,
        offset: u16,
        data: &mut [u8],
        until: impl Until,
    ) -> Result<(), AccessError> {
        if !is_inside(offset, data.len()) {
            return Err(self.read_refused(data, AccessError::OutOfRange));
        }
        if self.way.is_tapped()
            && let Some(answer) = self.tapped_config_read(token, offset, data)
        {
            return answer.map_err(|error| self.read_refused(data, error));
        }
        match self.handle.enter(token, AccessKind::Config, until) {
            Ok(pass) => match self.fetch(&pass, offset, data) {
                Ok(()) => {
                    self.look_at_config(pass.token(), offset, data);
                    Ok(())
                }
                // Filled already, as far as it failed.
                Err(status) => Err(self.read_refused(&mut [], status.into())),
            },
            Err(refusal) => Err(self.read_refused(data, refusal.into())),
        }
    }

    /// Writes configuration space and carries out what the write asks for; waits to the deadline while the function is
    /// blocked (CFG-09), and for a reset or a power change until what is in flight has ended.
    ///
    /// The answer tells what was asked for; a reset or a power change in it has been done. If it switches memory on
    /// or off, nothing that consumers had mapped before reaches the device any more (VF-20). What sets up virtual
    /// functions is read-only here: whoever owns the function switches them.
    ///
    /// # Errors
    /// [`AccessError::Refused`] or [`AccessError::OutOfRange`]: the write was dropped. [`AccessError::Config`]: the bytes
    /// from some register on were. [`AccessError::NotReset`] or [`AccessError::PowerNotChanged`]: it was stored, and the
    /// function is otherwise as it was. [`AccessError::StillMapped`]: it was stored, and what was mapped goes later.
    pub fn write_config(
        &self,
        token: &mut ThreadToken,
        offset: u16,
        data: &[u8],
        deadline: Deadline,
    ) -> Result<ConfigEffects, AccessError> {
        if !is_inside(offset, data.len()) {
            return Err(self.write_refused(AccessError::OutOfRange));
        }
        if self.way.is_tapped() {
            return self.tapped_config_write(token, offset, data, deadline);
        }
        self.put_config(token, offset, data, deadline)
    }

    /// Inside configuration space; whatever judges writes has done so.
    pub(super) fn put_config(
        &self,
        token: &mut ThreadToken,
        offset: u16,
        data: &[u8],
        deadline: Deadline,
    ) -> Result<ConfigEffects, AccessError> {
        let (stored, complete) = match self.handle.enter(token, AccessKind::Config, deadline) {
            Ok(pass) => self.store(&pass, offset, data),
            Err(refusal) => return Err(self.write_refused(refusal.into())),
        };
        let effects = Written::new(self, stored).carry_out(token, deadline)?;
        match complete {
            Ok(()) => Ok(effects),
            Err(status) => Err(self.write_refused(status.into())),
        }
    }

    /// Reads one register; waits to `until` while the function is blocked (CFG-09).
    ///
    /// # Errors
    /// [`AccessError`], with its error number (CFG-02); a caller that wants a value in any case uses all-ones (CFG-03).
    pub fn read_register(
        &self,
        token: &mut ThreadToken,
        register: u16,
        width: Width,
        until: impl Until,
    ) -> Result<u32, AccessError> {
        if !width.is_aligned(register) {
            return Err(self.read_refused(&mut [], AccessError::Misaligned));
        }
        if self.way.is_tapped() {
            let mut bytes = [0; 4];
            let answer = self.tapped_config_read(token, register, &mut bytes[..usize::from(width.bytes())]);
            match answer {
                None => {}
                Some(Ok(())) => return Ok(u32::from_le_bytes(bytes)),
                Some(Err(error)) => return Err(self.read_refused(&mut [], error)),
            }
        }
        match self.handle.enter(token, AccessKind::Config, until) {
            Ok(pass) => match self.load(pass.token(), register, width) {
                Ok(value) => {
                    self.look_at_register(pass.token(), register, width, value);
                    Ok(value)
                }
                Err(status) => Err(self.read_refused(&mut [], status.into())),
            },
            Err(refusal) => Err(self.read_refused(&mut [], refusal.into())),
        }
    }

    /// Writes one register and carries out what that asks for, as [`Function::write_config`] does.
    ///
    /// # Errors
    /// As [`Function::write_config`], and [`AccessError::Misaligned`].
    pub fn write_register(
        &self,
        token: &mut ThreadToken,
        register: u16,
        width: Width,
        value: u32,
        deadline: Deadline,
    ) -> Result<ConfigEffects, AccessError> {
        if !width.is_aligned(register) {
            return Err(self.write_refused(AccessError::Misaligned));
        }
        if !is_inside(register, usize::from(width.bytes())) {
            return Err(self.write_refused(ConfigStatus::BadRegisterNumber.into()));
        }
        self.write_config(token, register, &value.to_le_bytes()[..usize::from(width.bytes())], deadline)
    }

    /// Out of the way of the reads that succeed: an error is large.
    #[cold]
    #[inline(never)]
    fn read_refused(&self, data: &mut [u8], error: AccessError) -> AccessError {
        data.fill(0xff);
        self.count_read_while_frozen();
        self.dropped.config_reads.add();
        error
    }

    #[cold]
    #[inline(never)]
    fn write_refused(&self, error: AccessError) -> AccessError {
        self.dropped.config_writes.add();
        error
    }

    /// Writes one register under a pass that a consumer holds: [`Function::config_write`] without what sets up virtual
    /// functions, which is read-only here as it is to [`Function::write_config`].
    ///
    /// # Errors
    /// As [`Function::config_write`]; nothing was written.
    pub fn user_config_write(
        &self,
        pass: &Pass<'_>,
        register: u16,
        width: Width,
        value: u32,
    ) -> Result<Written<'_>, ConfigStatus> {
        self.assert_own(pass);
        self.check(register, width)?;
        let (stored, complete) =
            self.store(pass, register, &value.to_le_bytes()[..usize::from(width.bytes())]);
        complete.map(|()| Written::new(self, stored))
    }

    /// Any length within configuration space. Without a bridge in one go. A piece that fails is all-ones, and the first
    /// failure is answered.
    fn fetch(&self, pass: &Pass<'_>, offset: u16, data: &mut [u8]) -> Result<(), ConfigStatus> {
        if self.bridge().is_none() {
            self.config.read(offset, data);
            return Ok(());
        }
        let mut rest = data;
        let mut all = Ok(());
        for (register, width) in pieces(offset, rest.len()) {
            let read = self.load(pass.token(), register, width);
            let (piece, tail) = rest.split_at_mut(usize::from(width.bytes()));
            piece.copy_from_slice(&read.unwrap_or(width.all_ones()).to_le_bytes()[..piece.len()]);
            rest = tail;
            all = all.and(read.map(drop));
        }
        all
    }

    /// Any length within configuration space, without the registers that set virtual functions up: other consumers may
    /// have those (law 10).
    fn store(&self, pass: &Pass<'_>, offset: u16, data: &[u8]) -> (Stored, Result<(), ConfigStatus>) {
        let Some(layout) = self.config.sr_iov_layout() else { return self.store_all(pass, offset, data) };
        let kept = layout.at + sr_iov::CONTROL..layout.at + sr_iov::LENGTH;
        let (before, rest) = data.split_at(usize::from(kept.start.saturating_sub(offset)).min(data.len()));
        let after = rest.len().min(usize::from(kept.end.saturating_sub(offset.max(kept.start))));
        let (mut stored, mut complete) = self.store_all(pass, offset, before);
        if complete.is_ok() && after < rest.len() {
            let (more, rest) = self.store_all(pass, offset.max(kept.end), &rest[after..]);
            stored.add(more);
            complete = rest;
        }
        (stored, complete)
    }

    /// Piece by piece; ends at the first that fails. What the pieces before it ask for is asked for all the same.
    fn store_all(&self, pass: &Pass<'_>, offset: u16, data: &[u8]) -> (Stored, Result<(), ConfigStatus>) {
        if self.bridge().is_none() {
            return (self.put_bytes(pass, offset, data), Ok(()));
        }
        let mut stored = Stored::default();
        let mut rest = data;
        for (register, width) in pieces(offset, data.len()) {
            let (piece, tail) = rest.split_at(usize::from(width.bytes()));
            let mut bytes = [0; 4];
            bytes[..piece.len()].copy_from_slice(piece);
            match self.put(pass, Store { register, width, value: u32::from_le_bytes(bytes) }) {
                Ok(more) => stored.add(more),
                Err(status) => return (stored, Err(status)),
            }
            rest = tail;
        }
        (stored, Ok(()))
    }
}

fn is_inside(offset: u16, length: usize) -> bool {
    length <= CONFIG_SIZE.saturating_sub(usize::from(offset))
}

/// `length` bytes from `offset` as naturally aligned pieces of 1, 2 and 4 bytes (CFG-13). The end lies within `u16`.
fn pieces(offset: u16, length: usize) -> impl Iterator<Item = (u16, Width)> {
    let (mut at, mut left) = (offset, length);
    std::iter::from_fn(move || {
        let width = Width::widest(at, left)?;
        let piece = (at, width);
        at = at.saturating_add(width.bytes());
        left -= usize::from(width.bytes());
        Some(piece)
    })
}
