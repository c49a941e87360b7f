//! Accesses to a device that waits ([`Waits`]): let in like any other, then with a long pass and nothing else held.
//!
//! Whether the access is decoded is looked at once, when it is let in. What a reset or a write to COMMAND changes after that waits
//! for it to end, or takes its effect as if the access had come before.

use super::Function;
use crate::config::BarIndex;
use crate::error::AccessError;
use crate::recovery::ErrorSign;
use crate::waits::{NoAnswer, WaitRegion, Waits};
use gate::{AccessKind, Deadline, LongPass, Pass, ThreadToken, Until};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a closer that waits for such an access is told that it waits for.
const WHAT: &str = "an access to a device that waits";

impl Function {
    pub(super) fn wait_to_read_bar(
        &self,
        token: &mut ThreadToken,
        bar: BarIndex,
        offset: u64,
        data: &mut [u8],
        until: impl Until,
    ) -> Result<(), AccessError> {
        let deadline = until.deadline();
        self.check_inside(bar, offset, data.len())?;
        let inside = self.enter_to_wait(token, deadline, || self.check_decoded(bar))?;
        self.waited(token, |waits, token| {
            waits.read(token, &inside, WaitRegion::Bar(bar), offset, data, deadline)
        })?;
        self.look_at_bar(token, bar, offset, data);
        Ok(())
    }

    pub(super) fn wait_to_write_bar(
        &self,
        token: &mut ThreadToken,
        bar: BarIndex,
        offset: u64,
        data: &[u8],
        deadline: Deadline,
    ) -> Result<(), AccessError> {
        self.check_inside(bar, offset, data.len())?;
        let inside = self.enter_to_wait(token, deadline, || self.check_decoded(bar))?;
        self.waited(token, |waits, token| {
            waits.write(token, &inside, WaitRegion::Bar(bar), offset, data, deadline)
        })
    }

    /// Inside `nth` region of the device's own, whose number is `region`.
    pub(super) fn wait_to_read_region(
        &self,
        token: &mut ThreadToken,
        (nth, region): (usize, u32),
        offset: u64,
        data: &mut [u8],
        deadline: Deadline,
    ) -> Result<(), AccessError> {
        let inside = self.enter_to_wait(token, deadline, || self.check_awake(region))?;
        self.waited(token, |waits, token| {
            waits.read(token, &inside, WaitRegion::Own(nth), offset, data, deadline)
        })
    }

    /// As [`Function::wait_to_read_region`].
    pub(super) fn wait_to_write_region(
        &self,
        token: &mut ThreadToken,
        (nth, region): (usize, u32),
        offset: u64,
        data: &[u8],
        deadline: Deadline,
    ) -> Result<(), AccessError> {
        let inside = self.enter_to_wait(token, deadline, || self.check_awake(region))?;
        self.waited(token, |waits, token| {
            waits.write(token, &inside, WaitRegion::Own(nth), offset, data, deadline)
        })
    }

    /// A long pass for an access that is to be let in, as `check` finds once it is inside.
    fn enter_to_wait(
        &self,
        token: &mut ThreadToken,
        deadline: Deadline,
        check: impl FnOnce() -> Result<(), AccessError>,
    ) -> Result<LongPass, AccessError> {
        let pass: Pass<'_> = self.handle.enter(token, AccessKind::Bar, deadline)?;
        check()?;
        Ok(pass.long(AccessKind::Bar, WHAT))
    }

    /// Calls the device with the token free. Its panic is an answer; no answer is a sign, unless the device refuses.
    fn waited(
        &self,
        token: &mut ThreadToken,
        access: impl FnOnce(&dyn Waits, &mut ThreadToken) -> Result<(), NoAnswer>,
    ) -> Result<(), AccessError> {
        let Some(waits) = self.device.waits() else { return Err(NoAnswer::Refused.into()) };
        let answer = match catch_unwind(AssertUnwindSafe(|| access(waits, token))) {
            Ok(answer) => answer,
            Err(_panic) => return Err(self.device_panicked(token).into()),
        };
        if let Err(NoAnswer::Failed(why)) = answer {
            self.notice(token, ErrorSign::DeviceFault(why));
        }
        Ok(answer?)
    }
}
