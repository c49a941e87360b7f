//! Lays capabilities out in a draft: values, and which bits can be written.
//!
//! `at` is the capability's offset; identifier and next pointer are the builder's.

use super::capability::{Capability, Express, ExtendedCapability, Msi, Msix, Pm, Vendor};
use super::draft::Draft;
use super::error::LayoutError;
use super::layout::{InterruptLayout, MsixLayout, Positions, PowerSupport, Register};
use pci_spec::capability::express::{self, PortType};
use pci_spec::capability::{id, msi, msix, pm, vendor};
use pci_spec::{aer, extended};

/// What the capabilities say beside their bits.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) positions: Positions,
    pub(super) interrupts: InterruptLayout,
    pub(super) power: PowerSupport,
    pub(super) flr: bool,
}

impl Capability {
    pub(super) fn id(&self) -> u8 {
        match self {
            Capability::Pm(_) => id::POWER_MANAGEMENT,
            Capability::Msi(_) => id::MSI,
            Capability::Msix(_) => id::MSI_X,
            Capability::Express(_) => id::PCI_EXPRESS,
            Capability::Vendor(_) => id::VENDOR,
        }
    }

    /// The capability's length in bytes, a multiple of 4.
    pub(super) fn length(&self) -> Result<u16, LayoutError> {
        let bytes = match self {
            Capability::Pm(_) => pm::LENGTH,
            Capability::Msi(capability) => msi::Layout::new(capability.control()?).length,
            Capability::Msix(_) => msix::LENGTH,
            Capability::Express(_) => express::LENGTH,
            Capability::Vendor(capability) => u16::from(capability.length()?),
        };
        Ok(bytes.next_multiple_of(4))
    }

    pub(super) fn encode(&self, draft: &mut Draft, at: u16, facts: &mut Facts) -> Result<(), LayoutError> {
        match self {
            Capability::Pm(capability) => capability.encode(draft, at, facts),
            Capability::Msi(capability) => return capability.encode(draft, at, facts),
            Capability::Msix(capability) => return capability.encode(draft, at, facts),
            Capability::Express(capability) => return capability.encode(draft, at, facts),
            Capability::Vendor(capability) => return capability.encode(draft, at),
        }
        Ok(())
    }
}

impl Pm {
    fn encode(&self, draft: &mut Draft, at: u16, facts: &mut Facts) {
        let mut states = pm::Capabilities::empty();
        states.set(pm::Capabilities::D1, self.d1);
        states.set(pm::Capabilities::D2, self.d2);
        let pme = self.pme & PME_STATES;
        draft.put(at + pm::CAPABILITIES, pm::VERSION_1_2 | (states | pme).bits());

        let control = at + pm::CONTROL_STATUS;
        draft.register(control, Register::PowerControl);
        if self.no_soft_reset {
            draft.put(control, pm::ControlStatus::NO_SOFT_RESET.bits());
        }
        if !pme.is_empty() {
            draft.writable(control, pm::CONTROL_STATUS_PME_RW);
            draft.clear(control, pm::CONTROL_STATUS_RW1C);
        }
        if pme.contains(pm::Capabilities::PME_D3COLD) {
            draft.sticky(control, pm::CONTROL_STATUS_PME_RW | pm::CONTROL_STATUS_RW1C);
        }
        facts.positions.power_control = Some(control);
        facts.power = PowerSupport { d1: self.d1, d2: self.d2, no_soft_reset: self.no_soft_reset };
    }
}

const PME_STATES: pm::Capabilities = pm::Capabilities::PME_D0
    .union(pm::Capabilities::PME_D1)
    .union(pm::Capabilities::PME_D2)
    .union(pm::Capabilities::PME_D3HOT)
    .union(pm::Capabilities::PME_D3COLD);

impl Msi {
    fn control(&self) -> Result<msi::Control, LayoutError> {
        let count =
            msi::multiple_message_capable(self.vectors).ok_or(LayoutError::MsiVectors(self.vectors))?;
        let mut control = msi::Control::from_bits_retain(count);
        control.set(msi::Control::ADDRESS_64, self.address_64);
        control.set(msi::Control::PER_VECTOR_MASKING, self.per_vector_masking);
        Ok(control)
    }

