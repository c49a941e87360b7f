//! What follows the consumer's requests elsewhere: a device in another process, which has to know the same memory and the
//! same interrupts.
//!
//! A relay is set once, before there is a consumer ([`Port::relay_dma`](crate::Port::relay_dma),
//! [`Port::relay_interrupts`](crate::Port::relay_interrupts)). A function without one pays nothing for it.
//!
//! # Concurrency
//! Relays are called on the thread of the consumer's request with nothing held, and may wait up to the deadline. Requests of
//! several threads come at once; about one range of addresses there is one call at a time.

use std::os::fd::OwnedFd;

use gate::{Deadline, ThreadToken};

use crate::error::RequestError;
use crate::mapping::Permissions;

/// Memory that the consumer has mapped.
#[derive(Debug)]
pub struct Mapped {
    /// The first I/O address; a multiple of 4 KiB.
    pub iova: u64,
    /// Bytes; a multiple of 4 KiB, not zero. `iova + size` does not wrap.
    pub size: u64,
    /// Where in the file the memory starts, in bytes; a multiple of 4 KiB if there is a file.
    pub offset: u64,
    /// What the device may do.
    pub permissions: Permissions,
    /// The consumer's file, of a kind that [may be mapped](crate::DmaMapRequest::fd). It has the range now; its owner may
    /// truncate it at any time.
    pub file: Option<OwnedFd>,
}

/// Follows the consumer's memory.
pub trait DmaRelay: Send + Sync {
    /// The consumer has mapped memory, and the device's side of the port sees it already.
    ///
    /// # Errors
    /// The consumer is told, and nothing is mapped: what the port had is taken back.
    fn mapped(&self, token: &mut ThreadToken, mapped: Mapped, deadline: Deadline)
    -> Result<(), RequestError>;

    /// Takes away mappings, each given as it was mapped: address and bytes. Returns when the other side does not touch the
    /// memory any more; the port's own side still sees it. Never called with none.
    ///
    /// # Errors
    /// The other side may still touch it at the deadline. The mappings are gone all the same and are never named again, and
    /// the function is frozen, as at an unmap that found DMA in flight.
    fn unmapped(
        &self,
        token: &mut ThreadToken,
        ranges: &[(u64, u64)],
        deadline: Deadline,
    ) -> Result<(), RequestError>;

    /// Whether the consumer may not map any of the range, which is in use for something else. Must not wait.
    fn reserved(&self, iova: u64, size: u64) -> bool;

    /// Waits until nothing that was unmapped is touched any more, after an unmap that has failed. False: it may be, at the
    /// deadline.
    fn settled(&self, token: &mut ThreadToken, deadline: Deadline) -> bool;
}

/// Follows what the consumer does with interrupts. Everything is a level: whoever is told looks at
/// [`Interrupts::wanted`](crate::Interrupts::wanted), so calls that overtake each other do no harm.
pub trait InterruptRelay: Send + Sync {
    /// The consumer has wired something, or taken it away, and signals go there already.
    fn rewired(&self, token: &mut ThreadToken, deadline: Deadline);

    /// The consumer unmasks INTx. Afterwards our own line is unmasked, and signalled if it is asserted then: so here the
    /// level is taken back that the other side is now asked for again.
    fn unmasking(&self, token: &mut ThreadToken, deadline: Deadline);
}
