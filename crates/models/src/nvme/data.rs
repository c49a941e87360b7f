//! Moving the data of commands: finding it in guest memory, holding it, copying it.

use assign::{DmaAccess, DmaError};
use nvme_spec::Status;
use nvme_spec::command::SubmissionEntry;

use super::engine::Cx;
use super::io::Io;
use super::limits::{MAX_TRANSFER, PAGE, PAGE_LEN};
use super::prp::{Walk, WalkError};
use super::transfer::Transfer;

/// What follows the end of a log page.
static ZEROS: [u8; PAGE_LEN] = [0; PAGE_LEN];

impl Io {
    /// Copies the data of an admin command to guest memory.
    pub(super) fn write_to_guest(
        &mut self,
        cx: &Cx<'_>,
        entry: &SubmissionEntry,
        data: &[u8],
    ) -> Result<(), Status> {
        self.write_padded_to_guest(cx, entry, data, data.len() as u64)
    }

    /// The same, of `len` bytes: zeros follow the data if that is longer.
    pub(super) fn write_padded_to_guest(
        &mut self,
        cx: &Cx<'_>,
        entry: &SubmissionEntry,
        data: &[u8],
        len: u64,
    ) -> Result<(), Status> {
        walk_data(&mut self.walk, cx, entry, len)?;
        let mut rest = data;
        for segment in self.walk.segments() {
            let mut at = segment.iova;
            let mut left = segment.len;
            while left > 0 {
                let piece = if rest.is_empty() { &ZEROS[..] } else { rest };
                #[expect(clippy::cast_possible_truncation, reason = "at most the largest transfer")]
                let now = &piece[..piece.len().min(left as usize)];
                cx.dma.write(cx.pass, at, now).map_err(transfer_error)?;
                at += now.len() as u64;
                left -= now.len() as u64;
                rest = rest.get(now.len()..).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Copies the data of an admin command into `data`.
    pub(super) fn read_from_guest(
        &mut self,
        cx: &Cx<'_>,
        entry: &SubmissionEntry,
        data: &mut [u8],
    ) -> Result<(), Status> {
        read_data(&mut self.walk, cx, entry, data)
    }
}

/// Walks a command's data pointer; the segments are in `walk` then.
#[inline]
pub(super) fn walk_data(
    walk: &mut Walk,
    cx: &Cx<'_>,
    entry: &SubmissionEntry,
    len: u64,
) -> Result<(), Status> {
    if len > MAX_TRANSFER {
        return Err(Status::INVALID_FIELD);
    }
    let read_list = |iova, list: &mut [u8]| cx.dma.read(cx.pass, iova, list);
    walk.run(entry.prp1.get(), entry.prp2.get(), len, read_list).map_err(|error| match error {
        WalkError::Offset => Status::PRP_OFFSET_INVALID,
        WalkError::TooLong => Status::INVALID_FIELD,
        WalkError::Unreadable(error) => transfer_error(error),
    })
}

/// Copies a command's data into `data`.
pub(super) fn read_data(
    walk: &mut Walk,
    cx: &Cx<'_>,
    entry: &SubmissionEntry,
    data: &mut [u8],
) -> Result<(), Status> {
    walk_data(walk, cx, entry, data.len() as u64)?;
    let mut rest = data;
    for segment in walk.segments() {
        #[expect(clippy::cast_possible_truncation, reason = "at most the largest transfer")]
        let (now, later) = rest.split_at_mut_checked(segment.len as usize).ok_or(Status::INTERNAL_ERROR)?;
        cx.dma.read(cx.pass, segment.iova, now).map_err(transfer_error)?;
        rest = later;
    }
    Ok(())
}

/// Adds a segment to a transfer, in pieces if it spans mappings. Mappings consist of whole pages.
pub(super) fn hold(
    cx: &Cx<'_>,
    transfer: &mut Transfer,
    iova: u64,
    len: u64,
    access: DmaAccess,
) -> Result<(), DmaError> {
    if let Ok(slice) = cx.dma.resolve(cx.pass, iova, len, access) {
        transfer.add(&slice);
        return Ok(());
    }
    let (mut at, mut left) = (iova, len);
    while left > 0 {
        let piece = left.min(PAGE - at % PAGE);
        transfer.add(&cx.dma.resolve(cx.pass, at, piece, access)?);
        at = at.wrapping_add(piece);
        left -= piece;
    }
    Ok(())
}

/// What a command is answered whose data cannot be moved.
pub(super) fn transfer_error(_: DmaError) -> Status {
    Status::DATA_TRANSFER_ERROR
}
