//! Taps: who may have DMA fail and interrupts go astray, to see what becomes of their users.
//!
//! A tap is set and taken away at any time ([`Port::tap_dma`](crate::Port::tap_dma),
//! [`Port::tap_interrupts`](crate::Port::tap_interrupts)). While there is none, DMA pays nothing for the possibility and an
//! interrupt one comparison.
//!
//! Concurrency: taps are asked under the device's pass, from any of its threads, and must not wait.

use crate::dma::DmaAccess;

/// Decides about the device's accesses to memory.
pub trait DmaTap: Send + Sync {
    /// Whether an access fails that would be permitted or not; `len` bytes at `iova`, all in one mapping unless it is going
    /// to fail anyway.
    fn fails(&self, iova: u64, len: u64, access: DmaAccess) -> bool;
}

/// What becomes of an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InterruptVerdict {
    /// It is signalled.
    Deliver,
    /// It is lost, and counted as dropped. INTx: only this signal is, the line stays asserted and unmasked.
    Drop,
    /// It is signalled twice.
    Twice,
    /// The tap signals it later, by [`Interrupts::deliver_late`](crate::Interrupts::deliver_late).
    Later,
}

/// Decides about the device's interrupts.
pub trait InterruptTap: Send + Sync {
    /// The function is about to signal a vector of MSI or MSI-X, or INTx (`None`), and would be heard.
    fn signalled(&self, vector: Option<u16>) -> InterruptVerdict;
}