    fn encode(&self, draft: &mut Draft, at: u16, facts: &mut Facts) -> Result<(), LayoutError> {
        let control = self.control()?;
        let layout = msi::Layout::new(control);
        draft.put(at + msi::CONTROL, control.bits());
        draft.writable(at + msi::CONTROL, msi::CONTROL_RW);
        draft.register(at + msi::CONTROL, Register::MsiControl);
        draft.writable(at + msi::ADDRESS, msi::ADDRESS_RW);
        if self.address_64 {
            draft.writable(at + msi::UPPER_ADDRESS, msi::UPPER_ADDRESS_RW);
        }
        draft.writable(at + layout.data, msi::DATA_RW);
        if let Some(mask) = layout.mask {
            draft.writable(at + mask, msi::mask_rw(self.vectors));
        }
        facts.positions.msi_control = Some(at + msi::CONTROL);
        facts.positions.msi_mask = layout.mask.map(|mask| at + mask);
        facts.positions.msi_pending = layout.pending.map(|pending| at + pending);
        facts.interrupts.msi_vectors = self.vectors;
        Ok(())
    }
}

impl Msix {
    fn encode(&self, draft: &mut Draft, at: u16, facts: &mut Facts) -> Result<(), LayoutError> {
        let size = msix::table_size_field(self.vectors).ok_or(LayoutError::MsixVectors(self.vectors))?;
        draft.put(at + msix::CONTROL, size);
        draft.writable(at + msix::CONTROL, msix::CONTROL_RW);
        draft.register(at + msix::CONTROL, Register::MsixControl);
        draft.put(at + msix::TABLE, self.table.encode().ok_or(LayoutError::MsixPlace("table"))?);
        draft.put(at + msix::PBA, self.pba.encode().ok_or(LayoutError::MsixPlace("pending bits"))?);
        facts.positions.msix_control = Some(at + msix::CONTROL);
        let Msix { vectors, table, pba } = *self;
        facts.interrupts.msix = Some(MsixLayout { vectors, table, pba });
        Ok(())
    }
}

impl Express {
    fn encode(&self, draft: &mut Draft, at: u16, facts: &mut Facts) -> Result<(), LayoutError> {
        self.check()?;
        let mut device = express::DeviceCapabilities::ROLE_BASED_ERROR_REPORTING
            | express::DeviceCapabilities::EXTENDED_TAG
            | express::DeviceCapabilities::from_bits_retain(u32::from(self.max_payload));
        device.set(express::DeviceCapabilities::FUNCTION_LEVEL_RESET, self.flr);
        draft.put(at + express::CAPABILITIES, express::capabilities(self.port_type, 0));
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
        if self.port_type != PortType::RootComplexIntegratedEndpoint {
            self.encode_link(draft, at);
        }
        facts.positions.express = Some(at);
        facts.flr = self.flr;
        Ok(())
    }

    fn encode_link(&self, draft: &mut Draft, at: u16) {
        let (speed, lanes) = (self.link_speed, self.lanes);
        draft.put(at + express::LINK_CAPABILITIES, express::link_capabilities(speed, lanes));
        draft.put(at + express::LINK_STATUS, express::link_status(speed, lanes));
        draft.put(at + express::LINK_CAPABILITIES_2, express::link_capabilities_2(speed));
        draft.put(at + express::LINK_CONTROL_2, speed as u16);
        // The link is shared by all functions behind it and does not retrain for the reset of one.
        draft.writable(at + express::LINK_CONTROL, express::LINK_CONTROL_RW);
        draft.kept_by_flr(at + express::LINK_CONTROL, express::LINK_CONTROL_RW);
        draft.writable(at + express::LINK_CONTROL_2, express::LINK_CONTROL_2_RW);
        draft.sticky(at + express::LINK_CONTROL_2, express::LINK_CONTROL_2_RW);
    }

