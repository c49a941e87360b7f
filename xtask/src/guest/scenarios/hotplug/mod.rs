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
mod leftovers;
mod load;
mod revoke;
mod stream;
mod surprise;

use crate::guest::GuestError;
use crate::guest::address::{DISK, FUNCTION};
use crate::guest::daemon::SLOT;
use crate::guest::operator::Operator;
use crate::guest::platform::Platform;
use crate::guest::rig::Rig;
use crate::guest::vm::Vm;
use serde_json::Value;
use std::time::Duration;
use stream::Stream;

/// How long the guest is given to let the disk go, in seconds.
const PATIENCE: u32 = 60;

/// What a command gets beyond what it waits for by itself.
const COMMAND: Duration = Duration::from_secs(60);

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

/// What the steps work on: a machine, and the operator who gives it the disk and takes it away.
struct Stage<'a, 'lab> {
    rig: &'a mut Rig<'lab>,
    vm: Vm,
    operator: Operator,
    /// What the daemon calls the machine.
    name: &'static str,
    stream: Stream,
}

impl<'a, 'lab> Stage<'a, 'lab> {
    /// Boots a machine without the disk, and makes it known to the daemon.
    fn boot(rig: &'a mut Rig<'lab>, platform: Platform) -> Result<Self, GuestError> {
        let vm = rig.boot_on(platform)?;
        let operator = rig.operator().ok_or_else(|| GuestError::Check("there is no daemon".into()))?;
        let name = if platform == Platform::NativeHotPlug { "native" } else { "plain" };
        let monitor = rig.monitor().display().to_string();
        operator.run(&["vm", "add", name, "--qmp", &monitor], COMMAND)?;
        let mut stage = Self { rig, vm, operator, name, stream: Stream::default() };
        stage.events()?;
        Ok(stage)
    }

    /// Plugs the disk in, and waits until the guest has found it. Gives the milliseconds that both took.
    fn attach(&mut self) -> Result<u64, GuestError> {
        let attached = self.operator.run(&["attach", SLOT, self.name, "--bus", "rp0"], COMMAND)?;
        let seen = self.vm.run(&wait_until(&format!("test -b {DISK}")));
        seen.map_err(|error| GuestError::Check(format!("the guest does not find the disk: {error}")))?;
        let steps = self.events()?;
        stream::expect_in_order(&steps, &[("client-attached", ""), ("device-plugged", "")])?;
        stream::expect_no_warning(&steps)?;
        Ok(u64::try_from(attached.took.as_millis()).unwrap_or(u64::MAX))
    }

    /// Has the guest let the disk go, and checks that it has none any more. Gives the milliseconds that it took.
    fn detach(&mut self) -> Result<u64, GuestError> {
        let patience = PATIENCE.to_string();
        let allowed = COMMAND + Duration::from_secs(PATIENCE.into());
        let detached = self.operator.run(&["detach", SLOT, "--timeout", &patience], allowed)?;
        self.expect_gone()?;
        let steps = self.events()?;
        stream::expect_in_order(&steps, &[("device-asked", ""), ("device-unplugged", "")])?;
        stream::expect_no_warning(&steps)?;
        Ok(u64::try_from(detached.took.as_millis()).unwrap_or(u64::MAX))
    }

    /// What the daemon has said since the last call.
    fn events(&mut self) -> Result<Vec<Value>, GuestError> {
        self.stream.take(&self.operator)
    }

    /// Fails unless the guest has neither disk nor function, or soon loses both.
    fn expect_gone(&mut self) -> Result<(), GuestError> {
        let gone = format!("test ! -e {DISK} && test ! -e /sys/bus/pci/devices/{FUNCTION}");
        let seen = self.vm.run(&wait_until(&gone));
        seen.map(drop).map_err(|error| GuestError::Check(format!("the guest still has the disk: {error}")))
    }

    /// Sees to it that the card is in its slot and up.
    fn plug_card(&mut self) -> Result<(), GuestError> {
        let slot = self.operator.run(&["slot", "show", SLOT], COMMAND)?.answer;
        let command: &[&str] = match (slot["state"].as_str(), slot["card"].as_bool()) {
            (Some("on"), _) => return Ok(()),
            // What was taken from a guest is without power, and is there.
            (_, Some(true)) => &["slot", "power", SLOT, "on"],
            _ => &["plug", SLOT],
        };
        self.operator.run(command, COMMAND).map(drop)
    }

    /// Puts a new card in the place of the one that was used.
    fn change_card(&mut self) -> Result<(), GuestError> {
        self.operator.run(&["unplug", SLOT], COMMAND)?;
        self.plug_card()
    }

    /// Fails unless QEMU and the guest are well.
    fn check_alive(&mut self) -> Result<(), GuestError> {
        self.vm.check_running()?;
        self.vm.check_not_crashed()
    }

    /// Ends the machine, of which the daemon then knows nothing more.
    fn leave(mut self) -> Result<(), GuestError> {
        self.check_alive()?;
        self.operator.run(&["vm", "remove", self.name], COMMAND)?;
        self.vm.quit()
    }
}

/// A command that waits for a condition to hold, for a minute and a half.
fn wait_until(condition: &str) -> String {
    format!(
        "for i in $(seq 900); do {condition} && exit 0; sleep 0.1; done; dmesg | tail -n 30; cat /tmp/load-log; exit 1"
    )
}
