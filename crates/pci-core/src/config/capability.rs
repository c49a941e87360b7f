//! Capabilities as a device model describes them.
//!
//! Only the choices a model has; the bits are laid out in `encode`.

use pci_spec::capability::express::{LinkSpeed, PortType};
use pci_spec::capability::msix::Location;
use pci_spec::capability::pm;

/// A capability of the first 256 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Capability {
    /// Power management.
    Pm(Pm),
    /// Message signalled interrupts.
    Msi(Msi),
    /// Message signalled interrupts with a table in a BAR.
    Msix(Msix),
    /// PCI Express.
    Express(Express),
    /// Function level reset without PCI Express.
    Af(Af),
    /// A vendor's own.
    Vendor(Vendor),
}

/// Power management. PCIe 6.0 s7.5.2 *PCI Power Management Capability Structure*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pm {
    /// Has the state D1.
    pub d1: bool,
    /// Has the state D2.
    pub d2: bool,
    /// May be accessed right after its return to D0, without the usual delay (PWR-04).
    pub immediate_readiness: bool,
    /// Keeps its state over D3hot. Without it, going back to D0 is a reset (PWR-05).
    pub no_soft_reset: bool,
    /// The states in which it can signal PME (the `PME_*` bits; others are ignored). Without any, PME status and
    /// enable read 0 and cannot be written, which is also how vfio shows them (CAP-10).
    pub pme: pm::Capabilities,
}

/// Message signalled interrupts. PCIe 6.0 s7.7.1 *MSI Capability Structures*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Msi {
    /// Vectors asked for: 1, 2, 4, 8, 16 or 32.
    pub vectors: u16,
    /// Takes a 64-bit message address, as every PCI Express endpoint must.
    pub address_64: bool,
    /// Each vector can be masked.
    pub per_vector_masking: bool,
}

impl Msi {
    /// `vectors` vectors with a 64-bit address and no masking of single vectors.
    #[must_use]
    pub const fn new(vectors: u16) -> Msi {
        Msi { vectors, address_64: true, per_vector_masking: false }
    }
}

/// Message signalled interrupts with a table. PCIe 6.0 s7.7.2 *MSI-X Capability and Table Structure*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Msix {
    /// Vectors, 1 to 2048.
    pub vectors: u16,
    /// Where the table lies; the device model answers accesses to it.
    pub table: Location,
    /// Where the pending bits lie.
    pub pba: Location,
}

/// Function level reset for conventional PCI (RST-06), which PCI Express functions may have as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Af {
    /// Offers function level reset.
    pub flr: bool,
    /// Says whether transactions are pending, without which the reset is not used.
    pub transactions_pending: bool,
}

impl Default for Af {
    /// Both, as the reset needs.
    fn default() -> Af {
        Af { flr: true, transactions_pending: true }
    }
}

/// PCI Express. PCIe 6.0 s7.5.3 *PCI Express Capability Structure*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Express {
    /// Endpoint, legacy endpoint or one inside the root complex, which shows no link; in a bridge, one of the three
    /// kinds of port.
    pub port_type: PortType,
    /// Offers function level reset (RST-05).
    pub flr: bool,
    /// The link's speed, shown as both the highest and the present one.
    pub link_speed: LinkSpeed,
    /// The link's lanes, 1 to 32.
    pub lanes: u8,
    /// Largest payload, 128 bytes << this, 0 to 5.
    pub max_payload: u8,
    /// Forwards requests to all 256 functions of an ARI device, when software switches it on. Downstream and root ports.
    pub ari_forwarding: bool,
    /// The slot below, if there is one. Downstream and root ports.
    pub slot: Option<Slot>,
}

/// A slot below a port. PCIe 6.0 s6.7 *PCI Express Hot-Plug Support*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The physical slot number, 0 to 8191.
    pub number: u16,
    /// Devices may come and go: power controller, attention button and both indicators are there.
    pub hot_plug: bool,
    /// Devices may leave without notice.
    pub surprise: bool,
    /// A device is in it after power-on.
    pub present: bool,
}

impl Express {
    /// A port on an 8 GT/s x4 link that forwards to ARI devices if its link leads down.
    #[must_use]
    pub fn port(port_type: PortType) -> Express {
        Express { port_type, flr: false, ari_forwarding: port_type.is_downstream(), ..Express::default() }
    }
}

impl Default for Express {
    /// An endpoint with function level reset on an 8 GT/s x4 link.
    fn default() -> Express {
        Express {
            port_type: PortType::Endpoint,
            flr: true,
            link_speed: LinkSpeed::Gen3,
            lanes: 4,
            max_payload: 1,
            ari_forwarding: false,
            slot: None,
        }
    }
}

/// A vendor's own capability (CAP-16). PCIe 6.0 s7.9.4 *Vendor-Specific Capability*.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vendor {
    /// The bytes after the length.
    pub data: Vec<u8>,
    /// Which bits of `data` can be written; shorter than `data` means read-only from there.
    pub writable: Vec<u8>,
}

impl Capability {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Capability::Pm(_) => "power management",
            Capability::Msi(_) => "MSI",
            Capability::Msix(_) => "MSI-X",
            Capability::Express(_) => "PCI Express",
            Capability::Af(_) => "advanced features",
            Capability::Vendor(_) => "the vendor-specific capability",
        }
    }
}

impl From<Pm> for Capability {
    fn from(pm: Pm) -> Capability {
        Capability::Pm(pm)
    }
}

impl From<Msi> for Capability {
    fn from(msi: Msi) -> Capability {
        Capability::Msi(msi)
    }
}

impl From<Msix> for Capability {
    fn from(msix: Msix) -> Capability {
        Capability::Msix(msix)
    }
}

impl From<Express> for Capability {
    fn from(express: Express) -> Capability {
        Capability::Express(express)
    }
}

impl From<Af> for Capability {
    fn from(af: Af) -> Capability {
        Capability::Af(af)
    }
}

impl From<Vendor> for Capability {
    fn from(vendor: Vendor) -> Capability {
        Capability::Vendor(vendor)
    }
}
