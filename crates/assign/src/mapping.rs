//! Maps a file of the client's into this process, guarded, counted, and unmapped exactly once.
//!
//! [`Mapping`] owns the address range. It knows nothing of I/O addresses. Who copies from or to it, and why
//! racing with the client is sound, is written down in `dma::slice`.
//!
//! # Concurrency
//! A mapping is reached through the DMA table (under a pass) or a held slice (counted here). It is unmapped
//! by [`Mapping::release`] when neither is left, else when its last owner drops it. [`Mapping::sever`] may
//! run beside accesses: they then reach zeroes instead of the client.

use std::os::fd::{AsFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gate::lock::{Condvar, Leaf};
use gate::waits::Waiting;
use gate::{Deadline, Gate, ThreadToken};
use mapping::sigbus::{Condition, GuardedRange};
use rustix::fs::{FileType, Stat, fstat, fstatfs};

use crate::budget::Claim;
use crate::error::{DmaError, Errno, RequestError, of_system};
use crate::ranks;

/// Client memory in this process's address space.
pub(crate) struct Mapping {
    base: *mut u8,
    /// Bytes the client asked for.
    len: usize,
    /// Bytes mapped: `len` rounded up to the file's page size.
    mapped: usize,
    guarded: GuardedRange,
    held: AtomicUsize,
    released: AtomicBool,
    drain: Arc<Drain>,
    /// Given back after the range has been unmapped.
    _claim: Claim,
}

// SAFETY: the range belongs to no thread; all access to its bytes follows the rules of `dma::slice`, and
// everything else in it is atomic.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// Where an unmap waits for the slices of one function's mappings.
#[derive(Default)]
pub(crate) struct Drain {
    waiting: AtomicUsize,
    /// Rank: 70, drain; a leaf. Protects no data, only orders a wake-up after the look that precedes the wait.
    lock: Leaf<ranks::Drain, ()>,
    emptied: Condvar,
}

/// Which directions a mapping permits, from the device's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// The device may read the memory.
    pub read: bool,
    /// The device may write it.
    pub write: bool,
}

impl Mapping {
    /// Maps `len` bytes of `file` from `offset`; both are multiples of 4 KiB.
    ///
    /// # Errors
    /// The errno of `mmap`; ENODEV for what is not a regular file; EINVAL for a file system whose faults could
    /// wait for ever, and for a range beyond the file's end.
    pub(crate) fn new(
        file: &OwnedFd,
        offset: u64,
        len: u64,
        permissions: Permissions,
        drain: &Arc<Drain>,
        claim: Claim,
    ) -> Result<Mapping, RequestError> {
        let stat = fstat(file)?;
        let mapped = check_file(file, &stat, offset, len)?;
        let mut access = libc::PROT_NONE;
        if permissions.read {
            access |= libc::PROT_READ;
        }
        if permissions.write {
            access |= libc::PROT_WRITE;
        }
        let offset = libc::off_t::try_from(offset)
            .map_err(|_| RequestError::invalid("the file offset is out of range"))?;
        // Shared, since this is the client's memory. Without reservation and never locked: memory is used
        // where DMA touches it, so a client's sparse file costs nothing here.
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
        let fd = std::os::fd::AsRawFd::as_raw_fd(file);
        // SAFETY: a new mapping at an address the kernel chooses touches no memory in use.
        let base = unsafe { libc::mmap(ptr::null_mut(), mapped, access, flags, fd, offset) };
        if base == libc::MAP_FAILED {
            let errno = of_system(&std::io::Error::last_os_error());
            return Err(RequestError::new(errno, "the file cannot be mapped"));
        }
        // A child process must not keep the client's memory alive. It is a hint: failure costs only that.
        // SAFETY: the range is the mapping just made.
        unsafe { libc::madvise(base, mapped, libc::MADV_DONTFORK) };
        let base = base.cast::<u8>();
        // SAFETY: the range is a mapping of its own; all users look at the state after each access.
        let guarded = unsafe { GuardedRange::new(base, mapped) };
        Ok(Mapping {
            base,
            len: usize::try_from(len).unwrap_or(0),
            mapped,
            guarded,
            held: AtomicUsize::new(0),
            released: AtomicBool::new(false),
            drain: Arc::clone(drain),
            _claim: claim,
        })
    }

    /// The first byte.
    #[inline]
    pub(crate) fn base(&self) -> *mut u8 {
        self.base
    }

