//! How a link ended, and why a call failed.

use std::path::PathBuf;

use rustix::io::Errno;
use thiserror::Error;
use vfio_user::client::ClientError;
use vfio_user::codec::Command;
use vfio_user::connection::ConnectionError;

/// How a link ended: words for an operator. The first loss counts, whatever follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Loss {
    /// The back end closed the connection, or is no more.
    #[error("the back end closed the connection")]
    Closed,
    /// The back end owes a reply for longer than the hang limit ([`super::LinkOptions::reply_timeout`]).
    #[error("the back end did not answer {command:?} in time")]
    Hung {
        /// What it was asked.
        command: Command,
    },
    /// The back end has not read what was sent to it for as long.
    #[error("the back end does not read what is sent to it")]
    Unread,
    /// The back end sent what the protocol does not allow; nothing behind it can be believed.
    #[error("the back end answered nonsense: {0}")]
    Nonsense(&'static str),
    /// The back end said no to a command that was not waited for, and so cannot be taken back: a posted reset.
    #[error("the back end refused {command:?}, which was posted: {errno}")]
    Refused {
        /// What it was asked.
        command: Command,
        /// What it said.
        errno: Errno,
    },
    /// The socket failed on this side.
    #[error("the socket failed: {0}")]
    Failed(Errno),
    /// This side ended it, for the reason given.
    #[error("the connection was cut: {0}")]
    Cut(&'static str),
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// There is no back end at the path.
    #[error("cannot connect to {path}: {errno}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// The back end said no. The link goes on.
    #[error("the back end refused {command:?}: {errno}")]
    Refused {
        /// What it was asked.
        command: Command,
        /// What it said.
        errno: Errno,
    },
    /// The link is lost, by this call or before it.
    #[error(transparent)]
    Lost(#[from] Loss),
    /// The caller asked for something that no message can carry. Nothing was sent; the link goes on.
    #[error("the request is not possible: {0}")]
    Request(&'static str),
}

/// What a failed call of `command` says of the link: an error that it survives, or how it is lost.
pub(super) fn judge(command: Command, error: ClientError) -> Result<LinkError, Loss> {
    match error {
        ClientError::Connect { path, errno } => Ok(LinkError::Connect { path, errno }),
        ClientError::Refused { command, errno } => Ok(LinkError::Refused { command, errno }),
        ClientError::Request(what) => Ok(LinkError::Request(what)),
        ClientError::Connection(error) => Err(match error {
            ConnectionError::Closed => Loss::Closed,
            ConnectionError::ReceiveTimedOut => Loss::Hung { command },
            ConnectionError::SendTimedOut => Loss::Unread,
            ConnectionError::Socket(errno) => Loss::Failed(errno),
        }),
        ClientError::Malformed { what, .. } => Err(Loss::Nonsense(what)),
        ClientError::RefusedLate { command, errno } => Err(Loss::Refused { command, errno }),
        ClientError::Unasked => Err(Loss::Nonsense("it sent something that nobody asked for")),
        ClientError::Memory(errno) => Err(Loss::Failed(errno)),
        ClientError::Broken => Err(Loss::Nonsense("an earlier answer left the stream out of step")),
    }
}
