//! Why a back end could not be taken into use.

use nvme_spec::Status;
use rustix::io::Errno;

use super::identity::Difference;
use crate::link::LinkError;

/// Why a back end could not be taken into use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BringUpError {
    /// The connection, or the back end's answer to a message.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The function is no NVMe controller.
    #[error(
        "the back end is no NVMe controller (class code {0:06x}, expected 010802): use the mode reset or passthrough"
    )]
    NotNvme(u32),
    /// The controller cannot be driven.
    #[error("the back end's controller cannot be used: {0}")]
    Unsupported(&'static str),
    /// The controller did not do something in its own time limit, or in that of the driver.
    #[error("the back end's controller did not {what} within {limit_ms} ms (CSTS {csts:#x})")]
    NotReady {
        /// What was waited for.
        what: &'static str,
        /// The limit.
        limit_ms: u64,
        /// The status register at the end.
        csts: u32,
    },
    /// The controller reports a fatal error, or its registers read all-ones.
    #[error("the back end's controller is dead (CSTS {0:#x})")]
    Fatal(u32),
    /// A command that every controller must execute failed.
    #[error("the back end failed {what}: {status}")]
    Command {
        /// The command.
        what: &'static str,
        /// Its status.
        status: Status,
    },
    /// A command was not completed.
    #[error("the back end did not complete {what} within {limit_ms} ms")]
    TimedOut {
        /// The command.
        what: &'static str,
        /// How long it was waited for.
        limit_ms: u64,
    },
    /// The controller completed something that it was not given.
    #[error("the back end completed a command that it was not given")]
    Stray,
    /// It is not what the guest was told. For good: it is never used.
    #[error("the back end is another one: {}", list(.0))]
    Differs(Vec<Difference>),
    /// The guest's memory could not be given to it.
    #[error("the guest's memory could not be mapped at the back end: {0}")]
    GuestMemory(String),
    /// No memory for the shadow queues.
    #[error("no memory for the shadow queues: {0}")]
    Memory(Errno),
    /// The connection was given up, or another one took its place, before this was done.
    #[error("the connection was given up meanwhile")]
    Superseded,
}

impl BringUpError {
    /// Whether trying again with the same back end is of no use.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::NotNvme(_) | Self::Unsupported(_) | Self::Differs(_))
    }
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
