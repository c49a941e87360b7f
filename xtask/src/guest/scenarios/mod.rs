//! The scenarios: what a guest does with its device, and what must hold.

mod disk;
mod file_system;
mod freeze;
mod hotplug;
mod kill;
mod mapping;
mod power;
mod reboot;
mod restart;
mod stage;

use super::GuestError;
use super::rig::Rig;
use super::subject::Subject;
use std::fmt;

/// One thing a user of a virtual machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Scenario {
    /// Look at the function, make a file system, write and verify, mount again and verify again
    Disk,
    /// The guest reboots on the same server; its data is intact
    Reboot,
    /// QEMU leaves, a new machine attaches to the same server; the data is still there
    Restart,
    /// Reset the function and send it to sleep in every way that the guest has, while it writes and verifies
    Power,
    /// The guest maps a BAR; it is frozen, disabled, reset and taken away under its hands
    Mapping,
    /// The disk comes and goes under load: let go, pulled out, taken away from a guest that ignores the request
    Hotplug,
    /// The disk fails under load and is recovered, again and again; then once too often
    Freeze,
    /// The back end of a remote disk is killed under load, again and again; while the guest starts or leaves; and for another one
    Kill,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disk => "disk",
            Self::Reboot => "reboot",
            Self::Restart => "restart",
            Self::Power => "power",
            Self::Mapping => "mapping",
            Self::Hotplug => "hotplug",
            Self::Freeze => "freeze",
            Self::Kill => "kill",
        })
    }
}

impl Scenario {
    /// Every scenario, in the order to run them.
    pub(super) fn all() -> &'static [Self] {
        &[
            Self::Disk,
            Self::Reboot,
            Self::Restart,
            Self::Power,
            Self::Mapping,
            Self::Hotplug,
            Self::Freeze,
            Self::Kill,
        ]
    }

    /// The device that it is about.
    pub(super) fn subject(self) -> Subject {
        match self {
            Self::Disk | Self::Reboot | Self::Restart | Self::Power => Subject::Disk,
            Self::Mapping => Subject::EndpointTest,
            Self::Hotplug | Self::Freeze => Subject::HotDisk,
            Self::Kill => Subject::RemoteDisk,
        }
    }

    /// How often it goes round and round if nobody says; without a meaning for one that does not.
    pub(super) fn cycles(self) -> u32 {
        match self {
            // A cycle takes as long as a back end takes to be there again.
            Self::Kill => 5,
            _ => 20,
        }
    }

    /// Runs the scenario to its end.
    ///
    /// # Errors
    /// The first thing that went wrong.
    pub(super) fn run(self, rig: &mut Rig<'_>) -> Result<(), GuestError> {
        rig.progress(&format!("scenario {self}, device from {}", rig.source()));
        match self {
            Self::Disk => disk::run(rig),
            Self::Reboot => reboot::run(rig),
            Self::Restart => restart::run(rig),
            Self::Power => power::run(rig),
            Self::Mapping => mapping::run(rig),
            Self::Hotplug => hotplug::run(rig),
            Self::Freeze => freeze::run(rig),
            Self::Kill => kill::run(rig),
        }
    }
}
