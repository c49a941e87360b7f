//! The back end's own accesses to the consumer's memory, by messages: those of a back end that cannot or will not map it.
//!
//! They pass the function's gate and its COMMAND register as any DMA does. They never wait long: whoever serves them may be in
//! the middle of a call of its own, and a closer of the gate may wait for that call.

use std::time::Duration;

use assign::{DmaError, Port};
use gate::{AccessKind, Deadline, Pass, Refusal, ThreadToken};
use rustix::io::Errno;

use super::Dma;
use crate::link::Commands;

/// Longer than the gate is closed for a change of the map, which a back end is not to notice.
const BRIEFLY: Duration = Duration::from_millis(20);

impl Commands for Dma {
    fn dma_read(&self, token: &mut ThreadToken, address: u64, data: &mut [u8]) -> Result<(), Errno> {
        self.inside(token, |port, pass| port.dma().read(pass, address, data))
    }

    fn dma_write(&self, token: &mut ThreadToken, address: u64, data: &[u8]) -> Result<(), Errno> {
        self.inside(token, |port, pass| port.dma().write(pass, address, data))
    }
}

impl Dma {
    fn inside(
        &self,
        token: &mut ThreadToken,
        access: impl FnOnce(&Port, &Pass<'_>) -> Result<(), DmaError>,
    ) -> Result<(), Errno> {
        let port = self.port.upgrade().ok_or(Errno::NODEV)?;
        let entered = port.handle().enter(token, AccessKind::Dma, Deadline::after(BRIEFLY));
        let pass = entered.map_err(|refusal| match refusal {
            Refusal::Blocked(_) => Errno::BUSY,
            Refusal::Frozen => Errno::IO,
            Refusal::Gone | Refusal::StaleEpoch { .. } => Errno::NODEV,
        })?;
        access(&port, &pass).map_err(|error| match error {
            // As QEMU answers.
            DmaError::BusMasterDisabled => Errno::NODEV,
            DmaError::Denied => Errno::ACCESS,
            DmaError::Injected => Errno::IO,
            _ => Errno::FAULT,
        })
    }
}