    /// Bytes the client asked for.
    pub(crate) fn len(&self) -> u64 {
        self.len as u64
    }

    /// Whether what was accessed so far was the client's memory; call it after the access.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), DmaError> {
        match self.guarded.condition() {
            Condition::Intact => Ok(()),
            Condition::Truncated => Err(DmaError::Truncated),
            Condition::Severed => Err(DmaError::Severed),
        }
    }

    /// Counts a holder. The caller reached the mapping through the table, under a pass.
    pub(crate) fn hold(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a holder away and wakes an unmap that waits for the last.
    pub(crate) fn unhold(&self) {
        if self.held.fetch_sub(1, Ordering::SeqCst) == 1 && self.drain.waiting.load(Ordering::SeqCst) != 0 {
            drop(self.drain.lock.lock());
            self.drain.emptied.notify_all();
        }
    }

    /// Holders at this moment.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Cuts those who still hold the range off from the client's memory.
    ///
    /// `sever` and `release` belong to whoever took the mapping out of the map, one thread; they never race.
    pub(crate) fn sever(&self) {
        if !self.released.load(Ordering::SeqCst) && !self.guarded.sever() {
            tracing::error!("severing a mapping failed: a late access may still reach the client's memory");
        }
    }

    /// Unmaps now rather than when the last owner drops.
    ///
    /// The mapping must be out of the table, no pass that saw it there left, and nobody holding it.
    pub(crate) fn release(&self) {
        if self.released.swap(true, Ordering::SeqCst) {
            return;
        }
        self.guarded.retire();
        // SAFETY: the range was mapped by `new` and is unmapped once (`released`). Nobody can reach it any
        // more: the caller says so, or this is the drop of the last owner.
        unsafe { libc::munmap(self.base.cast(), self.mapped) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.release();
    }
}

impl Drain {
    /// Waits until nobody holds any of `mappings`, which are `gate`'s, at most to the deadline. False: somebody still does.
    pub(crate) fn wait(
        &self,
        token: &mut ThreadToken,
        gate: &Gate,
        mappings: &[Arc<Mapping>],
        deadline: Deadline,
    ) -> bool {
        let empty = || mappings.iter().all(|mapping| mapping.held() == 0);
        if empty() {
            return true;
        }
        let _shown = Waiting::new(token, "unmap", Some(gate), "DMA in flight to end");
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut guard = self.lock.lock();
        let mut emptied = empty();
        while !emptied && deadline.remaining().is_some() {
            (guard, _) = self.emptied.wait(guard, token, deadline);
            emptied = empty();
        }
        drop(guard);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        emptied
    }
}

/// Whether the file can serve as guest memory; the bytes to map, rounded up to its page size.
fn check_file(file: &OwnedFd, stat: &Stat, offset: u64, len: u64) -> Result<usize, RequestError> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(RequestError::new(Errno::ENODEV, "only a regular file can be mapped"));
    }
    let kind = fstatfs(file.as_fd())?.f_type;
    if !FILE_SYSTEMS.contains(&kind) {
        return Err(RequestError::invalid(
            "guest memory must be a memfd or a file on tmpfs, hugetlbfs or a local disk",
        ));
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if offset.checked_add(len).is_none_or(|end| end > size) {
        return Err(RequestError::invalid("the range is beyond the end of the file"));
    }
    let page = if kind == HUGETLBFS { u64::try_from(stat.st_blksize).unwrap_or(4096) } else { 4096 };
    len.checked_next_multiple_of(page.max(1))
        .and_then(|mapped| usize::try_from(mapped).ok())
        .ok_or(RequestError::invalid("the range does not fit the address space"))
}

/// `statfs` type of hugetlbfs, whose mappings come and go in whole huge pages.
const HUGETLBFS: libc::__fsword_t = 0x9584_58f6;

/// File systems whose page faults this kernel answers by itself. Behind FUSE or a network file system stands
/// somebody who may never answer, and a thread in such a fault can be neither cancelled nor timed out (law 4).
const FILE_SYSTEMS: [libc::__fsword_t; 6] = [
    0x0102_1994, // tmpfs, memfd
    HUGETLBFS,
    0x8584_58f6, // ramfs
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
];

impl From<rustix::io::Errno> for RequestError {
    fn from(errno: rustix::io::Errno) -> RequestError {
        RequestError::new(Errno::from_raw(errno.raw_os_error()), "the file cannot be examined")
    }
}
