//! What a configuration space of ours has of a back end's.

use std::sync::Arc;

use pci_core::access::{capabilities, extended_capabilities};
use pci_core::{
    BarIndex, CONFIG_SIZE, ConfigSpace, ConfigSpaceBuilder, ExtendedCapability, Identity, InterruptPin,
    Layout,
};
use pci_spec::capability::id;
use pci_spec::config::{self, HEADER_LAYOUT_ENDPOINT, HEADER_LAYOUT_MASK};
use pci_spec::{ClassCode, extended};

use super::bytes::Bytes;
use super::capabilities::{Carried, Made, carry};
use super::error::PictureError;
use super::left_out::LeftOut;
use super::regions::Window;
use super::{Facts, Vectors};

/// What both have, in the words of the model.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) identity: Identity,
    pub(super) windows: [Option<Window>; config::BAR_COUNT],
    /// Bytes that the back end answers for.
    pub(super) rom: Option<u64>,
    pub(super) pin: InterruptPin,
    pub(super) carried: Vec<Carried>,
    pub(super) serial: Option<u64>,
    pub(super) layout: Arc<Layout>,
}

impl Shape {
    /// Of a back end's configuration space and what it says of its regions and interrupts. What does not fit is left out,
    /// but for the BARs, without which no driver would find anything.
    pub(super) fn of(config: &Bytes, facts: &Facts, left_out: &mut LeftOut) -> Result<Shape, PictureError> {
        let header = config.u8(config::HEADER_TYPE);
        if header & HEADER_LAYOUT_MASK != HEADER_LAYOUT_ENDPOINT {
            return Err(PictureError::NotEndpoint(header));
        }
        let identity = identity(config);
        let pin = pin(config, &facts.vectors);
        let mut builder = ConfigSpace::builder(identity).intx(pin);
        for (index, window) in (0..).zip(&facts.windows) {
            if let (Some(index), Some(window)) = (BarIndex::new(index), window) {
                builder = builder.bar(index, window.kind, window.size);
            }
        }
        builder = facts.rom_size().into_iter().fold(builder, ConfigSpaceBuilder::rom);
        builder.layout()?;
        let (builder, carried) = standard(builder, config, &facts.vectors, left_out);
        let (builder, serial) = beyond(builder, config, left_out);
        let (windows, rom, layout) = (facts.windows, facts.rom, builder.layout()?);
        Ok(Shape { identity, windows, rom, pin, carried, serial, layout })
    }
}

fn identity(config: &Bytes) -> Identity {
    let [interface, sub, base] = [0, 1, 2].map(|byte| config.u8(config::CLASS_CODE + byte));
    Identity {
        vendor: config.u16(config::VENDOR_ID),
        device: config.u16(config::DEVICE_ID),
        class: ClassCode { base, sub, interface },
        revision: config.u8(config::REVISION_ID),
        subsystem_vendor: config.u16(config::SUBSYSTEM_VENDOR_ID),
        subsystem: config.u16(config::SUBSYSTEM_ID),
    }
}

fn pin(config: &Bytes, vectors: &Vectors) -> InterruptPin {
    match config.u8(config::INTERRUPT_PIN) {
        _ if !vectors.intx => InterruptPin::None,
        1 => InterruptPin::A,
        2 => InterruptPin::B,
        3 => InterruptPin::C,
        4 => InterruptPin::D,
        _ => InterruptPin::None,
    }
}

/// The capabilities of the first 256 bytes, each where it was. A list that loops is as long as can be; what comes a second
/// time does not fit.
fn standard(
    mut builder: ConfigSpaceBuilder,
    config: &Bytes,
    vectors: &Vectors,
    left_out: &mut LeftOut,
) -> (ConfigSpaceBuilder, Vec<Carried>) {
    let mut carried: Vec<Carried> = Vec::new();
    let list = capabilities(|register, width| Ok(config.register(register, width)));
    for (at, id) in list.filter_map(Result::ok) {
        let name = || id::name(id).map_or_else(|| format!("capability {id:#x}"), str::to_owned);
        let (capability, but) = match carry(id, at, config, vectors) {
            Made::Carried(capability, but) => (capability, but),
            Made::Not(why) => {
                left_out.add(|| format!("{} at {at:#x}: {why}", name()));
                continue;
            }
        };
        let with = builder.clone().capability_at(at, capability.clone());
        match with.layout() {
            Ok(_) => {
                builder = with;
                carried.push(Carried { at, id, capability });
                but.into_iter().for_each(|but| left_out.add(|| format!("{} at {at:#x}: {but}", name())));
            }
            Err(error) => left_out.add(|| format!("{} at {at:#x}: {error}", name())),
        }
    }
    (builder, carried)
}

/// The capabilities beyond them, of which errors and the serial number mean something without the hardware around them.
fn beyond(
    mut builder: ConfigSpaceBuilder,
    config: &Bytes,
    left_out: &mut LeftOut,
) -> (ConfigSpaceBuilder, Option<u64>) {
    let mut serial = None;
    let list = extended_capabilities(|register, width| Ok(config.register(register, width)));
    for (at, id) in list.filter_map(Result::ok) {
        let name =
            || extended::id::name(id).map_or_else(|| format!("extended capability {id:#x}"), str::to_owned);
        let number = config.u64(at.saturating_add(extended::HEADER_LENGTH));
        let capability = match id {
            extended::id::AER => ExtendedCapability::Aer,
            extended::id::DEVICE_SERIAL_NUMBER => ExtendedCapability::SerialNumber(number),
            extended::id::NULL => continue,
            _ => {
                left_out.add(|| format!("{} at {at:#x}: not modelled", name()));
                continue;
            }
        };
        let with = builder.clone().extended_capability(capability);
        match with.layout() {
            Ok(_) => {
                builder = with;
                serial = serial.or((id == extended::id::DEVICE_SERIAL_NUMBER).then_some(number));
            }
            Err(error) => left_out.add(|| format!("{} at {at:#x}: {error}", name())),
        }
    }
    (builder, serial)
}

// Offsets are 16 bits wide, and so can be beyond the end: the walks give none that are.
const _: () = assert!(CONFIG_SIZE <= 1 << 12);
