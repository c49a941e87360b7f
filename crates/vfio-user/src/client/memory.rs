//! Memory that both sides reach.
//!
//! Another process writes to it while this one reads, so nothing here gives out a Rust reference to its bytes,
//! except to atomics, which are made for that. Copies are made of atomic accesses too: as wide as alignment permits, so
//! that a value of a device's memory is not torn.

use std::ffi::c_void;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A shared mapping of a file, readable and writable.
#[derive(Debug)]
pub struct SharedMapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping is plain memory owned by this value; every access to it is atomic or volatile and goes
// through a shared reference, and the address stays valid until the value is dropped.
unsafe impl Send for SharedMapping {}
// SAFETY: as above; concurrent accesses from several threads are atomic, or race only as other processes do.
unsafe impl Sync for SharedMapping {}

macro_rules! atomic_accessor {
    ($name:ident, $atomic:ty) => {
        /// The value at `offset` bytes, shared with the other process; `None` outside or not aligned.
        #[inline]
        pub fn $name(&self, offset: usize) -> Option<&$atomic> {
            let end = offset.checked_add(size_of::<$atomic>())?;
            if end > self.length || offset % align_of::<$atomic>() != 0 {
                return None;
            }
            // SAFETY: inside the mapping, which is page aligned, so the offset's alignment is the address's;
            // the memory lives as long as `self`, and atomics may be shared with other processes.
            Some(unsafe { &*self.start.as_ptr().add(offset).cast::<$atomic>() })
        }
    };
}

impl SharedMapping {
    fn new(fd: BorrowedFd<'_>, offset: u64, length: u64) -> Result<SharedMapping, Errno> {
        let length = usize::try_from(length).map_err(|_| Errno::NOMEM)?;
        let end = offset.checked_add(length as u64).ok_or(Errno::INVAL)?;
        // Pages behind the end of the file would raise SIGBUS.
        if length == 0 || u64::try_from(fstat(fd)?.st_size).is_ok_and(|size| size < end) {
            return Err(Errno::INVAL);
        }
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; it overlaps nothing.
        let start = unsafe { mmap(std::ptr::null_mut(), length, access, MapFlags::SHARED, fd, offset)? };
        let start = NonNull::new(start.cast::<u8>()).ok_or(Errno::NOMEM)?;
        Ok(SharedMapping { start, length })
    }

    /// Bytes; at least one.
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.length
    }

    /// The first byte. Valid for [`SharedMapping::len`] bytes while `self` lives; the other process may change
    /// them at any time.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    atomic_accessor!(atomic_u8, AtomicU8);
    atomic_accessor!(atomic_u16, AtomicU16);
    atomic_accessor!(atomic_u32, AtomicU32);
    atomic_accessor!(atomic_u64, AtomicU64);

    /// Copies from `offset` bytes into `data`, in naturally aligned pieces of 8, 4, 2 and 1 bytes, each in one access.
    ///
    /// # Errors
    /// `EINVAL` when the range leaves the mapping; nothing is copied then.
    pub fn read(&self, offset: usize, data: &mut [u8]) -> Result<(), Errno> {
        self.check(offset, data.len())?;
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let width = widest(at, rest.len());
            let (piece, tail) = rest.split_at_mut(width);
            match width {
                8 => piece
                    .copy_from_slice(&self.atomic_u64(at).ok_or(Errno::INVAL)?.load(Relaxed).to_ne_bytes()),
                4 => piece
                    .copy_from_slice(&self.atomic_u32(at).ok_or(Errno::INVAL)?.load(Relaxed).to_ne_bytes()),
                2 => piece
                    .copy_from_slice(&self.atomic_u16(at).ok_or(Errno::INVAL)?.load(Relaxed).to_ne_bytes()),
                _ => piece
                    .copy_from_slice(&self.atomic_u8(at).ok_or(Errno::INVAL)?.load(Relaxed).to_ne_bytes()),
            }
            (at, rest) = (at + width, tail);
        }
        Ok(())
    }

    /// Copies `data` to `offset` bytes, in pieces as [`SharedMapping::read`] does.
    ///
    /// # Errors
    /// `EINVAL` when the range leaves the mapping; nothing is copied then.
    pub fn write(&self, offset: usize, data: &[u8]) -> Result<(), Errno> {
        self.check(offset, data.len())?;
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(widest(at, rest.len()));
            match *piece {
                [a, b, c, d, e, f, g, h] => {
                    let value = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
                    self.atomic_u64(at).ok_or(Errno::INVAL)?.store(value, Relaxed);
                }
                [a, b, c, d] => {
                    let value = u32::from_ne_bytes([a, b, c, d]);
                    self.atomic_u32(at).ok_or(Errno::INVAL)?.store(value, Relaxed);
                }
                [a, b] => self.atomic_u16(at).ok_or(Errno::INVAL)?.store(u16::from_ne_bytes([a, b]), Relaxed),
                [a, ..] => self.atomic_u8(at).ok_or(Errno::INVAL)?.store(a, Relaxed),
                [] => {}
            }
            (at, rest) = (at + piece.len(), tail);
        }
        Ok(())
    }

    fn check(&self, offset: usize, length: usize) -> Result<(), Errno> {
        match offset.checked_add(length) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(Errno::INVAL),
        }
    }
}

