//! A machine of QEMU's, as far as devices come and go there.
//!
//! [`Vm::plug`] and [`Vm::unplug`] carry an operation to its end; [`Vm::ask_to_let_go`] is one request of the many that an
//! unplug may take, for who has a ladder of his own. What the guest does is the guest's: an unplug ends when the device is
//! gone, or at its deadline with the reason that is known.
//!
//! # Concurrency
//! A [`Vm`] is shared by all who have devices there. Every call may wait, takes the token, and holds no lock while it
//! waits; see [`monitor`] for how they share the connection.

mod ask;
mod id;
mod look;
mod monitor;
mod news;
mod pace;
mod plug;
#[cfg(test)]
mod tests;
mod unplug;

pub use ask::Asked;
pub use id::{DeviceId, InvalidId};
pub use look::{Plugged, Status};
pub use pace::Pace;
pub use plug::{Device, PlugError, PlugOutcome};
pub use unplug::{How, Silence, Step, UnplugError, Unplugged};

use monitor::Monitor;
use std::path::{Path, PathBuf};

/// A machine, known by a name and by the socket of its monitor.
pub struct Vm {
    name: String,
    monitor: Monitor,
}

impl Vm {
    /// A machine whose monitor listens at `qmp`. Nothing is connected to until something is asked.
    pub fn new(name: impl Into<String>, qmp: impl Into<PathBuf>) -> Vm {
        Vm { name: name.into(), monitor: Monitor::new(qmp.into()) }
    }

    /// What Portcullis calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The socket of its monitor.
    pub fn qmp(&self) -> &Path {
        self.monitor.path()
    }
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm").field("name", &self.name).field("qmp", &self.qmp()).finish()
    }
}
