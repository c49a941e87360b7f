//! Blocks in anonymous memory.
//!
//! Address space is reserved at once and memory taken by the first write of each page; deallocation gives it
//! back. Concurrency: none of its own. It is owned by the engine, whose lock serialises every access, so plain
//! slices are sound.
#![allow(unsafe_code)] // an anonymous mapping has no safe owner in the standard library

use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use super::{BackingError, check_size};

/// Size of a page given back by [`MemoryBacking::deallocate`].
const PAGE: usize = 4096;
/// Bytes that [`MemoryBacking::expect`] asks for: what it takes to find the page and to start the processor's own
/// prefetching.
#[cfg(target_arch = "x86_64")]
const PREFETCH: usize = 256;
/// Shorter ranges are cleared by hand: giving a page back costs a system call and a fault later.
const CLEAR_BY_HAND: usize = 64 * 1024;

/// A disk in anonymous memory.
#[derive(Debug)]
pub struct MemoryBacking {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is owned by this value alone and not tied to the thread that made it; `&self` only reads.
unsafe impl Send for MemoryBacking {}
// SAFETY: shared references give shared slices only.
unsafe impl Sync for MemoryBacking {}

impl MemoryBacking {
    pub(super) fn new(size: u64) -> Result<Self, BackingError> {
        check_size(size)?;
        let len = usize::try_from(size).map_err(|_| BackingError::Size(size))?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice aliases nothing.
        let mapped =
            unsafe { mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags) };
        let base = mapped.map_err(|errno| BackingError::Memory { size, source: errno.into() })?;
        let base = NonNull::new(base.cast::<u8>()).ok_or(BackingError::Size(size))?;
        Ok(Self { base, len })
    }

    /// Length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.len as u64
    }

    /// The bytes from `offset` on, `len` of them; `None` if they are not all inside.
    pub(crate) fn bytes(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let start = self.inside(offset, len)?;
        // SAFETY: `start..start + len` lies in the mapping, which is readable and initialised (zero pages) and
        // lives as long as `self`; `&self` keeps writers out.
        Some(unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(start), len) })
    }

    /// The same, to be written.
    pub(crate) fn bytes_mut(&mut self, offset: u64, len: usize) -> Option<&mut [u8]> {
        let start = self.inside(offset, len)?;
        // SAFETY: as for `bytes`, and `&mut self` makes the slice the only one.
        Some(unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr().add(start), len) })
    }

    /// Starts to bring what is at `offset` near, for a copy that is about to come. A hint: any offset will do.
    #[inline]
    pub(crate) fn expect(&self, offset: u64) {
        #[cfg(target_arch = "x86_64")]
        if let Some(start) = self.inside(offset, PREFETCH) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            for line in (0..PREFETCH).step_by(64) {
                // SAFETY: the address is inside the mapping; a prefetch does not even fault.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(self.base.as_ptr().add(start + line).cast()) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = offset;
    }

    /// Makes `len` bytes from `offset` read as zeros, giving whole pages back to the system.
    ///
    /// Returns false if they are not all inside; nothing is changed then.
    pub(crate) fn deallocate(&mut self, offset: u64, len: usize) -> bool {
        let Some(start) = self.inside(offset, len) else { return false };
        let first_page = start.next_multiple_of(PAGE);
        let end_page = (start + len) / PAGE * PAGE;
        let whole = end_page.saturating_sub(first_page);
        if whole < CLEAR_BY_HAND || !self.give_back(first_page, whole) {
            return self.clear(offset, len);
        }
        self.clear(offset, first_page - start);
        self.clear(end_page as u64, start + len - end_page);
        true
    }

    fn clear(&mut self, offset: u64, len: usize) -> bool {
        self.bytes_mut(offset, len).map(|bytes| bytes.fill(0)).is_some()
    }

    fn give_back(&mut self, start: usize, len: usize) -> bool {
        // SAFETY: whole pages inside a private anonymous mapping that only `self` refers to: they read as zeros
        // afterwards, and no slice of them is alive under `&mut self`.
        unsafe { madvise(self.base.as_ptr().add(start).cast(), len, Advice::LinuxDontNeed) }.is_ok()
    }

    fn inside(&self, offset: u64, len: usize) -> Option<usize> {
        let start = usize::try_from(offset).ok()?;
        (start.checked_add(len)? <= self.len).then_some(start)
    }
}

impl Drop for MemoryBacking {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and nothing refers to it any more.
        // A failure would only leak address space.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_disk_reads_zeros_and_keeps_what_is_written() {
        let mut disk = MemoryBacking::new(1 << 20).unwrap();
        assert!(disk.bytes(0, 1 << 20).unwrap().iter().all(|byte| *byte == 0));
        disk.bytes_mut(4090, 12).unwrap().fill(7);
        assert_eq!(disk.bytes(4089, 14).unwrap(), [0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0]);
    }

    #[test]
    fn nothing_outside_the_disk_can_be_reached() {
        let mut disk = MemoryBacking::new(8192).unwrap();
        assert!(disk.bytes(8192, 1).is_none());
        assert!(disk.bytes(u64::MAX, 2).is_none());
        assert!(disk.bytes_mut(1, 8192).is_none());
        assert!(!disk.deallocate(4096, 4097));
    }

    #[test]
    fn a_deallocated_range_reads_zeros_and_its_neighbours_are_kept() {
        for (offset, len) in [(100usize, 200), (100, 300_000), (4096, 262_144), (0, 1 << 20)] {
            let mut disk = MemoryBacking::new(1 << 20).unwrap();
            disk.bytes_mut(0, 1 << 20).unwrap().fill(0xa5);
            assert!(disk.deallocate(offset as u64, len));
            for (at, byte) in disk.bytes(0, 1 << 20).unwrap().iter().enumerate() {
                let inside = (offset..offset + len).contains(&at);
                assert_eq!(*byte, if inside { 0 } else { 0xa5 }, "byte {at} of {offset}+{len}");
            }
        }
    }
}
