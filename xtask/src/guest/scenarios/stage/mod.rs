//! What the scenarios work on in which the disk comes and goes: a machine without it, the operator who gives it the disk and
//! takes it away, and the I/O under which that happens.

pub(super) mod leftovers;
pub(super) mod load;
pub(super) mod stream;

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
pub(super) const PATIENCE: u32 = 60;

/// What a command gets beyond what it waits for by itself.
pub(super) const COMMAND: Duration = Duration::from_secs(60);

/// What the steps work on: a machine, and the operator who gives it the disk and takes it away.
pub(super) struct Stage<'a, 'lab> {
    pub(super) rig: &'a mut Rig<'lab>,
    pub(super) vm: Vm,
    pub(super) operator: Operator,
    /// What the daemon calls the machine.
    pub(super) name: &'static str,
    stream: Stream,
}

impl<'a, 'lab> Stage<'a, 'lab> {
    /// Boots a machine without the disk, and makes it known to the daemon.
    pub(super) fn boot(rig: &'a mut Rig<'lab>, platform: Platform) -> Result<Self, GuestError> {
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
    pub(super) fn attach(&mut self) -> Result<u64, GuestError> {
        let attached = self.operator.run(&["attach", SLOT, self.name, "--bus", "rp0"], COMMAND)?;
        let seen = self.vm.run(&wait_until(&format!("test -b {DISK}")));
        seen.map_err(|error| GuestError::Check(format!("the guest does not find the disk: {error}")))?;
        let steps = self.events()?;
        stream::expect_in_order(&steps, &[("client-attached", ""), ("device-plugged", "")])?;
        stream::expect_no_warning(&steps)?;
        Ok(u64::try_from(attached.took.as_millis()).unwrap_or(u64::MAX))
    }

    /// Has the guest let the disk go, and checks that it has none any more. Gives the milliseconds that it took.
    pub(super) fn detach(&mut self) -> Result<u64, GuestError> {
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
    pub(super) fn events(&mut self) -> Result<Vec<Value>, GuestError> {
        self.stream.take(&self.operator)
    }

    /// Fails unless the guest has neither disk nor function, or soon loses both.
    pub(super) fn expect_gone(&mut self) -> Result<(), GuestError> {
        let gone = format!("test ! -e {DISK} && test ! -e /sys/bus/pci/devices/{FUNCTION}");
        let seen = self.vm.run(&wait_until(&gone));
        seen.map(drop).map_err(|error| GuestError::Check(format!("the guest still has the disk: {error}")))
    }

    /// Sees to it that the card is in its slot and up.
    pub(super) fn plug_card(&mut self) -> Result<(), GuestError> {
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
    pub(super) fn change_card(&mut self) -> Result<(), GuestError> {
        self.operator.run(&["unplug", SLOT], COMMAND)?;
        self.plug_card()
    }

    /// Fails unless QEMU and the guest are well.
    pub(super) fn check_alive(&mut self) -> Result<(), GuestError> {
        self.vm.check_running()?;
        self.vm.check_not_crashed()
    }

    /// Ends the machine, of which the daemon then knows nothing more.
    pub(super) fn leave(mut self) -> Result<(), GuestError> {
        self.check_alive()?;
        self.operator.run(&["vm", "remove", self.name], COMMAND)?;
        self.vm.quit()
    }
}

/// A command that waits for a condition to hold, for a minute and a half.
pub(super) fn wait_until(condition: &str) -> String {
    format!(
        "for i in $(seq 900); do {condition} && exit 0; sleep 0.1; done; dmesg | tail -n 30; cat /tmp/load-log; exit 1"
    )
}
