//! Runtime power management: an idle function sleeps, and wakes when it is asked to (`power/control`).
//!
//! Linux's nvme driver never lets its function sleep at run time, and a function without a driver stays in D0; it is
//! vfio-pci that lets a function sleep while nobody has it open.

use super::host::Effect;
use super::{Stage, sysfs};
use crate::guest::GuestError;
use crate::guest::address::{DISK, FUNCTION};

/// Hands the function to vfio-pci, lets it sleep, wakes it, lets it sleep again, and gives it back to the nvme driver.
///
/// # Errors
/// The first thing that went wrong.
pub(super) fn run(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    stage.rig.progress("runtime power management: nvme lets go, vfio-pci takes the function");
    expect(stage, "power_state", "D0")?;
    // D3cold would be the port's to enter; this is about D3hot.
    set_and_expect(stage, "d3cold_allowed", "0")?;
    set_and_expect(stage, "power/control", "on")?;
    stage.vm.run(&format!("echo {FUNCTION} >{}", sysfs("driver/unbind")))?;
    stage.host.expect_power("D0")?;
    bind(stage, "vfio-pci")?;
    // It allows its functions to sleep by itself.
    expect(stage, "power/control", "auto")?;
    falls_asleep(stage)?;
    set_and_expect(stage, "power/control", "on")?;
    expect(stage, "power_state", "D0")?;
    stage.host.expect_power("D0")?;
    stage.host.expect_events(&[Effect::Awake])?;
    set_and_expect(stage, "power/control", "auto")?;
    falls_asleep(stage)?;
    set_and_expect(stage, "d3cold_allowed", "1")?;
    stage.vm.run(&format!("echo {FUNCTION} >{}", sysfs("driver/unbind")))?;
    set_and_expect(stage, "power/control", "on")?;
    bind(stage, "")?;
    stage.vm.run(&until(&format!("test -b {DISK}")))?;
    expect(stage, "power_state", "D0")?;
    stage.host.expect_power("D0")?;
    stage.host.expect_events(&[Effect::Awake])?;
    stage.rig.fact("runtime_power", "D0 D3hot D0 D3hot D0");
    Ok(())
}

/// Binds the function to `driver`, or to the one that matches it.
fn bind(stage: &mut Stage<'_, '_>, driver: &str) -> Result<(), GuestError> {
    stage.vm.run(&format!("echo {driver} >{}", sysfs("driver_override")))?;
    stage.vm.run(&format!("echo {FUNCTION} >/sys/bus/pci/drivers_probe"))?;
    stage.vm.run(&until(&format!("test -e {}", sysfs("driver")))).map(drop)
}

/// Waits until the guest takes the function as asleep, and checks that it is.
fn falls_asleep(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    expect(stage, "power/runtime_status", "suspended")?;
    expect(stage, "power_state", "D3hot")?;
    stage.host.expect_power("D3hot")?;
    stage.host.expect_events(&[Effect::Asleep])
}

fn set_and_expect(stage: &mut Stage<'_, '_>, name: &str, value: &str) -> Result<(), GuestError> {
    stage.vm.run(&format!("echo {value} >{}", sysfs(name)))?;
    expect(stage, name, value)
}

/// Waits until the file `name` in the function's directory holds `value`: much of it is done in the background.
fn expect(stage: &mut Stage<'_, '_>, name: &str, value: &str) -> Result<(), GuestError> {
    let file = sysfs(name);
    let condition = format!("{{ read -r found <{file}; test \"$found\" = {value}; }}");
    stage.vm.run(&format!("{} || {{ cat {file}; exit 1; }}", until(&condition))).map(drop)
}

/// A command that waits for a condition to hold, for a minute and more.
fn until(condition: &str) -> String {
    format!("(for i in $(seq 600); do {condition} && exit 0; sleep 0.1; done; exit 1)")
}
