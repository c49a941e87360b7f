//! The system calls that no crate of ours has a safe form for, and memory that other processes and the kernel change.

#![allow(unsafe_code)] // Raw system calls and mappings: this is the one place of the spike for them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::ptr;

use io_uring::{IoUring, squeue};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// Page-aligned memory of this process.
pub(crate) struct Pages {
    start: *mut u8,
    length: usize,
}

// SAFETY: the memory is plain bytes that only `&Pages` readers and the kernel look at after `fill`.
unsafe impl Sync for Pages {}

impl Pages {
    /// `length` bytes of zeroes.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn new(length: usize) -> Result<Self, String> {
        // SAFETY: a fresh anonymous mapping, placed by the kernel.
        let start = unsafe {
            mmap_anonymous(ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        };
        let start = start.map_err(|errno| errno.to_string())?.cast();
        Ok(Self { start, length })
    }

    /// Sets every byte; before anybody else looks.
    pub(crate) fn fill(&self, byte: u8) {
        // SAFETY: the mapping is `length` bytes and nobody has a reference into it yet.
        unsafe { ptr::write_bytes(self.start, byte, self.length) }
    }

    /// The address of a byte.
    pub(crate) fn at(&self, offset: usize) -> *const u8 {
        assert!(offset < self.length);
        // SAFETY: inside the mapping.
        unsafe { self.start.add(offset) }
    }

    /// A piece, to be read only.
    pub(crate) fn slice(&self, offset: usize, length: usize) -> &[u8] {
        assert!(offset + length <= self.length);
        // SAFETY: inside the mapping, which lives as long as `self`; nobody writes it while slices are used.
        unsafe { std::slice::from_raw_parts(self.start.add(offset), length) }
    }

    /// Fills the pages from `file` at `offset`; the last byte.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read(&self, file: &File, offset: u64) -> Result<u8, String> {
        // SAFETY: inside the mapping; the one reference into it, for the length of the read.
        let all = unsafe { std::slice::from_raw_parts_mut(self.start, self.length) };
        file.read_exact_at(all, offset).map_err(|error| error.to_string())?;
        Ok(all[self.length - 1])
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: our mapping; slices borrow `self`.
        let _ = unsafe { munmap(self.start.cast(), self.length) };
    }
}

/// Pushes one entry.
///
/// # Errors
/// The queue is full.
pub(crate) fn push(ring: &mut IoUring, entry: &squeue::Entry) -> Result<(), String> {
    // SAFETY: the callers' buffers and files live until the process ends.
    unsafe { ring.submission().push(entry) }.map_err(|error| error.to_string())
}

/// A context of `io_submit`.
pub(crate) struct Aio(libc::c_ulong);

/// `struct iocb` of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    file: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    eventfd: u32,
}

const IOCB_CMD_PWRITE: u16 = 1;

impl Aio {
    /// A context for `depth` requests.
    ///
    /// # Errors
    /// The kernel has none left.
    pub(crate) fn new(depth: usize) -> Result<Self, String> {
        let mut context: libc::c_ulong = 0;
        // SAFETY: the kernel writes one word.
        let done = unsafe { libc::syscall(libc::SYS_io_setup, depth, &raw mut context) };
        if done == 0 { Ok(Self(context)) } else { Err(io::Error::last_os_error().to_string()) }
    }

    /// Queues `pages` as writes of `block` bytes each, from the start of `file` on.
    ///
    /// # Errors
    /// The kernel takes fewer.
    pub(crate) fn write_all(&self, file: &File, pages: &Pages, block: usize) -> Result<(), String> {
        let mut all: Vec<Iocb> = (0..pages.length / block)
            .map(|index| Iocb {
                opcode: IOCB_CMD_PWRITE,
                file: file.as_raw_fd().cast_unsigned(),
                buffer: pages.at(index * block).addr() as u64,
                bytes: block as u64,
                offset: (index * block).cast_signed() as i64,
                ..Iocb::default()
            })
            .collect();
        let pointers: Vec<*mut Iocb> = all.iter_mut().map(ptr::from_mut).collect();
        // SAFETY: the blocks are copied by the kernel within the call; the pages outlive the process.
        let taken = unsafe { libc::syscall(libc::SYS_io_submit, self.0, pointers.len(), pointers.as_ptr()) };
        if usize::try_from(taken) == Ok(pointers.len()) {
            Ok(())
        } else {
            Err(format!("io_submit took {taken}"))
        }
    }
}

/// Memory that several processes have mapped.
#[derive(Clone, Copy)]
pub(crate) struct Shared {
    start: *mut u8,
    length: usize,
}

