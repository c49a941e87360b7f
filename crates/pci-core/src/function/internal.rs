//! The internal accessors: one register, under a pass or a proof that the caller holds. They never wait.

use super::Function;
use super::inside::Inside;
use super::registers::Store;
use super::written::{Stored, Written};
use crate::access::{self, ConfigStatus, Presence, Width};
use crate::config::{ConfigEffects, ResetKind};
use gate::{Held, Pass, Quiesced};
use pci_spec::config;

impl Function {
    /// Reads one register under a pass or a proof of this function.
    ///
    /// # Errors
    /// [`ConfigStatus::BadRegisterNumber`] for a misaligned register or one outside configuration space (CFG-01),
    /// [`ConfigStatus::DeviceNotFound`] once the function was removed (CFG-04), both without touching hardware; and what
    /// the operations of its bridge answer. A caller that wants a value in any case uses all-ones of the width
    /// ([`Width::all_ones`], CFG-03).
    pub fn config_read(&self, held: &impl Inside, register: u16, width: Width) -> Result<u32, ConfigStatus> {
        self.assert_own(held);
        let value = self.load(held.token(), register, width)?;
        held.look_at(self, register, width, value);
        Ok(value)
    }

    /// Writes one register under a pass. What that asks for needs more than a pass, and is done once this one was left: a
    /// reset, a power state, taking away what consumers have mapped ([`Written::carry_out`]).
    ///
    /// # Errors
    /// As [`Function::config_read`]; nothing was written.
    pub fn config_write(
        &self,
        pass: &Pass<'_>,
        register: u16,
        width: Width,
        value: u32,
    ) -> Result<Written<'_>, ConfigStatus> {
        self.assert_own(pass);
        Ok(Written::new(self, self.put(pass, Store { register, width, value })?))
    }

    /// Writes one register under the proof that nothing else is inside, and does at once what the write asks of the
    /// device: what consumers have mapped is taken away, a function level reset, a power state. No delay passes here; the
    /// caller lets the hardware have its time.
    ///
    /// # Errors
    /// As [`Function::config_read`]; nothing was written.
    pub fn config_write_quiesced(
        &self,
        quiesced: &Quiesced<'_>,
        register: u16,
        width: Width,
        value: u32,
    ) -> Result<ConfigEffects, ConfigStatus> {
        self.assert_own(quiesced);
        Ok(self.put(quiesced, Store { register, width, value })?.effects)
    }

    /// Whether the device behind the function answers (CFG-16).
    ///
    /// # Errors
    /// As [`Function::config_read`].
    pub fn presence(&self, held: &impl Inside) -> Result<Presence, ConfigStatus> {
        self.assert_own(held);
        // Asked whether it answers, so that nobody there is an answer and not a sign.
        self.load(held.token(), config::VENDOR_ID, Width::Dword).map(Presence::decode)
    }

    /// The offset of the first capability `id` in the first 256 bytes, walking the list that the hardware shows (CAP-01).
    ///
    /// # Errors
    /// As [`Function::config_read`].
    pub fn find_capability(&self, held: &impl Inside, id: u8) -> Result<Option<u16>, ConfigStatus> {
        self.find_nth_capability(held, id, 0)
    }

    /// As [`Function::find_capability`], passing over `skipped` of that identifier.
    ///
    /// # Errors
    /// As [`Function::config_read`].
    pub fn find_nth_capability(
        &self,
        held: &impl Inside,
        id: u8,
        skipped: usize,
    ) -> Result<Option<u16>, ConfigStatus> {
        let read = |register, width| self.config_read(held, register, width);
        nth(access::capabilities(read), id, skipped)
    }

    /// The offset of the first extended capability `id`, walking the list that the hardware shows (CAP-01).
    ///
    /// # Errors
    /// As [`Function::config_read`].
    pub fn find_extended_capability(&self, held: &impl Inside, id: u16) -> Result<Option<u16>, ConfigStatus> {
        self.find_nth_extended_capability(held, id, 0)
    }

    /// As [`Function::find_extended_capability`], passing over `skipped` of that identifier.
    ///
    /// # Errors
    /// As [`Function::config_read`].
    pub fn find_nth_extended_capability(
        &self,
        held: &impl Inside,
        id: u16,
        skipped: usize,
    ) -> Result<Option<u16>, ConfigStatus> {
        let read = |register, width| self.config_read(held, register, width);
        nth(access::extended_capabilities(read), id, skipped)
    }

    /// Does at once what a write asks of the device; see [`Function::config_write_quiesced`].
    pub(super) fn carry_out(&self, quiesced: &Quiesced<'_>, stored: &Stored) {
        let Stored { effects, zap_owed } = stored;
        if *zap_owed {
            self.zap(quiesced);
        }
        if let Some(change) = effects.power {
            self.enter_power_state(quiesced, change.new);
        }
        if effects.flr {
            self.reset_quiesced(quiesced, ResetKind::FunctionLevel);
        }
    }

    pub(super) fn assert_own(&self, held: &impl Held) {
        debug_assert!(self.gate.is_held_by(held), "an access to {} under another gate's proof", self.name);
    }
}

/// The offset of the entry `id` after `skipped` others of that identifier.
fn nth<I: PartialEq>(
    mut list: impl Iterator<Item = Result<(u16, I), ConfigStatus>>,
    id: I,
    skipped: usize,
) -> Result<Option<u16>, ConfigStatus> {
    let mut left = skipped;
    list.find_map(|entry| match entry {
        Ok((at, found)) if found == id => match left.checked_sub(1) {
            Some(fewer) => {
                left = fewer;
                None
            }
            None => Some(Ok(at)),
        },
        Ok(_) => None,
        Err(status) => Some(Err(status)),
    })
    .transpose()
}
