//! Configuration accesses as calls of firmware, which is not re-entrant.

use super::ops::check_register;
use super::{BusRange, ConfigOps};
use crate::access::{ConfigAddress, ConfigStatus, Width};
use crate::config::{CONFIG_SIZE, ConfigEffects};
use crate::ranks;
use gate::lock::Leaf;
use std::sync::Arc;

/// The firmware's calls, with the status that it answers.
///
/// Called one at a time, under the bridge's lock: an implementation takes no lock that may wait for anybody.
pub trait FirmwareCalls: Send + Sync {
    /// Reads one register; the value is in the lower bytes.
    ///
    /// # Errors
    /// What the firmware answers; see [`ConfigStatus::from_code`].
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus>;

    /// Writes one register; says what an emulated function behind it asks of its owner.
    ///
    /// # Errors
    /// What the firmware answers; nothing was written.
    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus>;
}

impl<T: FirmwareCalls + ?Sized> FirmwareCalls for Arc<T> {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        (**self).read(at, width)
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        (**self).write(at, width, value)
    }
}

/// Configuration accesses through firmware, one call at a time for each bridge.
#[derive(Debug)]
pub struct Firmware<C> {
    calls: C,
    buses: BusRange,
    size: usize,
    /// Rank 72. Firmware is not re-entrant; there is no state here that an atomic could stand for.
    turn: Leaf<ranks::Mechanism, ()>,
}

impl<C: FirmwareCalls> Firmware<C> {
    /// The buses of `buses` through `calls`, which know the first `size` bytes of a function (256 or 4096; more is cut).
    pub fn new(calls: C, buses: BusRange, size: usize) -> Firmware<C> {
        Firmware { calls, buses, size: size.min(CONFIG_SIZE), turn: Leaf::new(()) }
    }

    fn check(&self, at: ConfigAddress, width: Width) -> Result<(), ConfigStatus> {
        check_register(at.register, width, self.size)?;
        if self.buses.contains(at.bus) { Ok(()) } else { Err(ConfigStatus::DeviceNotFound) }
    }
}

impl<C: FirmwareCalls> ConfigOps for Firmware<C> {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        self.check(at, width)?;
        let _turn = self.turn.lock();
        self.calls.read(at, width)
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        self.check(at, width)?;
        let _turn = self.turn.lock();
        self.calls.write(at, width, value)
    }
}
