//! What peers reach of a function: its buffers, its signal area, its consumer's memory and interrupt.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use assign::{DmaAccess, GuestSlice, Port};
use gate::{AccessKind, Pass, Refusal, ThreadToken};
use pci_core::ErrorSign;

use super::dmb::Dmbs;
use super::layout::SIGNAL_AREA_BYTES;
use super::moves::Refused;
use super::statistics::Statistics;

/// There is no signal area. No area ends at the last address, so none starts here.
pub(super) const NO_AREA: u64 = u64::MAX;
/// The vector that signals raise.
const VECTOR: u16 = 0;

/// A function as its network knows it.
pub(super) struct Member {
    gid: u64,
    seat: u8,
    port: Arc<Port>,
    pub(super) dmbs: Dmbs,
    area: AtomicU64,
    pub(super) statistics: Statistics,
}

impl Member {
    pub(super) fn new(gid: u64, seat: u8, port: Arc<Port>) -> Member {
        let (dmbs, area, statistics) = (Dmbs::new(), AtomicU64::new(NO_AREA), Statistics::default());
        Member { gid, seat, port, dmbs, area, statistics }
    }

    pub(super) fn gid(&self) -> u64 {
        self.gid
    }

    pub(super) fn seat(&self) -> u8 {
        self.seat
    }

    /// Whether the function was removed. What still has it is on its way out.
    pub(super) fn is_gone(&self) -> bool {
        self.port.handle().is_gone()
    }

    /// Tells whoever watches the function that it has failed.
    pub(super) fn fault(&self, token: &ThreadToken, sign: ErrorSign) {
        self.port.fault(token, sign);
    }

    /// Goes through this function's gate, for a peer that holds a pass of its own: without waiting.
    ///
    /// # Errors
    /// Why the gate is closed.
    pub(super) fn enter<'a>(&'a self, token: &'a ThreadToken) -> Result<Pass<'a>, Refused> {
        self.port.handle().try_enter(token, AccessKind::Dma).map_err(|refusal| match refusal {
            Refusal::Blocked(_) => Refused::PeerBlocked,
            Refusal::Frozen => Refused::PeerFrozen,
            Refusal::Gone | Refusal::StaleEpoch { .. } => Refused::NoPeer,
        })
    }

    /// Memory of this function's consumer that lies in one mapping, to be written. As for the function's own DMA, its bus
    /// mastering has to be on.
    ///
    /// # Errors
    /// [`Refused::PeerMemory`].
    pub(super) fn memory<'a>(
        &'a self,
        inside: &'a Pass<'_>,
        address: u64,
        length: u64,
    ) -> Result<GuestSlice<'a>, Refused> {
        let memory = self.port.dma().resolve(inside, address, length, DmaAccess::Write);
        memory.map_err(|_| Refused::PeerMemory)
    }

    /// The dword of the signal area that belongs to buffer `dmb`; nothing without an area.
    ///
    /// # Errors
    /// [`Refused::PeerMemory`].
    pub(super) fn signal_dword<'a>(
        &'a self,
        inside: &'a Pass<'_>,
        dmb: u8,
    ) -> Result<Option<GuestSlice<'a>>, Refused> {
        let area = self.area.load(Ordering::Acquire);
        if area == NO_AREA {
            return Ok(None);
        }
        self.memory(inside, area.saturating_add(u64::from(dmb) * 4), 4).map(Some)
    }

    pub(super) fn interrupt(&self, inside: &Pass<'_>) {
        self.port.interrupts().signal(inside, VECTOR);
    }

    /// Address of the signal area, or [`NO_AREA`].
    pub(super) fn area(&self) -> u64 {
        self.area.load(Ordering::Relaxed)
    }

    /// False if no area can be there.
    pub(super) fn set_area(&self, address: u64) -> bool {
        let fits =
            address.is_multiple_of(SIGNAL_AREA_BYTES) && address.checked_add(SIGNAL_AREA_BYTES).is_some();
        if fits {
            self.area.store(address, Ordering::Release);
        }
        fits
    }

    pub(super) fn clear_area(&self) {
        self.area.store(NO_AREA, Ordering::Release);
    }

    /// As after power-on. For who has the gate to himself.
    pub(super) fn reset(&self) {
        let Member { gid: _, seat: _, port: _, dmbs, area, statistics } = self;
        dmbs.clear();
        area.store(NO_AREA, Ordering::Release);
        statistics.clear();
    }
}
