//! The walk over the buses: who is there, and which bus numbers bridges get.
//!
//! PCIe 6.0 s7.3 *Configuration Transaction Rules*, s6.13 *Alternative Routing-ID Interpretation (ARI)*.

use super::access::{Access, NotFound};
use super::{Found, FoundBridge, Problem};
use pci_core::{BusNumbers, Width};
use pci_spec::capability::express::port::{self, SlotCapabilities};
use pci_spec::capability::express::{self, PortType};
use pci_spec::capability::id;
use pci_spec::extended::{self, ari, sr_iov};
use pci_spec::{Bdf, DEVICES_PER_BUS, FUNCTIONS_PER_DEVICE, bridge, config};

pub(super) struct Scan<'a, 'b> {
    access: &'a mut Access<'b>,
    pub(super) problems: Vec<Problem>,
}

/// The port above a bus, with a link that only device 0 is on.
#[derive(Clone, Copy)]
struct Above {
    at: Bdf,
    express: u16,
}

/// The buses that a bridge may use.
#[derive(Clone, Copy)]
struct Buses {
    bus: u8,
    last: u8,
}

impl<'a, 'b> Scan<'a, 'b> {
    pub(super) fn new(access: &'a mut Access<'b>) -> Scan<'a, 'b> {
        Scan { access, problems: Vec::new() }
    }

    /// All functions behind the host bridge. `None` if the scan was ended.
    pub(super) fn root(&mut self) -> Option<Vec<Found>> {
        let buses = self.access.bridge.buses();
        let (found, _top) = self.below(Buses { bus: buses.first, last: buses.last }, None)?;
        Some(found)
    }

    /// The functions on a bus and all below, and the highest bus in use. Every level has a higher bus number than the one
    /// above it, so this ends.
    fn below(&mut self, buses: Buses, above: Option<Above>) -> Option<(Vec<Found>, u8)> {
        let mut found = self.functions(buses.bus, above)?;
        let reach = found.iter().filter_map(|found| self.last_virtual_bus(found.at)).max();
        let mut top = reach.map_or(buses.bus, |bus| bus.clamp(buses.bus, buses.last));

        let kept = self.kept_numbers(&found, buses);
        for (found, kept) in found.iter_mut().zip(&kept) {
            if let (Some(bridge), Some(numbers)) = (&mut found.bridge, kept) {
                let below = Buses { bus: numbers.secondary, last: numbers.subordinate };
                (bridge.secondary, bridge.subordinate) = (numbers.secondary, numbers.subordinate);
                let port = self.link_below(found.at);
                (bridge.below, _) = self.below(below, port)?;
                top = top.max(numbers.subordinate);
            }
        }
        for (found, kept) in found.iter_mut().zip(&kept) {
            if let (Some(bridge), None) = (&mut found.bridge, kept) {
                top = self.number(found.at, bridge, buses, top)?;
            }
        }
        Some((found, top))
    }

    /// The numbers that bridges have already, where they nest in the bus above and do not overlap. Takes the others away,
    /// so that those lead nowhere until they get new ones.
    fn kept_numbers(&self, found: &[Found], buses: Buses) -> Vec<Option<BusNumbers>> {
        let mut kept: Vec<Option<BusNumbers>> = Vec::with_capacity(found.len());
        for found in found {
            let numbers = found
                .bridge
                .as_ref()
                .map(|_| BusNumbers::decode(self.access.dword(found.at, bridge::PRIMARY_BUS)));
            let fits = numbers.filter(|numbers| {
                buses.bus < numbers.secondary
                    && numbers.secondary <= numbers.subordinate
                    && numbers.subordinate <= buses.last
                    && kept.iter().flatten().all(|other| {
                        numbers.subordinate < other.secondary || other.subordinate < numbers.secondary
                    })
            });
            match (numbers, fits) {
                (Some(numbers), None) if numbers != BusNumbers::default() => {
                    self.write_numbers(found.at, BusNumbers::default());
                }
                (Some(_), Some(numbers)) if numbers.primary != buses.bus => {
                    self.write_numbers(found.at, BusNumbers { primary: buses.bus, ..numbers });
                }
                _ => {}
            }
            kept.push(fits);
        }
        kept
    }

    /// Gives a bridge the numbers after `top` and scans below; answers the highest bus in use.
    fn number(&mut self, at: Bdf, found: &mut FoundBridge, buses: Buses, top: u8) -> Option<u8> {
        let Some(secondary) = top.checked_add(1).filter(|bus| *bus <= buses.last) else {
            self.problems.push(Problem::NoBus(at));
            return Some(top);
        };
        let primary = buses.bus;
        self.write_numbers(at, BusNumbers { primary, secondary, subordinate: buses.last });
        let port = self.link_below(at);
        let (below, subordinate) = self.below(Buses { bus: secondary, last: buses.last }, port)?;
        self.write_numbers(at, BusNumbers { primary, secondary, subordinate });
        (found.secondary, found.subordinate, found.below) = (secondary, subordinate, below);
        Some(subordinate)
    }

    fn write_numbers(&self, at: Bdf, numbers: BusNumbers) {
        self.access.write(at, bridge::PRIMARY_BUS, Width::Dword, numbers.encode());
    }

