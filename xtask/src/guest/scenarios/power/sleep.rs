//! D3hot and back to D0 while the load runs: by PMCSR behind the driver's back, and by a suspend of the whole guest.

use super::host::Effect;
use super::{Stage, load, milliseconds_since};
use crate::guest::GuestError;
use crate::guest::address::FUNCTION;
use crate::guest::source::Interrupt;
use serde_json::json;
use std::time::Instant;

/// The power state in PMCSR, in setpci's syntax.
const PMCSR: &str = "CAP_PM+4";

/// How many I/Os may still be counted while the function sleeps: those that had ended, but not in the guest's books.
const STRAGGLERS: u64 = 32;

/// D3hot, and D0 at once: what was in flight is lost, since the function comes back reset, and the driver finds that
/// out by its time-out (PWR-05).
///
/// # Errors
/// The first thing that went wrong.
pub(super) fn briefly(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    behind_the_drivers_back(stage, "d3hot_briefly", "true")
}

/// D3hot until the driver's commands have timed out and it tries to abort them, then D0.
///
/// # Errors
/// The first thing that went wrong.
pub(super) fn past_the_drivers_timeout(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    behind_the_drivers_back(stage, "d3hot_past_timeout", "dmesg | grep -q 'timeout, aborting'")
}

fn behind_the_drivers_back(stage: &mut Stage<'_, '_>, fact: &str, until: &str) -> Result<(), GuestError> {
    let mut asleep_ms = 0;
    let pause = stage.interrupt(|stage| {
        let start = Instant::now();
        quieten_pin(stage)?;
        stage.vm.run(&format!("setpci -s {FUNCTION} {PMCSR}.w=3:3"))?;
        expect_power(stage, 3)?;
        stage.host.expect_power("D3hot")?;
        stage.host.expect_events(&[Effect::Asleep])?;
        let before = load::completed(&mut stage.vm)?;
        // One command: between the end of the wait and D0 the driver's next time-out must not come.
        let wait = load::until(until);
        let asleep = stage
            .vm
            .run(&format!("({wait}) && {} && setpci -s {FUNCTION} {PMCSR}.w=0:3", load::COUNT_SHOWN))?;
        let during = load::count_in(&asleep)? - before;
        if during > STRAGGLERS {
            return Err(GuestError::Check(format!(
                "{during} reads and writes ended while the disk was in D3hot"
            )));
        }
        expect_power(stage, 0)?;
        asleep_ms = milliseconds_since(start);
        stage.host.expect_events(&[Effect::Awake])
    })?;
    // What ended after the pin was disabled is found when it times out.
    let caused: &[&str] = if stage.rig.irq() == Interrupt::Intx { &["completion polled"] } else { &[] };
    let recoveries = stage.check_recovered("after D3hot", caused)?;
    if recoveries == 0 {
        return Err(GuestError::Check("the driver noticed nothing of D3hot".into()));
    }
    let found = json!({"asleep_ms": asleep_ms, "pause_ms": pause, "recoveries": recoveries});
    stage.rig.fact(fact, found);
    Ok(())
}

/// Disables the pin, as Linux does before it powers a function down. QEMU lowers the pin of a vfio device only when a BAR
/// is accessed, which in D3hot cannot be: if the pin is high when the function falls asleep it stays high, and the guest
/// gives its interrupt up ("nobody cared"). Messages have no such state.
fn quieten_pin(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    if stage.rig.irq() != Interrupt::Intx {
        return Ok(());
    }
    stage.vm.run(&format!("setpci -s {FUNCTION} COMMAND.w=400:400")).map(drop)
}

/// Checks that PMCSR reads as the power state that was written to it (PWR-06).
fn expect_power(stage: &mut Stage<'_, '_>, state: u16) -> Result<(), GuestError> {
    let read = stage.register(PMCSR)? & 3;
    if read == state {
        return Ok(());
    }
    Err(GuestError::Check(format!("PMCSR shows the state {read} after {state} was written to it")))
}

/// Suspends the guest to idle under load: its kernel stops fio, has the driver shut the controller down, and sends the
/// function to D3hot; input on the serial line wakes it. The driver knows, so nothing may time out, however long it
/// takes. Without a daemon there is nobody to say when the guest sleeps, and nothing is done.
///
/// # Errors
/// The first thing that went wrong.
pub(super) fn suspend_to_idle(stage: &mut Stage<'_, '_>) -> Result<(), GuestError> {
    if !stage.host.is_connected() {
        return Ok(());
    }
    stage.vm.run("echo enabled >/sys/class/tty/ttyS1/power/wakeup")?;
    let pause = stage.interrupt(|stage| {
        let command = "echo freeze >/sys/power/state";
        let id = stage.vm.sleep(command)?;
        stage.host.wait_for_power("D3hot")?;
        stage.host.expect_events(&[Effect::Asleep])?;
        stage.vm.wake(id, command).map(drop)
    })?;
    stage.host.expect_events(&[Effect::Awake])?;
    stage.rig.fact("suspend_to_idle", json!({"pause_ms": pause}));
    stage.check_quiet("after a suspend to idle")
}
