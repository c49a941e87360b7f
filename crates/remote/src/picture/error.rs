//! Why no function can be made of a back end.

use pci_core::LayoutError;
use thiserror::Error;

use crate::link::LinkError;

/// Why no picture was taken. Nothing of it can be helped by asking again, but what is [`PictureError::Link`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PictureError {
    /// The back end did not answer, or not to the point.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// There was not time enough to ask for everything.
    #[error("the back end answers too slowly to be asked for all that it is")]
    TooSlow,
    /// It is not a PCI device.
    #[error("the back end offers no PCI device")]
    NotPci,
    /// Its configuration space is all-ones, or too short to be one.
    #[error("the back end has no configuration space that can be read")]
    NoConfig,
    /// It is a bridge, or something newer.
    #[error("the back end offers no endpoint: its header has type {0:#x}")]
    NotEndpoint(u8),
    /// It carries less in one message than any register access needs.
    #[error("the back end transfers at most {0} bytes at once; 64 are needed")]
    TinyTransfers(usize),
    /// A region is larger than any BAR.
    #[error("region {region} has {size:#x} bytes, which no BAR has")]
    Size {
        /// As vfio numbers it.
        region: u32,
        /// Bytes.
        size: u64,
    },
    /// Its BARs contradict each other.
    #[error("no guest could use the back end's BARs: {0}")]
    Bars(#[from] LayoutError),
}
