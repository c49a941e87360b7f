//! In which state a PE is, as its consumer is told.

use crate::plan::PlatformState;

/// What `GET_STATE` answers, with vfio's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PeAnswer {
    /// It can be used.
    Normal = 0,
    /// It is held in reset.
    Reset = 1,
    /// It is frozen: nothing gets in or out.
    Stopped = 2,
    /// Its registers can be reached, and its DMA is frozen.
    StoppedDma = 4,
    /// It cannot be used for now, or for ever.
    Unavailable = 5,
}

/// What is known of a PE at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeStatus {
    /// Its own state.
    pub state: PlatformState,
    /// The PE above is isolated or being recovered.
    pub above_is_recovered: bool,
    /// It failed for good.
    pub removed: bool,
}

impl PeStatus {
    /// What its consumer is told.
    #[must_use]
    pub const fn answer(self) -> PeAnswer {
        if self.above_is_recovered && !self.removed {
            return PeAnswer::Unavailable;
        }
        if self.state.contains(PlatformState::RESET_ACTIVE) {
            return PeAnswer::Reset;
        }
        if self.state.contains(PlatformState::UNAVAILABLE) {
            return PeAnswer::Unavailable;
        }
        let mmio = self.state.contains(PlatformState::MMIO_ENABLED);
        match (mmio, self.state.contains(PlatformState::DMA_ENABLED)) {
            (true, true) => PeAnswer::Normal,
            (false, false) => PeAnswer::Stopped,
            (true, false) => PeAnswer::StoppedDma,
            (false, true) => PeAnswer::Unavailable,
        }
    }
}
