//! What is done to a back end.

use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use thiserror::Error;

use crate::link::{Link, Loss};

/// Something behind a function that can be cut off, made to hang, or killed. Each call is from any thread, and waits for nobody.
pub trait BackEnd: Send + Sync {
    /// The connection gets out of step: what comes from it makes no sense any more, so it is given up.
    ///
    /// # Errors
    /// [`BackEndError::Away`]
    fn desync(&self) -> Result<(), BackEndError>;

    /// No reply of it arrives any more. Whoever waits for one finds that out when its time is over.
    ///
    /// # Errors
    /// [`BackEndError::Away`]
    fn hang(&self) -> Result<(), BackEndError>;

    /// Kills the process, as an operator's `kill -9` does.
    ///
    /// # Errors
    /// [`BackEndError`]
    fn kill(&self) -> Result<(), BackEndError>;
}

/// Why a fault of the back end had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BackEndError {
    /// It is gone already, and not back yet.
    #[error("the back end is away")]
    Away,
    /// The kernel does not say which process it is.
    #[error("the back end's process is not known: end it by hand")]
    Unknown,
    /// It is this process, or the one that starts all others (which has made the socket for somebody else).
    #[error("process {0} listens for the back end, and is not one to be killed")]
    Spared(i32),
    /// The kernel refused.
    #[error("the back end's process cannot be killed: {0}")]
    Failed(Errno),
}

impl BackEnd for Link {
    fn desync(&self) -> Result<(), BackEndError> {
        self.is_there()?;
        self.cut(Loss::Nonsense("out of step (injected)"));
        Ok(())
    }

    fn hang(&self) -> Result<(), BackEndError> {
        self.is_there()?;
        Link::hang(self);
        Ok(())
    }

    fn kill(&self) -> Result<(), BackEndError> {
        self.is_there()?;
        let peer = self.peer();
        let (Some(pid), Some(process)) = (peer.pid, &peer.pidfd) else { return Err(BackEndError::Unknown) };
        if is_spared(pid) {
            return Err(BackEndError::Spared(pid));
        }
        match pidfd_send_signal(process, Signal::KILL) {
            Ok(()) => Ok(()),
            Err(Errno::SRCH) => Err(BackEndError::Away),
            Err(errno) => Err(BackEndError::Failed(errno)),
        }
    }
}

impl Link {
    fn is_there(&self) -> Result<(), BackEndError> {
        if self.loss().is_some() { Err(BackEndError::Away) } else { Ok(()) }
    }
}

/// This process, and the first of all.
pub(super) fn is_spared(pid: i32) -> bool {
    pid <= 1 || pid == rustix::process::Pid::as_raw(Some(rustix::process::getpid()))
}
