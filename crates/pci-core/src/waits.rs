//! Devices whose accesses may have to be waited for: what is behind them answers in its own time, such as another process.

use crate::config::BarIndex;
use gate::{Deadline, LongPass, ThreadToken};
use thiserror::Error;

/// Where an access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WaitRegion {
    /// A BAR, or the ROM.
    Bar(BarIndex),
    /// The `nth` of [`Device::regions`](crate::Device::regions).
    Own(usize),
}

/// Why there is no answer; the access reads all-ones, or is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoAnswer {
    /// The device is there and refuses this access. No sign of anything.
    #[error("the device refuses the access")]
    Refused,
    /// The device does not answer any more, and why. A sign that it has failed
    /// ([`ErrorSign::DeviceFault`](crate::ErrorSign::DeviceFault)).
    #[error("the device does not answer: {0}")]
    Failed(&'static str),
    /// What is behind the device is away, and why; whoever sees to that has been told. No sign of anything else.
    #[error("nobody answers: {0}")]
    Away(&'static str),
}

/// Accesses to a device that waits, offered by [`Device::waits`](crate::Device::waits).
///
/// They arrive under a long pass and with nothing else held (law 1), so a reset or a removal waits for them, and whoever replaces
/// what is read under short passes does not. Which accesses arrive, and what of a panic, is as with
/// [`Device::read_bar`](crate::Device::read_bar). The function may be frozen, or gone, before an access has ended.
///
/// An access under a pass that the caller holds cannot wait: it is a store, and is refused, or a load, and comes to
/// [`Device::read_bar`](crate::Device::read_bar) as with any device.
pub trait Waits: Send + Sync {
    /// Reads `data.len()` bytes at `offset`. All of `data` is to be written, unless there is no answer.
    ///
    /// # Errors
    /// [`NoAnswer`], at `until` at the latest.
    fn read(
        &self,
        token: &mut ThreadToken,
        inside: &LongPass,
        region: WaitRegion,
        offset: u64,
        data: &mut [u8],
        until: Deadline,
    ) -> Result<(), NoAnswer>;

    /// Writes `data` at `offset`; never called for the ROM. It may be posted, if it reaches the device before whatever comes
    /// after it.
    ///
    /// # Errors
    /// [`NoAnswer`], at `until` at the latest.
    fn write(
        &self,
        token: &mut ThreadToken,
        inside: &LongPass,
        region: WaitRegion,
        offset: u64,
        data: &[u8],
        until: Deadline,
    ) -> Result<(), NoAnswer>;
}
