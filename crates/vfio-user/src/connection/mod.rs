//! A vfio-user byte stream: messages with descriptors over a blocking UNIX stream socket.
//!
//! [`Connection`] is used by both ends. Its parts are an [`Inbox`] that cuts the received bytes into messages
//! and attributes descriptors to them, an [`Outbox`] that collects what is to be sent, and a thin shell that
//! does the system calls. In steady state a request costs one `recvmsg` and one `send`: requests that arrive
//! together are parsed from the buffer, and their replies leave together, in order.
//!
//! What it does not do: it knows neither commands nor devices, and it does not decide what a malformed message
//! costs its sender; it only keeps the stream in step where that is possible (see [`Frame`]).
//!
//! # Concurrency
//! A connection belongs to one thread. Every wait takes that thread's [`ThreadToken`]. Waiting for the *next*
//! message has no end of its own on the server's side, and is ended from another thread by shutting the socket
//! down; a message that has begun, and a reply that the peer does not take, have deadlines.

mod inbox;
mod outbox;
#[allow(unsafe_code, reason = "asks for a socket option that rustix does not know")]
mod peer;
mod socket;

pub use inbox::{Frame, Inbox, Message, Next};
pub use outbox::Outbox;
pub use peer::{peer_pidfd, peer_process};

use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use gate::{Deadline, ThreadToken};
use rustix::io::Errno;
use thiserror::Error;

/// Most descriptors a message may carry. The client learns it in the `VERSION` reply.
pub const MAX_MESSAGE_FDS: usize = 64;

