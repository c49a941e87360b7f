//! The disk comes and goes as it should: the guest finds it, its data is there, and it is let go under load.

use crate::guest::GuestError;
use crate::guest::daemon::SLOT;
use crate::guest::scenarios::stage::{COMMAND, PATIENCE, Stage, load, stream};
use serde_json::json;
use std::time::Duration;

/// Plugs the disk in and takes it out so many times.
///
/// # Errors
/// The first thing that went wrong.
pub(super) fn run(stage: &mut Stage<'_, '_>, cycles: u32) -> Result<(), GuestError> {
    let (mut attach_ms, mut detach_ms) = (0, 0);
    for cycle in 1..=cycles {
        stage.rig.progress(&format!("{}: plug and unplug under load, {cycle} of {cycles}", stage.name));
        attach_ms = attach_ms.max(stage.attach()?);
        load::verify_kept(stage)?;
        load::start(stage)?;
        detach_ms = detach_ms.max(stage.detach()?);
        load::expect_end(stage)?;
        stage.check_alive()?;
    }
    let facts = json!({"machine": stage.name, "cycles": cycles, "longest_attach_ms": attach_ms,
        "longest_detach_ms": detach_ms});
    stage.rig.fact("cycles", facts);
    Ok(())
}

/// Takes the card out of its slot while a machine has it: the machine is asked, as any consumer is, and lets go.
///
/// # Errors
/// The first thing that went wrong.
pub(super) fn take_the_card_out(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    stage.rig.progress(&format!("{}: unplug the card under load; the guest is asked", stage.name));
    stage.attach()?;
    load::verify_kept(stage)?;
    load::start(stage)?;
    let patience = PATIENCE.to_string();
    let allowed = COMMAND + Duration::from_secs(PATIENCE.into());
    stage.operator.run(&["unplug", SLOT, "--timeout", &patience], allowed)?;
    stage.expect_gone()?;
    load::expect_end(stage)?;
    stage.check_alive()?;
    let steps = stage.events()?;
    stream::expect_in_order(
        &steps,
        &[
            ("operation-started", "unplugging it"),
            ("unplug-requested", ""),
            ("released", ""),
            ("revoked", ""),
            ("off", ""),
            ("operation-ended", "done"),
            ("card", "taken out"),
        ],
    )?;
    stream::expect_no_warning(&steps)?;
    stage.plug_card()
}
