//! The admin queue while nobody else uses it: one command at a time, waited for.

use gate::{Deadline, ThreadToken};
use nvme_spec::{CompletionEntry, SubmissionEntry};

use super::registers::Pauses;
use super::{Attempt, Made};
use crate::nvme::error::BringUpError;
use crate::nvme::journal::ADMIN;

/// Looks at memory between two looks at the status register, which says whether the back end is there at all.
const LOOKS: u32 = 4;

impl Attempt<'_> {
    /// Executes a command, whose identifier is chosen here, and waits for it.
    pub(super) fn execute(
        &mut self,
        token: &mut ThreadToken,
        made: &mut Made,
        what: &'static str,
        mut entry: SubmissionEntry,
    ) -> Result<CompletionEntry, BringUpError> {
        let cid = self.choose_cid(&mut entry);
        if !made.rings.push(ADMIN, &entry) {
            return Err(BringUpError::Stray);
        }
        let due = made.rings.ring();
        self.post(token, &due)?;
        let completion = self.wait_for_completion(token, made, what)?;
        if completion.cid.get() != cid {
            return Err(BringUpError::Stray);
        }
        let status = completion.status();
        if status.is_success() { Ok(completion) } else { Err(BringUpError::Command { what, status }) }
    }

    fn wait_for_completion(
        &self,
        token: &mut ThreadToken,
        made: &mut Made,
        what: &'static str,
    ) -> Result<CompletionEntry, BringUpError> {
        let limit = self.core.options.command_limit;
        let end = Deadline::after(limit);
        let mut pauses = Pauses::new();
        let mut looks = 0_u32;
        loop {
            if let Some(completion) = made.rings.pop(ADMIN).map_err(|_| BringUpError::Stray)? {
                return Ok(completion);
            }
            if end.remaining().is_none() {
                let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                return Err(BringUpError::TimedOut { what, limit_ms });
            }
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(LOOKS) {
                self.status(token, true)?;
            }
            self.core.pause(token, self.number, pauses.next())?;
        }
    }
}
