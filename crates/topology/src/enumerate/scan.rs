//! The walk over the buses: who is there, and which bus numbers bridges get.
//!
//! PCIe 6.0 s7.3 *Configuration Transaction Rules*, s6.13 *Alternative Routing-ID Interpretation (ARI)*.

use super::access::{Access, NotFound};
use super::{Found, FoundBridge, Problem};
use pci_core::mechanism::BusRange;
use pci_core::{BusNumbers, Width};
use pci_spec::capability::express::port::{self, SlotCapabilities};
use pci_spec::capability::express::{self, PortType};
use pci_spec::capability::id;
use pci_spec::extended::{self, ari, sr_iov};
use pci_spec::{Bdf, DEVICES_PER_BUS, FUNCTIONS_PER_DEVICE, bridge, config};

pub(super) struct Scan<'a, 'b> {
    access: &'a mut Access<'b>,
    /// Bus numbers for a bridge whose devices come and go.
    reserve: u8,
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
    pub(super) fn new(access: &'a mut Access<'b>, reserve: u8) -> Scan<'a, 'b> {
        Scan { access, reserve, problems: Vec::new() }
    }

    /// All functions behind the host bridge. `None` if the scan was ended.
    pub(super) fn root(&mut self) -> Option<Vec<Found>> {
        let buses = self.access.bridge.buses();
        let (found, _top) = self.below(Buses { bus: buses.first, last: buses.last }, None)?;
        Some(found)
    }

    /// All functions below a bridge that has its numbers. An empty list if it does not lead to `buses` now.
    pub(super) fn subtree(&mut self, at: Bdf, buses: BusRange) -> Option<Vec<Found>> {
        let numbers = BusNumbers::decode(self.access.dword(at, bridge::PRIMARY_BUS));
        if (numbers.secondary, numbers.subordinate) != (buses.first, buses.last) {
            self.problems.push(Problem::NotRouted(at));
            return Some(Vec::new());
        }
        let above = self.link_below(at);
        let (found, _top) = self.below(Buses { bus: buses.first, last: buses.last }, above)?;
        Some(found)
    }

    /// The functions of one device on a bus that is no link, and all below. Bridges keep numbers within `own`, the others get
    /// some of `spare`.
    pub(super) fn device(
        &mut self,
        bus: u8,
        device: u8,
        own: &[BusRange],
        spare: Option<BusRange>,
    ) -> Option<Vec<Found>> {
        let mut found = Vec::new();
        self.device_functions(bus, device, None, &mut found)?;
        let (first, last) = spare.map_or((bus, bus), |spare| (spare.first.saturating_sub(1), spare.last));
        let mut top = first;
        for found in &mut found {
            let Some(reach) = self.last_virtual_bus(found.at).filter(|reach| *reach > bus) else { continue };
            if spare.is_some_and(|spare| spare.first == bus + 1 && reach <= spare.last) {
                found.reach = Some(reach);
                top = top.max(reach);
            } else if !own.iter().any(|own| own.first == bus + 1 && reach <= own.last) {
                self.problems.push(Problem::NoBus(found.at));
            } else {
                found.reach = Some(reach);
            }
        }
        let is_own = |numbers: BusNumbers| {
            own.iter().any(|own| own.contains(numbers.secondary) && own.contains(numbers.subordinate))
        };
        self.bridges(&mut found, Buses { bus, last }, top, is_own)?;
        Some(found)
    }

    /// The functions on a bus and all below, and the highest bus in use. Every level has a higher bus number than the one
    /// above it, so this ends.
    fn below(&mut self, buses: Buses, above: Option<Above>) -> Option<(Vec<Found>, u8)> {
        let mut found = self.functions(buses.bus, above)?;
        let mut top = buses.bus;
        for found in &mut found {
            let reach = self.last_virtual_bus(found.at).map(|bus| bus.clamp(buses.bus, buses.last));
            found.reach = reach.filter(|reach| *reach > buses.bus);
            top = top.max(reach.unwrap_or(top));
        }
        let top = self.bridges(&mut found, buses, top, |numbers| numbers.subordinate <= buses.last)?;
        Some((found, top))
    }

