//! Why the driver could not go on.

use nvme_spec::Status;
use vfio_user::client::ClientError;

/// Why a call of the driver failed.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The connection, or the server's answer to a message.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The function is no NVMe controller.
    #[error("the function is no NVMe controller (class code {0:06x}, expected 010802)")]
    NotNvme(u32),
    /// The controller cannot be driven.
    #[error("the controller cannot be used: {0}")]
    Unsupported(&'static str),
    /// The doorbells cannot be reached in the way asked for.
    #[error("the controller does not offer {0} doorbells")]
    NoSuchDoorbells(&'static str),
    /// The controller did not do something in its own time limit.
    #[error("the controller did not {what} within {limit_ms} ms (CSTS {csts:#x})")]
    NotReady {
        /// What was waited for.
        what: &'static str,
        /// The limit, from CAP.TO.
        limit_ms: u64,
        /// The status register at the end.
        csts: u32,
    },
    /// The controller reports a fatal error, or its registers read all-ones.
    #[error("the controller is dead (CSTS {0:#x})")]
    Fatal(u32),
    /// The controller is not enabled any more, and this driver did not disable it.
    #[error("the controller was reset by somebody else (CSTS {0:#x}); commands in flight got no answer")]
    WasReset(u32),
    /// The server refuses register accesses.
    #[error(
        "the controller does not answer: its memory space is disabled, or it is in D3; commands in flight got no answer"
    )]
    NotDecoded,
    /// A command failed.
    #[error("{what} failed: {status}")]
    Command {
        /// The command.
        what: &'static str,
        /// Its status.
        status: Status,
    },
    /// No completion came.
    #[error("{what} was not completed within {limit_ms} ms")]
    TimedOut {
        /// The command.
        what: &'static str,
        /// How long it was waited for.
        limit_ms: u64,
    },
    /// The controller completed something that it was not given.
    #[error("the controller completed command {cid} on queue {qid}, which is not in flight")]
    StrayCompletion {
        /// The queue.
        qid: u16,
        /// The command identifier.
        cid: u16,
    },
    /// The caller asked for something impossible; nothing was submitted.
    #[error("the request is not possible: {0}")]
    Request(&'static str),
}
