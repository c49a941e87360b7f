//! What an operator does to the slot of a function (ZP-09 to ZP-11).

use super::act::Site;
use crate::actions::disable_timeout;
use crate::invariants::Invariant;
use crate::machine::at_once;
use gate::{Admission, ThreadToken};
use std::sync::Arc;
use std::time::Duration;
use zpci::hotplug::{OperationError, Recovered};
use zpci::{Configuration, View};

/// Virtual time that a reset or a recovery (of up to 3 resets) may take by itself. No device of a world needs longer than its delays.
const MOST: Duration = Duration::from_secs(15);

impl Site<'_> {
    pub(super) fn trace(&self, line: impl FnOnce() -> String) {
        self.world.trace(|| format!("slot {}: {}", self.slot, line()));
    }

    pub(super) fn violated(&self, invariant: Invariant, detail: String) {
        self.world.violated(invariant, Some(self.slot), detail);
    }

    /// Something that may take a while, but not for ever.
    pub(super) fn timed<R>(&self, what: &str, act: impl FnOnce() -> R) -> R {
        let (done, own) = self.world.as_operator_timed(act);
        self.world.check_own_time(self.slot, what, own, MOST);
        done
    }
}

pub(super) fn power(on: &Site<'_>, up: bool) {
    let slot = &on.function;
    let timeout = disable_timeout(on.world);
    let before = slot.zdev().configuration();
    let asked = slot.power(up, timeout);
    on.trace(|| match &asked {
        Ok(operation) => format!("power {} of {}, operation {}", u8::from(up), slot.name(), operation.id().0),
        Err(error) => format!("power {} of {} is refused: {error}", u8::from(up), slot.name()),
    });
    let from = if up { Configuration::Standby } else { Configuration::Configured };
    let virtual_function = slot.zdev().parent_vfn().is_some();
    if asked.is_ok() && (before != from || virtual_function) {
        on.violated(Invariant::Answered, format!("{} was switched from {before:?}", slot.name()));
    }
    if slot.power_status() != (before == Configuration::Configured) || !slot.adapter_status() {
        on.violated(Invariant::Answered, format!("{} does not say what it is", slot.name()));
    }
    if let Ok(operation) = asked {
        on.world.asked(on.slot, operation);
    }
}

pub(super) fn reset(on: &Site<'_>, token: &mut ThreadToken) {
    let slot = &on.function;
    let probe = on.world.random.with(|random| random.chance(1, 4));
    let (before, worked_on) = (slot.zdev().handle(), slot.zdev().work());
    on.trace(|| format!("{} of {}", if probe { "a probe" } else { "a reset" }, slot.name()));
    let done = on.timed("a reset", || slot.reset(token, probe, at_once()));
    on.trace(|| format!("{} was reset: {done:?}", slot.name()));
    if worked_on.is_some() && done != Err(OperationError::Contended) {
        on.violated(Invariant::ClaimReturned, format!("{} was reset while {worked_on:?}", slot.name()));
    }
    if probe && slot.zdev().handle() != before {
        on.violated(Invariant::Answered, format!("a probe has changed the handle of {}", slot.name()));
    }
}

pub(super) fn recover(on: &Site<'_>, token: &mut ThreadToken) {
    let slot = &on.function;
    let worked_on = slot.zdev().work();
    let before = slot.zdev().view().map(|view| (view.clone(), view.is_enabled(), view.has_failed()));
    on.trace(|| format!("a recovery of {}", slot.name()));
    let done = on.timed("a recovery", || slot.recover(token, at_once()));
    on.trace(|| format!("{} was recovered: {done:?}", slot.name()));
    match done {
        Ok(Recovered::Done { handle }) => {
            let works = |view: Arc<View>| {
                let frozen = view.function().handle().admission() == Admission::Frozen;
                view.is_enabled() && !view.has_failed() && !frozen
            };
            let now = slot.zdev().view().is_some_and(works);
            if worked_on.is_some() || !handle.is_enabled() || slot.zdev().handle() != handle || !now {
                let detail = format!("{} was recovered, and is not as told: {worked_on:?}", slot.name());
                on.violated(Invariant::Answered, detail);
            }
        }
        Ok(Recovered::AlreadyRunning) | Err(OperationError::Contended) if worked_on.is_none() => {
            let detail = format!("{} is said to be worked on, and is not", slot.name());
            on.violated(Invariant::ClaimReturned, detail);
        }
        Err(OperationError::GivenUp(_)) => check_given_up(on),
        Err(OperationError::NotRecovered(_)) => check_as_it_was(on, before),
        _ => {}
    }
}

/// What was not recovered because nothing could be done is enabled if it was, and in permanent error if it was; or is gone.
fn check_as_it_was(on: &Site<'_>, before: Option<(Arc<View>, bool, bool)>) {
    let (Some((view, enabled, failed)), Some(now)) = (before, on.function.zdev().view()) else { return };
    // Handles of an index may be used up. A device that is taken away is marked as failed.
    let has_handles = on.s390.zpci.settings().generation_bits >= 19;
    let gone = view.function().handle().is_gone() || !Arc::ptr_eq(&view, &now);
    let as_it_was = now.is_enabled() == enabled && now.has_failed() == failed;
    if !gone && has_handles && !as_it_was {
        let detail = format!("{now:?} was not recovered: enabled before {enabled}, failed {failed}");
        on.violated(Invariant::Answered, detail);
    }
}

/// What could not be recovered is frozen and in permanent error, if it is still there.
fn check_given_up(on: &Site<'_>) {
    let Some(view) = on.function.zdev().view() else { return };
    let admission = view.function().handle().admission();
    let given_up = matches!(admission, Admission::Frozen | Admission::Gone) && view.has_failed();
    if !given_up || view.is_enabled() {
        let detail = format!("{view:?} was given up, and is {admission:?}");
        on.violated(Invariant::Answered, detail);
    }
}

/// A report that makes sense, or some of the bytes of one.
pub(super) fn report(on: &Site<'_>) {
    let slot = &on.function;
    let (offset, bytes) = on.world.random.with(|random| {
        let offset = if random.chance(1, 6) { 1 + u64::from(random.bits() % 64) } else { 0 };
        let length = random.below(64);
        let action = u8::try_from(random.below(4)).unwrap_or(0);
        let version = if random.chance(1, 6) { 2 } else { 1 };
        let claimed = if random.chance(1, 6) { length + 1 } else { length };
        let claimed = u16::try_from(claimed).unwrap_or(0).to_be_bytes();
        let mut bytes = vec![version, action, claimed[0], claimed[1]];
        bytes.resize(4 + length, 0);
        (offset, bytes)
    });
    let done = slot.report_error(offset, &bytes);
    on.trace(|| format!("a report of {}: {done:?}", slot.name()));
    let sense = offset == 0 && bytes[0] == 1 && bytes[1] < 3;
    let whole = usize::from(u16::from_be_bytes([bytes[2], bytes[3]])) == bytes.len() - 4;
    if matches!(done, Err(OperationError::Malformed(_))) == (sense && whole) {
        on.violated(Invariant::Answered, format!("a report of {bytes:?} at {offset}: {done:?}"));
    }
}
