#![allow(unsafe_code)] // The floor: userfaultfd and mappings by hand.
//! The floor: the least that makes pages of a shared file appear when they are touched.
//!
//! One descriptor, one structure for all requests that name a range, no table, no gate, no policy, nothing that could be
//! taken back. A handler is a thread in a blocking `read` of one event, which is the cheapest way to wait for one: it has
//! no way to be stopped, so it ends with the process.

use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use rustix::mm::{Advice, MapFlags, ProtFlags, UserfaultfdFlags, madvise, mmap, munmap, userfaultfd};

pub(super) const PAGE: usize = 4096;

/// `UFFD_USER_MODE_ONLY`.
const USER_MODE_ONLY: u32 = 1;
/// `UFFD_FEATURE_MINOR_SHMEM`, and the mode that goes with it.
const FEATURE_MINOR_SHMEM: u64 = 1 << 10;
const MODE_MINOR: u64 = 1 << 2;

/// Bytes of one event, and where the address is in it.
const EVENT: usize = 32;
const EVENT_ADDRESS: usize = 16;

/// `struct uffdio_api`.
#[repr(C)]
struct Api {
    version: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register` and `struct uffdio_continue`: a range, a mode, and what comes back.
#[repr(C)]
struct OfRange {
    start: u64,
    len: u64,
    mode: u64,
    answer: u64,
}

const API: Opcode = opcode::read_write::<Api>(0xaa, 0x3f);
const REGISTER: Opcode = opcode::read_write::<OfRange>(0xaa, 0x00);
const CONTINUE: Opcode = opcode::read_write::<OfRange>(0xaa, 0x07);

/// A descriptor with handlers.
pub(super) struct Raw(Arc<OwnedFd>);

impl Raw {
    /// Opens a descriptor in blocking mode.
    ///
    /// # Errors
    /// It is not permitted, or the kernel is too old.
    pub(super) fn open() -> Result<Raw, Box<dyn Error>> {
        let flags = UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::from_bits_retain(USER_MODE_ONLY);
        // SAFETY: nothing is registered with it yet.
        let fd = unsafe { userfaultfd(flags) }?;
        let mut api = Api { version: 0xaa, features: FEATURE_MINOR_SHMEM, ioctls: 0 };
        // SAFETY: the request reads and writes one `struct uffdio_api`.
        unsafe { ioctl(&fd, Updater::<API, _>::new(&mut api)) }?;
        Ok(Raw(Arc::new(fd)))
    }

    /// Starts a handler: it makes the page that was touched present, and nothing else. On the CPUs of the caller.
    pub(super) fn handle(&self) {
        let fd = Arc::clone(&self.0);
        std::thread::spawn(move || {
            let mut event = [0; EVENT];
            while rustix::io::read(&fd, &mut event).is_ok() {
                let Some(address) = event[EVENT_ADDRESS..].first_chunk().map(|at| u64::from_ne_bytes(*at))
                else {
                    return;
                };
                // Another handler may have been first; each thread touches pages of its own, so nobody is left waiting.
                let _ = make_present(&fd, address - address % PAGE as u64, PAGE as u64);
            }
        });
    }

    /// Maps `len` bytes of `file` from `offset` on; pages appear as they are touched.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn map(&self, memory: &Memory, offset: usize, len: usize) -> Result<Range, Box<dyn Error>> {
        let mapped = Mapped::new(&memory.file, offset, len)?;
        let start = mapped.base.addr() as u64;
        let mut request = OfRange { start, len: len as u64, mode: MODE_MINOR, answer: 0 };
        // SAFETY: the request reads and writes one `struct uffdio_register`, and the range is ours.
        unsafe { ioctl(self.0.as_fd(), Updater::<REGISTER, _>::new(&mut request)) }?;
        Ok(Range { mapped, uffd: Arc::clone(&self.0) })
    }
}

/// Maps pages that the file has.
fn make_present(uffd: &OwnedFd, start: u64, len: u64) -> Result<(), Errno> {
    loop {
        let mut request = OfRange { start, len, mode: 0, answer: 0 };
        // SAFETY: the request reads and writes one `struct uffdio_continue`; it adds pages to a range of this module.
        match unsafe { ioctl(uffd, Updater::<CONTINUE, _>::new(&mut request)) } {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// Memory as a device has it: a file, and the device's own view of it. A page that the device has mapped is cheaper to map
/// once more, and to unmap, so a floor without the view would flatter us.
pub(super) struct Memory {
    file: OwnedFd,
    _view: Mapped,
}

impl Memory {
    /// Memory with all its pages.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn new(size: usize) -> Result<Memory, Box<dyn Error>> {
        let file = memfd_create("bench-raw", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, size as u64)?;
        let view = Mapped::new(&file, 0, size)?;
        // SAFETY: inside the view, which nobody else has.
        unsafe { ptr::write_bytes(view.base, 0x5a, size) };
        Ok(Memory { file, _view: view })
    }
}

/// Mapped pages whose faults are answered.
pub(super) struct Range {
    mapped: Mapped,
    uffd: Arc<OwnedFd>,
}

impl Range {
    /// Loads the first word of the page at `offset`.
    pub(super) fn touch(&self, offset: usize) -> u32 {
        debug_assert!(offset + 4 <= self.mapped.len);
        // SAFETY: inside the range, which is mapped as long as this value lives; aligned, since pages are.
        unsafe { ptr::read_volatile(self.mapped.base.add(offset).cast::<u32>()) }
    }

    /// Makes all of it present by one request.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn populate(&self) -> Result<(), Errno> {
        make_present(&self.uffd, self.mapped.base.addr() as u64, self.mapped.len as u64)
    }

    /// Takes all pages away.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn zap(&self) -> Result<(), Errno> {
        // SAFETY: the range is ours; what lies in the file stays.
        unsafe { madvise(self.mapped.base.cast(), self.mapped.len, Advice::LinuxDontNeed) }
    }
}

/// A shared mapping.
struct Mapped {
    base: *mut u8,
    len: usize,
}

// SAFETY: a mapping is no thread's own; loads of it are volatile, and there are no stores once it is shared.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    fn new(file: &OwnedFd, offset: usize, len: usize) -> Result<Mapped, Errno> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel picks addresses that are free.
        let base = unsafe { mmap(ptr::null_mut(), len, protection, MapFlags::SHARED, file, offset as u64) }?;
        Ok(Mapped { base: base.cast(), len })
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the range is ours, and nobody borrows it any more.
        let _ = unsafe { munmap(self.base.cast(), self.len) };
    }
}
