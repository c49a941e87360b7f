//! Why the topology was not changed.

use gate::CloseError;
use pci_core::{DeviceState, Errno};
use pci_spec::Bdf;
use thiserror::Error;

/// Why a segment was not scanned, or a function not removed; nothing was changed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// There is no such segment.
    #[error("segment {0:04x} does not exist")]
    NoSegment(u16),
    /// There is such a segment already.
    #[error("segment {0:04x} exists already")]
    SegmentExists(u16),
    /// There is no such function.
    #[error("{0}: no such function")]
    NoFunction(Bdf),
    /// There is nothing below it.
    #[error("{0}: the function is no bridge")]
    NoBridge(Bdf),
    /// It got no bus numbers.
    #[error("{0}: the bridge has no bus numbers; scan the whole segment")]
    NoBus(Bdf),
    /// A link has no device numbers but 0.
    #[error("{0} has a link below; scan what is below the bridge")]
    Link(Bdf),
    /// There is no such device number.
    #[error("{0} is no device number")]
    NoDevice(u8),
    /// Others were changing the topology up to the deadline.
    #[error("the topology is being changed by somebody else: {0}")]
    Contended(#[source] CloseError),
    /// The segment was removed meanwhile.
    #[error("segment {0:04x} was removed")]
    Ended(u16),
}

impl TopologyError {
    /// What an interface of the operating system answers with.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            TopologyError::NoSegment(_) | TopologyError::NoFunction(_) | TopologyError::Ended(_) => {
                Errno::ENODEV
            }
            TopologyError::NoBridge(_) | TopologyError::Link(_) | TopologyError::NoDevice(_) => Errno::EINVAL,
            TopologyError::NoBus(_) => Errno::ENOSPC,
            TopologyError::SegmentExists(_) => Errno::EEXIST,
            TopologyError::Contended(_) => Errno::EAGAIN,
        }
    }
}

/// Why the number of virtual functions is what it was (HP-18).
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum NumVfsError {
    /// There is no such function.
    #[error("{0}: no such function")]
    NoFunction(Bdf),
    /// It has no virtual functions.
    #[error("{0}: the function has no SR-IOV")]
    Unsupported(Bdf),
    /// That many it cannot have.
    #[error("{asked} virtual functions asked for, the function has at most {total}")]
    TooMany {
        /// How many were asked for.
        asked: u16,
        /// How many there can be.
        total: u16,
    },
    /// It has another number of them: they are to be switched off first.
    #[error("the function has {present} virtual functions; switch them off (0) before asking for {asked}")]
    Enabled {
        /// How many were asked for.
        asked: u16,
        /// How many there are.
        present: u16,
    },
    /// The last one would be on a bus that does not lead there, or beyond device 0 of a link without ARI forwarding.
    #[error(
        "virtual function {index} cannot be reached: bus {last:#04x} is the last one, and only device 0 is on a link without ARI"
    )]
    NoBus {
        /// The first one that cannot be reached.
        index: u16,
        /// The last bus.
        last: u8,
    },
    /// The function sleeps, and would forget them on its way back.
    #[error("the function is in {0}; wake it first")]
    Asleep(DeviceState),
    /// Their BARs have no addresses.
    #[error(
        "the BARs of the virtual functions have no addresses; enlarge the window of the bridge and scan again"
    )]
    NoSpace,
    /// The device did not make one, or it does not answer.
    #[error("virtual function {0} did not come up")]
    NotMade(u16),
    /// The function could not be had for the change by the deadline.
    #[error("the function could not be closed for the change: {0}")]
    NotClosed(#[from] CloseError),
    /// The function was removed meanwhile.
    #[error("the function was removed")]
    Gone,
    /// The topology could not be changed by the deadline.
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

impl NumVfsError {
    /// What the file `sriov_numvfs` answers with.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            NumVfsError::NoFunction(_) | NumVfsError::Gone => Errno::ENODEV,
            NumVfsError::Unsupported(_) => Errno::ENOENT,
            NumVfsError::TooMany { .. } => Errno::ERANGE,
            NumVfsError::Enabled { .. } => Errno::EBUSY,
            NumVfsError::NoBus { .. } | NumVfsError::NoSpace => Errno::ENOMEM,
            NumVfsError::NotMade(_) | NumVfsError::Asleep(_) => Errno::EIO,
            NumVfsError::NotClosed(CloseError::Gone) => Errno::ENODEV,
            NumVfsError::NotClosed(_) => Errno::EAGAIN,
            NumVfsError::Topology(error) => error.errno(),
        }
    }
}
