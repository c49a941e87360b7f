//! Why there is no function.

use std::path::PathBuf;

use rustix::io::Errno;
use thiserror::Error;

use crate::link::LinkError;
use crate::nvme::BringUpError;
use crate::picture::PictureError;
use crate::relay::dma::ReplayError;
use crate::relay::interrupts::FollowError;

/// Why a back end could not be put behind a function. [`OpenError::fix`] says what to do about it.
#[derive(Debug, Error)]
pub enum OpenError {
    /// There is no back end, or it does not speak the protocol.
    #[error("no back end at {path}: {error}")]
    Connect {
        /// Its socket.
        path: PathBuf,
        /// What the last attempt ended with.
        error: LinkError,
    },
    /// It does not say what it is.
    #[error("the back end does not say what it is: {0}")]
    Link(#[from] LinkError),
    /// It cannot be driven as an NVMe controller.
    #[error(transparent)]
    Driver(#[from] BringUpError),
    /// The controller before it cannot be made.
    #[error(transparent)]
    Build(models::nvme::BuildError),
    /// It does not take memory.
    #[error(transparent)]
    Memory(ReplayError),
    /// No function can be made of it.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The function before it cannot be made.
    #[error(transparent)]
    Forward(#[from] crate::forward::BuildError),
    /// Its interrupts cannot be listened to.
    #[error(transparent)]
    Interrupts(#[from] FollowError),
    /// It does not take memory or interrupts.
    #[error("the back end cannot be set up: {0}")]
    NotSetUp(String),
    /// Somebody follows the function's memory or interrupts already.
    #[error("the function's memory or interrupts are followed already")]
    Taken,
    /// The system has no descriptors or threads left.
    #[error("no descriptors or threads left: {0}")]
    System(#[from] Errno),
}

impl OpenError {
    /// What an operator can do.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            OpenError::Connect { path, .. } => {
                format!(
                    "start the server that listens on {}; it must be there first, since it decides what the function is",
                    path.display()
                )
            }
            OpenError::Driver(BringUpError::NotNvme(_)) => {
                String::from("set mode = \"passthrough\" or \"reset\": only NVMe controllers can be replayed")
            }
            OpenError::Picture(_) => String::from(
                "this server's function cannot be forwarded; an NVMe controller may still do in mode \"replay\"",
            ),
            OpenError::Driver(_) | OpenError::Link(_) | OpenError::Memory(_) | OpenError::NotSetUp(_) => {
                String::from(
                    "look into the server's own log; another client may have it, or it is no vfio-user server",
                )
            }
            OpenError::Build(_) => String::from("change the controller's options in the configuration"),
            OpenError::Taken => String::from("give the function one back end only"),
            OpenError::System(_) | OpenError::Forward(_) | OpenError::Interrupts(_) => {
                String::from("raise the limits of the daemon (LimitNOFILE, TasksMax)")
            }
        }
    }
}