    fn check(&self) -> Result<(), LayoutError> {
        let field = |what| Err(LayoutError::Field { name: "PCI Express", what });
        if !matches!(
            self.port_type,
            PortType::Endpoint | PortType::LegacyEndpoint | PortType::RootComplexIntegratedEndpoint
        ) {
            return field("the port type is not one of an endpoint");
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

impl Vendor {
    fn length(&self) -> Result<u8, LayoutError> {
        let bytes = usize::from(vendor::DATA) + self.data.len();
        let error = LayoutError::Field { name: "the vendor-specific capability", what: "too long" };
        u8::try_from(bytes).ok().filter(|length| *length <= u8::MAX - 3).ok_or(error)
    }

    fn encode(&self, draft: &mut Draft, at: u16) -> Result<(), LayoutError> {
        draft.put(at + vendor::LENGTH, self.length()?);
        for (offset, byte) in (at + vendor::DATA..).zip(&self.data) {
            draft.put(offset, *byte);
        }
        for (offset, mask) in (at + vendor::DATA..).zip(self.writable.iter().take(self.data.len())) {
            draft.writable(offset, *mask);
        }
        Ok(())
    }
}

impl ExtendedCapability {
    pub(super) fn id(&self) -> u16 {
        match self {
            ExtendedCapability::Aer => aer::ID,
            ExtendedCapability::SerialNumber(_) => extended::id::DEVICE_SERIAL_NUMBER,
        }
    }

    pub(super) fn version(&self) -> u8 {
        match self {
            ExtendedCapability::Aer => aer::VERSION,
            ExtendedCapability::SerialNumber(_) => 1,
        }
    }

    /// The capability's length in bytes, a multiple of 4.
    pub(super) fn length(&self) -> u16 {
        match self {
            ExtendedCapability::Aer => aer::ENDPOINT_LENGTH,
            ExtendedCapability::SerialNumber(_) => 12,
        }
    }

    pub(super) fn encode(&self, draft: &mut Draft, at: u16, facts: &mut Facts) {
        match self {
            ExtendedCapability::Aer => encode_aer(draft, at, facts),
            ExtendedCapability::SerialNumber(number) => {
                for (offset, byte) in (at + extended::HEADER_LENGTH..).zip(number.to_le_bytes()) {
                    draft.put(offset, byte);
                }
            }
        }
    }
}

/// Nearly everything here is sticky, so that the record of an error outlives the reset that repairs it.
fn encode_aer(draft: &mut Draft, at: u16, facts: &mut Facts) {
    draft.put(at + aer::UNCORRECTABLE_MASK, aer::UNCORRECTABLE_MASK_DEFAULT);
    draft.put(at + aer::UNCORRECTABLE_SEVERITY, aer::UNCORRECTABLE_SEVERITY_DEFAULT);
    draft.put(at + aer::CORRECTABLE_MASK, aer::CORRECTABLE_MASK_DEFAULT);
    for (offset, mask) in [
        (aer::UNCORRECTABLE_STATUS, aer::UNCORRECTABLE_STATUS_RW1C),
        (aer::CORRECTABLE_STATUS, aer::CORRECTABLE_STATUS_RW1C),
    ] {
        draft.clear(at + offset, mask);
        draft.sticky(at + offset, mask);
    }
    for (offset, mask) in [
        (aer::UNCORRECTABLE_MASK, aer::UNCORRECTABLE_MASK_RW),
        (aer::UNCORRECTABLE_SEVERITY, aer::UNCORRECTABLE_SEVERITY_RW),
        (aer::CORRECTABLE_MASK, aer::CORRECTABLE_MASK_RW),
    ] {
        draft.writable(at + offset, mask);
        draft.sticky(at + offset, mask);
    }
    draft.sticky(at + aer::CONTROL, aer::FIRST_ERROR_POINTER_MASK);
    for offset in (aer::HEADER_LOG..aer::ROOT_ERROR_COMMAND).step_by(4) {
        draft.sticky(at + offset, u32::MAX);
    }
    facts.positions.aer = Some(at);
}
