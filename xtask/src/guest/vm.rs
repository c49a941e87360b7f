//! A virtual machine with a booted guest: QEMU, its QMP and the guest's shell.

use super::console::Console;
use super::deadline::{Deadline, GUEST};
use super::qemu::{Machine, Qemu};
use super::qmp::Qmp;
use super::subject::Subject;
use super::{GuestError, kernel_log};
use serde_json::json;

/// A running machine; dropping it kills QEMU.
#[derive(Debug)]
pub(super) struct Vm {
    // Dropped in this order: the channels close before QEMU is killed.
    console: Console,
    qmp: Qmp,
    qemu: Qemu,
    subject: Subject,
}

impl Vm {
    /// Starts a machine and waits until its guest has booted and found the device.
    ///
    /// # Errors
    /// What starting QEMU and waiting for the guest can give.
    pub(super) fn boot(machine: &Machine<'_>, subject: Subject) -> Result<Self, GuestError> {
        let (qemu, channels) = machine.start()?;
        let (console, qmp) = (Console::new(channels.console), Qmp::negotiate(channels.qmp)?);
        let mut vm = Self { console, qmp, qemu, subject };
        vm.wait_until_up()?;
        Ok(vm)
    }

    /// Runs a shell command in the guest and gives its output; see [`Console::run`].
    ///
    /// # Errors
    /// As [`Console::run`].
    pub(super) fn run(&mut self, command: &str) -> Result<String, GuestError> {
        self.console.run(command)
    }

    /// Starts a command that puts the guest to sleep; [`Vm::wake`] ends it.
    ///
    /// # Errors
    /// As [`Console::send`].
    pub(super) fn sleep(&mut self, command: &str) -> Result<u32, GuestError> {
        self.console.send(command)
    }

    /// Wakes the guest that the command `id` has put to sleep, and gives the command's output.
    ///
    /// # Errors
    /// As [`Console::run`].
    pub(super) fn wake(&mut self, id: u32, command: &str) -> Result<String, GuestError> {
        self.console.wake_and_finish(id, command)
    }

    /// The guest's kernel messages since its boot or the last call, which are then forgotten.
    ///
    /// # Errors
    /// As [`Console::run`].
    pub(super) fn take_kernel_log(&mut self) -> Result<String, GuestError> {
        self.run("dmesg -c")
    }

    /// Makes the guest restart through its own shutdown of the device, and waits until it is back.
    ///
    /// # Errors
    /// [`GuestError::TimedOut`], [`GuestError::Ended`].
    pub(super) fn reboot(&mut self) -> Result<(), GuestError> {
        self.console.send("reboot -f")?;
        self.qmp.wait_event("RESET", &Deadline::after(GUEST))?;
        self.wait_until_up()
    }

    /// Restarts the machine as its reset button does; [`Vm::wait_until_up`] waits for its guest.
    ///
    /// # Errors
    /// [`GuestError::TimedOut`], [`GuestError::Ended`], [`GuestError::Qmp`].
    pub(super) fn reset(&mut self) -> Result<(), GuestError> {
        self.qmp.execute("system_reset", json!({}))?;
        self.qmp.wait_event("RESET", &Deadline::after(GUEST)).map(drop)
    }

    /// Fails unless QEMU answers and its processors run.
    ///
    /// # Errors
    /// [`GuestError::Ended`] when QEMU is gone, [`GuestError::Check`], [`GuestError::TimedOut`].
    pub(super) fn check_running(&mut self) -> Result<(), GuestError> {
        let status = self.qmp.execute("query-status", json!({}))?;
        if status["status"] == "running" {
            return Ok(());
        }
        Err(GuestError::Check(format!("the machine does not run: {status}")))
    }

    /// Fails if the guest's kernel has crashed or hung since the last call; what else it says is forgotten.
    ///
    /// # Errors
    /// [`GuestError::Check`] with the messages, or as [`Console::run`].
    pub(super) fn check_not_crashed(&mut self) -> Result<(), GuestError> {
        let log = self.take_kernel_log()?;
        let crashes = kernel_log::crashes(&log).join("\n");
        if crashes.is_empty() {
            return Ok(());
        }
        Err(GuestError::Check(format!("the guest's kernel is in trouble:\n{crashes}\n{log}")))
    }

    /// Ends QEMU as an operator would, without a word to the guest.
    ///
    /// # Errors
    /// [`GuestError::Check`] when QEMU's exit status is not 0, [`GuestError::TimedOut`].
    pub(super) fn quit(mut self) -> Result<(), GuestError> {
        self.qmp.execute("quit", json!({}))?;
        self.expect_end("quit")
    }

    /// Has the guest switch the machine off, and checks that QEMU ends well.
    ///
    /// # Errors
    /// [`GuestError::Check`] when QEMU's exit status is not 0, [`GuestError::TimedOut`], [`GuestError::Ended`].
    pub(super) fn power_off(mut self) -> Result<(), GuestError> {
        self.console.send("poweroff -f")?;
        self.qmp.wait_event("SHUTDOWN", &Deadline::after(GUEST))?;
        self.expect_end("the guest's shutdown")
    }

    fn expect_end(&mut self, after: &str) -> Result<(), GuestError> {
        let status = self.qemu.wait()?;
        if status.success() {
            return Ok(());
        }
        Err(GuestError::Check(format!("QEMU ended with {status} after {after}")))
    }

    /// Fails if the guest's kernel complained about the disk since its last boot: a lost interrupt, for one, shows
    /// only there, since the driver finds the completion by itself after 30 s.
    ///
    /// # Errors
    /// [`GuestError::Check`] with the complaints.
    pub(super) fn check_kernel_log(&mut self) -> Result<(), GuestError> {
        let complaints = kernel_log::complaints(&self.run("dmesg")?).join("\n");
        if complaints.is_empty() {
            Ok(())
        } else {
            Err(GuestError::Check(format!("the guest's kernel says:\n{complaints}")))
        }
    }

    /// Waits until the guest has booted and found the device.
    ///
    /// # Errors
    /// [`GuestError::TimedOut`], [`GuestError::Ended`], or as [`Console::run`].
    pub(super) fn wait_until_up(&mut self) -> Result<(), GuestError> {
        self.console.wait_ready()?;
        // The guest has no udev to wait with.
        let found = format!(
            "for i in $(seq 600); do {} && exit 0; sleep 0.1; done; dmesg | tail -n 30; exit 1",
            self.subject.is_found()
        );
        self.run(&found).map(drop)
    }
}
