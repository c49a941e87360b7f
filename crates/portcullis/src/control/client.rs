//! The client's end: one connection, one request at a time.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::line::{LineError, LineReader};
use super::protocol::{MAX_REPLY_LEN, Refusal, Reply, Request};

/// How long a reply may take. Longer than any deadline that the daemon sets itself.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no daemon answers on {path}: {source}\nfix: start `portcullis serve`, or name its --run-dir or --control"
    )]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why connecting failed.
        source: io::Error,
    },
    /// The daemon left or stays silent.
    #[error("the daemon gave no answer: {0}")]
    NoAnswer(#[from] LineError),
    /// The daemon speaks another version of the protocol.
    #[error("the daemon's answer was not understood ({0}); client and daemon should be of the same version")]
    NotUnderstood(#[from] serde_json::Error),
    /// The daemon refused.
    #[error(transparent)]
    Refused(Refusal),
}

/// How sending has gone. A failure only counts if there is no answer either.
#[must_use = "the answer has to be received"]
#[derive(Debug)]
pub struct Sent(io::Result<()>);

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    replies: LineReader<UnixStream>,
}

impl AsFd for Client {
    /// Readable once an answer arrives, or the daemon has gone.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Client {
    /// Connects to the control socket at `path`.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`].
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let connect = || {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
            stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
            let replies = LineReader::new(stream.try_clone()?, MAX_REPLY_LEN);
            Ok(Self { stream, replies })
        };
        connect().map_err(|source| ClientError::Unreachable { path: path.into(), source })
    }

    /// Sends `request` and waits for its answer, at most 30 seconds.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the daemon's reason, or any other but `Unreachable`.
    pub fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        let sent = self.send(request)?;
        self.receive(sent)
    }

    /// Sends `request`. Its answer is to be fetched with [`Client::receive`], which gets what this returns, before the
    /// next one is sent.
    ///
    /// # Errors
    /// [`ClientError::NotUnderstood`] if it cannot be written as JSON.
    pub fn send(&mut self, request: &Request) -> Result<Sent, ClientError> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        Ok(Sent(self.stream.write_all(&line)))
    }

    /// The answer to what was sent last, for which it waits at most 30 seconds.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn receive<T: DeserializeOwned>(&mut self, Sent(sent): Sent) -> Result<T, ClientError> {
        // A daemon that is full answers at once and closes: the answer counts, not the failed write.
        match self.replies.next_line() {
            Ok(line) => match serde_json::from_slice(&line)? {
                Reply::Ok(value) => Ok(serde_json::from_value(value)?),
                Reply::Error(refusal) => Err(ClientError::Refused(refusal)),
            },
            Err(error) => Err(sent.err().map_or(error, LineError::Io).into()),
        }
    }
}
