//! A device's own view of its memory: one range of addresses that stays where it is as long as the memory lives.
//!
//! What lies behind the range may be exchanged, in one step and while it is in use: an access then reaches the old file or
//! the new one. Children of a fork do not have it.
//!
//! What this module does **not** do: it knows nothing of areas, and does not decide what is shown.
//!
//! # Concurrency
//! Other processes, and other threads of this one, store to the same bytes whenever they like. So bytes are reached
//! through atomics only, and no reference to plain memory is ever made.
#![allow(unsafe_code)] // Memory that is shared with other processes has no safe owner in the standard library.

use super::injection;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// The range of addresses.
#[derive(Debug)]
pub(super) struct View {
    base: NonNull<u8>,
    /// Whole pages.
    length: usize,
    /// Where the memory ends, in the last of them.
    size: usize,
}

// SAFETY: the range is owned by this value alone, belongs to no thread, and its bytes are reached through atomics only.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    /// Maps all `length` bytes of `file`, which never gets shorter, for a memory of `size` bytes, which is at most that. Takes
    /// no memory: pages are allocated when they are written.
    ///
    /// # Errors
    /// What the system says: no address space or no mappings left.
    pub(super) fn new(file: &OwnedFd, length: usize, size: usize) -> io::Result<View> {
        injection::step()?;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base =
            unsafe { mmap(std::ptr::null_mut(), length, READ_WRITE, MapFlags::SHARED | LAZY, file, 0) }?;
        let base = NonNull::new(base.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let view = View { base, length, size: size.min(length) };
        view.keep_from_children(0..length)?;
        Ok(view)
    }

    /// A page of zeroes that nobody else has, for a memory that the device does not reach.
    ///
    /// # Errors
    /// As [`View::new`].
    pub(super) fn nothing() -> io::Result<View> {
        let length = rustix::param::page_size();
        let flags = MapFlags::PRIVATE | LAZY;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), length, READ_WRITE, flags) }?;
        let base = NonNull::new(base.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(View { base, length, size: 0 })
    }

    /// Shows `file`, from `range.start` on, in `range` from now on.
    ///
    /// # Errors
    /// What the system says; `range` shows what it did.
    pub(super) fn show(&self, range: Range<usize>, file: BorrowedFd<'_>) -> io::Result<()> {
        let (at, length) = self.part(&range)?;
        injection::step()?;
        let flags = MapFlags::SHARED | MapFlags::FIXED | LAZY;
        // SAFETY: `part` says that the range is ours. Its bytes are reached through atomics only, for which any bytes will
        // do, and the file is as long as the view.
        unsafe { mmap(at.as_ptr().cast(), length, READ_WRITE, flags, file, range.start as u64) }?;
        // Without effect on this process; a child that kept it would reach the device's memory, as it may reach any other.
        let _ = self.keep_from_children(range);
        Ok(())
    }

    /// Shows memory of zeroes that nobody else has, in the whole view.
    ///
    /// # Errors
    /// As [`View::show`].
    pub(super) fn show_nothing(&self) -> io::Result<()> {
        injection::step()?;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | LAZY;
        // SAFETY: as in `show`; the range is the whole view.
        unsafe { mmap_anonymous(self.base.as_ptr().cast(), self.length, READ_WRITE, flags) }?;
        let _ = self.keep_from_children(0..self.length);
        Ok(())
    }

    /// Fills `data` with the bytes from `offset` on, which all lie in the view, in as few accesses as alignment allows.
    pub(super) fn read(&self, offset: usize, data: &mut [u8]) {
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() && at < self.length {
            // SAFETY: `at` is inside the view, by at least the width that is chosen.
            let address = unsafe { self.base.add(at) }.as_ptr();
            let width = width(at, rest.len().min(self.length - at));
            let (piece, after) = rest.split_at_mut(width);
            // SAFETY: mapped as long as `self` lives; aligned, for the view begins at a page; only atomics reach it.
            unsafe {
                match width {
                    8 => piece.copy_from_slice(
                        &AtomicU64::from_ptr(address.cast()).load(Ordering::Acquire).to_ne_bytes(),
                    ),
                    4 => piece.copy_from_slice(
                        &AtomicU32::from_ptr(address.cast()).load(Ordering::Acquire).to_ne_bytes(),
                    ),
                    2 => piece.copy_from_slice(
                        &AtomicU16::from_ptr(address.cast()).load(Ordering::Acquire).to_ne_bytes(),
                    ),
                    _ => piece.fill(AtomicU8::from_ptr(address).load(Ordering::Acquire)),
                }
            }
            rest = after;
            at += width;
        }
    }

    /// Stores `data` from `offset` on, all of which lies in the view, in as few accesses as alignment allows.
    pub(super) fn write(&self, offset: usize, data: &[u8]) {
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() && at < self.length {
            // SAFETY: as in `read`.
            let address = unsafe { self.base.add(at) }.as_ptr();
            let width = width(at, rest.len().min(self.length - at));
            let (piece, after) = rest.split_at(width);
            // SAFETY: as in `read`.
            unsafe {
                match *piece {
                    [a, b, c, d, e, f, g, h] => AtomicU64::from_ptr(address.cast())
                        .store(u64::from_ne_bytes([a, b, c, d, e, f, g, h]), Ordering::Release),
                    [a, b, c, d] => AtomicU32::from_ptr(address.cast())
                        .store(u32::from_ne_bytes([a, b, c, d]), Ordering::Release),
                    [a, b] => AtomicU16::from_ptr(address.cast())
                        .store(u16::from_ne_bytes([a, b]), Ordering::Release),
                    _ => piece
                        .iter()
                        .for_each(|byte| AtomicU8::from_ptr(address).store(*byte, Ordering::Release)),
                }
            }
            rest = after;
            at += width;
        }
    }

    /// The dword at `offset`; `None` if it is misaligned or not in the memory.
    #[inline]
    pub(super) fn dword(&self, offset: usize) -> Option<&AtomicU32> {
        let end = offset.checked_add(size_of::<u32>())?;
        if end > self.size || !offset.is_multiple_of(size_of::<u32>()) {
            return None;
        }
        // SAFETY: inside, aligned, mapped as long as `self` lives; only atomics reach it.
        Some(unsafe { AtomicU32::from_ptr(self.base.add(offset).as_ptr().cast()) })
    }

    /// The address and length of `range`, if that is a part of the view that is not empty.
    fn part(&self, range: &Range<usize>) -> io::Result<(NonNull<u8>, usize)> {
        if range.start >= range.end || range.end > self.length {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: inside the view.
        Ok((unsafe { self.base.add(range.start) }, range.end - range.start))
    }

    fn keep_from_children(&self, range: Range<usize>) -> io::Result<()> {
        let (at, length) = self.part(&range)?;
        // SAFETY: advice on a range of ours that changes nothing in this process.
        Ok(unsafe { madvise(at.as_ptr().cast(), length, Advice::LinuxDontFork) }?)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and nothing refers to it any more. A failure leaks address space only.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.length) };
    }
}

