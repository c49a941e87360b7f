//! Lays out the PCI Express capability, of an endpoint or of a port.

use super::capability::{Express, Slot};
use super::draft::Draft;
use super::encode::Facts;
use super::error::LayoutError;
use super::layout::{HeaderKind, Register};
use pci_spec::capability::express::port::{self, SlotCapabilities, SlotStatus};
use pci_spec::capability::express::{self, PortType};

impl Express {
    pub(super) fn encode(&self, draft: &mut Draft, at: u16, facts: &mut Facts) -> Result<(), LayoutError> {
        self.check(facts.traits.header)?;
        let slot = if self.slot.is_some() { port::SLOT_IMPLEMENTED } else { 0 };
        draft.put(at + express::CAPABILITIES, express::capabilities(self.port_type, 0) | slot);
        self.encode_device(draft, at);
        if self.port_type != PortType::RootComplexIntegratedEndpoint {
            self.encode_link(draft, at);
        }
        if let Some(slot) = self.slot {
            slot.encode(draft, at);
        }
        if self.port_type == PortType::RootPort {
            draft.put(at + express::ROOT_CAPABILITIES, port::RRS_SOFTWARE_VISIBILITY);
            draft.writable(at + express::ROOT_CONTROL, port::ROOT_CONTROL_RW);
            draft.clear(at + express::ROOT_STATUS, port::ROOT_STATUS_PME);
        }
        facts.positions.express = Some(at);
        facts.traits.flr = self.flr;
        facts.traits.port_type = Some(self.port_type);
        facts.traits.slot = self.slot;
        facts.traits.ari_forwarding = self.ari_forwarding;
        Ok(())
    }

    fn encode_device(&self, draft: &mut Draft, at: u16) {
        let mut device = express::DeviceCapabilities::ROLE_BASED_ERROR_REPORTING
            | express::DeviceCapabilities::EXTENDED_TAG
            | express::DeviceCapabilities::from_bits_retain(u32::from(self.max_payload));
        device.set(express::DeviceCapabilities::FUNCTION_LEVEL_RESET, self.flr);
        draft.put(at + express::DEVICE_CAPABILITIES, device.bits());

        draft.put(at + express::DEVICE_CONTROL, express::DEVICE_CONTROL_DEFAULT);
        draft.writable(at + express::DEVICE_CONTROL, express::DEVICE_CONTROL_RW);
        draft.kept_by_flr(at + express::DEVICE_CONTROL, express::MAX_PAYLOAD_SIZE_MASK);
        draft.clear(at + express::DEVICE_STATUS, express::DEVICE_STATUS_RW1C);
        if self.flr {
            draft.register(at + express::DEVICE_CONTROL, Register::ResetControl);
        }

        draft.put(at + express::DEVICE_CAPABILITIES_2, express::COMPLETION_TIMEOUT_DISABLE_SUPPORTED);
        draft.writable(at + express::DEVICE_CONTROL_2, express::DEVICE_CONTROL_2_RW);
        if self.ari_forwarding {
            draft.put(at + express::DEVICE_CAPABILITIES_2, port::ARI_FORWARDING_SUPPORTED);
            draft.writable(at + express::DEVICE_CONTROL_2, port::ARI_FORWARDING_ENABLE);
            draft.register(at + express::DEVICE_CONTROL_2, Register::DeviceControl2);
        }
    }

    fn encode_link(&self, draft: &mut Draft, at: u16) {
        let (speed, lanes) = (self.link_speed, self.lanes);
        draft.put(at + express::LINK_CAPABILITIES, express::link_capabilities(speed, lanes));
        draft.put(at + express::LINK_STATUS, express::link_status(speed, lanes));
        draft.put(at + express::LINK_CAPABILITIES_2, express::link_capabilities_2(speed));
        draft.put(at + express::LINK_CONTROL_2, speed as u16);
        // The link is shared by all functions behind it and does not retrain for the reset of one.
        let mut control = express::LINK_CONTROL_RW;
        if self.port_type.is_downstream() {
            control = port::LINK_CONTROL_PORT_RW;
            draft.put(at + express::LINK_CAPABILITIES, port::LINK_ACTIVE_REPORTING);
            draft.put(at + express::LINK_STATUS, port::LINK_ACTIVE);
        }
        draft.writable(at + express::LINK_CONTROL, control);
        draft.kept_by_flr(at + express::LINK_CONTROL, control);
        draft.writable(at + express::LINK_CONTROL_2, express::LINK_CONTROL_2_RW);
        draft.sticky(at + express::LINK_CONTROL_2, express::LINK_CONTROL_2_RW);
    }

    fn check(&self, header: HeaderKind) -> Result<(), LayoutError> {
        let field = |what| Err(LayoutError::Field { name: "PCI Express", what });
        let port = match self.port_type {
            PortType::Endpoint | PortType::LegacyEndpoint | PortType::RootComplexIntegratedEndpoint => false,
            PortType::RootPort | PortType::UpstreamPort | PortType::DownstreamPort => true,
            _ => return field("the port type is not modelled"),
        };
        if port != (header == HeaderKind::Bridge) {
            return field("a port has the header of a bridge, and an endpoint has not");
        }
        if port && self.flr {
            return field("a port has no function level reset");
        }
        if (self.ari_forwarding || self.slot.is_some()) && !self.port_type.is_downstream() {
            return field("only a port whose link leads down has a slot or forwards to ARI devices");
        }
        if self.slot.is_some_and(|slot| slot.number > port::SLOT_NUMBER_MAX) {
            return field("a slot number is 0 to 8191");
        }
        if !(1..=32).contains(&self.lanes) {
            return field("a link has 1 to 32 lanes");
        }
        if self.max_payload > 5 {
            return field("the largest payload is 128 bytes << 0 to 5");
        }
        Ok(())
    }
}

impl Slot {
    fn encode(self, draft: &mut Draft, at: u16) {
        let mut offered = SlotCapabilities::empty();
        let with_hot_plug = SlotCapabilities::HOT_PLUG_CAPABLE
            | SlotCapabilities::POWER_CONTROLLER
            | SlotCapabilities::ATTENTION_BUTTON
            | SlotCapabilities::ATTENTION_INDICATOR
            | SlotCapabilities::POWER_INDICATOR;
        offered.set(with_hot_plug, self.hot_plug);
        offered.set(SlotCapabilities::HOT_PLUG_SURPRISE, self.surprise);
        draft.put(
            at + express::SLOT_CAPABILITIES,
            offered.bits() | u32::from(self.number) << port::SLOT_NUMBER_SHIFT,
        );
        draft.put(at + express::SLOT_CONTROL, port::SLOT_CONTROL_DEFAULT);
        draft.writable(at + express::SLOT_CONTROL, port::SLOT_CONTROL_RW);
        draft.clear(at + express::SLOT_STATUS, port::SLOT_STATUS_RW1C);
        if self.present {
            draft.put(at + express::SLOT_STATUS, SlotStatus::PRESENT.bits());
        }
    }
}
