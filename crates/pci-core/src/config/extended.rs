//! Capabilities of the extended space: the choices a model has, and how they are laid out.
//!
//! Those without behaviour of their own are storage with the right masks: what software saves before a reset and
//! restores after it (RST-18, RST-19) is there.

use super::BarIndex;
use super::bar::BarLayout;
use super::draft::Draft;
use super::encode::Facts;
use super::error::LayoutError;
use super::layout::{Register, SrIovLayout};
use super::sr_iov::SrIov;
use pci_spec::aer::{self, Uncorrectable};
use pci_spec::capability::express::{self, PortType, port};
use pci_spec::extended::{
    self, acs, ari, ats, cxl_port, dpc, id, l1_substates, ltr, pasid, pri, ptm, resizable_bar, sr_iov,
    virtual_channel,
};

/// A capability of the extended space, from 0x100.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ExtendedCapability {
    /// Advanced Error Reporting. PCIe 6.0 s7.8.4 *Advanced Error Reporting Extended Capability*.
    Aer,
    /// Advanced Error Reporting of a port, which notices more; with the root registers if it is a root port.
    PortAer,
    /// The device's serial number, an EUI-64. PCIe 6.0 s7.9.3 *Device Serial Number Extended Capability*.
    SerialNumber(u64),
    /// Alternative Routing-ID Interpretation. PCIe 6.0 s7.8.8.
    Ari {
        /// The next function of the device, 0 after the last.
        next_function: u8,
    },
    /// Single Root I/O Virtualization. PCIe 6.0 s9.3.3.
    SrIov(SrIov),
    /// Access Control Services with these services. PCIe 6.0 s7.7.11.
    Acs(acs::Services),
    /// Latency Tolerance Reporting. PCIe 6.0 s7.8.2.
    Ltr,
    /// L1 PM Substates, all four. PCIe 6.0 s7.8.3.
    L1Substates,
    /// Downstream Port Containment, which software can trigger; for downstream and root ports. PCIe 6.0 s7.9.14.
    Dpc,
    /// Precision Time Measurement. PCIe 6.0 s7.9.15.
    Ptm,
    /// Virtual Channel, with VC0 alone. PCIe 6.0 s7.9.1.
    VirtualChannel,
    /// Process Address Space ID, with as many bits (1 to 20; more is cut). PCIe 6.0 s7.8.9.
    Pasid {
        /// Bits of an address space ID.
        width: u8,
    },
    /// Page Request Interface, with as many requests outstanding at most. PCIe 6.0 s10.5.2.
    Pri {
        /// Most requests outstanding.
        capacity: u32,
    },
    /// Address Translation Services. PCIe 6.0 s10.5.1.
    Ats,
    /// Resizable BAR, for one BAR that has only the size it is built with; at least 1 MiB. PCIe 6.0 s7.8.6.
    ResizableBar(BarIndex),
    /// The extensions of a CXL port (RST-17). CXL 3.1 s8.1.5.
    CxlPort,
}