    /// The functions on one bus.
    fn functions(&mut self, bus: u8, above: Option<Above>) -> Option<Vec<Found>> {
        let mut found = Vec::new();
        let devices = if above.is_some() { 1 } else { DEVICES_PER_BUS };
        for device in 0..devices {
            let first = function_at(self.segment(), bus, device * FUNCTIONS_PER_DEVICE);
            let Some(header) = self.probe(first, &mut found)? else { continue };
            if let Some(next) = above.and_then(|above| self.forward_ari(above, first)) {
                self.ari_functions(first, next, &mut found)?;
            } else if header & config::HEADER_MULTI_FUNCTION != 0 {
                for function in 1..FUNCTIONS_PER_DEVICE {
                    let at = function_at(self.segment(), bus, device * FUNCTIONS_PER_DEVICE + function);
                    self.probe(at, &mut found)?;
                }
            }
        }
        Some(found)
    }

    /// The chain of an ARI device after its first function. It ascends, so it ends.
    fn ari_functions(&mut self, first: Bdf, next: u8, found: &mut Vec<Found>) -> Option<()> {
        let (mut at, mut next) = (first, next);
        while next != 0 {
            let [bus, devfn] = at.routing_id().to_be_bytes();
            if next <= devfn {
                self.problems.push(Problem::AriChain(at));
                break;
            }
            at = function_at(self.segment(), bus, next);
            if self.probe(at, found)?.is_none() {
                break;
            }
            next = self.next_ari(at).unwrap_or(0);
        }
        Some(())
    }

    /// Switches ARI forwarding on or off, as the device below needs; answers the function after its first if it is on.
    fn forward_ari(&self, above: Above, first: Bdf) -> Option<u8> {
        let offered = self.access.dword(above.at, above.express + express::DEVICE_CAPABILITIES_2);
        if offered & port::ARI_FORWARDING_SUPPORTED == 0 {
            return None;
        }
        let next = self.next_ari(first);
        let register = above.express + express::DEVICE_CONTROL_2;
        let old = self.access.read(above.at, register, Width::Word);
        let bit = u32::from(port::ARI_FORWARDING_ENABLE);
        let new = if next.is_some() { old | bit } else { old & !bit };
        if new != old {
            self.access.write(above.at, register, Width::Word, new);
        }
        next
    }

    /// The next function of an ARI device, 0 at the end; `None` without the capability.
    fn next_ari(&self, at: Bdf) -> Option<u8> {
        let capability = self.access.find_extended(at, extended::id::ARI)?;
        let [_, next, ..] = self.access.read(at, capability + ari::CAPABILITY, Width::Word).to_le_bytes();
        Some(next)
    }

    /// Whether a function is there; its header type if so. The outer `None` means that the scan was ended.
    fn probe(&mut self, at: Bdf, found: &mut Vec<Found>) -> Option<Option<u8>> {
        match self.access.await_function(at) {
            Ok(()) => {}
            Err(NotFound::Absent) => return Some(None),
            Err(NotFound::NeverReady) => {
                self.problems.push(Problem::NotReady(at));
                return Some(None);
            }
            Err(NotFound::Ended) => return None,
        }
        let [header, ..] = self.access.read(at, config::HEADER_TYPE, Width::Byte).to_le_bytes();
        let bridge = match header & config::HEADER_LAYOUT_MASK {
            config::HEADER_LAYOUT_ENDPOINT => None,
            config::HEADER_LAYOUT_BRIDGE => {
                Some(FoundBridge { hot_plug: self.has_hot_plug_slot(at), ..FoundBridge::default() })
            }
            layout => {
                self.problems.push(Problem::HeaderType { at, layout });
                return Some(Some(header));
            }
        };
        found.push(Found { at, bridge });
        Some(Some(header))
    }

    fn has_hot_plug_slot(&self, at: Bdf) -> bool {
        let Some(capability) = self.access.find_capability(at, id::PCI_EXPRESS) else { return false };
        let flags = self.access.read(at, capability + express::CAPABILITIES, Width::Word);
        let slot = SlotCapabilities::from_bits_retain(
            self.access.dword(at, capability + express::SLOT_CAPABILITIES),
        );
        flags & u32::from(port::SLOT_IMPLEMENTED) != 0 && slot.contains(SlotCapabilities::HOT_PLUG_CAPABLE)
    }

    /// The port at `at`, if a link with only device 0 on it is below.
    fn link_below(&self, at: Bdf) -> Option<Above> {
        let express = self.access.find_capability(at, id::PCI_EXPRESS)?;
        let [low, high, ..] =
            self.access.read(at, express + express::CAPABILITIES, Width::Word).to_le_bytes();
        let kind = PortType::decode(u16::from_le_bytes([low, high]))?;
        kind.is_downstream().then_some(Above { at, express })
    }

    /// The last bus that the virtual functions of a function would be on.
    fn last_virtual_bus(&self, at: Bdf) -> Option<u8> {
        let capability = self.access.find_extended(at, extended::id::SR_IOV)?;
        let half = |offset| {
            let [low, high, ..] = self.access.read(at, capability + offset, Width::Word).to_le_bytes();
            u16::from_le_bytes([low, high])
        };
        let last = half(sr_iov::TOTAL_VFS).checked_sub(1)?;
        let (first, stride) = (half(sr_iov::FIRST_VF_OFFSET), half(sr_iov::VF_STRIDE));
        let id = sr_iov::routing_id(at.routing_id(), first, stride, last).unwrap_or(u16::MAX);
        let [bus, _] = id.to_be_bytes();
        Some(bus)
    }

    fn segment(&self) -> u16 {
        self.access.bridge.segment()
    }
}

fn function_at(segment: u16, bus: u8, devfn: u8) -> Bdf {
    Bdf::from_routing_id(segment, u16::from_be_bytes([bus, devfn]))
}
