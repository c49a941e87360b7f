//! Connecting and negotiating.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gate::{Deadline, ThreadToken};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::{Client, ClientError, ClientOptions, Commands};
use crate::codec::{Capabilities, Command, Introduction, MAX_MESSAGE_SIZE, VersionMessage, encode_version};
use crate::connection::{Connection, ConnectionLimits, MAX_MESSAGE_FDS};

/// The version that is proposed: 0.1.
const VERSION: (u16, u16) = (0, 1);

impl Client {
    /// Connects to the server at `path` and negotiates. When `path` is a directory the socket is `cntrl` in
    /// it, as SPDK lays it out.
    ///
    /// # Errors
    /// No server is there, it refuses (`EBUSY`: another client has the function), or it does not speak the
    /// protocol.
    pub fn connect(
        token: &mut ThreadToken,
        path: impl AsRef<Path>,
        options: ClientOptions,
    ) -> Result<Client, ClientError> {
        let stream = connect_stream(path.as_ref(), options.timeout)?;
        Client::from_stream(token, stream, options)
    }

    /// Negotiates over a stream that is connected already.
    ///
    /// # Errors
    /// The server refuses, or does not speak the protocol.
    pub fn from_stream(
        token: &mut ThreadToken,
        stream: UnixStream,
        options: ClientOptions,
    ) -> Result<Client, ClientError> {
        let deadline = Deadline::after(options.timeout);
        Connector { options, introduce: false, commands: None }.negotiate(token, stream, deadline)
    }
}

/// What a client brings along.
pub struct Connector {
    /// How it behaves.
    pub options: ClientOptions,
    /// It says that it is a Portcullis, so that another one says more of itself ([`crate::codec::Introduction`]).
    pub introduce: bool,
    /// What serves the server's accesses to memory, from the end of the negotiation on.
    pub commands: Option<Arc<dyn Commands>>,
}

impl Connector {
    /// Negotiates over a stream that is connected.
    ///
    /// # Errors
    /// The server refuses, does not speak the protocol, or has not answered at the deadline.
    pub fn negotiate(
        self,
        token: &mut ThreadToken,
        stream: UnixStream,
        deadline: Deadline,
    ) -> Result<Client, ClientError> {
        let timeout = self.options.timeout;
        let limits = ConnectionLimits {
            message_size: MAX_MESSAGE_SIZE,
            message_timeout: timeout,
            send_timeout: timeout,
        };
        let mut connection = Connection::new(stream, limits);
        let refused = |_| ClientError::Request("the time-out of the socket cannot be set");
        connection.set_timeout(timeout).map_err(refused)?;
        connection.expect_by(deadline);
        let mut client = Client {
            connection,
            capabilities: Capabilities::default(),
            version: VERSION,
            timeout,
            until: Some(deadline),
            next_id: 0,
            expected: VecDeque::new(),
            served: 0,
            commands: None,
            broken: false,
        };
        client.negotiate(token, self.introduce)?;
        client.commands = self.commands;
        client.until = None;
        Ok(client)
    }
}

impl Client {
    fn negotiate(&mut self, token: &mut ThreadToken, introduce: bool) -> Result<(), ClientError> {
        let own = Capabilities {
            max_msg_fds: u32::try_from(MAX_MESSAGE_FDS).unwrap_or(1),
            write_multiple: true,
            portcullis: introduce.then(Introduction::default),
            ..Capabilities::default()
        };
        let payload = encode_version(VERSION.0, VERSION.1, &own);
        let reply = self.call(token, Command::Version, &[&payload], &[])?;
        let malformed = |what| ClientError::Malformed { command: Command::Version, what };
        let version =
            VersionMessage::parse(self.payload(&reply)).map_err(|_| malformed("it is not a version"))?;
        if version.major != VERSION.0 || version.minor > VERSION.1 {
            return Err(malformed("it answers with a version that was not proposed"));
        }
        self.version = (version.major, version.minor);
        self.capabilities = version.capabilities;
        Ok(())
    }
}

/// Connects to the socket at `path`, or to `cntrl` in it if it is a directory, as SPDK lays it out. Waits at most `timeout`
/// while the server's backlog is full.
///
/// # Errors
/// [`ClientError::Connect`].
pub fn connect_stream(path: &Path, timeout: Duration) -> Result<UnixStream, ClientError> {
    let path = crate::socket_path(path);
    let connected = || {
        let address = SocketAddrUnix::new(&path)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(timeout))?;
        connect(&socket, &address)?;
        Ok(UnixStream::from(socket))
    };
    connected().map_err(|errno| ClientError::Connect { path: path.clone(), errno })
}
