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
//! `DMA_READ` and `DMA_WRITE` of the server are served if there are [`Commands`] ([`Connector`]), else they get an error reply.
//!
//! What it does not do: it does not reconnect, it reads nothing while nobody calls it ([`Client::attend`] is for who does), and
//! it does not protect a [`MappedArea`] from a server that truncates its file.
//!
//! # Concurrency
//! A client belongs to one thread; every call may wait and so takes that thread's [`gate::ThreadToken`].

mod commands;
mod connect;
mod device;
mod dma;
mod exchange;
mod irq;
#[allow(unsafe_code, reason = "maps shared memory and accesses it through raw pointers")]
mod memory;
mod region;

pub use commands::Commands;
pub use connect::{Connector, connect_stream};
pub use device::Region;
pub use exchange::Attended;
pub use memory::{MappedArea, SharedMapping, SharedMemory};

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use gate::Deadline;
use rustix::io::Errno;
use thiserror::Error;

use crate::codec::{Capabilities, Command};
use crate::connection::{Connection, ConnectionError, Message};
use exchange::Expected;

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
    /// The server said no to a command whose reply nobody waited for, and which so is not undone.
    #[error("the server refused {command:?} afterwards: {errno}")]
    RefusedLate {
        /// What was asked.
        command: Command,
        /// What the server said.
        errno: Errno,
    },
    /// The server sent what is neither a command nor a reply to anything.
    #[error("the server sent something that nobody asked for")]
    Unasked,
    /// An earlier call failed and left the stream out of step.
    #[error("an earlier failure left the connection unusable")]
    Broken,
}

/// A connected client.
pub struct Client {
    connection: Connection,
    capabilities: Capabilities,
    version: (u16, u16),
    /// See [`ClientOptions::timeout`].
    timeout: Duration,
    /// When what is done next has to be done; nothing: each reply has its time.
    until: Option<Deadline>,
    next_id: u16,
    /// Commands whose reply has not come, in the order in which they were queued.
    expected: VecDeque<Expected>,
    /// Commands of the server since the last one of this side.
    served: usize,
    commands: Option<Arc<dyn Commands>>,
    broken: bool,
}

impl Client {
    /// What the server said it can take.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Gives everything that is done from now on a common end, until the next call of this; nothing: each reply has its time.
    pub fn set_deadline(&mut self, until: Option<Deadline>) {
        self.until = until;
    }

    /// The protocol version agreed on, major and minor.
    pub fn version(&self) -> (u16, u16) {
        self.version
    }

    /// The payload of a reply, taken since the last receive.
    fn payload(&self, message: &Message) -> &[u8] {
        self.connection.inbox.payload(message)
    }
}
