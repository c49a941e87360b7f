//! The fixed part of a configuration space: power-on values, write rules, and where each capability lies.
//!
//! Made once by the builder and shared by every function of the same make, so that a function itself keeps only its
//! values. Immutable, hence without locks.

use super::capability::Slot;
use super::{BarIndex, BarLayout};
use pci_spec::capability::express::PortType;
use pci_spec::capability::msix::Location;
use pci_spec::capability::pm::PowerState;
use pci_spec::config::InterruptPin;

/// What a write does to one dword. A dword without a rule is read-only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// The dword's index in configuration space.
    pub(super) dword: u16,
    pub(super) register: Register,
    pub(super) bits: Bits,
}

/// The classes of bits in one dword; a bit in none of them is read-only and goes back to its power-on value at
/// every reset. PCIe 6.0 s7.4 *Configuration Register Types*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    /// Takes the written value.
    pub(super) writable: u32,
    /// Cleared by writing a 1.
    pub(super) clear: u32,
    /// Survives every reset but the loss of power.
    pub(super) sticky: u32,
    /// Survives a function level reset but no conventional one. PCIe 6.0 s6.6.2 *Function Level Reset*.
    pub(super) kept_by_flr: u32,
}

/// Registers whose write means more than storing bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Register {
    Plain,
    /// COMMAND and STATUS.
    Command,
    /// One dword of a BAR, or the ROM's.
    Bar,
    /// PMCSR: the power state is a request to whoever owns the function's gate.
    PowerControl,
    /// Device Control with function level reset.
    ResetControl,
    MsiControl,
    MsixControl,
    /// Advanced Features with function level reset.
    AfControl,
    /// A bridge's bus numbers.
    BusNumbers,
    /// Bridge Control and the interrupt registers.
    BridgeControl,
    /// Device Control 2 with ARI forwarding.
    DeviceControl2,
    SrIovControl,
    /// DPC Status and the source of the error: releasing the port brings its link up.
    DpcStatus,
}

/// Which header a function has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum HeaderKind {
    #[default]
    Endpoint,
    Bridge,
    /// An endpoint whose identifiers and BARs are the physical function's in hardware.
    Virtual,
}

/// What else is known of a function without looking at its values.
#[derive(Clone, Debug, Default)]
pub(super) struct Traits {
    pub(super) header: HeaderKind,
    pub(super) immediate_readiness: bool,
    pub(super) flr: bool,
    pub(super) af_flr: bool,
    pub(super) port_type: Option<PortType>,
    pub(super) slot: Option<Slot>,
    pub(super) ari_forwarding: bool,
    pub(super) sr_iov: Option<Box<SrIovLayout>>,
}

/// What a physical function says about its virtual functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrIovLayout {
    /// Offset of the capability, in bytes.
    pub at: u16,
    /// Most VFs, at least 1.
    pub total_vfs: u16,
    /// Distance of the first VF's routing ID from the physical function's.
    pub first_offset: u16,
    /// Distance between VFs.
    pub stride: u16,
    /// Device ID of the VFs.
    pub device: u16,
    /// The BARs that each VF has a piece of, lowest first.
    pub bars: Box<[BarLayout]>,
}

/// Which interrupts a function can raise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterruptLayout {
    /// The INTx pin.
    pub intx: InterruptPin,
    /// MSI vectors, a power of two from 1 to 32; 0 without the capability.
    pub msi_vectors: u16,
    /// The MSI-X structures, if the function has them.
    pub msix: Option<MsixLayout>,
}

/// Where the MSI-X structures lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixLayout {
    /// Vectors, 1 to 2048.
    pub vectors: u16,
    /// The table, 16 bytes a vector.
    pub table: Location,
    /// The pending bits, 8 bytes for every 64 vectors.
    pub pba: Location,
}

/// Offsets of the registers that have behaviour, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Positions {
    pub(super) power_control: Option<u16>,
    pub(super) msi_control: Option<u16>,
    pub(super) msi_mask: Option<u16>,
    pub(super) msi_pending: Option<u16>,
    pub(super) msix_control: Option<u16>,
    pub(super) express: Option<u16>,
    pub(super) aer: Option<u16>,
    /// AER's with the root registers.
    pub(super) root_errors: Option<u16>,
    pub(super) dpc: Option<u16>,
}

