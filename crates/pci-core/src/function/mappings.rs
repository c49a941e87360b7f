//! What consumers have mapped of a function, and when it is taken away from them (VF-20).
//!
//! Whatever changes whether a region can be reached ends with a *zap*: every page is taken away under a proof that nobody
//! is inside, so that no access that was let in before outlives the change (MM-I3), and what failed while the region could
//! not be reached fails no longer. Who holds such a proof (a reset, a power change, an internal write under quiescence)
//! zaps in place, before the device is touched. Who wrote under a pass owes the zap: it is noted with the write, under the
//! lock of writes, and paid once the pass has been left ([`Written::carry_out`](super::Written::carry_out)). A debt that
//! could not be paid in time is paid later, by a thread of the mappings; that one, or one that somebody forgot, is also paid
//! with the next write of a user or under a proof.
//!
//! Freezing and removal need nothing of this: [`Mappings`] hears of them from the gate.

use super::Function;
use crate::config::{BarIndex, ConfigSpace};
use crate::device::FIRST_DEVICE_REGION;
use crate::error::AccessError;
use crate::power::DeviceState;
use gate::{CloseError, Deadline, Exclusive, Quiesced, Reason, ThreadToken};
use mapping::{MappingLimits, Mappings, Reach};
use std::sync::Arc;

/// Which regions of a function can be reached: what its configuration space decodes, and in which power state it is. Kept
/// by the mappings, which may outlive the function.
struct Decoding(Arc<ConfigSpace>);

impl Reach for Decoding {
    fn is_reachable(&self, region: u32) -> bool {
        let Decoding(config) = self;
        let window = u8::try_from(region).ok().and_then(BarIndex::new);
        match window {
            Some(window) => config.window_size(window).is_some() && config.decodes(window),
            None => region >= FIRST_DEVICE_REGION && config.device_state() < DeviceState::D3Hot,
        }
    }
}

/// The mappings of the function behind `gate` whose configuration space is `config`.
pub(super) fn of(gate: &gate::Gate, config: &Arc<ConfigSpace>, limits: MappingLimits) -> Mappings {
    Mappings::new(gate, Arc::new(Decoding(config.clone())), limits)
}

impl Function {
    /// Limits what the function's consumers may map, together; without, [`MappingLimits::default`].
    #[must_use]
    pub fn limited_by(self, limits: MappingLimits) -> Function {
        let mappings = of(&self.gate, &self.config, limits);
        Function { mappings, ..self }
    }

    /// What consumers have mapped of the function.
    #[must_use]
    pub fn mappings(&self) -> &Mappings {
        &self.mappings
    }

    /// Takes everything away that consumers have mapped, for who has changed what can be reached past the function's own
    /// accessors (a scan that sizes its BARs). Waits to the deadline for the short accesses that are inside.
    ///
    /// # Errors
    /// [`AccessError::StillMapped`]; it is done later, as that says.
    pub fn zap_mappings(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), AccessError> {
        if !self.has_mappings() {
            return Ok(());
        }
        self.registers.lock(token).zap_owed = true;
        self.pay_zap(token, deadline)
    }

    /// Reopens the function even if it was frozen, for who has reset it: what the freeze hid from consumers is brought
    /// back before. False if it was frozen again meanwhile, is contained, or is gone: it stays so.
    pub fn thaw_quiesced(&self, quiesced: Quiesced<'_>) -> bool {
        if self.is_contained() {
            return false;
        }
        self.mappings.reveal(&quiesced);
        quiesced.thaw()
    }

    /// Takes everything away that consumers have mapped, for who is about to touch the device, or to change what can be
    /// reached, otherwise than by this function's methods: a procedure, the power of a slot, the memory enable that virtual
    /// functions have of their physical one. Nothing of it comes back before the gate reopens.
    pub fn zap(&self, held: &impl Exclusive) {
        self.mappings.zap(held);
        self.registers.lock_inside(held).zap_owed = false;
    }

    /// The same for who holds nothing, if it is owed still.
    pub(super) fn pay_zap(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), AccessError> {
        let error = match self.gate.close_short(token, Reason::Remap, deadline) {
            Ok(held) if self.is_current() => {
                self.zap(&held);
                return Ok(());
            }
            // Of this function nothing can be reached any more, once its mappings have seen that: whoever removes it may not
            // have got to telling them.
            Ok(_) | Err(CloseError::Gone) => {
                self.mappings.look();
                return Ok(());
            }
            Err(error) => error,
        };
        // Whoever was in the way may have zapped since: a reset does.
        if !self.registers.lock(token).zap_owed {
            return Ok(());
        }
        self.mappings.zap_later();
        Err(AccessError::StillMapped(error))
    }

    /// Whether anything is mapped, asked after a change of what can be reached. Either this sees a mapping that is being
    /// made, or the first fault of that mapping sees the change: the list's lock, which is taken here and when the mapping
    /// is listed, puts the one before the other.
    pub(super) fn has_mappings(&self) -> bool {
        !self.mappings.is_empty()
    }
}
