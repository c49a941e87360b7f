//! *hotplug*: the disk is plugged into a running machine and taken out again, while the guest writes and verifies; every
//! time it ends, and QEMU and the guest live on. An operator gives the commands, the daemon drives QEMU through QMP.
//!
//! Two machines. The first has QEMU's usual hot-plug, which is ACPI's: a guest lets a device go at once, so that is where it
//! comes and goes often. The second has the root port's own, with an attention button: there the guest takes 5 s for each
//! unplug, and its driver for hot-plug (pciehp) can be taken away, which makes a guest that ignores the request.
//!
//! A disk that was pulled out is gone for the guest's driver only when its commands time out: no root port of QEMU's can say
//! that its device has left. So QEMU still has a device then, and `portcullis detach` takes it out as it does any other:
//! by `device_del`, which the guest answers, though the device itself answers nothing any more.

mod cycles;
mod revoke;
mod surprise;

use super::stage::{Stage, leftovers, load};
use crate::guest::GuestError;
use crate::guest::platform::Platform;
use crate::guest::rig::Rig;

/// Runs the scenario.
///
/// # Errors
/// The first thing that went wrong.
pub(super) fn run(rig: &mut Rig<'_>) -> Result<(), GuestError> {
    let cycles = rig.cycles();
    let mut stage = Stage::boot(rig, Platform::Plain)?;
    load::prepare(&mut stage)?;
    let used = leftovers::Before::count(&stage)?;
    cycles::run(&mut stage, cycles)?;
    used.expect_no_more(&mut stage)?;
    stage.change_card()?;
    let before = leftovers::Before::count(&stage)?;
    surprise::run(&mut stage, cycles.div_ceil(5))?;
    before.expect_no_more(&mut stage)?;
    stage.leave()?;
    let mut stage = Stage::boot(rig, Platform::NativeHotPlug)?;
    cycles::run(&mut stage, 1)?;
    cycles::take_the_card_out(&mut stage)?;
    revoke::run(&mut stage)?;
    surprise::run(&mut stage, 1)?;
    before.expect_no_more(&mut stage)?;
    stage.leave()
}
