//! Memory-mapped configuration space: every register of every function has its own address, so there is nothing to
//! serialise.
//!
//! PCIe 6.0 s7.2.2 *PCI Express Enhanced Configuration Access Mechanism (ECAM)*.

use super::ops::check_register;
use super::{BusRange, ConfigOps};
use crate::access::{ConfigAddress, ConfigStatus, Width};
use crate::config::{CONFIG_SIZE, ConfigEffects};
use std::sync::Arc;

const BUS_SHIFT: u32 = 20;
const FUNCTION_SHIFT: u32 = 12;

/// The memory behind an [`Ecam`]: emulated, or a mapping of the real one.
///
/// Accesses are aligned and lie within [`length`](ConfigWindow::length); each moves its bytes at once. Nothing fails on a
/// bus: a read that nobody answers gives all-ones, and a write that nobody takes is dropped.
pub trait ConfigWindow: Send + Sync {
    /// Bytes of the window, counted from bus 0 of the segment.
    fn length(&self) -> u64;

    /// Reads at `offset`; the value is in the lower bytes.
    fn read(&self, offset: u64, width: Width) -> u32;

    /// Writes at `offset`; says what an emulated function asks of its owner.
    fn write(&self, offset: u64, width: Width, value: u32) -> ConfigEffects;
}

impl<T: ConfigWindow + ?Sized> ConfigWindow for Arc<T> {
    fn length(&self) -> u64 {
        (**self).length()
    }

    fn read(&self, offset: u64, width: Width) -> u32 {
        (**self).read(offset, width)
    }

    fn write(&self, offset: u64, width: Width, value: u32) -> ConfigEffects {
        (**self).write(offset, width, value)
    }
}

/// ECAM over a window, for a range of buses. Lock-free; the look-up is a shift.
#[derive(Debug)]
pub struct Ecam<W> {
    window: W,
    buses: BusRange,
}

impl<W: ConfigWindow> Ecam<W> {
    /// The buses of `buses` through `window`, whose first byte is register 0 of bus 0, device 0, function 0 whatever the
    /// first bus of the range is (as firmware's MCFG table counts).
    pub const fn new(window: W, buses: BusRange) -> Ecam<W> {
        Ecam { window, buses }
    }

    /// Where a register lies in the window.
    fn offset(&self, at: ConfigAddress, width: Width) -> Result<u64, ConfigStatus> {
        check_register(at.register, width, CONFIG_SIZE)?;
        let function = u64::from(at.bus) << BUS_SHIFT | u64::from(at.devfn) << FUNCTION_SHIFT;
        let offset = function | u64::from(at.register);
        if self.buses.contains(at.bus) && offset + u64::from(width.bytes()) <= self.window.length() {
            Ok(offset)
        } else {
            Err(ConfigStatus::DeviceNotFound)
        }
    }
}

impl<W: ConfigWindow> ConfigOps for Ecam<W> {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        let offset = self.offset(at, width)?;
        Ok(self.window.read(offset, width))
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        let offset = self.offset(at, width)?;
        Ok(self.window.write(offset, width, value))
    }
}
