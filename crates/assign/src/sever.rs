//! Puts nothing in the place of a client's file, under a descriptor that others may be using at the same moment.
//!
//! Closing would free the number for somebody else's file, which a signal that is just being sent would then hit. The
//! kernel exchanges what is behind a number in one step, so that a signal reaches the client's file or nothing. It knows
//! only that the number stays open: the safe call wants to be its only user, which nobody can be.

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// Makes `fd` a descriptor of `/dev/null`, whoever else uses it. The file it stood for is let go.
///
/// # Errors
/// This process has no descriptor free for a moment; `fd` is as it was.
pub(crate) fn sever(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let null = File::options().read(true).write(true).open("/dev/null").map_err(|error| errno(&error))?;
    // SAFETY: both numbers are open, `null` for the call and `fd` for longer than its borrow; the call closes neither of
    // the numbers, so that their owners go on owning them.
    let severed = unsafe { libc::dup3(null.as_raw_fd(), fd.as_raw_fd(), libc::O_CLOEXEC) };
    if severed < 0 { Err(errno(&std::io::Error::last_os_error())) } else { Ok(()) }
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
