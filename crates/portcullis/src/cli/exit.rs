//! Exit codes: a promise to scripts, so they only ever grow.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed; stderr says why.
    Failed = 1,
    /// The command line or the configuration file is wrong.
    Usage = 2,
    /// No daemon answers on the control socket.
    Unreachable = 3,
    /// No such function or slot.
    NotFound = 4,
    /// Refused for now: busy, in use, or not ready before the deadline. Trying again may help.
    Busy = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command's failure: what stderr says and how the process ends.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What is wrong and what to do, possibly several lines.
    pub message: String,
}

impl Failure {
    /// A failure with `message`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl From<std::io::Error> for Failure {
    /// Writing the output failed. Nobody reading any more (`portcullis dump | head`) is no failure.
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::new(Exit::Done, "")
        } else {
            Self::new(Exit::Failed, format!("cannot write the output: {error}"))
        }
    }
}
