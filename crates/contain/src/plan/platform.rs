//! What the platform says of a PE.

use std::time::Duration;

bitflags::bitflags! {
    /// The state of a PE, as its platform knows it (EEH-03).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PlatformState: u8 {
        /// Not available for now.
        const UNAVAILABLE = 0x01;
        /// The platform does not support it.
        const NOT_SUPPORTED = 0x02;
        /// It is held in reset.
        const RESET_ACTIVE = 0x04;
        /// Its MMIO is not frozen.
        const MMIO_ACTIVE = 0x08;
        /// Its DMA is not frozen.
        const DMA_ACTIVE = 0x10;
        /// Its MMIO is switched on.
        const MMIO_ENABLED = 0x20;
        /// Its DMA is switched on.
        const DMA_ENABLED = 0x40;
    }
}

impl PlatformState {
    /// Whether it can be used: neither MMIO nor DMA frozen, and not in reset (EEH-03).
    #[must_use]
    pub const fn is_active(self) -> bool {
        self.contains(PlatformState::MMIO_ACTIVE.union(PlatformState::DMA_ACTIVE))
            && !self.intersects(PlatformState::RESET_ACTIVE)
    }
}

/// What came of asking for a PE's state. A failure is not a state: no error number is ever read as state bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queried {
    /// This is its state.
    Is(PlatformState),
    /// It is not available; ask again after that time, which is clamped (EEH-19).
    AskAgain(Duration),
    /// The platform cannot say.
    Failed,
}

/// What came of thawing (EEH-14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thaw {
    /// It is thawed.
    Done,
    /// It needs a reset for that.
    NeedsReset,
    /// It cannot be.
    Failed,
}

/// What is thawed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Accesses to the functions.
    Mmio,
    /// Accesses by the functions.
    Dma,
}