    /// What is below the bridges among what was found on a bus: first below those that keep their numbers, then below the
    /// others, which get numbers after `top`. Answers the highest bus in use.
    fn bridges(
        &mut self,
        found: &mut [Found],
        buses: Buses,
        mut top: u8,
        may_keep: impl Fn(BusNumbers) -> bool,
    ) -> Option<u8> {
        let kept = self.kept_numbers(found, buses, may_keep);
        for (found, kept) in found.iter_mut().zip(&kept) {
            if let (Some(bridge), Some(numbers)) = (&mut found.bridge, kept) {
                let below = Buses { bus: numbers.secondary, last: numbers.subordinate };
                (bridge.secondary, bridge.subordinate) = (numbers.secondary, numbers.subordinate);
                let port = self.link_below(found.at);
                (bridge.below, _) = self.below(below, port)?;
                // Those of one device may lie beyond what its new bridges get.
                top = if numbers.subordinate <= buses.last { top.max(numbers.subordinate) } else { top };
            }
        }
        let is_new =
            |(found, kept): &(&mut Found, &Option<BusNumbers>)| found.bridge.is_some() && kept.is_none();
        let mut new: Vec<_> = found.iter_mut().zip(&kept).filter(is_new).map(|(found, _)| found).collect();
        let mut left = u8::try_from(new.len()).unwrap_or(u8::MAX);
        for found in &mut new {
            left = left.saturating_sub(1);
            if let Some(bridge) = &mut found.bridge {
                top = self.number(found.at, bridge, buses, top, left)?;
            }
        }
        Some(top)
    }

    /// The numbers that bridges have already, where they nest in the bus above and do not overlap. Takes the others away,
    /// so that those lead nowhere until they get new ones.
    fn kept_numbers(
        &self,
        found: &[Found],
        buses: Buses,
        may_keep: impl Fn(BusNumbers) -> bool,
    ) -> Vec<Option<BusNumbers>> {
        let mut kept: Vec<Option<BusNumbers>> = Vec::with_capacity(found.len());
        for found in found {
            let numbers = found
                .bridge
                .as_ref()
                .map(|_| BusNumbers::decode(self.access.dword(found.at, bridge::PRIMARY_BUS)));
            let fits = numbers.filter(|numbers| {
                buses.bus < numbers.secondary
                    && numbers.secondary <= numbers.subordinate
                    && may_keep(*numbers)
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

    /// Gives a bridge the numbers after `top` and scans below; answers the highest bus in use. Of its reserve it gets what
    /// leaves a number for each of `others` that come after it.
    fn number(&mut self, at: Bdf, found: &mut FoundBridge, buses: Buses, top: u8, others: u8) -> Option<u8> {
        let Some(secondary) = top.checked_add(1).filter(|bus| *bus <= buses.last) else {
            self.problems.push(Problem::NoBus(at));
            return Some(top);
        };
        let primary = buses.bus;
        self.write_numbers(at, BusNumbers { primary, secondary, subordinate: buses.last });
        let port = self.link_below(at);
        let (below, subordinate) = self.below(Buses { bus: secondary, last: buses.last }, port)?;
        let reserve = if found.reserves { self.reserve.saturating_sub(1) } else { 0 };
        let reserved = secondary.saturating_add(reserve).min(buses.last.saturating_sub(others));
        let subordinate = subordinate.max(reserved);
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
            self.device_functions(bus, device, above, &mut found)?;
        }
        Some(found)
    }

    /// The functions of one device.
    fn device_functions(
        &mut self,
        bus: u8,
        device: u8,
        above: Option<Above>,
        found: &mut Vec<Found>,
    ) -> Option<()> {
        let first = function_at(self.segment(), bus, device * FUNCTIONS_PER_DEVICE);
        let Some(header) = self.probe(first, found)? else { return Some(()) };
        if let Some(next) = above.and_then(|above| self.forward_ari(above, first)) {
            self.ari_functions(first, next, found)?;
        } else if header & config::HEADER_MULTI_FUNCTION != 0 {
            for function in 1..FUNCTIONS_PER_DEVICE {
                let at = function_at(self.segment(), bus, device * FUNCTIONS_PER_DEVICE + function);
                self.probe(at, found)?;
            }
        }
        Some(())
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
            config::HEADER_LAYOUT_BRIDGE => Some(self.bridge(at)),
            layout => {
                self.problems.push(Problem::HeaderType { at, layout });
                return Some(Some(header));
            }
        };
        found.push(Found { at, bridge, reach: None });
        Some(Some(header))
    }

    /// A bridge, before anything is known of what is below.
    fn bridge(&self, at: Bdf) -> FoundBridge {
        let Some(capability) = self.access.find_capability(at, id::PCI_EXPRESS) else {
            // Devices of a conventional bus come and go by hand.
            return FoundBridge { reserves: true, ..FoundBridge::default() };
        };
        let flags = self.access.read(at, capability + express::CAPABILITIES, Width::Word);
        let slot = SlotCapabilities::from_bits_retain(
            self.access.dword(at, capability + express::SLOT_CAPABILITIES),
        );
        let implemented = flags & u32::from(port::SLOT_IMPLEMENTED) != 0;
        let hot_plug = implemented && slot.contains(SlotCapabilities::HOT_PLUG_CAPABLE);
        FoundBridge { hot_plug, reserves: hot_plug, ..FoundBridge::default() }
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
