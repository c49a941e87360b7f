//! Connecting and negotiating.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use gate::ThreadToken;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::{Client, ClientError, ClientOptions};
use crate::codec::{Capabilities, Command, MAX_MESSAGE_SIZE, VersionMessage, encode_version};
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
        let path = crate::socket_path(path.as_ref());
        let failed = |errno| ClientError::Connect { path: path.clone(), errno };
        let stream = connect_stream(&path, options).map_err(failed)?;
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
        let broken = |_| ClientError::Request("the time-out of the socket cannot be set");
        stream.set_read_timeout(Some(options.timeout)).map_err(broken)?;
        let limits = ConnectionLimits {
            message_size: MAX_MESSAGE_SIZE,
            message_timeout: options.timeout,
            send_timeout: options.timeout,
        };
        let mut client = Client {
            connection: Connection::new(stream, limits),
            capabilities: Capabilities::default(),
            version: VERSION,
            next_id: 0,
            broken: false,
        };
        client.negotiate(token)?;
        Ok(client)
    }

    fn negotiate(&mut self, token: &mut ThreadToken) -> Result<(), ClientError> {
        let own = Capabilities {
            max_msg_fds: u32::try_from(MAX_MESSAGE_FDS).unwrap_or(1),
            write_multiple: true,
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

/// Connecting waits while the server's backlog is full, up to the send time-out of the socket.
fn connect_stream(path: &PathBuf, options: ClientOptions) -> Result<UnixStream, Errno> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(options.timeout))?;
    connect(&socket, &address)?;
    Ok(UnixStream::from(socket))
}
