//! The system calls of a connection. None of them blocks but the one that waits, which takes the token and a deadline and
//! looks at short intervals whether the thread's waits have been cancelled: a [`gate::Canceller`] cannot reach into a
//! `poll`.

use gate::{Deadline, ThreadToken};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, recv, send, socket_with,
};
use std::path::Path;
use std::time::Duration;

/// How long a wait goes on after its thread was cancelled, at most.
pub(crate) const CANCEL_LOOK: Duration = Duration::from_millis(20);

/// Bytes that are received at once.
const CHUNK: usize = 16 * 1024;

/// How a wait ended other than well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The deadline passed.
    TimedOut,
    /// The thread was cancelled.
    Cancelled,
    /// The other end has gone.
    Closed,
    /// A system call failed.
    Failed(Errno),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Failure::Closed,
            other => Failure::Failed(other),
        }
    }
}

/// Fails if there is no more to wait. A peer that never lets a socket run dry is held to the deadline by this alone.
pub(crate) fn check(token: &ThreadToken, deadline: Deadline) -> Result<Duration, Failure> {
    if token.is_cancelled() {
        return Err(Failure::Cancelled);
    }
    deadline.remaining().ok_or(Failure::TimedOut)
}

/// Connects; waits for room in the listener's queue.
pub(crate) fn connect(path: &Path, token: &mut ThreadToken, deadline: Deadline) -> Result<OwnedFd, Failure> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    loop {
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return Ok(socket),
            // The queue is full, and a socket that is not connected cannot be waited for.
            Err(Errno::AGAIN) => wait(&mut [], token, deadline)?,
            Err(Errno::INTR) => {}
            // What it means that nobody listens is not that somebody has left.
            Err(errno) => return Err(Failure::Failed(errno)),
        }
    }
}

/// Sends all of `bytes`. After a failure part of it may have been sent.
pub(crate) fn send_all(
    socket: &OwnedFd,
    token: &mut ThreadToken,
    mut bytes: &[u8],
    deadline: Deadline,
) -> Result<(), Failure> {
    while !bytes.is_empty() {
        check(token, deadline)?;
        match send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(Errno::AGAIN) => {
                wait(&mut [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::OUT)], token, deadline)?;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Receives once, and hands what came to `take`.
pub(crate) fn receive(
    socket: &OwnedFd,
    token: &mut ThreadToken,
    deadline: Deadline,
    take: impl FnOnce(&[u8]),
) -> Result<(), Failure> {
    let mut chunk = [0; CHUNK];
    loop {
        check(token, deadline)?;
        match recv(socket, &mut chunk[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Err(Failure::Closed),
            Ok((count, _)) => {
                take(chunk.get(..count).unwrap_or_default());
                return Ok(());
            }
            Err(Errno::AGAIN) => {
                wait(&mut [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)], token, deadline)?;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Waits for one interval: until a descriptor is ready, or it is time to look whether there is still a reason to wait.
fn wait(fds: &mut [PollFd<'_>], token: &mut ThreadToken, deadline: Deadline) -> Result<(), Failure> {
    token.assert_holds_nothing();
    let interval = check(token, deadline)?.min(CANCEL_LOOK);
    let timeout = Timespec::try_from(interval).map_err(|_| Errno::INVAL)?;
    match poll(fds, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Lets time pass: until `pause` is over, the deadline passes or the thread is cancelled.
pub(crate) fn pause(token: &mut ThreadToken, pause: Duration, deadline: Deadline) -> Result<(), Failure> {
    let until = Deadline::after(pause);
    while until.remaining().is_some() {
        wait(&mut [], token, until.min(deadline)).or_else(|failure| match failure {
            // The pause is over, not the time that there is.
            Failure::TimedOut if deadline.remaining().is_some() => Ok(()),
            other => Err(other),
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_is_there_is_not_received_after_the_deadline_or_by_a_cancelled_thread() {
        let mut token = ThreadToken::at_thread_entry();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"there all along").unwrap();
        let socket = OwnedFd::from(ours);
        let receive = |token: &mut ThreadToken, wait| {
            receive(&socket, token, Deadline::after(wait), |_| panic!("bytes were taken"))
        };
        assert_eq!(receive(&mut token, Duration::ZERO), Err(Failure::TimedOut));
        token.canceller().cancel();
        assert_eq!(receive(&mut token, Duration::from_secs(60)), Err(Failure::Cancelled));
    }

    #[test]
    fn a_pause_ends_by_itself_or_at_the_deadline() {
        let mut token = ThreadToken::at_thread_entry();
        let short = Duration::from_millis(30);
        assert_eq!(pause(&mut token, short, Deadline::after(Duration::from_secs(60))), Ok(()));
        let deadline = Deadline::after(short);
        assert_eq!(pause(&mut token, Duration::from_secs(60), deadline), Err(Failure::TimedOut));
    }
}
