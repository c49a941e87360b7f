//! The operations of a host bridge.

use crate::access::{ConfigAddress, ConfigStatus, Width};
use crate::config::{CONFIG_SIZE, ConfigEffects};
use std::sync::Arc;

/// The operations of a host bridge.
///
/// Callers hold a pass or a proof of the function. Calls arrive from several threads at once; an implementation that has
/// to serialise them does so by itself, and never waits for a consumer.
///
/// Implementations refuse what they cannot address (CFG-01) before anything reaches hardware. A function that is not there
/// is no error of the mechanism: the read is answered with all-ones.
pub trait ConfigOps: Send + Sync {
    /// Reads one register; the value is in the lower bytes.
    ///
    /// # Errors
    /// [`ConfigStatus`]; the caller then sees all-ones (CFG-03).
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus>;

    /// Writes one register. Says what an emulated function asks of its owner; hardware carries it out by itself and
    /// asks for nothing.
    ///
    /// # Errors
    /// [`ConfigStatus`]; nothing was written.
    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus>;
}

impl<T: ConfigOps + ?Sized> ConfigOps for Arc<T> {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        (**self).read(at, width)
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        (**self).write(at, width, value)
    }
}

/// Refuses a register that is misaligned or does not lie below `size` (CFG-01).
#[inline]
pub(crate) fn check_register(register: u16, width: Width, size: usize) -> Result<(), ConfigStatus> {
    let end = usize::from(register) + usize::from(width.bytes());
    if width.is_aligned(register) && end <= size.min(CONFIG_SIZE) {
        Ok(())
    } else {
        Err(ConfigStatus::BadRegisterNumber)
    }
}
