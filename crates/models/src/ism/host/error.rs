//! How a use of a function fails.

use assign::RequestError;
use thiserror::Error;
use zpci::Fault;

use super::super::command::Outcome;
use super::super::moves::Refused;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HostError {
    /// The function is to go: what is in use works, and nothing is added.
    #[error("the function is to go")]
    Leaving,
    /// The driver has let the function go, or it was taken away.
    #[error("the driver does not have the function any more")]
    Ended,
    /// Another thread's command is being carried out: again.
    #[error("another command is under way")]
    CommandUnderWay,
    /// The device did not carry the command out.
    #[error("the device answered: {0:?}")]
    Command(Outcome),
    /// The device refused the move, and said why.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// An instruction did not do its work. [`Fault::InvalidHandle`]: the function was recovered or taken away.
    #[error(transparent)]
    Instruction(#[from] Fault),
    /// All memory for buffers is in use.
    #[error("all memory for buffers is in use")]
    NoMemory,
    /// Lengths and offsets of moves are multiples of 8, and lie within the buffer.
    #[error("the block is misaligned or does not lie within the buffer")]
    Range,
    /// The answer is to another command, or the device is of another kind.
    #[error("the device does not answer as it should")]
    Protocol,
    /// The function could not be set up.
    #[error("the function could not be set up: {0}")]
    SetUp(#[from] RequestError),
    /// The system did not give what the driver needs.
    #[error("no memory or event for the driver: {0}")]
    System(std::io::ErrorKind),
}
