//! *freeze*: the disk fails under load, its function is frozen, saved, reset, restored and thawed, and the guest sees a pause; as
//! often as the budget admits. Once more, and the function is gone: the guest and QEMU live on, and a card that is switched on anew
//! works.
//!
//! The error is injected at the function's PE, and everything from there on is what an error that the device makes does. That fio goes on
//! shows that no I/O failed and that nothing is mixed up, for it ends at the first of either; the kernel's log shows that the driver
//! has noticed nothing.

use super::stage::stream::Expected;
use super::stage::{COMMAND, Stage, load, stream};
use crate::guest::GuestError;
use crate::guest::daemon::{BUDGET, SLOT};
use crate::guest::deadline::Deadline;
use crate::guest::kernel_log;
use crate::guest::platform::Platform;
use crate::guest::rig::Rig;
use serde_json::{Value, json};
use std::time::Duration;

/// A load of 32 bits from memory, which the platform finds to have failed: as Linux's `err_injct` writes it.
const ERROR: &str = "0:0:0:0";

/// How long a recovery may take.
const RECOVERY: Duration = Duration::from_secs(60);

/// What the daemon says of a recovery that worked.
const RECOVERED: &[Expected] =
    &[("pe-frozen", ""), ("recovery-started", ""), ("recovery-ended", "recovered"), ("pe-thawed", "")];

/// What it says of a failure that was one too many.
const GIVEN_UP: &[Expected] = &[
    ("pe-frozen", ""),
    ("recovery-step", "it failed too often within the hour"),
    ("revoking", ""),
    ("revoked", ""),
    ("off", ""),
];

/// Runs the scenario.
///
/// # Errors
/// The first thing that went wrong.
pub(super) fn run(rig: &mut Rig<'_>) -> Result<(), GuestError> {
    let mut stage = Stage::boot(rig, Platform::Plain)?;
    load::prepare(&mut stage)?;
    stage.attach()?;
    load::verify_kept(&mut stage)?;
    load::start(&mut stage)?;
    // What came before is not this scenario's.
    stage.vm.take_kernel_log()?;
    let mut pauses = Vec::new();
    for freeze in 1..=BUDGET {
        stage.rig.progress(&format!("the disk fails under load, {freeze} of {BUDGET}"));
        let recovered = fail(&mut stage, freeze)?;
        if recovered["outcome"] != "recovered" {
            return Err(GuestError::Check(format!("the disk was not recovered: {recovered}")));
        }
        load::goes_on(&mut stage)?;
        stream::expect_in_order(&stage.events()?, RECOVERED)?;
        stage.rig.progress(&format!("it paused for {} us", recovered["pause_us"]));
        pauses.push(recovered["pause_us"].clone());
    }
    expect_quiet(&mut stage)?;
    stage.rig.fact("pauses_us", pauses);
    once_too_often(&mut stage)?;
    stage.leave()
}

/// The failure that the budget does not admit, and the way back from it.
fn once_too_often(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    stage.rig.progress("the disk fails once too often, and is taken away");
    let failed = fail(stage, BUDGET + 1)?;
    if failed["outcome"] != "failed" {
        return Err(GuestError::Check(format!("a failure beyond the budget: {failed}")));
    }
    load::expect_end(stage)?;
    load::expect_given_up(stage)?;
    stage.check_alive()?;
    stream::expect_in_order(&stage.events()?, GIVEN_UP)?;
    stage.rig.progress("what QEMU has left of it goes, and the disk comes back");
    stage.detach()?;
    stage.plug_card()?;
    stage.attach()?;
    load::verify_kept(stage)?;
    stage.detach()?;
    stage.check_alive()
}

/// Has the disk fail, and waits until its `nth` recovery has ended, in whichever way. Gives what the daemon tells of it.
fn fail(stage: &mut Stage<'_, '_>, nth: u32) -> Result<Value, GuestError> {
    stage.operator.run(&["inject", SLOT, ERROR], COMMAND)?;
    let deadline = Deadline::after(RECOVERY);
    loop {
        let report = stage.operator.run(&["eeh"], COMMAND)?.answer;
        let ended = report["history"].as_array().cloned().unwrap_or_default();
        if ended.len() >= usize::try_from(nth).unwrap_or(usize::MAX) {
            return Ok(ended.into_iter().next().unwrap_or(json!(null)));
        }
        deadline.left(&|| format!("the end of recovery {nth}"))?;
    }
}

/// Fails if the guest's kernel has anything to say of what happened.
fn expect_quiet(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    let log = stage.vm.take_kernel_log()?;
    let complaints = kernel_log::complaints(&log);
    if complaints.is_empty() && kernel_log::recoveries(&log) == 0 {
        return Ok(());
    }
    Err(GuestError::Check(format!("the guest's driver has noticed something:\n{log}")))
}
