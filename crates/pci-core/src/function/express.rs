//! The registers of the PCI Express capability, as far as the function's kind of port has them (CFG-06, CFG-07).
//!
//! PCIe 6.0 s7.5.3 *PCI Express Capability Structure*: which registers a function has follows from its port type, its
//! slot and the version of the capability. One that it does not have reads 0 and ignores writes, whatever stands there.

use super::Function;
use super::inside::Inside;
use super::registers::Store;
use crate::access::{ConfigStatus, Width};
use crate::config::ConfigEffects;
use pci_spec::capability::express;

/// Bits 3:0 of the PCI Express Capabilities register.
const VERSION_MASK: u32 = 0xf;
/// Bits 7:4.
const PORT_TYPE_SHIFT: u32 = 4;
const PORT_TYPE_MASK: u32 = 0xf;
/// Bit 8: the port has a slot.
const SLOT_IMPLEMENTED: u32 = 1 << 8;
/// Bit of Slot Status: something is in the slot.
const PRESENCE_DETECT_STATE: u32 = 1 << 6;

// Values of the field, as `express::PortType` has them.
const ENDPOINT: u32 = 0x0;
const LEGACY_ENDPOINT: u32 = 0x1;
const ROOT_PORT: u32 = 0x4;
const UPSTREAM_PORT: u32 = 0x5;
const DOWNSTREAM_PORT: u32 = 0x6;
const TO_PCI_BRIDGE: u32 = 0x7;
const FROM_PCI_BRIDGE: u32 = 0x8;
const EVENT_COLLECTOR: u32 = 0xa;

/// Where the capability is and what it has: read-only facts, kept once they were read.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpressPlace {
    at: u16,
    version: u32,
    port_type: u32,
    slot: bool,
}

impl ExpressPlace {
    fn decode(at: u16, capabilities: u32) -> ExpressPlace {
        ExpressPlace {
            at,
            version: capabilities & VERSION_MASK,
            port_type: capabilities >> PORT_TYPE_SHIFT & PORT_TYPE_MASK,
            slot: capabilities & SLOT_IMPLEMENTED != 0,
        }
    }

    /// Whether a link leads away from the root, to something that may be in a slot.
    fn is_downstream(self) -> bool {
        matches!(self.port_type, ROOT_PORT | DOWNSTREAM_PORT | FROM_PCI_BRIDGE)
    }

    fn has_link(self) -> bool {
        matches!(self.port_type, ENDPOINT | LEGACY_ENDPOINT | UPSTREAM_PORT | TO_PCI_BRIDGE)
            || self.is_downstream()
    }

    fn has_root(self) -> bool {
        matches!(self.port_type, ROOT_PORT | EVENT_COLLECTOR)
    }

    /// Whether the function has the register that the word at `offset` in the capability belongs to.
    fn implements(self, offset: u16) -> bool {
        let second = self.version >= u32::from(express::VERSION);
        match offset {
            express::CAPABILITIES..express::LINK_CAPABILITIES => true,
            express::LINK_CAPABILITIES..express::SLOT_CAPABILITIES => self.has_link(),
            express::SLOT_CAPABILITIES..express::ROOT_CONTROL => self.is_downstream() && self.slot,
            express::ROOT_CONTROL..express::DEVICE_CAPABILITIES_2 => self.has_root(),
            express::DEVICE_CAPABILITIES_2..express::DEVICE_STATUS_2 => second,
            express::LINK_CAPABILITIES_2..express::SLOT_CAPABILITIES_2 => second && self.has_link(),
            _ => false,
        }
    }

    /// What a register that the function does not have reads as: 0, except that a port without a slot always has
    /// something at its other end.
    fn absent(self, offset: u16) -> u32 {
        if offset == express::SLOT_STATUS && self.is_downstream() { PRESENCE_DETECT_STATE } else { 0 }
    }
}

impl Function {
    /// Reads the register at `offset` of the PCI Express capability; 0 if this kind of function has none, or no such
    /// capability (CFG-06).
    ///
    /// # Errors
    /// [`ConfigStatus::BadRegisterNumber`] if misaligned or one byte wide; otherwise as [`Function::config_read`]. A caller
    /// that wants a value in any case uses 0 here, not all-ones.
    pub fn express_read(&self, held: &impl Inside, offset: u16, width: Width) -> Result<u32, ConfigStatus> {
        check(offset, width)?;
        match self.express_place(held)? {
            Some(place) if place.implements(offset) => self.config_read(held, place.at + offset, width),
            Some(place) => Ok(place.absent(offset)),
            None => Ok(0),
        }
    }

    /// Writes the register at `offset` of the PCI Express capability; ignored if this kind of function has none (CFG-07).
    /// What the write asks for is done at once under a proof, and is the caller's to carry out under a pass.
    ///
    /// # Errors
    /// As [`Function::express_read`]; nothing was written.
    pub fn express_write(
        &self,
        held: &impl Inside,
        offset: u16,
        width: Width,
        value: u32,
    ) -> Result<ConfigEffects, ConfigStatus> {
        check(offset, width)?;
        match self.express_place(held)? {
            Some(place) if place.implements(offset) => {
                Ok(self.put(held, Store { register: place.at + offset, width, value })?.effects)
            }
            _ => Ok(ConfigEffects::default()),
        }
    }

    /// Clears and then sets bits of the register at `offset` of the PCI Express capability, as one step to all other
    /// writes of the function (CFG-07).
    ///
    /// # Errors
    /// As [`Function::express_read`]; nothing was written.
    pub fn express_clear_and_set(
        &self,
        held: &impl Inside,
        offset: u16,
        width: Width,
        clear: u32,
        set: u32,
    ) -> Result<ConfigEffects, ConfigStatus> {
        check(offset, width)?;
        let Some(place) = self.express_place(held)?.filter(|place| place.implements(offset)) else {
            return Ok(ConfigEffects::default());
        };
        let register = place.at + offset;
        let (_old, stored) = self.update(held, register, width, |old| {
            Some(Store { register, width, value: old & !clear | set })
        })?;
        Ok(stored.effects)
    }

    /// Looks once; what could not be read, or read as all-ones, is looked at again the next time.
    fn express_place(&self, held: &impl Inside) -> Result<Option<ExpressPlace>, ConfigStatus> {
        if let Some(place) = self.express.get() {
            return Ok(Some(*place));
        }
        let Some(at) = self.find_capability(held, express::ID)? else { return Ok(None) };
        let capabilities = self.config_read(held, at + express::CAPABILITIES, Width::Word)?;
        let place = ExpressPlace::decode(at, capabilities);
        // A list that points near the end of the first 256 bytes has no whole capability behind it.
        if capabilities == Width::Word.all_ones() || at > 0xff - express::SLOT_CAPABILITIES {
            return Ok(None);
        }
        Ok(Some(*self.express.get_or_init(|| place)))
    }
}

fn check(offset: u16, width: Width) -> Result<(), ConfigStatus> {
    if width == Width::Byte || !width.is_aligned(offset) {
        return Err(ConfigStatus::BadRegisterNumber);
    }
    Ok(())
}
