//! Whether a server that was lost can still reach anything: its fence.
//!
//! A server that was killed, or only cut off, may have writes on their way: to the guest's memory, which the guest will use for
//! something else, and to the disk, where a write that is executed again and then overtaken by its older self is lost data. So
//! nothing is executed again, and no memory is given back, before the old server is known to be over. [`Fence`] is the question,
//! [`OldServer`] the answer for one server, [`Fenced`] what a command that was in flight may count on.
//!
//! # What is known, and how
//! * The new server says so ([`How::Server`]): it has the disk for itself, which it has only when the old one's I/O is over (a lock
//!   of the file, which every request that is in flight holds as well).
//! * The new server is the old process ([`How::Same`]): it has accepted a new connection, and the device that it kept is reset
//!   before anything is executed again.
//! * The old server's process has ended, which its pidfd tells ([`Known::Ended`]). It executes nothing more, but that is not the end:
//!   what it had handed to its kernel through `io_uring` goes on without it, for 40 ms or for seconds. So this allows another server to
//!   be started, and no write to be executed again.
//! * Nobody knows ([`Known::Unknown`]): the server runs in another container or on behalf of somebody else.
//!
//! What this module does **not** do: it kills nobody on its own account ([`OldServer::kill`] is called by who was told to), and it
//! does not decide what becomes of a command.
//!
//! # Concurrency
//! A fence has no lock: an answer is given once and stays. Whoever waits does so on descriptors, with nothing held.

mod old_server;

pub use old_server::OldServer;

use gate::{Deadline, ThreadToken};

/// Whether an old server can still reach anything.
pub trait Fence: Send + Sync {
    /// What is known now. Never waits. [`Known::Over`] is for good.
    fn known(&self) -> Known;

    /// Waits while the old server is known to live, for as long as `deadline` says; returns whether it does no more. False: it lives.
    /// What cannot be known is not waited for.
    fn wait(&self, token: &mut ThreadToken, deadline: Deadline) -> bool;

    /// Whether the old server is known to be over.
    fn is_over(&self) -> bool {
        matches!(self.known(), Known::Over(_))
    }
}

/// What is known of an old server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It reaches nothing any more.
    Over(How),
    /// Its process has ended. Disk I/O that it had begun may be on its way.
    Ended,
    /// Its process lives.
    Alive,
    /// There is no process to look at.
    Unknown,
}

/// How it is known that an old server is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// There was no server before.
    Never,
    /// The new server says that the I/O of earlier ones is over.
    Server,
    /// The same process serves again, and resets the device first.
    Same,
}

/// What a command that was in flight at the old server may count on when the next one is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fenced {
    /// The old server is over: nothing of it lands late.
    Over(How),
    /// Nobody knows, and the operator accepts that an old write may land after a newer one.
    Accepted,
    /// Nobody knows, or only that the process has ended: what changes the medium must not be executed again.
    Unknown,
}

impl Fenced {
    /// Whether commands that change the medium may be executed again.
    #[must_use]
    pub fn allows_writes(self) -> bool {
        match self {
            Fenced::Over(_) | Fenced::Accepted => true,
            Fenced::Unknown => false,
        }
    }
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            How::Never => "there was no server before",
            How::Server => "the new server says that the I/O of the old one is over",
            How::Same => "the same process serves again and has reset the device",
        })
    }
}

impl std::fmt::Display for Fenced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fenced::Over(how) => how.fmt(f),
            Fenced::Accepted => f.write_str("not known to be over; late writes are accepted"),
            Fenced::Unknown => f.write_str("not known to be over"),
        }
    }
}
