//! A socket with at most one function at a time.

use std::borrow::Borrow;
use std::path::Path;
use std::sync::Arc;

use assign::Assignment;
use gate::{Deadline, ThreadToken};
use rustix::io::Errno;
use thiserror::Error;

use super::acceptor;
use super::bind::SocketFile;
use super::clients::{ClientInfo, Visits};
use super::door::{Door, Occupied};
use super::revoke::{Revoked, revoke};
use super::{BindError, ServerOptions, Stop};

/// Most connections that a server keeps as tombstones.
pub const MAX_TOMBSTONES: usize = 64;

/// Why a server ended without being told to.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The listening socket or the wait on it failed.
    #[error("the server cannot go on: {0}")]
    System(#[from] Errno),
}

/// Why a function was not put on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PlugError {
    /// There is a function on the socket.
    #[error("a function is on the socket already: revoke it first")]
    Occupied,
    /// Clients of [`MAX_TOMBSTONES`] functions that were revoked are still connected.
    #[error(
        "{MAX_TOMBSTONES} clients keep connections to functions that were revoked: have their virtual machines remove the \
         device or end"
    )]
    TooManyTombstones,
}

/// A socket, and the function that is on it.
pub struct Server {
    pub(super) socket: SocketFile,
    pub(super) options: ServerOptions,
    pub(super) door: Door,
}

impl Server {
    /// Makes the socket as [`Server::bind_empty`] does, with a function on it.
    ///
    /// # Errors
    /// Another server lives on the socket, or it cannot be made.
    pub fn bind(
        path: impl AsRef<Path>,
        function: Arc<Assignment>,
        options: ServerOptions,
    ) -> Result<Server, BindError> {
        let server = Server::bind_empty(path, options)?;
        // A door that was just made is free.
        let _ = server.plug(function);
        Ok(server)
    }

    /// Makes the socket, with mode 0600: `path`, or `cntrl` in it when it is a directory. Clients can connect from
    /// now on; they are served, or refused while there is no function, by [`Server::run`] or [`Server::run_all`]. The
    /// file is removed when the server is dropped.
    ///
    /// # Errors
    /// Another server lives on the socket, or it cannot be made.
    pub fn bind_empty(path: impl AsRef<Path>, options: ServerOptions) -> Result<Server, BindError> {
        Ok(Server { socket: SocketFile::bind(path.as_ref())?, options, door: Door::default() })
    }

    /// Tells `visits` who comes and goes.
    #[must_use]
    pub fn watched_by(self, visits: Arc<dyn Visits>) -> Server {
        Server { door: self.door.watched_by(visits), ..self }
    }

    /// Puts a function on the socket: the next client gets it. The function is ready, or its client meets what is not.
    ///
    /// # Errors
    /// There is one already, or too many clients of former ones.
    pub fn plug(&self, function: Arc<Assignment>) -> Result<(), PlugError> {
        self.door.plug(function, MAX_TOMBSTONES).map_err(|occupied| match occupied {
            Occupied::ByAFunction => PlugError::Occupied,
            Occupied::ByTombstones => PlugError::TooManyTombstones,
        })
    }

    /// Takes the function off the socket and away from its client: it is retired, nobody attaches to it any more, and what
    /// the client brought is let go at once, also if its session sleeps. The client's connection goes on as a tombstone.
    /// With no function there is nothing to do.
    ///
    /// Returns when nobody has anything of the function any more, or at the deadline, and names what is still in use.
    pub fn revoke(&self, token: &mut ThreadToken, deadline: Deadline) -> Revoked {
        let Some(seat) = self.door.unplug() else { return Revoked::default() };
        let revoked = revoke(&seat, self.door.client_of(&seat), token, deadline);
        if !seat.is_held() {
            self.door.released(&seat);
        }
        revoked
    }

    /// The function that is on the socket.
    pub fn function(&self) -> Option<Arc<Assignment>> {
        self.door.seat()?.function()
    }

    /// Who has the function that is on the socket.
    pub fn client(&self) -> Option<ClientInfo> {
        self.door.client()
    }

    /// Clients of functions that were revoked, whose connections go on as tombstones.
    pub fn tombstones(&self) -> Vec<ClientInfo> {
        self.door.tombstones()
    }

    /// Whether a session has a function that is or was on the socket, or is about to get it.
    pub fn holds(&self) -> bool {
        self.door.holds()
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
        Server::run_all(&[self], token, stop)
    }

    /// Serves the clients of many functions as [`Server::run`] does those of one, with this thread and one more for
    /// each connection that is or was a client's. A function without a client costs its socket and no thread. The servers
    /// may be shared with whoever plugs and revokes: `Arc<Server>` will do.
    ///
    /// A server whose listening socket fails takes no more clients; the others go on. This returns when `stop` is
    /// thrown and all sessions have ended, or when no server is left.
    ///
    /// # Errors
    /// The wait failed, or a listening socket did: the first failure.
    pub fn run_all<S: Borrow<Server>>(
        servers: &[S],
        token: &mut ThreadToken,
        stop: &Stop,
    ) -> Result<(), ServeError> {
        let servers: Vec<&Server> = servers.iter().map(Borrow::borrow).collect();
        acceptor::run(&servers, token, stop).map_err(ServeError::System)
    }

    /// For the operator: what is or was on the socket, or where it is.
    pub(super) fn name(&self) -> Arc<str> {
        self.door.name().unwrap_or_else(|| self.path().display().to_string().into())
    }
}
