//! The doorbell page, and the memfd that covers BAR 0 so that it can be mapped.
//!
//! NVMe 1.4 s3.1.24 and s3.1.25 *Submission Queue y Tail Doorbell*, *Completion Queue y Head Doorbell*, with
//! CAP.DSTRD = 0: two little-endian dwords for each queue pair from 0x1000 on.
//!
//! Doorbells arrive by two paths, stores of a client that mapped the page and writes that come as messages; the
//! latter are stored here as well, so whoever polls never sees an older value than was written. Concurrency:
//! every access is a 32-bit atomic; the page is shared with another process, which may store anything at any time.
#![allow(unsafe_code)] // a page shared with another process has no safe owner in the standard library

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use nvme_spec::Doorbell;
pub(super) use nvme_spec::register::DOORBELLS;

use super::limits::{PAGE_LEN, QUEUES};

/// CAP.DSTRD.
pub(super) const STRIDE: u8 = 0;
/// Length of the doorbell page, which starts at [`DOORBELLS`].
pub(super) const DOORBELL_BYTES: u64 = PAGE_LEN as u64;
/// Length of the memfd, and of BAR 0: registers, doorbells, MSI-X table, pending bits; a page each.
pub(super) const BAR0_BYTES: u64 = 0x4000;

/// The doorbell at `offset` from the start of BAR 0; `None` between two, and beyond the last queue there can be.
pub(super) fn doorbell_at(offset: u64) -> Option<Doorbell> {
    Doorbell::decode(offset, STRIDE).filter(|doorbell| (doorbell.index() as usize) < QUEUES * 2)
}

/// The doorbell page.
#[derive(Debug)]
pub(super) struct DoorbellPage {
    memfd: OwnedFd,
    page: NonNull<AtomicU32>,
    /// A bit for each doorbell whose queue exists, so that a doorbell write takes no lock.
    exists: [AtomicU64; (QUEUES * 2).div_ceil(64)],
}

// SAFETY: the mapping is owned by this value alone and reached through atomics only.
unsafe impl Send for DoorbellPage {}
// SAFETY: as above.
unsafe impl Sync for DoorbellPage {}

impl DoorbellPage {
    /// Makes the page, all zeros.
    ///
    /// # Errors
    /// What the system says: no descriptor or no memory left.
    pub(super) fn new() -> rustix::io::Result<Self> {
        let memfd = memfd_create("portcullis-nvme-bar0", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&memfd, BAR0_BYTES)?;
        // A client that got the descriptor cannot shrink the file under our feet.
        fcntl_add_seals(&memfd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new shared mapping at an address of the kernel's choice; its bytes are used as atomics only.
        let page =
            unsafe { mmap(std::ptr::null_mut(), PAGE_LEN, prot, MapFlags::SHARED, &memfd, DOORBELLS) }?;
        let page = NonNull::new(page.cast::<AtomicU32>()).ok_or(rustix::io::Errno::NOMEM)?;
        Ok(Self { memfd, page, exists: Default::default() })
    }

    /// The descriptor that covers BAR 0.
    pub(super) fn memfd(&self) -> BorrowedFd<'_> {
        self.memfd.as_fd()
    }

    /// The value last stored. Whatever the client wrote before it stored this value is visible afterwards.
    #[inline]
    pub(super) fn load(&self, doorbell: Doorbell) -> u32 {
        u32::from_le(self.cell(doorbell).load(Ordering::Acquire))
    }

    /// Stores a value.
    #[inline]
    pub(super) fn store(&self, doorbell: Doorbell, value: u32) {
        self.cell(doorbell).store(value.to_le(), Ordering::Release);
    }

    /// Notes that the queue of a doorbell was made or deleted, and sets the doorbell to 0, its value for a new queue.
    pub(super) fn set_exists(&self, doorbell: Doorbell, exists: bool) {
        self.store(doorbell, 0);
        let index = doorbell.index() as usize;
        let Some(word) = self.exists.get(index / 64) else { return };
        let bit = 1 << (index % 64);
        if exists {
            word.fetch_or(bit, Ordering::Release);
        } else {
            word.fetch_and(!bit, Ordering::Release);
        }
    }

    /// Whether the queue of a doorbell exists.
    pub(super) fn exists(&self, doorbell: Doorbell) -> bool {
        let index = doorbell.index() as usize;
        self.exists.get(index / 64).is_some_and(|word| word.load(Ordering::Acquire) >> (index % 64) & 1 != 0)
    }

    /// No queue exists and every doorbell is 0, as after a controller reset.
    pub(super) fn clear_all(&self) {
        for word in &self.exists {
            word.store(0, Ordering::Release);
        }
        for index in 0..QUEUES * 2 {
            self.at(index).store(0, Ordering::Release);
        }
    }

    #[inline]
    fn cell(&self, doorbell: Doorbell) -> &AtomicU32 {
        self.at((doorbell.index() as usize).min(QUEUES * 2 - 1))
    }

    /// The dword at `index`, which is below twice the number of queues.
    #[inline]
    fn at(&self, index: usize) -> &AtomicU32 {
        const { assert!(QUEUES * 8 <= PAGE_LEN) };
        debug_assert!(index < QUEUES * 2);
        // SAFETY: the callers pass an index inside the page (asserted above), which is mapped, aligned and lives with `self`.
        unsafe { self.page.add(index).as_ref() }
    }
}

impl Drop for DoorbellPage {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; nothing refers to it any more.
        // A failure would only leak a page of address space.
        let _ = unsafe { munmap(self.page.as_ptr().cast(), PAGE_LEN) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn offsets_name_doorbells_up_to_the_last_queue() {
        assert_eq!(doorbell_at(0x0ffc), None);
        assert_eq!(doorbell_at(0x1000), Some(Doorbell::SubmissionTail(0)));
        assert_eq!(doorbell_at(0x1000 + 64 * 8 + 4), Some(Doorbell::CompletionHead(64)));
        assert_eq!(doorbell_at(0x1000 + 65 * 8), None);
        assert_eq!(doorbell_at(0x1002), None);
        assert_eq!(doorbell_at(u64::MAX), None);
    }

    #[test]
    fn a_queue_exists_from_its_making_to_its_deletion_and_starts_at_zero() {
        let page = DoorbellPage::new().unwrap();
        let last = Doorbell::CompletionHead(64);
        assert!(!page.exists(last));
        page.store(last, 5);
        page.set_exists(last, true);
        assert!(page.exists(last) && !page.exists(Doorbell::SubmissionTail(64)));
        assert_eq!(page.load(last), 0);
        page.set_exists(last, false);
        assert!(!page.exists(last));
    }

    #[test]
    fn a_store_through_the_descriptor_is_seen_in_the_page_and_back() {
        let page = DoorbellPage::new().unwrap();
        let file = std::fs::File::from(page.memfd().try_clone_to_owned().unwrap());
        file.write_all_at(&7u32.to_le_bytes(), 0x1008).unwrap();
        assert_eq!(page.load(Doorbell::SubmissionTail(1)), 7);
        page.store(Doorbell::CompletionHead(1), 9);
        let mut dword = [0; 4];
        file.read_exact_at(&mut dword, 0x100c).unwrap();
        assert_eq!(u32::from_le_bytes(dword), 9);
        page.clear_all();
        assert_eq!(page.load(Doorbell::SubmissionTail(1)), 0);
    }

    #[test]
    fn a_client_cannot_shrink_the_page_away() {
        let page = DoorbellPage::new().unwrap();
        assert!(ftruncate(page.memfd(), 0).is_err());
    }
}
