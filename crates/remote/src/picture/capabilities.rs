//! The capabilities of a back end, as far as a configuration space of ours can have them.

use pci_core::{Af, Capability, Express, Msi, Msix, Pm, Vendor};
use pci_spec::capability::express::{
    self, DeviceCapabilities, LINK_SPEED_MASK, LINK_WIDTH_MASK, LinkSpeed, MAX_PAYLOAD_SIZE_SUPPORTED_MASK,
    PortType,
};
use pci_spec::capability::msix::Location;
use pci_spec::capability::{af, id, msi, msix, pm, vendor};

use super::Vectors;
use super::bytes::Bytes;

/// A capability where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) at: u16,
    pub(super) id: u8,
    pub(super) capability: Capability,
}

/// What is made of a capability of the back end.
pub(super) enum Made {
    /// This, and what of it is shown otherwise than it is there.
    Carried(Capability, Option<&'static str>),
    /// Nothing, and why.
    Not(&'static str),
}

/// Capability `id` at `at`. Interrupts that the back end does not say it has are not offered.
pub(super) fn carry(id: u8, at: u16, config: &Bytes, vectors: &Vectors) -> Made {
    match id {
        id::POWER_MANAGEMENT => Made::Carried(power(at, config).into(), None),
        id::MSI => messages(at, config, vectors.msi),
        id::MSI_X => table(at, config, vectors.msix),
        id::PCI_EXPRESS => Made::Carried(express(at, config).into(), None),
        id::ADVANCED_FEATURES => {
            let offers = af::Capabilities::from_bits_truncate(config.u8(at + af::CAPABILITIES));
            let flr = offers.contains(af::Capabilities::FUNCTION_LEVEL_RESET);
            let transactions_pending = offers.contains(af::Capabilities::TRANSACTIONS_PENDING);
            Made::Carried(Af { flr, transactions_pending }.into(), None)
        }
        id::VENDOR => own(at, config),
        _ => Made::Not("not modelled"),
    }
}

/// PME is not relayed, so none is offered.
fn power(at: u16, config: &Bytes) -> Pm {
    let offers = pm::Capabilities::from_bits_retain(config.u16(at + pm::CAPABILITIES));
    let state = pm::ControlStatus::from_bits_retain(config.u16(at + pm::CONTROL_STATUS));
    Pm {
        d1: offers.contains(pm::Capabilities::D1),
        d2: offers.contains(pm::Capabilities::D2),
        immediate_readiness: offers.contains(pm::Capabilities::IMMEDIATE_READINESS_ON_D0),
        no_soft_reset: state.contains(pm::ControlStatus::NO_SOFT_RESET),
        pme: pm::Capabilities::empty(),
    }
}

fn messages(at: u16, config: &Bytes, there: u16) -> Made {
    let bits = config.u16(at + msi::CONTROL);
    let control = msi::Control::from_bits_retain(bits);
    let offered = msi::vectors_capable(bits).unwrap_or(1).min(there);
    let Some(most) = offered.checked_ilog2() else { return Made::Not("without an interrupt behind it") };
    let capability = Msi {
        vectors: 1 << most,
        address_64: control.contains(msi::Control::ADDRESS_64),
        per_vector_masking: control.contains(msi::Control::PER_VECTOR_MASKING),
    };
    let extended = control.contains(msi::Control::EXTENDED_DATA_CAPABLE);
    Made::Carried(capability.into(), extended.then_some("without extended message data"))
}

fn table(at: u16, config: &Bytes, there: u16) -> Made {
    let vectors = msix::table_size(config.u16(at + msix::CONTROL)).min(there);
    let place = |register| Location::decode(config.u32(at + register));
    match (place(msix::TABLE), place(msix::PBA)) {
        _ if vectors == 0 => Made::Not("without an interrupt behind it"),
        (Some(table), Some(pba)) => Made::Carried(Msix { vectors, table, pba }.into(), None),
        _ => Made::Not("its table lies in no BAR"),
    }
}

/// What is not an endpoint is shown as one: what is above it is ours.
fn express(at: u16, config: &Bytes) -> Express {
    let device = config.u32(at + express::DEVICE_CAPABILITIES);
    let link = config.u32(at + express::LINK_CAPABILITIES);
    let port_type = match PortType::decode(config.u16(at + express::CAPABILITIES)) {
        Some(PortType::LegacyEndpoint) => PortType::LegacyEndpoint,
        _ => PortType::Endpoint,
    };
    let link_speed = match link & LINK_SPEED_MASK {
        1 => LinkSpeed::Gen1,
        2 => LinkSpeed::Gen2,
        4 => LinkSpeed::Gen4,
        5 => LinkSpeed::Gen5,
        6 => LinkSpeed::Gen6,
        _ => LinkSpeed::Gen3,
    };
    let field = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
    Express {
        port_type,
        flr: DeviceCapabilities::from_bits_retain(device).contains(DeviceCapabilities::FUNCTION_LEVEL_RESET),
        link_speed,
        lanes: field((link & LINK_WIDTH_MASK) >> 4).clamp(1, 32),
        max_payload: field(device & MAX_PAYLOAD_SIZE_SUPPORTED_MASK).min(5),
        ari_forwarding: false,
        slot: None,
    }
}

/// Read-only: what its bits mean only the back end knows.
fn own(at: u16, config: &Bytes) -> Made {
    let length = u16::from(config.u8(at + vendor::LENGTH));
    match length.checked_sub(vendor::DATA) {
        Some(bytes) => {
            let data = config.slice(at + vendor::DATA, bytes).to_vec();
            Made::Carried(Vendor { data, writable: Vec::new() }.into(), Some("shown read-only"))
        }
        None => Made::Not("shorter than its header"),
    }
}
