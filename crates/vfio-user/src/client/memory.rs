//! Memory that both sides reach.
//!
//! Another process writes to it while this one reads, so nothing here gives out a Rust reference to its bytes,
//! except to atomics, which are made for that. Copies go through volatile or atomic accesses only.

use std::ffi::c_void;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
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

    /// Copies from `offset` bytes into `data`.
    ///
    /// # Errors
    /// `EINVAL` when the range leaves the mapping; nothing is copied then.
    pub fn read(&self, offset: usize, data: &mut [u8]) -> Result<(), Errno> {
        self.check(offset, data.len())?;
        // SAFETY: the source is inside the mapping by the check; `data` is this process's own and cannot
        // overlap it. The other process may write meanwhile: bytes may be torn, which the caller accepts.
        unsafe {
            std::ptr::copy_nonoverlapping(self.start.as_ptr().add(offset), data.as_mut_ptr(), data.len())
        };
        Ok(())
    }

    /// Copies `data` to `offset` bytes.
    ///
    /// # Errors
    /// `EINVAL` when the range leaves the mapping; nothing is copied then.
    pub fn write(&self, offset: usize, data: &[u8]) -> Result<(), Errno> {
        self.check(offset, data.len())?;
        // SAFETY: as in `read`, with source and destination exchanged.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), self.start.as_ptr().add(offset), data.len()) };
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

/// A mapped part of a region. Stores go to the device without a message.
#[derive(Debug)]
pub struct MappedArea(SharedMapping);

impl MappedArea {
    pub(super) fn new(fd: BorrowedFd<'_>, offset: u64, length: u64) -> Result<MappedArea, Errno> {
        SharedMapping::new(fd, offset, length).map(MappedArea)
    }
}

impl std::ops::Deref for MappedArea {
    type Target = SharedMapping;

    fn deref(&self) -> &SharedMapping {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn two_mappings_of_one_memory_see_each_other() {
        let memory = SharedMemory::new(8192).unwrap();
        let area = MappedArea::new(memory.as_fd(), 4096, 4096).unwrap();
        memory.write(4096, &[1, 2, 3, 4]).unwrap();
        assert_eq!(area.atomic_u32(0).unwrap().load(Ordering::Relaxed), u32::from_ne_bytes([1, 2, 3, 4]));
        area.atomic_u64(8).unwrap().store(7, Ordering::Relaxed);
        let mut byte = [0];
        memory.read(4096 + 8, &mut byte).unwrap();
        assert_eq!(byte, 7u64.to_ne_bytes()[..1]);
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
            assert!(MappedArea::new(memory.as_fd(), offset, length).is_err(), "{offset} {length}");
        }
    }
}
