//! The command that starts a back end again.
//!
//! A [`Restarter`] starts it at most once at a time: while the process that it started still runs, it is either on its way to serve
//! or is the server. It runs without a shell, in a process group of its own (a signal to the daemon's terminal does not reach it), with
//! nothing to read and nobody who reads what it writes.
//!
//! What this module does **not** do: it does not wait for the command, whose success is seen by connecting; and it never ends what it
//! has started, which may serve others as well. A process that outlives its restarter is left behind, and waited for (so that it does
//! not stay as a zombie) when any other command is started or left behind.
//!
//! # Concurrency
//! A restarter belongs to one thread. Those left behind are in one list of the process, behind a leaf.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use gate::lock::Leaf;

use crate::config::RestartCommand;
use crate::ranks;

/// Processes that have outlived their restarters. Rank: 105, back end's life; a leaf, held to look whether they have ended.
static LEFT_BEHIND: OnceLock<Leaf<ranks::Life, Vec<Child>>> = OnceLock::new();

/// What became of a request to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It has been started.
    Now {
        /// Its process ID.
        pid: u32,
    },
    /// The one that was started before has not ended.
    StillRuns {
        /// Its process ID.
        pid: u32,
    },
}

/// Starts a command, one at a time.
#[derive(Debug)]
pub struct Restarter {
    command: RestartCommand,
    running: Option<Child>,
}

impl Restarter {
    /// For this command. Nothing is started.
    #[must_use]
    pub fn new(command: RestartCommand) -> Restarter {
        Restarter { command, running: None }
    }

    /// Starts the command, unless it still runs. Returns once its program has been loaded.
    ///
    /// # Errors
    /// The program is not there or must not be executed, or the system has no processes left.
    pub fn start(&mut self) -> io::Result<Started> {
        reap_left_behind();
        self.reap();
        if let Some(child) = &self.running {
            return Ok(Started::StillRuns { pid: child.id() });
        }
        let child = Command::new(&self.command.program)
            .args(&self.command.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pid = child.id();
        self.running = Some(child);
        Ok(Started::Now { pid })
    }

    /// Looks whether the command has ended, and how. Never waits.
    pub fn reap(&mut self) -> Option<ExitStatus> {
        let ended = self.running.as_mut().and_then(has_ended);
        if ended.is_some() {
            self.running = None;
        }
        ended
    }
}

impl Drop for Restarter {
    fn drop(&mut self) {
        self.reap();
        reap_left_behind();
        if let Some(child) = self.running.take() {
            left_behind().lock().push(child);
        }
    }
}

fn left_behind() -> &'static Leaf<ranks::Life, Vec<Child>> {
    LEFT_BEHIND.get_or_init(|| Leaf::new(Vec::new()))
}

fn reap_left_behind() {
    left_behind().lock().retain_mut(|child| has_ended(child).is_none());
}

/// An error means that somebody else has waited for it: it has ended, and nobody can tell how.
fn has_ended(child: &mut Child) -> Option<ExitStatus> {
    child.try_wait().unwrap_or_else(|_| Some(ExitStatus::default()))
}
