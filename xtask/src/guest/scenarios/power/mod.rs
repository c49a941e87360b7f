//! *power*: resets and power states from inside the guest, while it writes and verifies. Its I/O pauses and goes on;
//! nothing is lost, nothing is mixed up, and the host side sees what the guest did.
//!
//! One boot for each interrupt mode. MSI is the default and gets all of it; what the others leave out has nothing to do
//! with interrupts, and each time-out of the driver takes seconds.
//!
//! What a guest can expect of Linux's driver: a reset through sysfs and a suspend of the guest are told to it, so its
//! commands just wait. What is done behind its back (`setpci`) it finds out by its own time-out, and it recovers if
//! the function is back in D0, at its old address, when it resets the controller: a controller that is silent even then
//! is given up, and with it the disk. So the function may sleep longer than one time-out, in which the driver only
//! tries to abort its commands, and not longer than two.

mod host;
mod idle;
mod load;
mod resets;
mod sleep;

use crate::guest::GuestError;
use crate::guest::address::FUNCTION;
use crate::guest::kernel_log;
use crate::guest::platform::Platform;
use crate::guest::rig::Rig;
use crate::guest::source::Interrupt;
use crate::guest::vm::Vm;
use host::Host;
use std::time::Instant;

/// The driver's time-out for I/O while something happens behind its back, in milliseconds. Its own 30 s would make
/// each such step take 30 s; much less, and a busy host's slow I/O would count as a time-out.
const SHORT_TIMEOUT_MS: u32 = 2000;

/// Runs the scenario.
///
/// # Errors
/// The first thing that went wrong.
pub(super) fn run(rig: &mut Rig<'_>) -> Result<(), GuestError> {
    let whole = rig.irq() == Interrupt::Msi;
    let vm = rig.boot_on(Platform::Managed)?;
    let host = Host::connect(rig)?;
    let mut stage = Stage { rig, vm, host, recoveries: 0 };
    stage.rig.progress("write what must survive, then write and verify without end");
    load::write_kept(&mut stage.vm)?;
    stage.check_quiet("before the first reset")?;
    load::start(&mut stage.vm)?;
    resets::through_sysfs(&mut stage, if whole { 2 } else { 1 })?;
    sleep::suspend_to_idle(&mut stage)?;
    if stage.rig.source().keeps_bars() {
        behind_the_drivers_back(&mut stage, whole)?;
    }
    let passes = load::stop(&mut stage.vm)?;
    stage.rig.fact("passes", passes);
    stage.check_recovered("until fio ended", &[])?;
    idle::run(&mut stage)?;
    stage.rig.progress("verify what was written before all that");
    load::verify_kept(&mut stage.vm)?;
    stage.check_quiet("at the end")?;
    let recoveries = stage.recoveries;
    stage.rig.fact("driver_recoveries", recoveries);
    stage.vm.quit()
}

/// The steps that the driver is not told of.
fn behind_the_drivers_back(stage: &mut Stage<'_, '_>, whole: bool) -> Result<(), GuestError> {
    stage.driver_timeout(SHORT_TIMEOUT_MS)?;
    resets::behind_the_drivers_back(stage)?;
    if whole {
        sleep::briefly(stage)?;
    }
    sleep::past_the_drivers_timeout(stage)
}

/// What the steps work on: the guest, and the host's view of it.
struct Stage<'a, 'lab> {
    rig: &'a mut Rig<'lab>,
    vm: Vm,
    host: Host,
    /// How often the driver had to recover its controller by itself.
    recoveries: u64,
}

impl Stage<'_, '_> {
    /// Does `step` while the load runs, and waits until I/O goes on. Gives the time from the one to the other, in
    /// milliseconds.
    fn interrupt(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<(), GuestError>,
    ) -> Result<u64, GuestError> {
        let start = Instant::now();
        step(self)?;
        load::wait_until_it_goes_on(&mut self.vm)?;
        self.host.expect_power("D0")?;
        Ok(milliseconds_since(start))
    }

    /// Sets how long the driver waits for a command, from now on.
    fn driver_timeout(&mut self, milliseconds: u32) -> Result<(), GuestError> {
        self.vm.run(&format!("echo {milliseconds} >/sys/block/nvme0n1/queue/io_timeout")).map(drop)
    }

    /// Fails if the kernel has complained since the last look.
    fn check_quiet(&mut self, when: &str) -> Result<(), GuestError> {
        let log = self.vm.take_kernel_log()?;
        no_complaints(&kernel_log::complaints(&log), when)
    }

    /// As [`Stage::check_quiet`], but the driver may have found its controller silent and have recovered it; gives
    /// how often it did. Messages with any of the words in `caused` are the step's own doing.
    fn check_recovered(&mut self, when: &str, caused: &[&str]) -> Result<u64, GuestError> {
        let log = self.vm.take_kernel_log()?;
        let mut complaints = kernel_log::complaints_beyond_recovery(&log);
        complaints.retain(|line| !caused.iter().any(|words| line.contains(words)));
        no_complaints(&complaints, when)?;
        let recoveries = kernel_log::recoveries(&log) as u64;
        self.recoveries += recoveries;
        Ok(recoveries)
    }

    /// The 16-bit register `register`, in setpci's syntax.
    fn register(&mut self, register: &str) -> Result<u16, GuestError> {
        let text = self.vm.run(&format!("setpci -s {FUNCTION} {register}.w"))?;
        u16::from_str_radix(text.trim(), 16)
            .map_err(|_| GuestError::Check(format!("setpci says that {register} is {text}")))
    }
}

fn no_complaints(complaints: &[&str], when: &str) -> Result<(), GuestError> {
    if complaints.is_empty() {
        return Ok(());
    }
    Err(GuestError::Check(format!("{when}, the guest's kernel says:\n{}", complaints.join("\n"))))
}

fn milliseconds_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A path in the function's directory in the guest's sysfs.
fn sysfs(name: &str) -> String {
    format!("/sys/bus/pci/devices/{FUNCTION}/{name}")
}
