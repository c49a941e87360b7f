//! Where a PE is and what it stands for.

use pci_spec::Bdf;
use std::fmt;
use std::num::NonZeroU64;

/// What a PE stands for (EEH-01, EEH-05).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeKind {
    /// A host bridge with all that is below it: the root of a tree.
    Phb,
    /// What shares a bus.
    Bus,
    /// One device.
    Device,
    /// A virtual function.
    Vf,
}

/// The place of a PE, written `0000:0100`: a segment, and in it a host bridge or the configuration address by which the
/// platform names the PE. A place, not an identity: another PE may come to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeAddress {
    segment: u16,
    /// `None` is the host bridge.
    number: Option<u16>,
}

impl PeAddress {
    /// The place of a segment's host bridge.
    #[must_use]
    pub const fn phb(segment: u16) -> PeAddress {
        PeAddress { segment, number: None }
    }

    /// A place below a host bridge, by its configuration address.
    #[must_use]
    pub const fn new(segment: u16, number: u16) -> PeAddress {
        PeAddress { segment, number: Some(number) }
    }

    /// The place of the PE that is named by a function.
    #[must_use]
    pub const fn of(function: Bdf) -> PeAddress {
        PeAddress::new(function.segment(), function.routing_id())
    }

    /// Segment group.
    #[must_use]
    pub const fn segment(self) -> u16 {
        self.segment
    }

    /// The configuration address; `None` for a host bridge.
    #[must_use]
    pub const fn number(self) -> Option<u16> {
        self.number
    }

    /// By what the tree finds it: 34 bits, never zero.
    pub(crate) const fn key(self) -> Key {
        let below = match self.number {
            Some(number) => 1 + number as u64,
            None => 0,
        };
        // A segment has 2^16 places and its host bridge.
        Key(NonZeroU64::MIN.saturating_add((self.segment as u64) << 17 | below))
    }
}

impl fmt::Display for PeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "{:04x}:{number:04x}", self.segment),
            None => write!(f, "{:04x}:phb", self.segment),
        }
    }
}

/// A [`PeAddress`] as one number, so that a missing link costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(NonZeroU64);

impl Key {
    pub(crate) const fn bits(self) -> u64 {
        self.0.get()
    }
}
