//! INTx as its interrupt handler sees it: is it ours, and mask it in the same step (CFG-11).
//!
//! STATUS and COMMAND are read as one dword and DisINTx is written under the function's lock for writes, by the accessors
//! that everybody uses: a consumer's write to COMMAND comes before or after as a whole, and a blocked, frozen or removed
//! function is not touched (CFG-I9).

use super::Function;
use super::inside::Inside;
use super::registers::Store;
use crate::access::{ConfigStatus, Width};
use gate::Pass;
use pci_spec::{Command, Status, config};

impl Function {
    /// Marks the function as one whose DisINTx does nothing, whatever it reads back (CFG-12).
    #[must_use]
    pub fn without_intx_masking(self) -> Function {
        Function { intx_masking_broken: true, ..self }
    }

    /// Sets DisINTx if the function has an INTx pending. True if it had: the interrupt is its own, and is masked now.
    ///
    /// # Errors
    /// As [`Function::config_read`]; nothing was masked.
    pub fn check_and_mask_intx(&self, pass: &Pass<'_>) -> Result<bool, ConfigStatus> {
        self.set_intx_disable_if(pass, true)
    }

    /// Clears DisINTx unless the function has an INTx pending. False if it has: it would only interrupt again, and the
    /// caller handles that interrupt first.
    ///
    /// # Errors
    /// As [`Function::config_read`]; nothing was unmasked.
    pub fn check_and_unmask_intx(&self, pass: &Pass<'_>) -> Result<bool, ConfigStatus> {
        self.set_intx_disable_if(pass, false)
    }

    /// Whether DisINTx can be toggled: it is, and is put back (CFG-12). Best done before the function is in use, as its
    /// INTx is masked or unmasked for a moment.
    ///
    /// # Errors
    /// As [`Function::config_read`].
    pub fn probe_intx_masking(&self, held: &impl Inside) -> Result<bool, ConfigStatus> {
        if self.intx_masking_broken {
            return Ok(false);
        }
        let disable = u32::from(Command::INTERRUPT_DISABLE.bits());
        let before = self.toggle_intx_disable(held)?;
        let after = self.config_read(held, config::COMMAND, Width::Word)?;
        if (before ^ after) & disable == 0 {
            return Ok(false);
        }
        self.toggle_intx_disable(held)?;
        // Any other bit that changed too means that somebody else writes, or that the register is not what it seems.
        Ok(before ^ after == disable)
    }

    /// Sets or clears DisINTx if an INTx is, or is not, pending. True if it was so.
    fn set_intx_disable_if(&self, pass: &Pass<'_>, pending: bool) -> Result<bool, ConfigStatus> {
        let (dword, _stored) = self.update(pass, config::COMMAND, Width::Dword, |dword| {
            let command = command_with(dword, pending);
            (is_pending(dword) == pending && command != command_of(dword)).then(|| store(command))
        })?;
        Ok(is_pending(dword) == pending)
    }

    /// Answers COMMAND as it was before.
    fn toggle_intx_disable(&self, held: &impl Inside) -> Result<u32, ConfigStatus> {
        let disable = u32::from(Command::INTERRUPT_DISABLE.bits());
        let (before, _stored) =
            self.update(held, config::COMMAND, Width::Word, |command| Some(store(command ^ disable)))?;
        Ok(before)
    }
}

/// A write to COMMAND alone: STATUS has bits that a write would clear.
fn store(command: u32) -> Store {
    Store { register: config::COMMAND, width: Width::Word, value: command }
}

fn command_of(dword: u32) -> u32 {
    dword & Width::Word.all_ones()
}

fn command_with(dword: u32, disabled: bool) -> u32 {
    let disable = u32::from(Command::INTERRUPT_DISABLE.bits());
    if disabled { command_of(dword) | disable } else { command_of(dword) & !disable }
}

fn is_pending(dword: u32) -> bool {
    dword >> 16 & u32::from(Status::INTERRUPT_STATUS.bits()) != 0
}
