//! Lays capabilities out in a draft: values, and which bits can be written.
//!
//! `at` is the capability's offset; identifier and next pointer are the builder's.

use super::capability::{Af, Capability, Msi, Msix, Pm, Vendor};
use super::draft::Draft;
use super::error::LayoutError;
use super::layout::{InterruptLayout, MsixLayout, Positions, PowerSupport, Register, Traits};
use pci_spec::capability::{af, express, id, msi, msix, pm, vendor};

/// What the capabilities say beside their bits.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) positions: Positions,
    pub(super) interrupts: InterruptLayout,
    pub(super) power: PowerSupport,
    pub(super) traits: Traits,
}

impl Capability {
    pub(super) fn id(&self) -> u8 {
        match self {
            Capability::Pm(_) => id::POWER_MANAGEMENT,
            Capability::Msi(_) => id::MSI,
            Capability::Msix(_) => id::MSI_X,
            Capability::Express(_) => id::PCI_EXPRESS,
            Capability::Af(_) => id::ADVANCED_FEATURES,
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
            Capability::Af(_) => u16::from(af::LENGTH),
            Capability::Vendor(capability) => u16::from(capability.length()?),
        };
        Ok(bytes.next_multiple_of(4))
    }

    pub(super) fn encode(&self, draft: &mut Draft, at: u16, facts: &mut Facts) -> Result<(), LayoutError> {
        match self {
            Capability::Pm(capability) => capability.encode(draft, at, facts),
            Capability::Af(capability) => capability.encode(draft, at, facts),
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
        states.set(pm::Capabilities::IMMEDIATE_READINESS_ON_D0, self.immediate_readiness);
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
        let Pm { d1, d2, no_soft_reset, immediate_readiness, pme: _ } = *self;
        facts.power = PowerSupport { d1, d2, no_soft_reset, immediate_readiness };
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

impl Af {
    fn encode(&self, draft: &mut Draft, at: u16, facts: &mut Facts) {
        let mut offered = af::Capabilities::empty();
        offered.set(af::Capabilities::FUNCTION_LEVEL_RESET, self.flr);
        offered.set(af::Capabilities::TRANSACTIONS_PENDING, self.transactions_pending);
        draft.put(at + af::LENGTH_REGISTER, af::LENGTH);
        draft.put(at + af::CAPABILITIES, offered.bits());
        facts.traits.af_flr = offered == af::Capabilities::all();
        if facts.traits.af_flr {
            draft.register(at + af::CONTROL, Register::AfControl);
        }
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
