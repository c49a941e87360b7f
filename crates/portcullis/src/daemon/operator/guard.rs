//! Register writes that ask for more than the function they go to can do.
//!
//! A write to a register waits for what is inside one function. Some bits reach others: everything below a bridge, or
//! virtual functions. There is a command for each of them, which closes all gates that are concerned and puts things back
//! afterwards; the bare write would do half of that, so it is refused and the command is named.

use pci_core::access::Width;
use pci_core::{ConfigSpace, Function};
use pci_spec::Bdf;
use pci_spec::bridge::{BRIDGE_CONTROL, BridgeControl, SECONDARY_BUS};
use pci_spec::capability::express::DeviceControl;
use pci_spec::capability::{af, express, pm};
use pci_spec::extended::sr_iov;

/// A write of `value` to the `width` bytes at `offset`.
#[derive(Clone, Copy)]
pub(super) struct Write {
    pub(super) offset: u16,
    pub(super) width: Width,
    pub(super) value: u32,
}

/// Where the registers are that a write is compared with.
#[derive(Clone, Copy, Default)]
pub(super) struct Places {
    pub(super) express: Option<u16>,
    pub(super) af: Option<u16>,
}

impl Write {
    /// The bits of `mask`, of the 16-bit register at `register`, that the write sets or clears; `None` if it leaves them
    /// alone.
    fn bits(self, register: u16, mask: u16) -> Option<u16> {
        let mut lanes = [0; 2];
        let mut value = [0; 2];
        for (at, byte) in (self.offset..).zip(self.value.to_le_bytes()).take(usize::from(self.width.bytes()))
        {
            if let Some(lane) = at.checked_sub(register).map(usize::from).filter(|lane| *lane < 2) {
                (lanes[lane], value[lane]) = (0xff, byte);
            }
        }
        let touched = u16::from_le_bytes(lanes) & mask;
        (touched != 0).then_some(u16::from_le_bytes(value) & touched)
    }
}

/// Why the write is not carried out, and what to do instead.
pub(super) fn objection(function: &Function, at: Bdf, places: Places, write: Write) -> Option<String> {
    let config = function.config();
    if config.is_bridge() {
        return bridge_objection(config, at, write);
    }
    let vfs = config.sr_iov()?;
    let control = config.sr_iov_layout()?.at + sr_iov::CONTROL;
    let enable = sr_iov::Control::VF_ENABLE.bits();
    let wanted = write.bits(control, enable).map(|bits| bits != 0);
    if wanted.is_some_and(|wanted| wanted != vfs.enabled) {
        return Some(format!(
            "VF Enable makes and removes functions; `portcullis numvfs {at} N` switches them"
        ));
    }
    let flr = places.express.is_some_and(|express| {
        let initiate = DeviceControl::INITIATE_FUNCTION_LEVEL_RESET.bits();
        write.bits(express + express::DEVICE_CONTROL, initiate).is_some_and(|bits| bits != 0)
    });
    let af_flr = places.af.is_some_and(|at| {
        write.bits(at + af::CONTROL, u16::from(af::INITIATE_FLR)).is_some_and(|bits| bits != 0)
    });
    (vfs.enabled && (flr || af_flr)).then(|| {
        format!(
            "this reset takes the virtual functions away; `portcullis reset {at} --method flr` brings them back, \
             `portcullis numvfs {at} 0` removes them first"
        )
    })
}

fn bridge_objection(config: &ConfigSpace, at: Bdf, write: Write) -> Option<String> {
    let reset = BridgeControl::SECONDARY_BUS_RESET.bits();
    if write.bits(BRIDGE_CONTROL, reset).is_some_and(|bits| bits != 0) {
        return Some(format!(
            "Secondary Bus Reset reaches everything below the bridge; `portcullis reset {at} --subordinate` waits for \
             what is in flight there, resets it and puts its registers back"
        ));
    }
    let numbers = config.bus_numbers()?;
    let now = u16::from_le_bytes([numbers.secondary, numbers.subordinate]);
    for mask in [0x00ff, 0xff00] {
        if write.bits(SECONDARY_BUS, mask).is_some_and(|bits| bits != now & mask) {
            return Some(String::from(
                "the bus numbers of a bridge say where the slots below are found; they follow from the addresses in the \
                 configuration file",
            ));
        }
    }
    let state = config.power_management().and_then(|pm| write.bits(pm + pm::CONTROL_STATUS, 0x3));
    state.filter(|state| *state != config.power_state().bits()).map(|_| {
        format!(
            "the power state of a bridge concerns everything below; `portcullis power {at} STATE` changes it"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_touches_a_register_by_the_bytes_that_it_has() {
        let write = |offset, width, value| Write { offset, width, value };
        for (write, bits) in [
            (write(0x3e, Width::Word, 0x40), Some(0x40)),
            (write(0x3e, Width::Byte, 0x40), Some(0x40)),
            (write(0x3e, Width::Word, 0), Some(0)),
            (write(0x3c, Width::Dword, 0x0040_0000), Some(0x40)),
            (write(0x3c, Width::Dword, 0x40), Some(0)),
            (write(0x3f, Width::Byte, 0x40), None),
            (write(0x3c, Width::Word, 0x40), None),
            (write(0x40, Width::Dword, 0x40), None),
        ] {
            assert_eq!(write.bits(0x3e, 0x40), bits, "{:#x} {:?}", write.offset, write.width);
        }
        assert_eq!(write(0x18, Width::Dword, 0x0033_2211).bits(0x19, 0xff00), Some(0x3300));
    }
}
