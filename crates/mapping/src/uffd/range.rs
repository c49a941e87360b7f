//! One range of addresses: what is mapped there, and for how long.
#![allow(unsafe_code)] // mmap, mprotect, madvise and munmap of a range that belongs to this module alone.

use super::{Ones, Uffd};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap, mprotect, munmap};
use rustix::process::{Pid, getpid};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// Reading and writing.
const OPEN: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// A range of addresses that is mapped from its making to its end, so that nothing else of this process can get there; what
/// it shows is replaced in place.
///
/// A child process made by fork(2) has no such range: every mapping here is excluded from it. What a child does with its copy
/// of this value has no effect, since the addresses may be something else's there.
#[derive(Debug)]
pub(super) struct Range {
    base: NonNull<u8>,
    len: usize,
    /// The process that has the range.
    process: Pid,
}

// SAFETY: it is an address and a length; all operations are system calls that any thread may make.
unsafe impl Send for Range {}
// SAFETY: as above; the kernel orders calls that come at once.
unsafe impl Sync for Range {}

impl Range {
    /// Maps `len` bytes of `file` from `offset` on, whose faults are reported to `uffd` from the first access on.
    ///
    /// # Errors
    /// What the system says; nothing is left.
    pub(super) fn new(uffd: &Uffd, file: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<Range> {
        // Closed until faults are reported and a child process gets none of it.
        // SAFETY: the kernel picks addresses that are free.
        let at = unsafe { mmap(ptr::null_mut(), len, ProtFlags::empty(), MapFlags::SHARED, file, offset) }?;
        let base = NonNull::new(at.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        // From here on its drop unmaps it.
        let range = Range { base, len, process: getpid() };
        range.exclude_children()?;
        range.register(uffd)?;
        // SAFETY: the range is ours, and nobody knows its address yet.
        unsafe { mprotect(at, len, MprotectFlags::READ | MprotectFlags::WRITE) }?;
        Ok(range)
    }

    /// The first byte.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The address of the first byte.
    pub(super) fn start(&self) -> usize {
        self.base.as_ptr().addr()
    }

    /// Bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether this process has the range, and is no child of the one that has.
    pub(super) fn is_ours(&self) -> bool {
        getpid() == self.process
    }

    /// Takes all pages away, also poisoned ones.
    pub(super) fn discard(&self) {
        if self.is_ours() {
            // SAFETY: the range is ours and mapped. Whoever touches it finds the file's pages again, or faults.
            let done = unsafe { madvise(self.at(0), self.len, Advice::LinuxDontNeed) };
            debug_assert!(done.is_ok(), "the range is mapped: {done:?}");
        }
    }

    /// Shows all-ones in place of whatever is there. It cannot fail in the sense that matters: what was there is never shown
    /// any more. If the process has no mappings left (`vm.max_map_count`), accesses raise SIGBUS instead.
    pub(super) fn cover(&self, ones: &Ones) {
        if !self.is_ours() {
            return;
        }
        let strip = ones.strip(self.len);
        for at in (0..self.len).step_by(strip) {
            let part = strip.min(self.len - at);
            // Each strip is replaced in one step: nobody finds a gap.
            if self.place(at, part, ones.as_fd(), 0, MapFlags::PRIVATE).is_err() {
                self.block(at, ones);
                break;
            }
        }
        // Without effect on this process; a child that has the range sees all-ones.
        let _ = self.exclude_children();
    }

    /// Has accesses from `at` to the end fail. Replaces what is one mapping by another one, so it takes none.
    #[cold]
    fn block(&self, at: usize, ones: &Ones) {
        let rest = self.len - at;
        if self.place(at, rest, ones.as_fd(), ones.beyond(), MapFlags::PRIVATE).is_err() {
            // SAFETY: the range is ours. Whoever touches it from now on is killed, which is better than served.
            let done = unsafe { mprotect(self.at(at), rest, MprotectFlags::empty()) };
            debug_assert!(done.is_ok(), "neither replaced nor closed: {done:?}");
        }
    }

    /// Shows the file from `offset` on, with no page present, and has its faults reported.
    ///
    /// Until its faults are reported an access goes straight to the file, and so does a child process that is made by
    /// fork(2) before the range is excluded from it: no system call does all at once. What was made present meanwhile is
    /// gone when this returns; see [`super::KernelPages`] for why an access here is no way around the gate.
    ///
    /// # Errors
    /// What the system says; the range may show the file then, unreported: cover it.
    pub(super) fn show(&self, uffd: &Uffd, file: BorrowedFd<'_>, offset: u64) -> io::Result<()> {
        if !self.is_ours() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.place(0, self.len, file, offset, MapFlags::SHARED)?;
        self.exclude_children()?;
        self.register(uffd)?;
        self.discard();
        Ok(())
    }

    /// Unmaps it; nothing else may be done with it afterwards. Without this, its drop does.
    pub(super) fn unmap(&mut self) {
        if self.len > 0 && self.is_ours() {
            // SAFETY: the range is ours, and whoever could touch it borrows what owns this value.
            let done = unsafe { munmap(self.at(0), self.len) };
            debug_assert!(done.is_ok(), "the range is mapped: {done:?}");
        }
        self.len = 0;
    }

    fn register(&self, uffd: &Uffd) -> io::Result<()> {
        // SAFETY: the range is ours. That accesses wait until they are answered is what a revocable mapping promises.
        unsafe { uffd.register(self.start(), self.len) }
    }

    /// Replaces what is mapped from `at` on, in one step.
    fn place(
        &self,
        at: usize,
        len: usize,
        file: BorrowedFd<'_>,
        offset: u64,
        kind: MapFlags,
    ) -> io::Result<()> {
        debug_assert!(at + len <= self.len);
        let flags = kind | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: the part lies in the range, which is ours and mapped as long as this value lives, and whose users know
        // that what it shows may change at any time: they use volatile accesses or a raw pointer under a contract.
        unsafe { mmap(self.at(at), len, OPEN, flags, file, offset) }?;
        Ok(())
    }

    fn exclude_children(&self) -> io::Result<()> {
        // SAFETY: the range is ours; only what fork copies changes.
        Ok(unsafe { madvise(self.at(0), self.len, Advice::LinuxDontFork) }?)
    }

    fn at(&self, offset: usize) -> *mut std::ffi::c_void {
        self.base.as_ptr().wrapping_add(offset).cast()
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        self.unmap();
    }
}
