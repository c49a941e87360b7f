//! What those who watch containment are told.

use crate::address_cache::Overlap;
use crate::containment::RecoveryId;
use crate::orphans::Orphan;
use crate::pe::PeAddress;
use crate::plan::SpecialEvent;
use crate::report::{Doom, Log, Notice, Outcome, Uevent};
use pci_core::ErrorSign;
use pci_spec::Bdf;
use std::time::Duration;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A PE is frozen with all that is below it.
    Frozen {
        /// Which.
        pe: PeAddress,
        /// The function that the error was noticed at, if it was at one.
        function: Option<Bdf>,
        /// The error; `None` if so many came at once that it was not kept.
        sign: Option<ErrorSign>,
    },
    /// A PE is not frozen any more.
    Thawed {
        /// Which.
        pe: PeAddress,
    },
    /// A recovery begins.
    Began {
        /// Which.
        id: RecoveryId,
        /// Of which PE.
        pe: PeAddress,
    },
    /// How a recovery goes.
    Notice {
        /// Which.
        id: RecoveryId,
        /// Of which PE.
        pe: PeAddress,
        /// What happened.
        notice: Notice,
    },
    /// What user space hears of a function (AER-07).
    Uevent {
        /// Of which recovery.
        id: RecoveryId,
        /// The function.
        at: Bdf,
        /// What.
        uevent: Uevent,
    },
    /// What the platform writes down of the hardware's state.
    Log {
        /// Of which recovery.
        id: RecoveryId,
        /// Of which PE.
        pe: PeAddress,
        /// Of which kind of error.
        log: Log,
        /// For people.
        text: String,
    },
    /// A recovery has ended.
    Ended {
        /// Which.
        id: RecoveryId,
        /// Of which PE.
        pe: PeAddress,
        /// How.
        outcome: Outcome,
        /// How long the PE was frozen, or was being recovered if it was not.
        pause: Duration,
        /// How often it was reset.
        resets: u32,
    },
    /// There is no way back for a PE.
    PermanentFailure {
        /// Which.
        pe: PeAddress,
        /// Why.
        doom: Doom,
    },
    /// A removed PE has been held for longer than it should.
    Orphan(Orphan),
    /// The platform reported something that needs nobody (EEH-22).
    Special {
        /// Of which segment.
        segment: u16,
        /// What.
        event: SpecialEvent,
    },
    /// A range of a BAR was left out of the address cache (EEH-23).
    Overlap(Overlap),
}

/// Somebody who watches. Called with nothing held, on the thread that it happened on; returns soon.
pub trait Watch: Send + Sync {
    /// Something happened.
    fn tell(&self, told: &Told);
}

/// Nobody watches.
impl Watch for () {
    fn tell(&self, _told: &Told) {}
}