/// Which power states there are, and what survives the way back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PowerSupport {
    pub(super) d1: bool,
    pub(super) d2: bool,
    pub(super) no_soft_reset: bool,
    pub(super) immediate_readiness: bool,
}

impl PowerSupport {
    /// Whether the function goes from `old` to `new` when told to: not to a state it does not have, and not to a
    /// shallower one other than D0 (PWR-02; PCIe 6.0 s5.3.1 *Device Power Management States*).
    pub(super) fn allows(self, old: PowerState, new: PowerState) -> bool {
        match new {
            PowerState::D0 | PowerState::D3Hot => true,
            PowerState::D1 => self.d1 && old < new,
            PowerState::D2 => self.d2 && old < new,
        }
    }
}

/// The fixed part of a configuration space; see the module's head.
#[derive(Debug)]
pub struct Layout {
    /// The values after power-on, up to the end of the last capability.
    pub(super) initial: Box<[u32]>,
    /// Sorted by dword, at most one a dword.
    pub(super) rules: Box<[Rule]>,
    pub(super) bars: Box<[BarLayout]>,
    pub(super) rom_size: Option<u32>,
    pub(super) positions: Positions,
    pub(super) interrupts: InterruptLayout,
    pub(super) power: PowerSupport,
    pub(super) traits: Traits,
}

impl Layout {
    pub(super) fn rule(&self, dword: usize) -> Option<&Rule> {
        let found = self.rules.binary_search_by_key(&dword, |rule| usize::from(rule.dword));
        found.ok().and_then(|index| self.rules.get(index))
    }

    /// The BARs in use, lowest first; a 64-bit BAR is listed once, under its lower register.
    #[must_use]
    pub fn bars(&self) -> &[BarLayout] {
        &self.bars
    }

    /// BAR `index`, if the function has it. The ROM is no BAR.
    #[must_use]
    pub fn bar(&self, index: BarIndex) -> Option<&BarLayout> {
        self.bars.iter().find(|bar| bar.index == index)
    }

    /// The expansion ROM's size in bytes, if there is one.
    #[must_use]
    pub fn rom_size(&self) -> Option<u32> {
        self.rom_size
    }

    /// Which interrupts the function can raise.
    #[must_use]
    pub fn interrupts(&self) -> InterruptLayout {
        self.interrupts
    }

    /// Whether the function offers function level reset through PCI Express (RST-05).
    #[must_use]
    pub fn has_flr(&self) -> bool {
        self.traits.flr
    }

    /// Whether the function offers function level reset through Advanced Features, with the status that goes with it
    /// (RST-06).
    #[must_use]
    pub fn has_af_flr(&self) -> bool {
        self.traits.af_flr
    }

    /// Whether the function has power management.
    #[must_use]
    pub fn has_power_management(&self) -> bool {
        self.positions.power_control.is_some()
    }

    /// Whether the function keeps its state over D3hot (PWR-05, RST-07).
    #[must_use]
    pub fn no_soft_reset(&self) -> bool {
        self.power.no_soft_reset
    }

    /// Whether the function may be accessed right after a reset, without the usual delay.
    #[must_use]
    pub fn immediate_readiness(&self) -> bool {
        self.traits.immediate_readiness
    }

    /// Whether the function may be accessed right after its return to D0.
    #[must_use]
    pub fn immediate_readiness_on_d0(&self) -> bool {
        self.power.immediate_readiness
    }

    /// What kind of PCI Express function it is; `None` without the capability.
    #[must_use]
    pub fn port_type(&self) -> Option<PortType> {
        self.traits.port_type
    }

    /// The slot below the port, if there is one.
    #[must_use]
    pub fn slot(&self) -> Option<Slot> {
        self.traits.slot
    }

    /// Whether the port can forward to all 256 functions of an ARI device.
    #[must_use]
    pub fn has_ari_forwarding(&self) -> bool {
        self.traits.ari_forwarding
    }

    /// What the function says about its virtual functions; `None` without SR-IOV.
    #[must_use]
    pub fn sr_iov(&self) -> Option<&SrIovLayout> {
        self.traits.sr_iov.as_deref()
    }

    pub(super) fn header(&self) -> HeaderKind {
        self.traits.header
    }
}
