//! Copies of any length, in the pieces that instructions can move (ZP-14).

use super::fault::{Fault, ProgramCheck};
use super::operand::{BLOCK_UNIT, PAGE, SINGLE};
use super::request::{AddressSpace, Request};
use crate::handle::Handle;
use crate::zpci::Zpci;
use gate::{Deadline, ThreadToken};

/// A function as a driver in this process reaches it: by a handle, with instructions, waiting while it is busy.
///
/// Stands for one handle: when that is stale, all ends with [`Fault::InvalidHandle`], and
/// [`Event::Handle`](crate::Event::Handle) has told the next one.
#[derive(Clone, Copy)]
pub struct Accessor<'z> {
    zpci: &'z Zpci,
    handle: Handle,
}

impl Zpci {
    /// The function that `handle` names, for a driver.
    #[must_use]
    pub fn accessor(&self, handle: Handle) -> Accessor<'_> {
        Accessor { zpci: self, handle }
    }
}

impl Accessor<'_> {
    /// The handle that it names the function by.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Reads `data.len()` bytes at `offset`, in loads of 8, 4, 2 and 1 aligned bytes (4 at most from configuration space), one
    /// after the other: what comes between them is between them. All of them share the deadline.
    ///
    /// # Errors
    /// [`Fault`] of the first piece that was not read; `data` is all-ones from there on.
    pub fn read(
        &self,
        token: &mut ThreadToken,
        space: AddressSpace,
        offset: u64,
        data: &mut [u8],
        deadline: Deadline,
    ) -> Result<(), Fault> {
        let mut rest = data;
        let copied = self.read_pieces(token, (space, offset), &mut rest, deadline);
        if copied.is_err() {
            rest.fill(0xff);
        }
        copied
    }

    /// Writes `data` at `offset`: all that is aligned to 8 bytes as blocks, each as long as the function takes and within
    /// 4 KiB, and the rest in stores of 4, 2 and 1 aligned bytes. In configuration space there are no blocks. All share the
    /// deadline.
    ///
    /// # Errors
    /// [`Fault`] of the first piece that was not written; what comes after it was not written either.
    pub fn write(
        &self,
        token: &mut ThreadToken,
        space: AddressSpace,
        offset: u64,
        data: &[u8],
        deadline: Deadline,
    ) -> Result<(), Fault> {
        let end = end(offset, data.len())?;
        let view = self.zpci.by_handle(token, self.handle).ok_or(Fault::InvalidHandle)?;
        let (mut at, mut rest) = (offset, data);
        while at < end {
            let block = if space == AddressSpace::CONFIG { 0 } else { block(at, end - at, view.max_store()) };
            let length = if block > 0 { block } else { single(at, end - at, space) };
            let (piece, tail) = rest.split_at_checked(usize::from(length)).ok_or(ProgramCheck::Length)?;
            let request = Request::new(self.handle, space, length);
            if block > 0 {
                view.store_block(token, request, at, piece, deadline)?;
            } else {
                view.store(token, request, at, value(piece), deadline)?;
            }
            (at, rest) = (at + u64::from(length), tail);
        }
        Ok(())
    }

    /// Writes `data` at `offset` as one block.
    ///
    /// # Errors
    /// [`Fault`]: among others, of a block that is longer than the function takes.
    pub fn store_block(
        &self,
        token: &mut ThreadToken,
        space: AddressSpace,
        offset: u64,
        data: &[u8],
        deadline: Deadline,
    ) -> Result<(), Fault> {
        let length = u16::try_from(data.len()).map_err(|_| ProgramCheck::TooLong)?;
        self.zpci.store_block(token, Request::new(self.handle, space, length), offset, data, deadline)
    }

    /// Leaves in `rest` what was not read.
    fn read_pieces(
        &self,
        token: &mut ThreadToken,
        (space, offset): (AddressSpace, u64),
        rest: &mut &mut [u8],
        deadline: Deadline,
    ) -> Result<(), Fault> {
        let end = end(offset, rest.len())?;
        let view = self.zpci.by_handle(token, self.handle).ok_or(Fault::InvalidHandle)?;
        let mut at = offset;
        while at < end {
            let length = single(at, end - at, space);
            let value = view.load(token, Request::new(self.handle, space, length), at, deadline)?;
            let bytes = value.to_le_bytes();
            let piece = bytes.get(..usize::from(length)).ok_or(ProgramCheck::Length)?;
            rest.split_off_mut(..piece.len()).ok_or(ProgramCheck::Length)?.copy_from_slice(piece);
            at += u64::from(length);
        }
        Ok(())
    }
}

/// The end of a copy, which is not more than there are addresses.
fn end(offset: u64, length: usize) -> Result<u64, ProgramCheck> {
    let length = u64::try_from(length).map_err(|_| ProgramCheck::Outside)?;
    offset.checked_add(length).ok_or(ProgramCheck::Outside)
}

/// The longest aligned single access at `at` of `left` bytes, which are not 0.
fn single(at: u64, left: u64, space: AddressSpace) -> u16 {
    let most = if space == AddressSpace::CONFIG { 4 } else { SINGLE };
    let mut length = most;
    while length > 1 && (length > left || !at.is_multiple_of(length)) {
        length /= 2;
    }
    u16::try_from(length).unwrap_or(1)
}

/// The longest block at `at` of `left` bytes; 0 if there is none.
fn block(at: u64, left: u64, max_store: u16) -> u16 {
    if !at.is_multiple_of(BLOCK_UNIT) {
        return 0;
    }
    let within = left.min(PAGE - at % PAGE).min(max_store.into());
    u16::try_from(within - within % BLOCK_UNIT).unwrap_or(0)
}

/// Up to 8 bytes as an instruction takes them.
fn value(piece: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(bytes)
}