/// Bounds of a connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Bytes of the largest message that is buffered.
    pub message_size: usize,
    /// How long a message that has begun may take to arrive.
    pub message_timeout: Duration,
    /// How long the peer may leave what is sent to it unread.
    pub send_timeout: Duration,
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConnectionError {
    /// The peer closed it, or it was shut down from this side.
    #[error("the connection was closed")]
    Closed,
    /// The peer began a message and did not finish it in time, or did not answer in time.
    #[error("the peer did not send in time")]
    ReceiveTimedOut,
    /// The peer did not read what was sent to it in time.
    #[error("the peer did not read in time")]
    SendTimedOut,
    /// A system call failed.
    #[error("the socket failed: {0}")]
    Socket(#[from] Errno),
}

/// One end of a vfio-user stream.
pub struct Connection {
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    socket: UnixStream,
    /// The end of patience with the message that has begun to arrive.
    unfinished: Option<Deadline>,
    limits: ConnectionLimits,
}

impl Connection {
    /// Takes over a connected stream in blocking mode.
    pub fn new(socket: UnixStream, limits: ConnectionLimits) -> Connection {
        Connection {
            inbox: Inbox::new(limits.message_size),
            outbox: Outbox::new(),
            socket,
            unfinished: None,
            limits,
        }
    }

    /// Gives the next message an end of patience, though nothing of it has arrived. For the first message of a
    /// session, which the peer owes.
    pub fn expect_by(&mut self, deadline: Deadline) {
        self.unfinished = Some(deadline);
    }

    /// The next message. Sends what is in the outbox before it waits.
    ///
    /// # Errors
    /// The connection is over; nothing further can be received.
    #[inline]
    pub fn next(&mut self, token: &mut ThreadToken) -> Result<Frame, ConnectionError> {
        loop {
            match self.next_buffered() {
                Frame::Partial => self.receive_more(token)?,
                frame => return Ok(frame),
            }
        }
    }

    /// The next message that has been received already, else [`Frame::Partial`]: then [`Connection::receive_more`] waits for
    /// more of it. For who has something to do before it waits; others call [`Connection::next`].
    #[inline]
    pub fn next_buffered(&mut self) -> Frame {
        let frame = self.inbox.next_frame();
        if !matches!(frame, Frame::Partial) {
            self.unfinished = None;
        }
        frame
    }

    /// Sends what is in the outbox, and waits until something has come.
    ///
    /// # Errors
    /// The connection is over; nothing further can be received.
    #[inline]
    pub fn receive_more(&mut self, token: &mut ThreadToken) -> Result<(), ConnectionError> {
        self.flush(token)?;
        self.receive(token)
    }

    /// Whether something has arrived that [`Connection::next`] would act on without waiting for the peer.
    pub fn has_more(&self) -> bool {
        self.inbox.has_frame() || socket::has_input(&self.socket)
    }

    /// The process that made the peer's end of the stream, as this one numbers it; nothing if that is not known.
    pub fn peer_process(&self) -> Option<i32> {
        peer_process(&self.socket)
    }

    /// Receives what has come, without waiting. False: nothing has.
    ///
    /// # Errors
    /// The connection is over, or the message that has begun is late; nothing further can be received.
    pub fn receive_now(&mut self) -> Result<bool, ConnectionError> {
        let some = socket::receive_now(&self.socket, &mut self.inbox)?;
        if !self.inbox.is_between_messages() {
            let timeout = self.limits.message_timeout;
            let deadline = *self.unfinished.get_or_insert_with(|| Deadline::after(timeout));
            deadline.remaining().ok_or(ConnectionError::ReceiveTimedOut)?;
        }
        Ok(some)
    }

    /// The end of patience with a message that has begun to arrive.
    pub fn unfinished(&self) -> Option<Deadline> {
        self.unfinished
    }

    /// Sends what the socket has room for, without waiting, with `fds` beside the first byte; they are taken out of the slice
    /// when they have been sent. True: everything is sent.
    ///
    /// # Errors
    /// The connection is over.
    #[inline]
    pub fn send_now(&mut self, fds: &mut &[BorrowedFd<'_>]) -> Result<bool, ConnectionError> {
        while !self.outbox.is_empty() {
            let Some(sent) = socket::send_now(&self.socket, self.outbox.bytes(), fds)? else {
                return Ok(false);
            };
            self.outbox.sent(sent);
            *fds = &[];
        }
        Ok(true)
    }

    /// Waits until the socket has room, or with `input` until something has come. True: something has come.
    ///
    /// # Errors
    /// The deadline has passed: the peer does not read.
    pub fn wait_for_room(
        &self,
        token: &mut ThreadToken,
        input: bool,
        deadline: Deadline,
    ) -> Result<bool, ConnectionError> {
        socket::wait_for_room(&self.socket, token, input, deadline)
    }

    /// Sets how long a message that has begun may take, how long the peer may leave things unread, and how long a receive
    /// without a deadline blocks.
    ///
    /// # Errors
    /// The socket refuses, or the time is zero.
    pub fn set_timeout(&mut self, timeout: Duration) -> Result<(), ConnectionError> {
        let refused = |_| ConnectionError::Socket(Errno::INVAL);
        self.socket.set_read_timeout(Some(timeout)).map_err(refused)?;
        self.limits = ConnectionLimits { message_timeout: timeout, send_timeout: timeout, ..self.limits };
        Ok(())
    }

    fn receive(&mut self, token: &mut ThreadToken) -> Result<(), ConnectionError> {
        if self.inbox.is_between_messages() && self.unfinished.is_none() {
            return socket::receive(&self.socket, token, &mut self.inbox, None);
        }
        let timeout = self.limits.message_timeout;
        let deadline = *self.unfinished.get_or_insert_with(|| Deadline::after(timeout));
        // Checked here and not only when nothing has come: bytes that drip must not hold the session either.
        if deadline.remaining().is_none() {
            return Err(ConnectionError::ReceiveTimedOut);
        }
        socket::receive(&self.socket, token, &mut self.inbox, Some(deadline))
    }

    /// Sends everything in the outbox.
    ///
    /// # Errors
    /// The connection is over.
    #[inline]
    pub fn flush(&mut self, token: &mut ThreadToken) -> Result<(), ConnectionError> {
        if self.outbox.is_empty() {
            return Ok(());
        }
        self.flush_with(token, &[])
    }

    /// Ends the stream for both sides. What has been sent can still be read by the peer.
    pub fn close(self) {
        // Dropping is not enough: the server keeps another descriptor of the socket.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }

    /// Sends everything in the outbox with descriptors beside it.
    ///
    /// The receiver attributes descriptors to the message that ends the packet, so the outbox should hold one
    /// message; flush what came before it first.
    ///
    /// # Errors
    /// The connection is over.
    pub fn flush_with(
        &mut self,
        token: &mut ThreadToken,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), ConnectionError> {
        let result = socket::send(&self.socket, token, self.outbox.bytes(), fds, self.limits.send_timeout);
        self.outbox.clear();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Command, Header, HeaderFlags};
    use std::io::Write;
    use zerocopy::IntoBytes;

    /// What the first receive of a message of this size, all of which has been sent, leads to.
    fn receive(message_timeout: Duration, payload: usize) -> Result<Frame, ConnectionError> {
        let (mut peer, socket) = UnixStream::pair().unwrap();
        let header = Header::command(1, Command::RegionWrite, payload, HeaderFlags::empty());
        peer.write_all(&[header.as_bytes(), &vec![0; payload]].concat()).unwrap();
        let limits =
            ConnectionLimits { message_size: 1 << 20, message_timeout, send_timeout: Duration::ZERO };
        Connection::new(socket, limits).next(&mut ThreadToken::at_thread_entry())
    }

    #[test]
    fn a_message_past_its_time_is_given_up_even_if_its_next_bytes_are_there() {
        const PAYLOAD: usize = 64 << 10;
        assert!(matches!(receive(Duration::from_secs(60), PAYLOAD), Ok(Frame::Message(_))));
        // More than one receive takes, so its time, which is none, has passed before the second.
        assert_eq!(receive(Duration::ZERO, PAYLOAD).err(), Some(ConnectionError::ReceiveTimedOut));
        // What comes whole has not begun to take time.
        assert!(matches!(receive(Duration::ZERO, 4), Ok(Frame::Message(_))));
    }
}
