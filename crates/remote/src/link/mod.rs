//! One connection to a back end.
//!
//! [`Link`] asks, [`Commands`] answer what the back end asks, and [`LinkWatch`] is told, once, that the link is lost: the back
//! end is gone, hangs, does not read, or talks nonsense, or somebody cut the link. A link that is lost stays lost; a reconnect is
//! another link.
//!
//! The back end is hostile (law 10). Everything that it sends is bounded and checked against what it was asked; sizes,
//! counts and offsets *inside* of replies are passed on as they came, and are the caller's to judge.
//!
//! What it does not do: it does not reconnect, it remembers nothing that a next back end would have to be told, and it does not know
//! what a device is.
//!
//! # Concurrency
//! Any thread may call. One at a time has the connection (its *turn*), writes and reads it itself, and passes it on; who waits
//! for a turn waits in line, holds nothing, and is woken when the link is lost. A call ends within
//! [`LinkOptions::reply_timeout`], the wait for the turn included. [`Link::cut`] ends all of them from any thread and waits
//! for nobody. A thread of the link's own looks after the connection while nobody calls (`keeper`).
//!
//! Posted writes and resets are in order with everything else that the same thread sends.

mod calls;
mod keeper;
mod loss;
mod shared;
mod turn;

pub use loss::{LinkError, Loss};
pub use vfio_user::client::Commands;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gate::{Deadline, ThreadToken};
use vfio_user::client::{ClientError, ClientOptions, Connector, connect_stream};
use vfio_user::codec::{Capabilities, Command};
use vfio_user::connection::{peer_pidfd, peer_process};

use shared::Shared;

/// Who is told that a link is lost.
pub trait LinkWatch: Send + Sync {
    /// The link is lost. Exactly once, from any thread, with nothing of the link held; must not wait.
    fn lost(&self, loss: Loss);
}

/// How a link behaves.
#[derive(Clone, Copy, Debug)]
pub struct LinkOptions {
    /// How long connecting and negotiating may take together.
    pub connect_timeout: Duration,
    /// The hang limit: how long a reply may take, the wait for other callers included, and how long the back end may leave
    /// what is sent to it unread. More than zero.
    pub reply_timeout: Duration,
    /// Tells the back end that it talks to a Portcullis (capability `portcullis` of `VERSION`), which lets another one say more
    /// of itself. Others ignore it.
    pub introduce: bool,
}

impl Default for LinkOptions {
    /// 5 s to connect, 3 s for a reply (QEMU gives a server up after 5 s), introduced.
    fn default() -> Self {
        LinkOptions {
            connect_timeout: Duration::from_secs(5),
            reply_timeout: Duration::from_secs(3),
            introduce: true,
        }
    }
}

/// Who is at the other end.
#[derive(Debug)]
pub struct Peer {
    /// The process that listens on the socket, as this one numbers it. A socket that was made by one process and given to
    /// another (socket activation) names the first.
    pub pid: Option<i32>,
    /// The same process, for good: no later process of that number.
    pub pidfd: Option<OwnedFd>,
    /// It says that no I/O of an earlier server of its backing can still land
    /// ([`vfio_user::codec::Introduction::io_over`]).
    pub io_is_over: bool,
}

/// One connection to a back end. Dropping it closes the connection, and nobody is told.
pub struct Link {
    shared: Arc<Shared>,
    capabilities: Capabilities,
    version: (u16, u16),
    peer: Peer,
}

impl Link {
    /// Connects to the back end at `path` (the socket, or a directory with the socket `cntrl` in it) and negotiates.
    ///
    /// The link keeps `commands` and `watch` until it is lost or dropped.
    ///
    /// # Errors
    /// Nobody listens there ([`LinkError::Connect`]), the back end refuses ([`LinkError::Refused`]; `EBUSY`: it has a client), or it
    /// does not speak the protocol in time. `watch` is not told of that.
    pub fn connect(
        token: &mut ThreadToken,
        path: &Path,
        options: LinkOptions,
        commands: Arc<dyn Commands>,
        watch: Arc<dyn LinkWatch>,
    ) -> Result<Arc<Link>, LinkError> {
        let deadline = Deadline::after(options.connect_timeout);
        let stream = connect_stream(path, options.connect_timeout).map_err(not_connected)?;
        // Before anything is heard of the peer: see `peer_pidfd`.
        let pidfd = peer_pidfd(&stream);
        let pid = peer_process(&stream);
        let socket = stream.try_clone().map_err(failed)?;
        let connector = Connector {
            options: ClientOptions { timeout: options.reply_timeout },
            introduce: options.introduce,
            commands: Some(commands),
        };
        let client = connector.negotiate(token, stream, deadline).map_err(not_connected)?;
        let capabilities = client.capabilities().clone();
        let version = client.version();
        let io_is_over = capabilities.portcullis.is_some_and(|said| said.io_over);
        let shared = Shared::new(client, watch, socket, options.reply_timeout).map_err(Loss::Failed)?;
        let shared = Arc::new(shared);
        let link = Link {
            shared: Arc::clone(&shared),
            capabilities,
            version,
            peer: Peer { pid, pidfd, io_is_over },
        };
        std::thread::Builder::new()
            .name(thread_name(path))
            .spawn(move || keeper::keep(&shared, &mut ThreadToken::at_thread_entry()))
            .map_err(failed)?;
        Ok(Arc::new(link))
    }

    /// What the back end takes.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The version of the protocol that is spoken, major and minor.
    pub fn version(&self) -> (u16, u16) {
        self.version
    }

    /// Who the back end is.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Ends the link, unless it is lost already: the back end sees the connection closed, calls return, and the watch is told,
    /// on this thread. Waits for nobody; but a call that is with [`Commands`] or has its reply already goes on until it
    /// looks at the connection again.
    pub fn cut(&self, loss: Loss) {
        self.shared.lose(loss);
    }

    /// How the link was lost, if it was.
    pub fn loss(&self) -> Option<Loss> {
        self.shared.loss()
    }

    /// From now on nothing that is asked reaches the back end, as if it hung: posted writes vanish, and the first call that waits
    /// for a reply finds at its end that the link is lost. For tests of what comes of that.
    pub fn hang(&self) {
        self.shared.hang();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.end(Loss::Cut("it is not needed any more"));
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("peer", &self.peer).field("loss", &self.loss()).finish_non_exhaustive()
    }
}

/// Why there is no link.
fn not_connected(error: ClientError) -> LinkError {
    loss::judge(Command::Version, error).unwrap_or_else(LinkError::Lost)
}

fn failed(error: std::io::Error) -> LinkError {
    let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
    Loss::Failed(errno).into()
}

/// The name of a link's thread: of it the kernel shows 15 bytes.
fn thread_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().replace('\0', ""));
    format!("link-{}", name.unwrap_or_default())
}
