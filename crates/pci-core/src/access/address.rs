//! Where a configuration access goes, as the operations of a host bridge see it.

use pci_spec::Bdf;

/// A register of a function behind one host bridge. The segment is the bridge's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConfigAddress {
    /// Bus, 0 to 255.
    pub bus: u8,
    /// Device (upper 5 bits) and function (lower 3), or the function of an ARI device (all 8).
    pub devfn: u8,
    /// Offset in bytes, 0 to 4095, aligned to the width of the access.
    pub register: u16,
}

impl ConfigAddress {
    /// The register of the function at `at`.
    #[must_use]
    pub fn new(at: Bdf, register: u16) -> ConfigAddress {
        let [bus, devfn] = at.routing_id().to_be_bytes();
        ConfigAddress { bus, devfn, register }
    }
}