const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);
const LAZY: MapFlags = MapFlags::NORESERVE;

/// The widest aligned access at offset `at` of at most `left` bytes, which are not 0.
fn width(at: usize, left: usize) -> usize {
    [8, 4, 2].into_iter().find(|width| at.is_multiple_of(*width) && left >= *width).unwrap_or(1)
}

/// Has the descriptor `place` refer to the file of `file` from now on, in one step. Its number stays.
///
/// # Errors
/// What the system says; `place` refers to what it did.
pub(super) fn exchange(place: &OwnedFd, file: &File) -> io::Result<()> {
    injection::step()?;
    // SAFETY: plain numbers. `place` stays open, and owned by its owner; the table of descriptors is the kernel's, which
    // lets others use the number at the same time.
    let result = unsafe { libc::dup3(file.as_fd().as_raw_fd(), place.as_raw_fd(), libc::O_CLOEXEC) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_is_as_few_accesses_as_alignment_allows() {
        let pieces = |mut at: usize, mut left: usize| {
            let mut widths = Vec::new();
            while left > 0 {
                widths.push(width(at, left));
                (at, left) = (at + width(at, left), left - width(at, left));
            }
            widths
        };
        for whole in [1, 2, 4, 8] {
            assert_eq!(pieces(8 + whole, whole), [whole]);
        }
        assert_eq!(pieces(4, 8), [4, 4]);
        assert_eq!(pieces(1, 8), [1, 2, 4, 1]);
        assert_eq!(pieces(16, 23), [8, 8, 4, 2, 1]);
    }
}
