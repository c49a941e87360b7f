//! A child process that never outlives its owner.

use super::deadline::Deadline;
use super::lines::wait_readable;
use super::{During, GuestError};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// A running child; dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    child: Child,
    /// Readable once the child has ended.
    pidfd: OwnedFd,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with no input and both outputs appended to `log`.
    ///
    /// # Errors
    /// An I/O error.
    pub(super) fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self, GuestError> {
        let opened = File::options().create(true).append(true).open(log);
        let file = opened.during(|| format!("create {}", log.display()))?;
        let again = file.try_clone().during(|| "duplicate a descriptor".into())?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(again).spawn();
        let mut child = child.during(|| format!("start {name}"))?;
        // A child of this process that nobody has waited for: its id cannot be another's by now.
        let pidfd = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                kill(&mut child);
                return Err(error).during(|| format!("watch {name}"));
            }
        };
        Ok(Self { name: name.into(), child, pidfd, log: log.into() })
    }

    /// Sends a signal; a child that has ended already is no error.
    pub(super) fn signal(&self, signal: Signal) {
        // The only failure is that there is nobody left to signal, which waiting will tell.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// How the child ended, if it has.
    ///
    /// # Errors
    /// An I/O error.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, GuestError> {
        self.child.try_wait().during(|| format!("wait for {}", self.name))
    }

    /// Waits until the child ends.
    ///
    /// # Errors
    /// [`GuestError::TimedOut`], or an I/O error.
    pub(super) fn wait(&mut self, deadline: &Deadline) -> Result<ExitStatus, GuestError> {
        wait_readable(&self.pidfd, deadline, &|| format!("{} to end", self.name))?;
        self.child.wait().during(|| format!("wait for {}", self.name))
    }

    /// What the child has written so far; empty if that cannot be read.
    pub(super) fn output(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

/// Kills and reaps; both fail only when the child is gone already.
fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
