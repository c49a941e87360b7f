//! SIGTERM, SIGINT and SIGHUP as something to read.
//!
//! The signals are blocked before any other thread exists, so every thread inherits that and none is interrupted;
//! a descriptor delivers them.
#![allow(unsafe_code, reason = "blocking signals and making their descriptor have no safe wrapper")]

use std::fs::File;
use std::io::{self, Read};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};

use gate::ThreadToken;

/// The descriptor that the signals arrive at.
#[derive(Debug)]
pub struct Signals {
    file: File,
}

impl Signals {
    /// Blocks the signals for this thread and all that it starts from now on.
    ///
    /// # Errors
    /// What the system says.
    pub fn block() -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the set it is given; sigaddset and pthread_sigmask get that set, which is
        // initialised from there on, and a null pointer where the old mask is not wanted.
        let blocked = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut())
        };
        if blocked != 0 {
            return Err(io::Error::from_raw_os_error(blocked));
        }
        // SAFETY: the set was initialised above; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is a fresh descriptor that nothing else owns.
        Ok(Self { file: unsafe { File::from_raw_fd(fd) } })
    }

    /// The descriptor, which is readable once a signal has arrived: to wait for other things as well.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Waits for the next of the signals and gives its name.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(&mut self, token: &mut ThreadToken) -> io::Result<&'static str> {
        token.assert_holds_nothing();
        let mut record = [0; size_of::<libc::signalfd_siginfo>()];
        self.file.read_exact(&mut record)?;
        // The signal's number is the record's first field, 32 bits.
        let number = i32::from_ne_bytes([record[0], record[1], record[2], record[3]]);
        Ok(match number {
            libc::SIGTERM => "SIGTERM",
            libc::SIGINT => "SIGINT",
            libc::SIGHUP => "SIGHUP",
            _ => "a signal",
        })
    }
}
