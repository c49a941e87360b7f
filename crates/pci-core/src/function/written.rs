//! What a write to a register has left to be done.

use super::Function;
use crate::config::{Change, ConfigEffects, ResetKind};
use crate::error::AccessError;
use gate::{Deadline, ThreadToken};

/// A write as it was stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stored {
    pub(super) effects: ConfigEffects,
    /// What is mapped is to be taken away, because of this write or of one before.
    pub(super) zap_owed: bool,
}

/// A write that was stored under a pass. What it asks for beyond that needs more than a pass: it is done once that was
/// left, by [`Written::carry_out`].
///
/// Dropped instead, a reset and a power change are not done; mappings that are to go do so with the next write of a user
/// or under a proof.
#[must_use = "what the write asks for is done by `carry_out`, once the pass was left"]
#[derive(Debug)]
pub struct Written<'f> {
    function: &'f Function,
    stored: Stored,
}

impl<'f> Written<'f> {
    pub(super) fn new(function: &'f Function, stored: Stored) -> Written<'f> {
        Written { function, stored }
    }

    /// What the write asks for.
    #[must_use]
    pub fn effects(&self) -> ConfigEffects {
        self.stored.effects
    }

    /// Does what the write asks for: takes away what consumers have mapped, if memory is decoded otherwise than before
    /// (VF-20); changes the power state; resets. Waits to the deadline for the accesses that are inside.
    ///
    /// # Errors
    /// [`AccessError::StillMapped`], [`AccessError::PowerNotChanged`], [`AccessError::NeededByVirtualFunctions`] or
    /// [`AccessError::NotReset`]: the write was stored; this, and what comes after it, was not done.
    pub fn carry_out(
        self,
        token: &mut ThreadToken,
        deadline: Deadline,
    ) -> Result<ConfigEffects, AccessError> {
        let Written { function, stored: Stored { effects, zap_owed } } = self;
        if zap_owed {
            function.pay_zap(token, deadline)?;
        }
        if let Some(change) = effects.power {
            function.change_power(token, change.new, deadline)?;
        }
        if effects.flr {
            function.reset(token, ResetKind::FunctionLevel, deadline)?;
        }
        Ok(effects)
    }
}

impl Stored {
    /// Adds what a later piece of the same write asks for.
    pub(super) fn add(&mut self, more: Stored) {
        fn join<T>(earlier: &mut Option<Change<T>>, later: Option<Change<T>>) {
            *earlier = match (earlier.take(), later) {
                (Some(earlier), Some(later)) => Some(Change { old: earlier.old, new: later.new }),
                (earlier, later) => later.or(earlier),
            };
        }
        let Stored { effects, zap_owed } = self;
        *zap_owed |= more.zap_owed;
        let ConfigEffects {
            command,
            power,
            flr,
            bars_moved,
            msi,
            msix,
            secondary_bus_reset,
            bus_numbers_changed,
            ari_forwarding,
            sr_iov,
        } = more.effects;
        join(&mut effects.command, command);
        join(&mut effects.power, power);
        effects.flr |= flr;
        effects.bars_moved |= bars_moved;
        join(&mut effects.msi, msi);
        join(&mut effects.msix, msix);
        join(&mut effects.secondary_bus_reset, secondary_bus_reset);
        effects.bus_numbers_changed |= bus_numbers_changed;
        join(&mut effects.ari_forwarding, ari_forwarding);
        join(&mut effects.sr_iov, sr_iov);
    }
}
