//! What a function has that a reset depends on, read from its configuration space.
//!
//! Read once while the function answers and kept: a function that has to be reset may answer nothing any more, and
//! what it has does not change. Both lists are walked within the bounds of what fits (CAP-01), whatever a device
//! answers.

use crate::hold::Reader;
use pci_core::Presence;
use pci_core::access::{capabilities, extended_capabilities};
use pci_spec::capability::express::{self, DeviceCapabilities, PortType};
use pci_spec::capability::{self, af, pm};
use pci_spec::extended::{self, cxl_port};
use pci_spec::{Bdf, Status, config};

/// A capability of either list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Identifier in its list.
    pub(crate) id: u16,
    /// Offset in bytes.
    pub(crate) at: u16,
}

/// What one function has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Vendor and device ID.
    pub(crate) identity: (u16, u16),
    /// Its header is that of a bridge.
    pub(crate) bridge: bool,
    /// The device has other functions.
    pub(crate) multi_function: bool,
    /// Answers right after a reset: no delay is needed.
    pub(crate) immediate_readiness: bool,
    /// The first list, in its order.
    pub(crate) standard: Vec<Found>,
    /// The list from 0x100, in its order.
    pub(crate) extended: Vec<Found>,
    /// Device Capabilities shows function level reset.
    pub(crate) flr: bool,
    /// Advanced Features shows function level reset.
    pub(crate) af_flr: bool,
    /// Keeps its state from D3hot to D0.
    pub(crate) no_soft_reset: bool,
    /// The kind of PCI Express function; `None` for conventional PCI and for a reserved encoding.
    pub(crate) port_type: Option<PortType>,
    /// A slot hangs on the port.
    pub(crate) has_slot: bool,
    /// Offset of the CXL extensions of a port.
    pub(crate) cxl_port: Option<u16>,
}

impl Facts {
    /// Reads them; `None` while the function does not answer.
    pub(crate) fn read(reader: &mut dyn Reader, at: Bdf) -> Option<Facts> {
        let identity = Facts::identity(reader, at)?;
        let header = reader.read_byte(at, config::HEADER_TYPE);
        let status = Status::from_bits_retain(reader.read_word(at, config::STATUS));
        let standard = standard_list(reader, at);
        let mut facts = Facts {
            identity,
            bridge: header & config::HEADER_LAYOUT_MASK == config::HEADER_LAYOUT_BRIDGE,
            multi_function: header & config::HEADER_MULTI_FUNCTION != 0,
            immediate_readiness: status.contains(Status::IMMEDIATE_READINESS),
            standard,
            ..Facts::default()
        };
        facts.read_capabilities(reader, at);
        Some(facts)
    }

    /// Vendor and device ID; all-ones for a virtual function, and `None` while it does not answer.
    pub(crate) fn identity(reader: &mut dyn Reader, at: Bdf) -> Option<(u16, u16)> {
        match Presence::decode(reader.read_dword(at, config::VENDOR_ID)) {
            Presence::Present { vendor, device } => Some((vendor, device)),
            Presence::NotReady => None,
            // A virtual function has no identifiers of its own.
            Presence::Absent if reader.read_word(at, config::COMMAND) == u16::MAX => None,
            Presence::Absent => Some((u16::MAX, u16::MAX)),
        }
    }

    fn read_capabilities(&mut self, reader: &mut dyn Reader, at: Bdf) {
        if let Some(express) = self.express() {
            self.extended = extended_list(reader, at);
            let device = reader.read_dword(at, express + express::DEVICE_CAPABILITIES);
            let device = DeviceCapabilities::from_bits_retain(device);
            self.flr = device.contains(DeviceCapabilities::FUNCTION_LEVEL_RESET);
            let kind = reader.read_word(at, express + express::CAPABILITIES);
            self.port_type = PortType::decode(kind);
            self.has_slot = kind & express::port::SLOT_IMPLEMENTED != 0
                && self.port_type.is_some_and(PortType::is_downstream);
        }
        if let Some(features) = self.advanced_features() {
            let capable = reader.read_byte(at, features + af::CAPABILITIES);
            let needed = af::Capabilities::TRANSACTIONS_PENDING | af::Capabilities::FUNCTION_LEVEL_RESET;
            self.af_flr = af::Capabilities::from_bits_retain(capable).contains(needed);
        }
        if let Some(power) = self.power() {
            let control =
                pm::ControlStatus::from_bits_retain(reader.read_word(at, power + pm::CONTROL_STATUS));
            self.no_soft_reset = control.contains(pm::ControlStatus::NO_SOFT_RESET);
        }
        let vendor_specific = self.extended.iter().filter(|found| found.id == extended::id::DVSEC);
        self.cxl_port = vendor_specific.map(|found| found.at).find(|dvsec| {
            reader.read_word(at, dvsec + cxl_port::HEADER_1) == cxl_port::VENDOR
                && reader.read_word(at, dvsec + cxl_port::HEADER_2) == cxl_port::DVSEC_ID
        });
    }

    /// Offset of a capability of the first list.
    pub(crate) fn standard(&self, id: u8) -> Option<u16> {
        self.standard.iter().find(|found| found.id == u16::from(id)).map(|found| found.at)
    }

    /// Offset of the PCI Express capability.
    pub(crate) fn express(&self) -> Option<u16> {
        self.standard(capability::id::PCI_EXPRESS)
    }

    /// Offset of Power Management.
    pub(crate) fn power(&self) -> Option<u16> {
        self.standard(capability::id::POWER_MANAGEMENT)
    }

    /// Offset of Advanced Features.
    pub(crate) fn advanced_features(&self) -> Option<u16> {
        self.standard(capability::id::ADVANCED_FEATURES)
    }
}

fn standard_list(reader: &mut dyn Reader, at: Bdf) -> Vec<Found> {
    let list = capabilities(|register, width| Ok(reader.read(at, register, width)));
    list.filter_map(Result::ok).map(|(at, id)| Found { id: u16::from(id), at }).collect()
}

fn extended_list(reader: &mut dyn Reader, at: Bdf) -> Vec<Found> {
    let list = extended_capabilities(|register, width| Ok(reader.read(at, register, width)));
    list.filter_map(Result::ok).map(|(at, id)| Found { id, at }).collect()
}