impl ExtendedCapability {
    pub(super) fn name(&self) -> &'static str {
        id::name(self.id()).unwrap_or("an extended capability")
    }

    pub(super) fn id(&self) -> u16 {
        match self {
            ExtendedCapability::Aer | ExtendedCapability::PortAer => aer::ID,
            ExtendedCapability::SerialNumber(_) => id::DEVICE_SERIAL_NUMBER,
            ExtendedCapability::Ari { .. } => id::ARI,
            ExtendedCapability::SrIov(_) => id::SR_IOV,
            ExtendedCapability::Acs(_) => id::ACS,
            ExtendedCapability::Ltr => id::LTR,
            ExtendedCapability::L1Substates => id::L1_PM_SUBSTATES,
            ExtendedCapability::Dpc => id::DPC,
            ExtendedCapability::Ptm => id::PTM,
            ExtendedCapability::VirtualChannel => id::VIRTUAL_CHANNEL,
            ExtendedCapability::Pasid { .. } => id::PASID,
            ExtendedCapability::Pri { .. } => id::PRI,
            ExtendedCapability::Ats => id::ATS,
            ExtendedCapability::ResizableBar(_) => id::RESIZABLE_BAR,
            ExtendedCapability::CxlPort => id::DVSEC,
        }
    }

    /// The layout's version and the capability's length in bytes, a multiple of 4.
    pub(super) fn shape(&self) -> (u8, u16) {
        match self {
            ExtendedCapability::Aer => (aer::VERSION, aer::ENDPOINT_LENGTH),
            ExtendedCapability::PortAer => (aer::VERSION, aer::PORT_LENGTH),
            ExtendedCapability::SerialNumber(_) => (1, 12),
            ExtendedCapability::Ari { .. } => (ari::VERSION, ari::LENGTH),
            ExtendedCapability::SrIov(_) => (sr_iov::VERSION, sr_iov::LENGTH),
            ExtendedCapability::Acs(_) => (acs::VERSION, acs::LENGTH),
            ExtendedCapability::Ltr => (ltr::VERSION, ltr::LENGTH),
            ExtendedCapability::L1Substates => (l1_substates::VERSION, l1_substates::LENGTH),
            ExtendedCapability::Dpc => (dpc::VERSION, dpc::LENGTH),
            ExtendedCapability::Ptm => (ptm::VERSION, ptm::LENGTH),
            ExtendedCapability::VirtualChannel => (virtual_channel::VERSION, virtual_channel::LENGTH),
            ExtendedCapability::Pasid { .. } => (pasid::VERSION, pasid::LENGTH),
            ExtendedCapability::Pri { .. } => (pri::VERSION, pri::LENGTH),
            ExtendedCapability::Ats => (ats::VERSION, ats::LENGTH),
            ExtendedCapability::ResizableBar(_) => (resizable_bar::VERSION, resizable_bar::LENGTH),
            ExtendedCapability::CxlPort => (cxl_port::VERSION, cxl_port::LENGTH),
        }
    }

    pub(super) fn encode(
        &self,
        draft: &mut Draft,
        at: u16,
        bars: &[BarLayout],
        facts: &mut Facts,
    ) -> Result<(), LayoutError> {
        match *self {
            ExtendedCapability::Aer => encode_aer(draft, at, aer::UNCORRECTABLE_ENDPOINT, facts),
            ExtendedCapability::PortAer => {
                encode_aer(draft, at, aer::UNCORRECTABLE_PORT, facts);
                if facts.traits.port_type == Some(PortType::RootPort) {
                    encode_root_errors(draft, at, facts);
                }
            }
            ExtendedCapability::Dpc => encode_dpc(draft, at, facts),
            ExtendedCapability::SerialNumber(number) => {
                for (offset, byte) in (at + extended::HEADER_LENGTH..).zip(number.to_le_bytes()) {
                    draft.put(offset, byte);
                }
            }
            ExtendedCapability::Ari { next_function } => {
                draft.put(at + ari::CAPABILITY, ari::capability(next_function));
            }
            ExtendedCapability::SrIov(capability) => capability.encode(draft, at, facts)?,
            ExtendedCapability::Acs(services) => {
                draft.put(at + acs::CAPABILITY, services.bits());
                draft.writable(at + acs::CONTROL, services.bits());
            }
            ExtendedCapability::Ltr => {
                draft.writable(at + ltr::MAX_SNOOP, ltr::LATENCY_RW);
                draft.writable(at + ltr::MAX_NO_SNOOP, ltr::LATENCY_RW);
                if let Some(express) = facts.positions.express {
                    draft.put(express + express::DEVICE_CAPABILITIES_2, express::LTR_SUPPORTED);
                    draft.writable(express + express::DEVICE_CONTROL_2, port::LTR_ENABLE);
                }
            }
            ExtendedCapability::ResizableBar(index) => encode_resizable(draft, at, index, bars)?,
            _ => self.encode_storage(draft, at),
        }
        Ok(())
    }

    /// Those that are nothing but registers.
    fn encode_storage(&self, draft: &mut Draft, at: u16) {
        match *self {
            ExtendedCapability::L1Substates => {
                draft.put(at + l1_substates::CAPABILITIES, l1_substates::CAPABILITIES_ALL);
                draft.writable(at + l1_substates::CONTROL_1, l1_substates::CONTROL_1_RW);
                draft.writable(at + l1_substates::CONTROL_2, l1_substates::CONTROL_2_RW);
            }
            ExtendedCapability::Ptm => {
                draft.put(at + ptm::CAPABILITY, ptm::REQUESTER);
                draft.writable(at + ptm::CONTROL, ptm::CONTROL_RW);
            }
            ExtendedCapability::VirtualChannel => {
                draft.writable(at + virtual_channel::PORT_CONTROL, virtual_channel::PORT_CONTROL_RW);
                draft.put(at + virtual_channel::VC0_CONTROL, virtual_channel::VC0_CONTROL_DEFAULT);
                draft.writable(at + virtual_channel::VC0_CONTROL, virtual_channel::VC0_CONTROL_RW);
            }
            ExtendedCapability::Pasid { width } => {
                let width = u16::from(width.clamp(1, pasid::WIDTH_MAX)) << pasid::WIDTH_SHIFT;
                draft.put(at + pasid::CAPABILITY, width | pasid::EXECUTE | pasid::PRIVILEGED);
                draft.writable(at + pasid::CONTROL, pasid::CONTROL_RW);
            }
            ExtendedCapability::Pri { capacity } => {
                draft.put(at + pri::STATUS, pri::STOPPED);
                draft.writable(at + pri::CONTROL, pri::ENABLE);
                draft.clear(at + pri::STATUS, pri::STATUS_RW1C);
                draft.put(at + pri::CAPACITY, capacity);
                draft.writable(at + pri::ALLOCATION, u32::MAX);
            }
            ExtendedCapability::Ats => {
                draft.put(at + ats::CAPABILITY, ats::PAGE_ALIGNED);
                draft.writable(at + ats::CONTROL, ats::CONTROL_RW);
            }
            ExtendedCapability::CxlPort => {
                let header = u32::from(cxl_port::VENDOR) | u32::from(cxl_port::LENGTH) << 20;
                draft.put(at + cxl_port::HEADER_1, header);
                draft.put(at + cxl_port::HEADER_2, cxl_port::DVSEC_ID);
                draft.writable(at + cxl_port::CONTROL, cxl_port::CONTROL_RW);
            }
            _ => {}
        }
    }
}

