//! Commands and their answers, by instructions with one function handle.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use gate::{Deadline, ThreadToken};
use zpci::{AddressSpace, Handle, Zpci};

use super::super::command::{Command, Outcome};
use super::super::layout::{COMMAND, Register};
use super::super::pci::COMMAND_BAR;
use super::TIMEOUT;
use super::error::HostError;

/// The one command that may be under way: the answer to the next one takes its place.
#[derive(Debug, Default)]
pub(super) struct Commands {
    claimed: AtomicBool,
    tags: AtomicU32,
}

/// The right to have commands carried out, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(&'a Commands);

impl Commands {
    /// # Errors
    /// [`HostError::CommandUnderWay`]
    pub(super) fn claim(&self) -> Result<Turn<'_>, HostError> {
        let claimed = self.claimed.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        claimed.map(|_| Turn(self)).map_err(|_| HostError::CommandUnderWay)
    }
}

impl Turn<'_> {
    /// Has a command carried out; what it gives back.
    ///
    /// # Errors
    /// [`HostError::Command`], [`HostError::Instruction`], [`HostError::Protocol`].
    pub(super) fn ask(
        &self,
        token: &mut ThreadToken,
        zpci: &Zpci,
        handle: Handle,
        command: Command,
    ) -> Result<u64, HostError> {
        let tag = self.0.tags.fetch_add(1, Ordering::Relaxed);
        let deadline = Deadline::after(TIMEOUT);
        let space = AddressSpace::from_code(COMMAND_BAR);
        zpci.accessor(handle).store_block(token, space, COMMAND, &command.encode(tag), deadline)?;
        let head = load(token, zpci, handle, Register::Answer)?;
        let [t0, t1, t2, t3, outcome_low, outcome_high, code_low, code_high] = head.to_le_bytes();
        let code = u16::from_le_bytes([code_low, code_high]);
        if u32::from_le_bytes([t0, t1, t2, t3]) != tag || code != command.code() {
            return Err(HostError::Protocol);
        }
        match Outcome::from_code(u16::from_le_bytes([outcome_low, outcome_high])) {
            Some(Outcome::Done) => load(token, zpci, handle, Register::AnswerValue),
            Some(outcome) => Err(HostError::Command(outcome)),
            None => Err(HostError::Protocol),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.claimed.store(false, Ordering::Release);
    }
}

/// A register of BAR 0.
///
/// # Errors
/// [`HostError::Instruction`]
pub(super) fn load(
    token: &mut ThreadToken,
    zpci: &Zpci,
    handle: Handle,
    register: Register,
) -> Result<u64, HostError> {
    let mut data = [0; 8];
    let deadline = Deadline::after(TIMEOUT);
    zpci.accessor(handle).read(
        token,
        AddressSpace::from_code(COMMAND_BAR),
        register as u64,
        &mut data,
        deadline,
    )?;
    Ok(u64::from_le_bytes(data))
}
