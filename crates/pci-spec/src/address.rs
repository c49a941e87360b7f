//! Where a function is: segment, bus, device, function, written `0000:01:00.0`.
//!
//! An address is a place, not an identity: after a hot-plug another function may stand there.

use core::fmt;
use core::str::FromStr;

use crate::{DEVICES_PER_BUS, FUNCTIONS_PER_DEVICE};

/// Address of a function: segment 0 to ffff, bus 0 to ff, device 0 to 1f, function 0 to 7.
///
/// PCIe 6.0 s7.2 PCI Express Configuration Mechanisms; PCI Firmware Specification 3.3 for segments ("domains" in Linux).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bdf {
    // Segment, then routing ID: the derived order is then the order in which `lspci` lists functions.
    segment: u16,
    routing_id: u16,
}

impl Bdf {
    /// An address from its parts.
    ///
    /// # Errors
    /// [`AddressError::Device`] or [`AddressError::Function`] if a part is out of range.
    pub const fn new(segment: u16, bus: u8, device: u8, function: u8) -> Result<Self, AddressError> {
        if device >= DEVICES_PER_BUS {
            return Err(AddressError::Device);
        }
        if function >= FUNCTIONS_PER_DEVICE {
            return Err(AddressError::Function);
        }
        let routing_id = (bus as u16) << 8 | (device as u16) << 3 | function as u16;
        Ok(Self { segment, routing_id })
    }

    /// An address from a segment and a routing ID (bus in 15:8, device in 7:3, function in 2:0).
    ///
    /// PCIe 6.0 s2.2.6.2 Transaction Descriptor - Transaction ID Field.
    #[must_use]
    pub const fn from_routing_id(segment: u16, routing_id: u16) -> Self {
        Self { segment, routing_id }
    }

    /// Segment group.
    #[must_use]
    pub const fn segment(self) -> u16 {
        self.segment
    }

    /// Bus number.
    #[must_use]
    pub const fn bus(self) -> u8 {
        (self.routing_id >> 8) as u8
    }

    /// Device number, 0 to 31.
    #[must_use]
    pub const fn device(self) -> u8 {
        (self.routing_id >> 3 & 0x1f) as u8
    }

    /// Function number, 0 to 7.
    #[must_use]
    pub const fn function(self) -> u8 {
        (self.routing_id & 0x7) as u8
    }

    /// Routing ID (requester ID): bus in 15:8, device in 7:3, function in 2:0.
    #[must_use]
    pub const fn routing_id(self) -> u16 {
        self.routing_id
    }
}

impl fmt::Display for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (segment, bus, device, function) = (self.segment, self.bus(), self.device(), self.function());
        write!(f, "{segment:04x}:{bus:02x}:{device:02x}.{function:x}")
    }
}

impl fmt::Debug for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Bdf {
    type Err = AddressError;

    /// Reads `SSSS:BB:DD.F` in hexadecimal, or `BB:DD.F` for segment 0; leading zeros may be left out.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (rest, function) = text.rsplit_once('.').ok_or(AddressError::Shape)?;
        let (rest, device) = rest.rsplit_once(':').ok_or(AddressError::Shape)?;
        let (segment, bus) = rest.rsplit_once(':').unwrap_or(("0", rest));
        if segment.contains(':') {
            return Err(AddressError::Shape);
        }
        let segment = hex(segment, 4).ok_or(AddressError::Segment)?;
        let bus = hex(bus, 2).and_then(|bus| u8::try_from(bus).ok()).ok_or(AddressError::Bus)?;
        let device =
            hex(device, 2).and_then(|device| u8::try_from(device).ok()).ok_or(AddressError::Device)?;
        let function = hex(function, 1)
            .and_then(|function| u8::try_from(function).ok())
            .ok_or(AddressError::Function)?;
        Self::new(segment, bus, device, function)
    }
}

/// Reads 1 to `most` hexadecimal digits. Stricter than `from_str_radix`, which takes a sign.
fn hex(text: &str, most: usize) -> Option<u16> {
    let plain = !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plain { u16::from_str_radix(text, 16).ok() } else { None }
}

/// Why something is no address of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// It does not look like an address at all.
    Shape,
    /// The segment is no hexadecimal number of up to four digits.
    Segment,
    /// The bus is no hexadecimal number of up to two digits.
    Bus,
    /// The device is no hexadecimal number from 0 to 1f.
    Device,
    /// The function is no digit from 0 to 7.
    Function,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shape => {
                "not a PCI address: write segment:bus:device.function in hexadecimal, as in 0000:01:00.0"
            }
            Self::Segment => "segment out of range: write 0000 to ffff (hexadecimal), as in 0000:01:00.0",
            Self::Bus => "bus out of range: write 00 to ff (hexadecimal), as in 0000:01:00.0",
            Self::Device => {
                "device out of range: write 00 to 1f (hexadecimal, 32 devices a bus), as in 0000:01:1f.0"
            }
            Self::Function => {
                "function out of range: write 0 to 7 (8 functions a device), as in 0000:01:00.7"
            }
        })
    }
}

impl core::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn an_address_round_trips_through_its_text() {
        for text in ["0000:00:00.0", "0000:01:00.0", "0001:a5:1f.7", "ffff:ff:1f.7"] {
            assert_eq!(text.parse::<Bdf>().unwrap().to_string(), text);
        }
        assert_eq!("1:2.3".parse::<Bdf>().unwrap().to_string(), "0000:01:02.3");
    }

    #[test]
    fn the_routing_id_packs_bus_device_and_function() {
        let address = Bdf::new(1, 0xa5, 0x1f, 7).unwrap();
        assert_eq!(address.routing_id(), 0xa5ff);
        assert_eq!(
            (address.segment(), address.bus(), address.device(), address.function()),
            (1, 0xa5, 0x1f, 7)
        );
        assert_eq!(Bdf::from_routing_id(1, 0xa5ff), address);
        assert_eq!(Bdf::from_routing_id(0, 0x0108).to_string(), "0000:01:01.0");
    }

    #[test]
    fn every_malformed_address_names_its_bad_part() {
        let error = |text: &str| text.parse::<Bdf>().unwrap_err();
        for text in ["", "0000", "01:00", "0:0:0:0.0", "."] {
            assert_eq!(error(text), AddressError::Shape, "{text}");
        }
        assert_eq!(error("10000:01:00.0"), AddressError::Segment);
        assert_eq!(error(":01:00.0"), AddressError::Segment);
        assert_eq!(error("0000:100:00.0"), AddressError::Bus);
        assert_eq!(error("0000:+1:00.0"), AddressError::Bus);
        assert_eq!(error("0000:01:20.0"), AddressError::Device);
        assert_eq!(error("0000:01:00.8"), AddressError::Function);
        assert_eq!(error("0000:01:00."), AddressError::Function);
        assert_eq!(error("0000:01:00.00"), AddressError::Function);
    }

    #[test]
    fn errors_say_cause_and_fix() {
        let text = "0000:01:20.0".parse::<Bdf>().unwrap_err().to_string();
        assert!(text.contains("device out of range") && text.contains("00 to 1f"), "{text}");
    }

    #[test]
    fn addresses_sort_as_lspci_lists_them() {
        let sorted = ["0000:00:1f.7", "0000:01:00.0", "0000:01:00.1", "0001:00:00.0"];
        assert!(sorted.windows(2).all(|pair| pair[0].parse::<Bdf>().unwrap() < pair[1].parse().unwrap()));
    }
}