/// One BAR, with the one size that it has.
fn encode_resizable(
    draft: &mut Draft,
    at: u16,
    index: BarIndex,
    bars: &[BarLayout],
) -> Result<(), LayoutError> {
    let error = LayoutError::Field { name: "Resizable BAR", what: "no BAR of 1 MiB to 128 TiB" };
    let bar = bars.iter().find(|bar| bar.index == index).ok_or(error.clone())?;
    let size = bar.size.trailing_zeros().checked_sub(20).filter(|size| *size < 28).ok_or(error)?;
    draft.put(at + resizable_bar::CAPABILITY, 1u32 << (resizable_bar::SIZE_1_MIB + size));
    let count = 1 << resizable_bar::COUNT_SHIFT;
    draft
        .put(at + resizable_bar::CONTROL, u32::from(index.get()) | count | size << resizable_bar::SIZE_SHIFT);
    draft.writable(at + resizable_bar::CONTROL, resizable_bar::CONTROL_RW);
    Ok(())
}

impl SrIov {
    fn encode(&self, draft: &mut Draft, at: u16, facts: &mut Facts) -> Result<(), LayoutError> {
        self.check()?;
        draft.put(at + sr_iov::CAPABILITIES, sr_iov::ARI_HIERARCHY_PRESERVED);
        draft.writable(at + sr_iov::CONTROL, sr_iov::CONTROL_RW);
        draft.register(at + sr_iov::CONTROL, Register::SrIovControl);
        draft.put(at + sr_iov::INITIAL_VFS, self.total_vfs);
        draft.put(at + sr_iov::TOTAL_VFS, self.total_vfs);
        draft.writable(at + sr_iov::NUM_VFS, u16::MAX);
        draft.put(at + sr_iov::FIRST_VF_OFFSET, self.first_offset);
        draft.put(at + sr_iov::VF_STRIDE, self.stride);
        draft.put(at + sr_iov::VF_DEVICE_ID, self.device);
        draft.put(at + sr_iov::SUPPORTED_PAGE_SIZES, sr_iov::PAGE_SIZES);
        draft.put(at + sr_iov::SYSTEM_PAGE_SIZE, sr_iov::PAGE_SIZE_DEFAULT);
        draft.writable(at + sr_iov::SYSTEM_PAGE_SIZE, sr_iov::PAGE_SIZES);
        let mut bars = Vec::new();
        for bar in self.bars.iter().flatten() {
            bar.check()?;
            let offset = at + sr_iov::VF_BAR0 + 4 * u16::from(bar.index.get());
            for (offset, (value, writable)) in (offset..).step_by(4).zip(bar.dwords()) {
                draft.put(offset, value);
                draft.writable(offset, writable);
            }
            bars.push(*bar);
        }
        let SrIov { total_vfs, first_offset, stride, device, bars: _ } = *self;
        facts.traits.sr_iov =
            Some(Box::new(SrIovLayout { at, total_vfs, first_offset, stride, device, bars: bars.into() }));
        Ok(())
    }
}

