//! A function on a socket.

use std::path::Path;
use std::sync::Arc;

use assign::Assignment;
use gate::ThreadToken;
use rustix::io::Errno;
use thiserror::Error;

use super::acceptor;
use super::bind::SocketFile;
use super::{BindError, ServerOptions, Stop};

/// Why a server ended without being told to.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The listening socket or the wait on it failed.
    #[error("the server cannot go on: {0}")]
    System(#[from] Errno),
}

/// A function on a socket.
pub struct Server {
    pub(super) socket: SocketFile,
    pub(super) assignment: Arc<Assignment>,
    pub(super) options: ServerOptions,
}

impl Server {
    /// Makes the socket, with mode 0600: `path`, or `cntrl` in it when it is a directory. Clients can connect from
    /// now on; they are served by [`Server::run`] or [`Server::run_all`]. The file is removed when the server is
    /// dropped.
    ///
    /// # Errors
    /// Another server lives on the socket, or it cannot be made.
    pub fn bind(
        path: impl AsRef<Path>,
        assignment: Arc<Assignment>,
        options: ServerOptions,
    ) -> Result<Server, BindError> {
        Ok(Server { socket: SocketFile::bind(path.as_ref())?, assignment, options })
    }

    /// Where clients find it.
    pub fn path(&self) -> &Path {
        self.socket.path()
    }

    /// Serves clients, one after the other, until `stop` is thrown. Then the session that runs is ended: the
    /// request in hand is finished, the client's memory is dropped, and this returns.
    ///
    /// # Errors
    /// The listening socket failed.
    pub fn run(&self, token: &mut ThreadToken, stop: &Stop) -> Result<(), ServeError> {
        Server::run_all(std::slice::from_ref(self), token, stop)
    }

    /// Serves the clients of many functions as [`Server::run`] does those of one, with this thread and one more for
    /// each function that has a client at the moment. A function without a client costs its socket and no thread.
    ///
    /// A server whose listening socket fails takes no more clients; the others go on. This returns when `stop` is
    /// thrown and all sessions have ended, or when no server is left.
    ///
    /// # Errors
    /// The wait failed, or a listening socket did: the first failure.
    pub fn run_all(servers: &[Server], token: &mut ThreadToken, stop: &Stop) -> Result<(), ServeError> {
        acceptor::run(servers, token, stop).map_err(ServeError::System)
    }

    pub(super) fn function_name(&self) -> &str {
        self.assignment.function().name()
    }
}