impl Drop for SharedMapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `new`, and every reference into it borrowed `self`. Nothing can be
        // done about a failure, and there is none for a range that is mapped.
        let _ = unsafe { munmap(self.start.as_ptr().cast::<c_void>(), self.length) };
    }
}

/// The widest naturally aligned access at `at`, of at most `left` bytes, which is not 0.
fn widest(at: usize, left: usize) -> usize {
    [8, 4, 2].into_iter().find(|width| *width <= left && at.is_multiple_of(*width)).unwrap_or(1)
}

/// Memory of this process that a server can be given: a memfd and its mapping.
#[derive(Debug)]
pub struct SharedMemory {
    fd: OwnedFd,
    mapping: SharedMapping,
}

impl SharedMemory {
    /// `length` zeroed bytes. The file cannot be shrunk, so a server that maps it is safe from SIGBUS.
    ///
    /// # Errors
    /// What the kernel says; `EINVAL` for zero bytes.
    pub fn new(length: usize) -> Result<SharedMemory, Errno> {
        let fd = memfd_create(c"vfio-user client memory", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, length as u64)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK)?;
        let mapping = SharedMapping::new(fd.as_fd(), 0, length as u64)?;
        Ok(SharedMemory { fd, mapping })
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl std::ops::Deref for SharedMemory {
    type Target = SharedMapping;

    fn deref(&self) -> &SharedMapping {
        &self.mapping
    }
}

/// A mapped part of a region: accesses reach the device's memory without a message, and no gate stands before them.
///
/// What a server's function is like shows in data that is read back: all-ones while it is frozen, and for good once it is
/// gone. What is stored then is lost. Doorbells are not hidden: what is stored while the function is frozen counts
/// afterwards. COMMAND, power states and resets do not show; whoever maps an area leaves it alone while it is disabled.
#[derive(Debug)]
pub struct MappedArea {
    mapping: SharedMapping,
    offset: u64,
}

impl MappedArea {
    /// Maps `length` bytes at `start` of the file; they are at `offset` of the region.
    pub(super) fn new(fd: BorrowedFd<'_>, start: u64, length: u64, offset: u64) -> Result<MappedArea, Errno> {
        Ok(MappedArea { mapping: SharedMapping::new(fd, start, length)?, offset })
    }

    /// Where it begins in its region, in bytes. Offsets of accesses are from here.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl std::ops::Deref for MappedArea {
    type Target = SharedMapping;

    fn deref(&self) -> &SharedMapping {
        &self.mapping
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn two_mappings_of_one_memory_see_each_other() {
        let memory = SharedMemory::new(8192).unwrap();
        let area = MappedArea::new(memory.as_fd(), 4096, 4096, 0).unwrap();
        memory.write(4096, &[1, 2, 3, 4]).unwrap();
        assert_eq!(area.atomic_u32(0).unwrap().load(Ordering::Relaxed), u32::from_ne_bytes([1, 2, 3, 4]));
        area.atomic_u64(8).unwrap().store(7, Ordering::Relaxed);
        let mut byte = [0];
        memory.read(4096 + 8, &mut byte).unwrap();
        assert_eq!(byte, 7u64.to_ne_bytes()[..1]);
    }

    #[test]
    fn a_copy_of_any_length_at_any_offset_is_whole() {
        let memory = SharedMemory::new(4096).unwrap();
        let pattern: Vec<u8> = (1..=40).collect();
        for offset in 0..16 {
            for length in 0..=pattern.len() {
                memory.write(0, &[0; 64]).unwrap();
                memory.write(offset, &pattern[..length]).unwrap();
                let mut all = [0xee; 64];
                memory.read(0, &mut all).unwrap();
                assert_eq!(all[offset..offset + length], pattern[..length]);
                assert!(all[..offset].iter().chain(&all[offset + length..]).all(|byte| *byte == 0));
                let mut part = vec![0; length];
                memory.read(offset, &mut part).unwrap();
                assert_eq!(part, pattern[..length]);
            }
        }
    }

    #[test]
    fn accesses_are_as_wide_as_alignment_permits() {
        let cut = [(0, 8), (8, 3), (4, 9), (2, 2), (6, 8), (1, 8)].map(|(at, left)| widest(at, left));
        assert_eq!(cut, [8, 2, 4, 2, 2, 1]);
    }

    #[test]
    fn accesses_outside_or_misaligned_are_refused() {
        let memory = SharedMemory::new(4096).unwrap();
        assert!(memory.atomic_u32(4092).is_some());
        for offset in [4093, 4096, 2, usize::MAX, usize::MAX - 3] {
            assert!(memory.atomic_u32(offset).is_none(), "{offset}");
        }
        assert_eq!(memory.read(4095, &mut [0; 2]), Err(Errno::INVAL));
        assert_eq!(memory.write(usize::MAX, &[0; 2]), Err(Errno::INVAL));
    }

    #[test]
    fn a_file_shorter_than_the_area_is_not_mapped() {
        let memory = SharedMemory::new(4096).unwrap();
        for (offset, length) in [(0, 8192), (4096, 4096), (u64::MAX, 2), (0, 0), (1, 4)] {
            assert!(MappedArea::new(memory.as_fd(), offset, length, 0).is_err(), "{offset} {length}");
        }
    }
}
