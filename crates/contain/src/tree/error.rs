//! Why a change of the tree was refused.

use crate::pe::PeAddress;
use pci_spec::Bdf;
use thiserror::Error;

/// Why a change of the tree was refused. The tree is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TreeError {
    /// Nothing is there.
    #[error("there is no PE {0}")]
    NoPe(PeAddress),
    /// Something is there.
    #[error("there is a PE {0} already")]
    PeExists(PeAddress),
    /// A host bridge is the root of a tree and has the address of one, and nothing else does.
    #[error("PE {0} is of a kind that cannot be there")]
    Misplaced(PeAddress),
    /// It would be below itself.
    #[error("PE {0} cannot be moved below itself")]
    Loop(PeAddress),
    /// A recovery has it, or what is below it; try again when that has ended.
    #[error("PE {0} is being recovered")]
    Recovering(PeAddress),
    /// The function is in no PE.
    #[error("function {0} is in no PE")]
    NoFunction(Bdf),
    /// A function of that address is in a PE.
    #[error("a function {0} is in a PE already")]
    FunctionExists(Bdf),
    /// Others changed the tree until the deadline.
    #[error("others changed the tree until the deadline")]
    Contended,
}
