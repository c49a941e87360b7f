//! The system calls of a connection.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use gate::{Deadline, ThreadToken};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, send as send_bytes, sendmsg,
};

use super::{ConnectionError, Inbox, MAX_MESSAGE_FDS};

/// Receives once into the inbox. Without a deadline it blocks in one system call until bytes come, the peer
/// leaves, the socket is shut down, or the socket's own receive time-out (the client sets one) passes.
#[inline]
pub(super) fn receive(
    socket: &UnixStream,
    token: &mut ThreadToken,
    inbox: &mut Inbox,
    deadline: Option<Deadline>,
) -> Result<(), ConnectionError> {
    let mut flags = RecvFlags::CMSG_CLOEXEC;
    if deadline.is_some() {
        flags |= RecvFlags::DONTWAIT;
    }
    loop {
        match receive_once(socket, inbox, flags) {
            Ok(0) | Err(Errno::CONNRESET) => return Err(ConnectionError::Closed),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => match deadline {
                Some(deadline) => wait(socket.as_fd(), PollFlags::IN, token, deadline)?
                    .map(drop)
                    .ok_or(ConnectionError::ReceiveTimedOut)?,
                None => return Err(ConnectionError::ReceiveTimedOut),
            },
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Receives once into the inbox what has come. False: nothing has.
pub(super) fn receive_now(socket: &UnixStream, inbox: &mut Inbox) -> Result<bool, ConnectionError> {
    loop {
        match receive_once(socket, inbox, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT) {
            Ok(0) | Err(Errno::CONNRESET) => return Err(ConnectionError::Closed),
            Ok(_) => return Ok(true),
            Err(Errno::AGAIN) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[inline]
fn receive_once(socket: &UnixStream, inbox: &mut Inbox, flags: RecvFlags) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_MESSAGE_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let result = recvmsg(socket, &mut [IoSliceMut::new(inbox.spare()?)], &mut control, flags)?;
    inbox.received(result.bytes);
    // MSG_CMSG_CLOEXEC comes back in the flags; any other means that descriptors came, or were lost.
    let lost = result.flags.contains(ReturnFlags::CTRUNC);
    let mut messages = control.drain().peekable();
    if lost || messages.peek().is_some() {
        let fds = messages.filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        inbox.received_fds(fds.flatten(), lost);
    }
    Ok(result.bytes)
}

/// Sends all of `bytes`, with `fds` beside the first of them, within `timeout` of the first time that the peer
/// left no room.
#[inline]
pub(super) fn send(
    socket: &UnixStream,
    token: &mut ThreadToken,
    mut bytes: &[u8],
    mut fds: &[BorrowedFd<'_>],
    timeout: Duration,
) -> Result<(), ConnectionError> {
    let mut deadline = None;
    while !bytes.is_empty() {
        match send_now(socket, bytes, fds)? {
            Some(sent) => {
                bytes = bytes.get(sent..).unwrap_or(&[]);
                fds = &[];
            }
            None => {
                let deadline = *deadline.get_or_insert_with(|| Deadline::after(timeout));
                wait_for_room(socket, token, false, deadline)?;
            }
        }
    }
    Ok(())
}

/// Sends once. Nothing: there is no room.
#[inline]
pub(super) fn send_now(
    socket: &UnixStream,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<Option<usize>, ConnectionError> {
    loop {
        match send_once(socket, bytes, fds) {
            Ok(sent) => return Ok(Some(sent)),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Err(ConnectionError::Closed),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Waits until there is room to send, or with `input` until something has come. True: something has come.
#[cold]
pub(super) fn wait_for_room(
    socket: &UnixStream,
    token: &mut ThreadToken,
    input: bool,
    deadline: Deadline,
) -> Result<bool, ConnectionError> {
    let input = if input { PollFlags::IN } else { PollFlags::empty() };
    let ready = wait(socket.as_fd(), PollFlags::OUT | input, token, deadline)?;
    ready.map(|ready| ready.intersects(input)).ok_or(ConnectionError::SendTimedOut)
}

/// Never blocks: the kernel applies a send time-out to each piece of a large message anew, so a peer that
/// drips could hold a blocking send far beyond it.
#[inline]
fn send_once(socket: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    if fds.is_empty() {
        return send_bytes(socket, bytes, flags);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_MESSAGE_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)
}

/// Bytes have come, or the end of the stream, that have not been received.
pub(super) fn has_input(socket: &UnixStream) -> bool {
    let now = Timespec::default();
    // A failure shows at the next receive.
    poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
}

/// Waits until the socket is ready or broken, and says how; nothing when the deadline has passed.
#[cold]
fn wait(
    socket: BorrowedFd<'_>,
    what: PollFlags,
    token: &mut ThreadToken,
    deadline: Deadline,
) -> Result<Option<PollFlags>, Errno> {
    token.assert_holds_nothing();
    loop {
        let Some(left) = deadline.remaining() else { return Ok(None) };
        let timeout = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        let mut watched = [PollFd::from_borrowed_fd(socket, what)];
        match poll(&mut watched, Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => {
                let [watched] = watched;
                return Ok(Some(watched.revents()));
            }
            Err(errno) => return Err(errno),
        }
    }
}
