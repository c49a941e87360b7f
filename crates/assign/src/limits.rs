//! Bounds on what one consumer may ask for.

use std::time::Duration;

/// Bounds for one consumer. Every one of them is finite (laws 4 and 10). What may be mapped of the function's own memory is
/// bounded where the function is made: [`pci_core::Function::limited_by`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// DMA mappings alive at once, with or without memory behind them.
    pub dma_maps: usize,
    /// Bytes mapped at once into this process. Mappings without a file cost no address space and do not count.
    pub dma_bytes: u64,
    /// How long an unmap waits for DMA in flight. QEMU gives up after 5 s and reuses the memory, so this
    /// stays below it with room for the reply.
    pub unmap_timeout: Duration,
    /// How long a detach waits for DMA in flight before it leaves orphans.
    pub detach_timeout: Duration,
    /// How long an access, an interrupt request or a reset may wait for the gate.
    pub access_timeout: Duration,
    /// How long an attach may take, with the reset of a function that it finds frozen. A client waits for the answer.
    pub attach_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            dma_maps: 4096,
            dma_bytes: 4 << 40,
            unmap_timeout: Duration::from_secs(4),
            detach_timeout: Duration::from_secs(4),
            access_timeout: Duration::from_secs(4),
            attach_timeout: Duration::from_secs(3),
        }
    }
}
