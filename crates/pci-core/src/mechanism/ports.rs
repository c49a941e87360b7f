//! The address/data pair: a register that says where, and a register through which it goes.
//!
//! PCI Local Bus 3.0 s3.2.2.3.2 *Software Generation of Configuration Transactions*: `CONFIG_ADDRESS` at port 0xCF8,
//! `CONFIG_DATA` at port 0xCFC. It reaches the first 256 bytes of the functions of one segment.

use super::ops::check_register;
use super::{BusRange, ConfigOps};
use crate::access::{ConfigAddress, ConfigStatus, Width};
use crate::config::ConfigEffects;
use crate::ranks;
use gate::lock::Leaf;
use pci_spec::CONFIG_SPACE_SIZE;
use std::sync::Arc;

/// `CONFIG_ADDRESS`, 4 bytes.
pub const CONFIG_ADDRESS: u16 = 0xcf8;
/// `CONFIG_DATA`, 4 bytes; narrower accesses go to the byte lane of the register.
pub const CONFIG_DATA: u16 = 0xcfc;
/// Bit of `CONFIG_ADDRESS`: accesses to `CONFIG_DATA` are configuration accesses.
pub const CONFIG_ADDRESS_ENABLE: u32 = 1 << 31;

/// I/O ports: the processor's, or emulated ones.
///
/// Called under the pair's lock: an implementation takes no lock that may wait for anybody, and no second pair.
pub trait Ports: Send + Sync {
    /// Reads a port; the value is in the lower bytes. All-ones if nobody answers.
    fn read(&self, port: u16, width: Width) -> u32;

    /// Writes a port; says what an emulated function behind it asks of its owner.
    fn write(&self, port: u16, width: Width, value: u32) -> ConfigEffects;
}

impl<T: Ports + ?Sized> Ports for Arc<T> {
    fn read(&self, port: u16, width: Width) -> u32 {
        (**self).read(port, width)
    }

    fn write(&self, port: u16, width: Width, value: u32) -> ConfigEffects {
        (**self).write(port, width, value)
    }
}

/// Configuration accesses through an address and a data port.
///
/// The two steps of an access are serialised per pair, and so per bridge: pairs of other bridges are not held up.
#[derive(Debug)]
pub struct AddressDataPair<P> {
    ports: P,
    buses: BusRange,
    /// Rank 72. The address port is a state between the two steps of an access: an atomic cannot cover both.
    turn: Leaf<ranks::Mechanism, ()>,
}

impl<P: Ports> AddressDataPair<P> {
    /// The buses of `buses` through the pair in `ports`.
    pub fn new(ports: P, buses: BusRange) -> AddressDataPair<P> {
        AddressDataPair { ports, buses, turn: Leaf::new(()) }
    }

    /// What `CONFIG_ADDRESS` holds for a register, and the port of its byte lane.
    fn select(&self, at: ConfigAddress, width: Width) -> Result<(u32, u16), ConfigStatus> {
        check_register(at.register, width, CONFIG_SPACE_SIZE)?;
        if !self.buses.contains(at.bus) {
            return Err(ConfigStatus::DeviceNotFound);
        }
        let function = u32::from(at.bus) << 16 | u32::from(at.devfn) << 8;
        let dword = u32::from(at.register & 0xfc);
        Ok((CONFIG_ADDRESS_ENABLE | function | dword, CONFIG_DATA + at.register % 4))
    }
}

impl<P: Ports> ConfigOps for AddressDataPair<P> {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        let (address, port) = self.select(at, width)?;
        let _turn = self.turn.lock();
        let _none = self.ports.write(CONFIG_ADDRESS, Width::Dword, address);
        Ok(self.ports.read(port, width))
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        let (address, port) = self.select(at, width)?;
        let _turn = self.turn.lock();
        let _none = self.ports.write(CONFIG_ADDRESS, Width::Dword, address);
        Ok(self.ports.write(port, width, value))
    }
}
