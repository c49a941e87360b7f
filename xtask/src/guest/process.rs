//! A child process that never outlives its owner.

use super::deadline::Deadline;
use super::lines::wait_readable;
use super::{During, GuestError};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How long a child may take to stand still: a system call that cannot be interrupted ends first.
const STANDSTILL: Duration = Duration::from_secs(10);

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

    /// Its id, which is another process's only after this has been waited for.
    pub(super) fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal; a child that has ended already is no error.
    pub(super) fn signal(&self, signal: Signal) {
        // The only failure is that there is nobody left to signal, which waiting will tell.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Makes the child stand still, all threads of it, until [`Process::go_on`]. There is nothing to poll for that, so
    /// this looks every millisecond.
    ///
    /// # Errors
    /// [`GuestError::Ended`] when there is no child any more, [`GuestError::TimedOut`], or an I/O error.
    pub(super) fn stand_still(&self) -> Result<(), GuestError> {
        self.signal(Signal::STOP);
        let deadline = Deadline::after(STANDSTILL);
        // What is found stays to be found by whoever reaps the child.
        let options =
            WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        loop {
            let found = waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
            match found.during(|| format!("wait for {} to stand still", self.name))? {
                Some(status) if status.stopped() => return Ok(()),
                Some(_) => return Err(GuestError::Ended(self.name.clone())),
                None => {}
            }
            deadline.left(&|| format!("{} to stand still", self.name))?;
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends [`Process::stand_still`].
    pub(super) fn go_on(&self) {
        self.signal(Signal::CONT);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(directory: &Path, script: &str) -> Process {
        Process::spawn("sh", Command::new("sh").args(["-c", script]), &directory.join("log")).unwrap()
    }

    #[test]
    fn a_child_that_stands_still_does_nothing_and_goes_on_where_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = shell(directory.path(), "while :; do echo x; done");
        let soon = || Deadline::after(Duration::from_secs(60));
        let grows = |child: &Process, from: usize| {
            let deadline = soon();
            while child.output().len() <= from {
                deadline.left(&|| "output".into()).unwrap();
                std::thread::yield_now();
            }
        };
        grows(&child, 0);
        child.stand_still().unwrap();
        let written = child.output().len();
        assert_eq!(child.output().len(), written);
        child.go_on();
        grows(&child, written);
        child.signal(Signal::TERM);
        assert!(!child.wait(&soon()).unwrap().success());
    }

    #[test]
    fn a_child_that_has_ended_cannot_stand_still() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = shell(directory.path(), "exit 7");
        wait_readable(&child.pidfd, &Deadline::after(Duration::from_secs(60)), &|| "sh".into()).unwrap();
        assert!(matches!(child.stand_still(), Err(GuestError::Ended(name)) if name == "sh"));
        assert_eq!(child.ended().unwrap().unwrap().code(), Some(7), "its status is still there");
    }
}
