//! The files that memory lies in: made, copied, filled, emptied.
//!
//! All of it is bounded by what is allocated, or by the range it is asked for. A client that has the descriptor may allocate
//! and free pages meanwhile; what is copied of those is either.

use super::injection;
use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, SeekFrom, fallocate, fcntl_add_seals, ftruncate, memfd_create,
    seek,
};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;

/// Bytes moved at a time: they stay in a cache of the second level.
const PIECE: usize = 128 << 10;
/// What hidden memory reads as.
static ONES: [u8; PIECE] = [0xff; PIECE];

/// A file of `length` bytes of zeroes that takes no memory. Nobody can make it shorter or longer, nor forbid writing.
///
/// # Errors
/// What the system says: no descriptor or no memory left, or `length` is more than a file can have.
pub(super) fn make(name: &str, length: u64) -> io::Result<File> {
    injection::step()?;
    let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, length)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(File::from(file))
}

/// Makes `range` of `to` what it is in `from`. Copies only what is allocated, and frees the rest.
///
/// # Errors
/// What the system says, for want of memory; a part may have been copied then.
pub(super) fn copy(from: impl AsFd, to: impl AsFd, range: Range<u64>) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let data = next(&from, SeekFrom::Data(at), range.end)?;
        empty(&to, at..data)?;
        // Who frees the page meanwhile makes this an empty extent; it is copied as a page of zeroes.
        let hole = next(&from, SeekFrom::Hole(data), range.end)?.max(data + 1).min(range.end);
        if buffer.is_empty() && data < hole {
            buffer.resize(PIECE, 0);
        }
        copy_extent(&from, &to, data..hole, &mut buffer)?;
        at = hole;
    }
    Ok(())
}

fn copy_extent(from: impl AsFd, to: impl AsFd, extent: Range<u64>, buffer: &mut [u8]) -> io::Result<()> {
    let mut at = extent.start;
    while at < extent.end {
        let piece = clip(buffer.len(), extent.end - at);
        let read = retry_on_intr(|| pread(&from, &mut buffer[..piece], at))?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        write_all(&to, &buffer[..read], at)?;
        at += read as u64;
    }
    Ok(())
}

/// Makes `range` read as all-ones.
///
/// # Errors
/// What the system says, for want of memory; a part may have been filled then.
pub(super) fn fill(file: impl AsFd, range: Range<u64>) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let piece = clip(PIECE, range.end - at);
        write_all(&file, &ONES[..piece], at)?;
        at += piece as u64;
    }
    Ok(())
}

/// Makes `range` read as zeroes and gives its memory back to the system. Whoever has it mapped faults at the next access.
///
/// # Errors
/// What the system says.
pub(super) fn empty(file: impl AsFd, range: Range<u64>) -> io::Result<()> {
    if range.start >= range.end {
        return Ok(());
    }
    injection::step()?;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(retry_on_intr(|| fallocate(&file, flags, range.start, range.end - range.start))?)
}

/// The next data or hole, at most `end`. The position of the descriptor, which a client shares, does not matter.
fn next(file: impl AsFd, from: SeekFrom, end: u64) -> io::Result<u64> {
    injection::step()?;
    match seek(file, from) {
        Ok(at) => Ok(at.min(end)),
        // No data up to the end.
        Err(Errno::NXIO) => Ok(end),
        Err(error) => Err(error.into()),
    }
}

fn write_all(file: impl AsFd, mut data: &[u8], mut at: u64) -> io::Result<()> {
    while !data.is_empty() {
        injection::step()?;
        let written = retry_on_intr(|| pwrite(&file, data, at))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        data = data.get(written..).unwrap_or_default();
        at += written as u64;
    }
    Ok(())
}

fn clip(most: usize, left: u64) -> usize {
    usize::try_from(left).unwrap_or(most).min(most)
}
