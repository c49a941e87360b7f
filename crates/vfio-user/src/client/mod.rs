//! The client side: drives a function that a vfio-user server offers.
//!
//! [`Client`] connects, negotiates and has a method for each command; [`SharedMemory`] is memory that both
//! sides reach, and [`MappedArea`] a mapped part of a region. Tests, benchmarks and host drivers are built on it.
//!
//! The server is not trusted: sizes, counts and offsets in its replies are checked, descriptors nobody asked
//! for are closed, and every wait has an end. A call fails with [`ClientError::Refused`] when the server said
//! no, and the client goes on; after any other error the stream may be out of step, and every further call
//! fails with [`ClientError::Broken`].
//!
//! What it does not do: it does not reconnect, it does not serve `DMA_READ` and `DMA_WRITE` from the server
//! (they get an error reply), and it does not protect a [`MappedArea`] from a server that truncates its file.
//!
//! # Concurrency
//! A client belongs to one thread; every call may wait and so takes that thread's [`ThreadToken`].

mod connect;
mod device;
mod dma;
mod irq;
#[allow(unsafe_code, reason = "maps shared memory and accesses it through raw pointers")]
mod memory;
mod region;

pub use device::Region;
pub use memory::{MappedArea, SharedMapping, SharedMemory};

use std::os::fd::BorrowedFd;
use std::time::Duration;

use gate::ThreadToken;
use rustix::io::Errno;
use thiserror::Error;

use crate::codec::{Capabilities, Command, Header, HeaderFlags, MessageType};
use crate::connection::{Connection, ConnectionError, Frame, MAX_MESSAGE_FDS, Message};

/// Commands that a server may put between a command and its reply before it is taken for hostile.
const MAX_INTERLEAVED: usize = 64;

/// How a client behaves.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// How long one reply may take, and how long the server may leave a command unread.
    pub timeout: Duration,
}

impl Default for ClientOptions {
    /// 10 s: twice what a server may take for a reply.
    fn default() -> Self {
        ClientOptions { timeout: Duration::from_secs(10) }
    }
}

/// Why a call failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// There is no server at the path.
    #[error("cannot connect to {path}: {errno}")]
    Connect {
        /// The socket.
        path: std::path::PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// The connection is over, or the server did not answer in time.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The server said no. The client can go on.
    #[error("the server refused {command:?}: {errno}")]
    Refused {
        /// What was asked.
        command: Command,
        /// What the server said.
        errno: Errno,
    },
    /// The server's reply makes no sense.
    #[error("the reply to {command:?} is malformed: {what}")]
    Malformed {
        /// What was asked.
        command: Command,
        /// What is wrong with the reply.
        what: &'static str,
    },
    /// The caller asked for something that does not fit into a message. Nothing was sent.
    #[error("the request is not possible: {0}")]
    Request(&'static str),
    /// Memory could not be made or mapped.
    #[error("cannot map memory: {0}")]
    Memory(Errno),
    /// An earlier call failed and left the stream out of step.
    #[error("an earlier failure left the connection unusable")]
    Broken,
}

/// A connected client.
pub struct Client {
    connection: Connection,
    capabilities: Capabilities,
    version: (u16, u16),
    next_id: u16,
    broken: bool,
}

impl Client {
    /// What the server said it can take.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The protocol version agreed on, major and minor.
    pub fn version(&self) -> (u16, u16) {
        self.version
    }

    /// Sends a command and waits for its reply.
    fn call(
        &mut self,
        token: &mut ThreadToken,
        command: Command,
        payload: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Message, ClientError> {
        let id = self.queue(command, payload, HeaderFlags::empty())?;
        if fds.len() > MAX_MESSAGE_FDS {
            return Err(ClientError::Request("too many descriptors for one message"));
        }
        let sent = self.connection.flush_with(token, fds).map_err(ClientError::from);
        self.note(sent)?;
        self.reply(token, command, id)
    }

    /// Queues a command; [`Connection::next`] or a flush sends it.
    fn queue(&mut self, command: Command, payload: &[&[u8]], flags: HeaderFlags) -> Result<u16, ClientError> {
        if self.broken {
            return Err(ClientError::Broken);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let size = payload.iter().map(|part| part.len()).sum();
        let header = Header::command(id, command, size, flags);
        self.connection
            .outbox
            .push(&header, payload)
            .map_err(|_| ClientError::Request("no memory for the message"))?;
        Ok(id)
    }

    /// Waits for the reply to the command with this id.
    fn reply(&mut self, token: &mut ThreadToken, command: Command, id: u16) -> Result<Message, ClientError> {
        let reply = self.receive_reply(token, command, id);
        self.note(reply)
    }

    /// Remembers that the stream is out of step after any failure but a refusal.
    fn note<T>(&mut self, result: Result<T, ClientError>) -> Result<T, ClientError> {
        if matches!(&result, Err(error) if !matches!(error, ClientError::Refused { .. })) {
            self.broken = true;
            self.connection.outbox.clear();
        }
        result
    }

    fn receive_reply(
        &mut self,
        token: &mut ThreadToken,
        command: Command,
        id: u16,
    ) -> Result<Message, ClientError> {
        let malformed = |what| ClientError::Malformed { command, what };
        for _ in 0..MAX_INTERLEAVED {
            let message = match self.connection.next(token)? {
                Frame::Message(message) => message,
                Frame::TooLarge(_) | Frame::OutOfStep(_) | Frame::Partial => {
                    return Err(malformed("its size is out of range"));
                }
            };
            let header = message.header;
            match header.message_type() {
                Some(MessageType::Reply) => {}
                Some(MessageType::Command) => {
                    self.decline(&header)?;
                    continue;
                }
                None => return Err(malformed("it is neither a command nor a reply")),
            }
            if header.message_id != id || header.command != command as u16 {
                return Err(malformed("it answers another command"));
            }
            return match header.failure() {
                Some(errno) => Err(ClientError::Refused { command, errno }),
                None => Ok(message),
            };
        }
        Err(malformed("the server sends commands instead"))
    }

    /// Answers a command of the server: none is served here.
    fn decline(&mut self, header: &Header) -> Result<(), ClientError> {
        if header.no_reply() {
            return Ok(());
        }
        let reply = header.error_reply(Errno::OPNOTSUPP);
        self.connection
            .outbox
            .push(&reply, &[])
            .map_err(|_| ClientError::Request("no memory for the message"))
    }

    /// The payload of a reply, taken since the last receive.
    fn payload(&self, message: &Message) -> &[u8] {
        self.connection.inbox.payload(message)
    }
}