/// Nearly everything here is sticky, so that the record of an error outlives the reset that repairs it.
fn encode_aer(draft: &mut Draft, at: u16, uncorrectable: Uncorrectable, facts: &mut Facts) {
    let (uncorrectable, correctable) = (uncorrectable.bits(), aer::CORRECTABLE_ENDPOINT.bits());
    draft.put(at + aer::UNCORRECTABLE_MASK, aer::UNCORRECTABLE_MASK_DEFAULT);
    draft.put(at + aer::UNCORRECTABLE_SEVERITY, aer::UNCORRECTABLE_SEVERITY_DEFAULT);
    draft.put(at + aer::CORRECTABLE_MASK, aer::CORRECTABLE_MASK_DEFAULT);
    for (offset, mask) in [(aer::UNCORRECTABLE_STATUS, uncorrectable), (aer::CORRECTABLE_STATUS, correctable)]
    {
        draft.clear(at + offset, mask);
        draft.sticky(at + offset, mask);
    }
    for (offset, mask) in [
        (aer::UNCORRECTABLE_MASK, uncorrectable),
        (aer::UNCORRECTABLE_SEVERITY, uncorrectable),
        (aer::CORRECTABLE_MASK, correctable),
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

fn encode_root_errors(draft: &mut Draft, at: u16, facts: &mut Facts) {
    draft.writable(at + aer::ROOT_ERROR_COMMAND, aer::RootCommand::all().bits());
    draft.clear(at + aer::ROOT_ERROR_STATUS, aer::RootStatus::all().bits());
    draft.sticky(at + aer::ROOT_ERROR_STATUS, aer::RootStatus::all().bits());
    draft.sticky(at + aer::ERROR_SOURCE, u32::MAX);
    facts.positions.root_errors = Some(at);
}

fn encode_dpc(draft: &mut Draft, at: u16, facts: &mut Facts) {
    draft.put(at + dpc::CAPABILITY, dpc::SOFTWARE_TRIGGER_CAPABLE);
    draft.writable(at + dpc::CONTROL, dpc::CONTROL_RW);
    draft.clear(at + dpc::STATUS, dpc::STATUS_RW1C);
    draft.sticky(at + dpc::STATUS, dpc::STATUS_STICKY);
    draft.sticky(at + dpc::ERROR_SOURCE, u16::MAX);
    draft.register(at + dpc::STATUS, Register::DpcStatus);
    facts.positions.dpc = Some(at);
}