// SAFETY: whoever uses it goes through atomics or through banks that only one process writes.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Maps `length` bytes of `file` at `offset`, until the process ends.
    ///
    /// # Errors
    /// No memory, or not that kind of file.
    pub(crate) fn map(file: impl AsFd, offset: u64, length: usize) -> Result<Self, String> {
        // SAFETY: a fresh mapping, placed by the kernel, never unmapped.
        let start = unsafe {
            mmap(ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, offset)
        };
        Ok(Self { start: start.map_err(|errno| errno.to_string())?.cast(), length })
    }

    /// The address of `T` at `offset`.
    pub(crate) fn at<T>(&self, offset: usize) -> *mut T {
        assert!(offset + size_of::<T>() <= self.length && offset.is_multiple_of(align_of::<T>()));
        // SAFETY: inside the mapping.
        unsafe { self.start.add(offset).cast() }
    }

    /// An atomic number at `offset`.
    pub(crate) fn atomic<T: Atomic>(&self, offset: usize) -> &'static T {
        // SAFETY: inside a mapping that is never unmapped, aligned, valid for every bit pattern, changed by atomics only.
        unsafe { &*self.at(offset) }
    }

    /// A copy of what is at `offset`.
    pub(crate) fn load<T: Plain>(&self, offset: usize) -> T {
        // SAFETY: inside the mapping; `Plain` is valid for every bit pattern.
        unsafe { self.at::<T>(offset).read_volatile() }
    }

    /// Writes what is at `offset`.
    pub(crate) fn store<T: Plain>(&self, offset: usize, value: T) {
        // SAFETY: inside the mapping, and only one process writes there.
        unsafe { self.at::<T>(offset).write_volatile(value) }
    }
}

/// Atomic numbers.
///
/// # Safety
/// Valid for every bit pattern.
pub(crate) unsafe trait Atomic {}
// SAFETY: a number.
unsafe impl Atomic for std::sync::atomic::AtomicU64 {}
// SAFETY: a number.
unsafe impl Atomic for std::sync::atomic::AtomicU32 {}

/// Values that may lie in shared memory.
///
/// # Safety
/// `repr(C)`, without pointers, valid for every bit pattern.
pub(crate) unsafe trait Plain: Copy {}
// SAFETY: numbers.
unsafe impl Plain for crate::journal::State {}
// SAFETY: numbers.
unsafe impl Plain for crate::ring::Entry {}
// SAFETY: numbers.
unsafe impl Plain for crate::ring::Completion {}
// SAFETY: numbers.
unsafe impl Plain for crate::ring::Parameters {}
// SAFETY: a number.
unsafe impl Plain for u32 {}
// SAFETY: bytes.
unsafe impl Plain for [u8; 256] {}

/// `io_uring_setup`.
///
/// # Errors
/// Rings are disabled, or no memory.
pub(crate) fn ring_setup(
    entries: u32,
    parameters: &mut crate::ring::Parameters,
) -> Result<std::os::fd::OwnedFd, String> {
    use std::os::fd::FromRawFd;
    // SAFETY: the kernel reads and writes one structure of its own layout.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, ptr::from_mut(parameters)) };
    let fd = i32::try_from(fd).map_err(|error| error.to_string())?;
    if fd < 0 {
        return Err(io::Error::last_os_error().to_string());
    }
    // SAFETY: a fresh descriptor that is ours.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) })
}

/// `io_uring_enter`: submits `submit` entries and waits for `wait` completions.
///
/// # Errors
/// What the kernel says.
pub(crate) fn ring_enter(ring: BorrowedFd<'_>, submit: u32, wait: u32) -> io::Result<()> {
    const GETEVENTS: u32 = 1;
    let flags = if wait > 0 { GETEVENTS } else { 0 };
    // SAFETY: no pointers but null.
    let done = unsafe {
        libc::syscall(
            libc::SYS_io_uring_enter,
            ring.as_raw_fd(),
            submit,
            wait,
            flags,
            ptr::null::<u8>(),
            0usize,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `SO_PEEK_OFF` of a socket: where the next peek begins. The kernel moves it on at every peek, and back at every
/// byte that is consumed.
///
/// # Errors
/// Not such a socket.
pub(crate) fn peek_offset(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes one number of `length` bytes.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEEK_OFF,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(usize::try_from(value).unwrap_or(0)) }
}

/// Sets `SO_PEEK_OFF`.
///
/// # Errors
/// Not such a socket.
pub(crate) fn set_peek_offset(socket: BorrowedFd<'_>, offset: usize) -> io::Result<()> {
    let value = libc::c_int::try_from(offset).map_err(io::Error::other)?;
    // SAFETY: the kernel reads one number.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEEK_OFF,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `SIOCOUTQ`: what of this socket's sends the peer has not taken, in the kernel's own accounting (not bytes).
///
/// # Errors
/// Not a socket.
pub(crate) fn out_queue(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut value: libc::c_int = 0;
    // SAFETY: the kernel writes one number.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut value) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(usize::try_from(value).unwrap_or(0)) }
}

/// The descriptor that this process has inherited under `number`.
pub(crate) fn inherited(number: i32) -> BorrowedFd<'static> {
    // SAFETY: the parent left it open over exec, and nobody here closes it.
    unsafe { BorrowedFd::borrow_raw(number) }
}
