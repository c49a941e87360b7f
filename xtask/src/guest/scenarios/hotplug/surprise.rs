//! The card is pulled out with nobody asked: the guest's driver finds its controller silent and gives up, and what QEMU
//! still has of the device is taken out like any device.

use crate::guest::GuestError;
use crate::guest::daemon::SLOT;
use crate::guest::scenarios::stage::stream::Expected;
use crate::guest::scenarios::stage::{COMMAND, Stage, load, stream};
use serde_json::json;
use std::time::Instant;

/// What the daemon says of it.
const STEPS: &[Expected] =
    &[("card", "taken out"), ("revoking", "the card was torn out"), ("revoked", ""), ("off", "")];

/// Pulls the card out under load so many times.
///
/// # Errors
/// The first thing that went wrong.
pub(super) fn run(stage: &mut Stage<'_, '_>, removals: u32) -> Result<(), GuestError> {
    let mut longest_ms = 0;
    for removal in 1..=removals {
        stage.rig.progress(&format!("{}: pull the card out under load, {removal} of {removals}", stage.name));
        stage.attach()?;
        load::verify_kept(stage)?;
        load::start(stage)?;
        let start = Instant::now();
        stage.operator.run(&["eject", SLOT], COMMAND)?;
        load::expect_end(stage)?;
        load::expect_given_up(stage)?;
        longest_ms = longest_ms.max(start.elapsed().as_millis());
        stage.check_alive()?;
        stream::expect_in_order(&stage.events()?, STEPS)?;
        stage.detach()?;
        stage.check_alive()?;
        stage.plug_card()?;
    }
    let longest_ms = u64::try_from(longest_ms).unwrap_or(u64::MAX);
    let facts = json!({"machine": stage.name, "removals": removals, "longest_until_given_up_ms": longest_ms});
    stage.rig.fact("surprise", facts);
    Ok(())
}
