//! The operator's view of what the guest does, and what the operator does to the guest.

use super::bar::Contents;
use crate::guest::GuestError;
use crate::guest::control::{Admission, Control, Shared};
use crate::guest::daemon::SLOT;
use crate::guest::rig::Rig;
use crate::guest::subject::MEMORY_BYTES;

/// The daemon's control socket.
pub(super) struct Host {
    control: Control,
}

impl Host {
    /// Connects.
    ///
    /// # Errors
    /// As [`Control::connect`], or [`GuestError::Check`] without a daemon.
    pub(super) fn connect(rig: &Rig<'_>) -> Result<Self, GuestError> {
        let control = rig.control()?.ok_or_else(|| GuestError::Check("there is no daemon".into()))?;
        Ok(Self { control })
    }

    /// Freezes, thaws or revokes the function, and checks that what the guest has mapped shows it.
    ///
    /// # Errors
    /// As [`Control::admit`], or [`GuestError::Check`].
    pub(super) fn admit(&mut self, admission: Admission) -> Result<(), GuestError> {
        self.control.admit(admission, SLOT)?;
        self.expect_mapping(match admission {
            Admission::Freeze => "frozen",
            Admission::Thaw => "live",
            Admission::Revoke => "gone",
        })
    }

    /// Fails unless the client has been given the BAR to map, all of it and nothing else, and it shows `state`.
    ///
    /// # Errors
    /// [`GuestError::Check`], or as [`Control::shared`].
    pub(super) fn expect_mapping(&mut self, state: &str) -> Result<(), GuestError> {
        let shared = self.control.shared(SLOT)?;
        let expected = Shared { region: 2, size: MEMORY_BYTES, state: state.into() };
        if shared == [expected] {
            return Ok(());
        }
        Err(GuestError::Check(format!("the daemon shows the mappings {shared:?}, not one that is {state}")))
    }

    /// Fails unless the device's memory begins as `contents` does.
    ///
    /// # Errors
    /// [`GuestError::Check`], or as [`Host::memory`].
    pub(super) fn expect_memory(&mut self, contents: Contents) -> Result<(), GuestError> {
        let (found, expected) = (self.memory()?, contents.word(0));
        if found == expected {
            return Ok(());
        }
        Err(GuestError::Check(format!("the device's memory begins with {found:#018x}, not {expected:#018x}")))
    }

    /// The first eight bytes of the device's memory, as the device has it.
    ///
    /// # Errors
    /// As [`Control::device_fact`], or [`GuestError::Daemon`] when they are not told as a number.
    pub(super) fn memory(&mut self) -> Result<u64, GuestError> {
        let text = self.control.device_fact(SLOT, "memory_start")?;
        let digits = text.split_whitespace().next().unwrap_or_default().trim_start_matches("0x");
        u64::from_str_radix(digits, 16)
            .map_err(|_| GuestError::Daemon(format!("the device's memory is told as `{text}`")))
    }
}
