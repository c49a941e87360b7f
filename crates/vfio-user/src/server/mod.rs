//! The server side: puts an [`assign::Assignment`] on a UNIX socket, and takes it off again.
//!
//! * [`Session`] is the conversation with one client: it negotiates, translates each command into a call on the
//!   assignment and each outcome into a reply. It runs on any connected stream, without a [`Server`].
//! * [`Server`] owns the socket file. [`Server::run_all`] accepts the clients of any number of them and gives each its
//!   session. A function comes with [`Server::plug`] and goes with [`Server::revoke`].
//! * [`Seat`] is where a session's hold on its function lies, so that it can be taken away while the session sleeps.
//! * [`Stop`] ends a server from another thread.
//!
//! One client has a function at a time. A second one gets an `EBUSY` reply to its `VERSION`, and the first
//! notices nothing. When a client leaves, its memory and eventfds are dropped, the state of the device is kept,
//! and the next client is served. A function that its last client left frozen is reset for the next one, and while that
//! cannot be done, since what was in flight has not ended, `VERSION` gets an `EBUSY` reply.
//!
//! # Without a function
//! While there is none, `VERSION` gets an `ENODEV` reply. A client whose function is revoked, or gone by other means, is not
//! disconnected: QEMU ends its machine at the next reboot if a device stopped answering. Its connection goes on as a
//! *tombstone*, which keeps nothing of the function, of the client's memory or of its descriptors: information is given as
//! before, but nothing may be mapped; reads give all-ones and writes do nothing, but for regions of requests
//! ([`assign::AddedRegion`]), which fail with ENODEV; mapping, unmapping, interrupts and resets
//! are acknowledged. The next function on the socket is another client's, beside at most [`MAX_TOMBSTONES`] tombstones.
//!
//! Memory of the device that a client maps is given to it as a file, once for each region and until it leaves
//! ([`assign::Attached::share`]). A freeze and the function's end show in what it reads there; COMMAND, power states and
//! resets do not, and what a client has mapped cannot be unmapped from here.
//!
//! What it does not do: it sends no `DMA_READ` or `DMA_WRITE` (a request in the middle of a client's own
//! deadlocks QEMU), and it offers neither migration nor a twin socket.
//!
//! # Concurrency
//! [`Server::run_all`] keeps its thread for accepting and refusing, and runs each session on a thread of its own, which
//! exists only while there is a client or a tombstone. The two share the client's socket, which the first shuts down to end
//! the second, and a flag by which the second says that it has ended. With whoever plugs and revokes they share two leaf locks:
//! which seat is the socket's, and where a seat's hold is. The second is taken twice for each sleep of a session, which
//! makes no system call, and not at all between messages that arrived together.

mod acceptor;
mod active;
mod bind;
mod candidates;
mod clients;
mod door;
mod facts;
mod hold;
mod listener;
mod negotiate;
mod options;
mod region;
mod revoke;
mod seat;
mod session;
mod stop;

pub use bind::BindError;
pub use clients::{ClientInfo, Visit, Visits};
pub use listener::{MAX_TOMBSTONES, PlugError, ServeError, Server};
pub use options::{ServerOptions, SessionOptions};
pub use revoke::Revoked;
pub use seat::{Revocation, Seat, Unavailable};
pub use session::{Session, SessionEnd, SessionReport};
pub use stop::Stop;
