//! A guest that ignores the request: the disk is taken away from it at the deadline, and it lives on without the disk. With its
//! driver for hot-plug back it lets go of what QEMU still has, at once or after a reboot.

use crate::guest::GuestError;
use crate::guest::address::FUNCTION;
use crate::guest::daemon::SLOT;
use crate::guest::scenarios::stage::stream::Expected;
use crate::guest::scenarios::stage::{COMMAND, Stage, load, stream};
use serde_json::{Value, json};
use std::time::Duration;

/// How long the guest is asked to let its device go: longer than pciehp would take.
const DETACH_TIMEOUT: Duration = Duration::from_secs(6);

/// How long it is asked when the card is to leave its slot: until after the first reminder.
const UNPLUG_TIMEOUT: Duration = Duration::from_secs(11);

/// The root port's hot-plug, among the services of PCI Express that Linux's drivers are bound to.
const HOT_PLUG: &str = "0000:00:02.0:pcie004";

/// What the daemon says of a device that a guest did not give back.
const DETACH_STEPS: &[Expected] = &[
    ("device-asked", "was asked to let it go"),
    ("device-not-unplugged", "in time"),
    ("revoking", ""),
    ("revoked", ""),
    ("off", ""),
    ("operation-ended", "done"),
];

/// What it says of a card that was not given back.
const UNPLUG_STEPS: &[Expected] = &[
    ("operation-started", "unplugging it"),
    ("unplug-requested", ""),
    ("unplug-reminded", "the 2th time"),
    ("revoking", "did not let go in time"),
    ("revoked", ""),
    ("off", ""),
    ("operation-ended", "done"),
    ("card", "taken out"),
];

/// Runs the part.
///
/// # Errors
/// The first thing that went wrong.
pub(super) fn run(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    stage.rig.progress("the guest's hot-plug driver is unbound, and its device detached under load");
    let detached = take_away(stage, "detach", DETACH_TIMEOUT)?;
    stream::expect_in_order(&stage.events()?, DETACH_STEPS)?;
    stage.rig.progress("the driver is back, and lets go of what QEMU has left of the disk");
    hot_plug_driver(stage, "bind")?;
    stage.detach()?;
    stage.plug_card()?;

    stage.rig.progress("the driver is unbound again, and the card unplugged under load");
    let unplugged = take_away(stage, "unplug", UNPLUG_TIMEOUT)?;
    stream::expect_in_order(&stage.events()?, UNPLUG_STEPS)?;
    stage.rig.progress("the guest reboots with what QEMU has left of the disk");
    stage.vm.reboot()?;
    stage.check_alive()?;
    stage.detach()?;
    stage.rig.progress("the disk comes back");
    stage.plug_card()?;
    stage.attach()?;
    load::verify_kept(stage)?;
    stage.detach()?;
    stage.check_alive()?;
    stage.rig.fact("revoked", json!({"detach": detached, "unplug": unplugged}));
    Ok(())
}

/// Takes the disk away under load from a guest that ignores the request. Gives how long it was asked, and how long all took.
fn take_away(stage: &mut Stage<'_, '_>, command: &str, timeout: Duration) -> Result<Value, GuestError> {
    stage.attach()?;
    load::verify_kept(stage)?;
    load::start(stage)?;
    hot_plug_driver(stage, "unbind")?;
    let seconds = timeout.as_secs().to_string();
    // Whether a request that ended with force is a success is for the operator to judge, not for the guest.
    let outcome = stage.operator.attempt(&[command, SLOT, "--timeout", &seconds], COMMAND + timeout)?;
    if outcome.took < timeout {
        let (took, output) = (outcome.took, &outcome.output);
        let message = format!("a guest that ignores all let go after {took:?} of {timeout:?}: {output}");
        return Err(GuestError::Check(message));
    }
    expect_revoked(stage)?;
    load::expect_end(stage)?;
    stage.check_alive()?;
    let took_ms = u64::try_from(outcome.took.as_millis()).unwrap_or(u64::MAX);
    Ok(json!({"timeout_ms": timeout.as_secs() * 1000, "took_ms": took_ms}))
}

/// Takes the guest's driver for hot-plug away (`unbind`), or gives it back (`bind`).
fn hot_plug_driver(stage: &mut Stage<'_, '_>, what: &str) -> Result<(), GuestError> {
    stage.vm.run(&format!("echo {HOT_PLUG} >/sys/bus/pci_express/drivers/pciehp/{what}")).map(drop)
}

/// Fails unless the function reads as one that is not there.
fn expect_revoked(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    let vendor = stage.vm.run(&format!("setpci -s {FUNCTION} VENDOR_ID.w"))?;
    if vendor.trim() == "ffff" {
        return Ok(());
    }
    Err(GuestError::Check(format!("the vendor of a function that was taken away reads {vendor}")))
}
