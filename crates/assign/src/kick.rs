//! Signals an eventfd that a hostile client or back end shares, and hears one, without ever blocking.
//!
//! A plain `write` blocks while the counter is at its maximum and O_NONBLOCK is clear; the client shares the
//! open file, so it can arrange both at any moment, also between a check and the write. `pwritev2` with
//! `RWF_NOWAIT` is refused for eventfds (EOPNOTSUPP, tried on Linux 6.18), a private reopening is impossible
//! (ENXIO), `poll` before `write` costs a second call and still races, and an io_uring write in line looks at
//! the flag twice. What never blocks is the signal that the kernel itself gives: an asynchronous I/O request
//! with `IOCB_FLAG_RESFD` adds 1 to the eventfd when it is done, saturating. So a signal is one `io_submit`
//! of an empty read of `/dev/null`, which is over before the call returns. It is one system call, costs about
//! half a microsecond more than `write` (0.72 against 0.25 us measured), and the kernel verifies on each
//! signal that the descriptor is an eventfd.
//!
//! Where the kernel has no AIO, or the system's quota of requests (`fs.aio-max-nr`) is used up, the fall-back is
//! `poll` and a `write` with O_NONBLOCK set: only a client that wins a race against itself could hold up its thread.
//!
//! # Concurrency
//! One context for the process, made at the first signal and never destroyed; `io_submit` is safe to call from
//! any number of threads. Completion events mean nothing here and are dropped by moving the ring's head up to
//! its tail. Threads may move it a little backwards; the kernel then counts a few events as unread until the
//! next signal, and reduces any value to the size of the ring.

use std::fs::File;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{ReadWriteFlags, preadv2};

/// Requests that may be in the ring at once; each is over before its call returns, so threads bound them.
const REQUESTS: libc::c_uint = 512;
/// What the kernel writes at the beginning of a ring that may be read from user space.
const RING_MAGIC: u32 = 0xa10a_10a1;
const OPCODE_PREAD: u16 = 0;
const FLAG_RESFD: u32 = 1;

/// `struct iocb` of the kernel's interface, on little-endian machines.
#[repr(C)]
#[derive(Default)]
struct Request {
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

/// The beginning of `struct aio_ring`, shared with the kernel.
#[repr(C)]
struct Ring {
    id: u32,
    slots: u32,
    head: AtomicU32,
    tail: AtomicU32,
    magic: u32,
}

struct Context {
    ring: &'static Ring,
    null: File,
}

static CONTEXT: OnceLock<Option<Context>> = OnceLock::new();

/// Adds 1 to the eventfd's counter. A counter at its maximum counts as signalled: its reader has yet to look.
///
/// False: the signal could not be delivered (the descriptor is no eventfd).
pub fn kick(eventfd: BorrowedFd<'_>) -> bool {
    if let Some(context) = CONTEXT.get_or_init(Context::new)
        && context.submit(eventfd)
    {
        return true;
    }
    kick_by_write(eventfd)
}

/// Takes what the eventfd's counter has, without ever blocking (Linux 5.8). False: there is nothing.
pub fn drain(eventfd: BorrowedFd<'_>) -> bool {
    let mut count = [0; 8];
    // The offset of what has none.
    preadv2(eventfd, &mut [IoSliceMut::new(&mut count)], u64::MAX, ReadWriteFlags::NOWAIT).is_ok()
}

fn kick_by_write(eventfd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(eventfd, PollFlags::OUT)];
    if poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_err() {
        return false;
    }
    // Full (or overfull, which polls as an error): its reader has yet to look.
    if !fds[0].revents().contains(PollFlags::OUT) {
        return true;
    }
    matches!(rustix::io::write(eventfd, &1u64.to_ne_bytes()), Ok(_) | Err(rustix::io::Errno::AGAIN))
}

impl Context {
    fn new() -> Option<Context> {
        let null = File::open("/dev/null").ok()?;
        let mut context: libc::c_ulong = 0;
        // SAFETY: the call writes the context's address to valid memory.
        let made = unsafe { libc::syscall(libc::SYS_io_setup, REQUESTS, &raw mut context) };
        if made != 0 {
            tracing::warn!("no asynchronous I/O: interrupts are signalled by poll and write");
            return None;
        }
        // SAFETY: the context is the address of its ring, which stays mapped since nobody destroys it. The
        // kernel changes only fields declared atomic once it is set up.
        let ring = unsafe { (context as *const Ring).as_ref() }?;
        (ring.magic == RING_MAGIC).then_some(Context { ring, null })
    }

    /// True: the kernel took the request, and so has signalled.
    fn submit(&self, eventfd: BorrowedFd<'_>) -> bool {
        let (Ok(file), Ok(target)) =
            (u32::try_from(self.null.as_raw_fd()), u32::try_from(eventfd.as_raw_fd()))
        else {
            return false;
        };
        let mut request =
            Request { opcode: OPCODE_PREAD, file, flags: FLAG_RESFD, eventfd: target, ..Request::default() };
        let mut requests = [&raw mut request];
        let context = std::ptr::from_ref(self.ring) as libc::c_ulong;
        // SAFETY: one valid request whose descriptors are open; it reads no bytes, so its buffer is not touched, and
        // it is over when the call returns, so `request` lives long enough.
        let taken =
            unsafe { libc::syscall(libc::SYS_io_submit, context, 1 as libc::c_long, requests.as_mut_ptr()) };
        self.ring.head.store(self.ring.tail.load(Ordering::Acquire), Ordering::Release);
        taken == 1
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    fn count(fd: &impl AsFd) -> u64 {
        let mut value = [0; 8];
        rustix::io::read(fd, &mut value).unwrap();
        u64::from_ne_bytes(value)
    }

    #[test]
    fn every_kick_counts_more_often_than_the_ring_has_slots() {
        let fd = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        for _ in 0..5000 {
            assert!(kick(fd.as_fd()));
        }
        assert_eq!(count(&fd), 5000);
    }

    #[test]
    fn kicks_from_several_threads_all_count() {
        let fd = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..2000).for_each(|_| assert!(kick(fd.as_fd()))));
            }
        });
        assert_eq!(count(&fd), 8000);
    }

    #[test]
    fn a_full_counter_with_nonblocking_cleared_does_not_block() {
        let fd = eventfd(0, EventfdFlags::empty()).unwrap();
        rustix::io::write(&fd, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        assert!(kick(fd.as_fd()));
        assert!(kick(fd.as_fd()));
        assert!(kick_by_write(fd.as_fd()));
    }

    #[test]
    fn the_fall_back_signals_too() {
        let fd = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        assert!(kick_by_write(fd.as_fd()));
        assert_eq!(count(&fd), 1);
    }

    #[test]
    fn what_is_no_eventfd_is_not_signalled_through_the_kernel() {
        let file = tempfile::tempfile().unwrap();
        assert!(!CONTEXT.get_or_init(Context::new).as_ref().unwrap().submit(file.as_fd()));
    }
}
