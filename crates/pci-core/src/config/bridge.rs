//! The registers by which a bridge routes: bus numbers, bridge control, ARI forwarding.
//!
//! PCIe 6.0 s7.5.1.3 *Type 1 Configuration Space Header*. A space says what they hold and counts their changes; who
//! routes by them follows the count (see [`ConfigSpace::count_routing_changes`]).

use super::ConfigSpace;
use super::draft::Draft;
use super::layout::{HeaderKind, Register};
use super::routing::RoutingMark;
use pci_spec::bridge;
use pci_spec::capability::express::{self, port};
use std::sync::Arc;

/// The bus numbers of a bridge; all 0 after a reset, when nothing below can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusNumbers {
    /// The bus that the bridge is on, as software noted it.
    pub primary: u8,
    /// The bus right below.
    pub secondary: u8,
    /// The highest bus below.
    pub subordinate: u8,
}

impl BusNumbers {
    /// The three registers as the low bytes of their dword.
    #[must_use]
    pub const fn encode(self) -> u32 {
        u32::from_le_bytes([self.primary, self.secondary, self.subordinate, 0])
    }

    /// What a dword at the primary bus number says.
    #[must_use]
    pub const fn decode(dword: u32) -> BusNumbers {
        let [primary, secondary, subordinate, _timer] = dword.to_le_bytes();
        BusNumbers { primary, secondary, subordinate }
    }
}

/// What of a routing register decides where accesses go.
pub(super) const fn routing_bits(register: Register) -> u32 {
    match register {
        Register::BusNumbers => 0x00ff_ff00,
        Register::BridgeControl => (bridge::BridgeControl::SECONDARY_BUS_RESET.bits() as u32) << 16,
        Register::DeviceControl2 => port::ARI_FORWARDING_ENABLE as u32,
        Register::SrIovControl => pci_spec::extended::sr_iov::Control::VF_ENABLE.bits() as u32,
        _ => 0,
    }
}

impl ConfigSpace {
    /// Whether the header is that of a bridge.
    #[must_use]
    pub fn is_bridge(&self) -> bool {
        self.layout.header() == HeaderKind::Bridge
    }

    /// The bus numbers, in one load; `None` for an endpoint.
    #[must_use]
    pub fn bus_numbers(&self) -> Option<BusNumbers> {
        self.is_bridge().then(|| BusNumbers::decode(self.dword(usize::from(bridge::PRIMARY_BUS / 4))))
    }

    /// Whether software holds everything below in reset.
    #[must_use]
    pub fn secondary_bus_reset(&self) -> bool {
        let control = bridge::BridgeControl::from_bits_retain(self.half(bridge::BRIDGE_CONTROL));
        self.is_bridge() && control.contains(bridge::BridgeControl::SECONDARY_BUS_RESET)
    }

    /// Whether the port forwards to all 256 functions of the device below.
    #[must_use]
    pub fn ari_forwarding(&self) -> bool {
        let control = self.layout.positions.express.map_or(0, |at| self.half(at + express::DEVICE_CONTROL_2));
        self.is_bridge() && control & port::ARI_FORWARDING_ENABLE != 0
    }

    /// Has every change of what decides where accesses go (bus numbers, secondary bus reset, ARI forwarding, VF enable)
    /// counted and marked with `mark`, whoever makes it: a write or a reset. False if that was asked for before: the first
    /// mark stays.
    pub fn count_routing_changes(&self, mark: Arc<RoutingMark>) -> bool {
        self.routing_mark.set(mark).is_ok()
    }

    /// By what the function is known where its changes are counted, if they are.
    #[must_use]
    pub fn routing_mark(&self) -> Option<&Arc<RoutingMark>> {
        self.routing_mark.get()
    }

    pub(super) fn count_if_routing(&self, register: Register, old: u32, new: u32) {
        if (old ^ new) & routing_bits(register) != 0
            && let Some(mark) = self.routing_mark.get()
        {
            mark.note();
        }
    }
}

/// The registers that only a bridge has.
pub(super) fn lay_out(draft: &mut Draft) {
    for offset in [bridge::PRIMARY_BUS, bridge::SECONDARY_BUS, bridge::SUBORDINATE_BUS] {
        draft.writable(offset, u8::MAX);
    }
    draft.register(bridge::PRIMARY_BUS, Register::BusNumbers);
    draft.writable(bridge::IO_BASE, bridge::IO_RW);
    draft.writable(bridge::IO_LIMIT, bridge::IO_RW);
    draft.clear(bridge::SECONDARY_STATUS, pci_spec::status::STATUS_RW1C.bits());
    draft.writable(bridge::MEMORY_BASE, bridge::MEMORY_RW);
    draft.writable(bridge::MEMORY_LIMIT, bridge::MEMORY_RW);
    for (low, high) in [
        (bridge::PREFETCHABLE_BASE, bridge::PREFETCHABLE_BASE_UPPER),
        (bridge::PREFETCHABLE_LIMIT, bridge::PREFETCHABLE_LIMIT_UPPER),
    ] {
        draft.put(low, bridge::PREFETCHABLE_64);
        draft.writable(low, bridge::MEMORY_RW);
        draft.writable(high, u32::MAX);
    }
    draft.writable(bridge::BRIDGE_CONTROL, bridge::BRIDGE_CONTROL_RW);
    draft.register(bridge::BRIDGE_CONTROL, Register::BridgeControl);
}
