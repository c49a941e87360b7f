//! Resets while the load runs: through sysfs, where Linux tells the driver first, and by the function's own bit, of
//! which the driver learns only from its time-out.

use super::host::Effect;
use super::{Stage, sysfs};
use crate::guest::GuestError;
use crate::guest::address::FUNCTION;
use serde_json::json;

/// Resets through sysfs, by the order of methods that Linux chose and by each method that it offers (RST-01, RST-03,
/// RST-04). The driver is told before and after, so that nothing may time out.
///
/// # Errors
/// The first thing that went wrong.
pub(super) fn through_sysfs(stage: &mut Stage<'_, '_>, rounds: u32) -> Result<(), GuestError> {
    let offered = stage.vm.run(&format!("cat {}", sysfs("reset_method")))?.trim().to_owned();
    stage.rig.fact("reset_methods", offered.as_str());
    if !offered.split(' ').any(|method| method == "flr") {
        return Err(GuestError::Check(format!("the guest can reset the function by {offered} only")));
    }
    for method in std::iter::once("default").chain(offered.split(' ')) {
        stage.vm.run(&format!("echo {method} >{}", sysfs("reset_method")))?;
        for _ in 0..rounds {
            let pause =
                stage.interrupt(|stage| stage.vm.run(&format!("echo 1 >{}", sysfs("reset"))).map(drop))?;
            stage.rig.fact("sysfs_reset", json!({"method": method, "pause_ms": pause}));
            stage.host.expect_events(effects_of(method))?;
        }
        stage.check_quiet(&format!("after a reset by {method}"))?;
    }
    stage.vm.run(&format!("echo default >{}", sysfs("reset_method"))).map(drop)
}

/// What a method does to the function. The first that is offered is the default's.
fn effects_of(method: &str) -> &'static [Effect] {
    match method {
        "bus" => &[Effect::DeviceReset],
        "pm" => &[Effect::Asleep, Effect::Awake],
        _ => &[Effect::FunctionLevelReset],
    }
}

/// A function level reset that nobody told the driver of: it finds COMMAND clear and its queues gone, and resets the
/// controller when its commands have timed out (RST-05).
///
/// # Errors
/// The first thing that went wrong.
pub(super) fn behind_the_drivers_back(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    let pause = stage.interrupt(|stage| {
        stage.vm.run(&format!("setpci -s {FUNCTION} CAP_EXP+8.w=8000:8000"))?;
        let command = stage.register("COMMAND")?;
        if command != 0 {
            return Err(GuestError::Check(format!("COMMAND is {command:#06x} after a function level reset")));
        }
        Ok(())
    })?;
    stage.host.expect_events(&[Effect::FunctionLevelReset])?;
    let recoveries = stage.check_recovered("after a function level reset", &[])?;
    if recoveries == 0 {
        return Err(GuestError::Check("the driver noticed nothing of a function level reset".into()));
    }
    stage.rig.fact("unannounced_flr", json!({"pause_ms": pause, "recoveries": recoveries}));
    Ok(())
}
