//! Error events, and what a machine makes of them (ZP-06, ZP-07).

use crate::handle::Handle;
use std::fmt;

/// The code of an error event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode(pub u16);

/// Who would have to take part in a recovery, and how things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// The device is marked failed already.
    Failed,
    /// A consumer outside has the function.
    PassedThrough,
    /// Nobody has it, or a driver that does not know what to do.
    Unprepared,
    /// A driver that is told of errors, resets and the end of them.
    Driver,
}

/// What is to be done about an error event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorReaction {
    /// Nothing: it is about what the function was before.
    StaleHandle,
    /// Nothing: it is about counters.
    MeasurementOnly,
    /// Nothing: the device is given up already.
    AlreadyFailed,
    /// Give the device up.
    PermanentFailure,
    /// Freeze it, and leave it to its consumer, who finds it frozen: it cannot be recovered without the consumer's doing.
    LeftToUser,
    /// Freeze it, and give it up: nobody could go on where it stopped.
    CannotRecover,
    /// Freeze it, and recover it.
    Recover,
}

impl ErrorCode {
    /// The device, or the way to it, is in error, and recovery is tried.
    pub const ERROR: ErrorCode = ErrorCode(0x003a);
    /// The device is in permanent error.
    pub const PERMANENT: ErrorCode = ErrorCode(0x003b);
    /// A recovery has failed.
    pub const RECOVERY_FAILED: ErrorCode = ErrorCode(0x0040);

    /// Whether it says that the device is lost for good.
    #[must_use]
    pub const fn is_permanent(self) -> bool {
        matches!(self, ErrorCode::PERMANENT | ErrorCode::RECOVERY_FAILED)
    }

    /// Whether it is about the function's counters only.
    #[must_use]
    pub const fn is_measurement(self) -> bool {
        matches!(self.0, 0x002a..=0x002c)
    }

    /// What is to be done when the function has handle `current`, and the event is about `named`. `user`: asked for last.
    #[must_use]
    pub fn react(self, current: Handle, named: Handle, user: User) -> ErrorReaction {
        if current.is_none() || current != named {
            return ErrorReaction::StaleHandle;
        }
        if self.is_measurement() {
            return ErrorReaction::MeasurementOnly;
        }
        match user {
            User::Failed => ErrorReaction::AlreadyFailed,
            _ if self.is_permanent() => ErrorReaction::PermanentFailure,
            User::PassedThrough => ErrorReaction::LeftToUser,
            User::Unprepared => ErrorReaction::CannotRecover,
            User::Driver => ErrorReaction::Recover,
        }
    }
}

/// The code, with `0x`.
impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorReaction as Do;

    const NOW: Handle = Handle::from_bits(0x8000_1001);
    const BEFORE: Handle = Handle::from_bits(0x8000_0001);

    /// ZP-06 and ZP-07, row by row: code, and what is done when the device has failed, is passed through, has nobody prepared, or
    /// has a driver.
    const TABLE: [(u16, Do, Do, Do, Do); 8] = [
        (0x002a, Do::MeasurementOnly, Do::MeasurementOnly, Do::MeasurementOnly, Do::MeasurementOnly),
        (0x002b, Do::MeasurementOnly, Do::MeasurementOnly, Do::MeasurementOnly, Do::MeasurementOnly),
        (0x002c, Do::MeasurementOnly, Do::MeasurementOnly, Do::MeasurementOnly, Do::MeasurementOnly),
        (0x003b, Do::AlreadyFailed, Do::PermanentFailure, Do::PermanentFailure, Do::PermanentFailure),
        (0x0040, Do::AlreadyFailed, Do::PermanentFailure, Do::PermanentFailure, Do::PermanentFailure),
        (0x003a, Do::AlreadyFailed, Do::LeftToUser, Do::CannotRecover, Do::Recover),
        (0x0029, Do::AlreadyFailed, Do::LeftToUser, Do::CannotRecover, Do::Recover),
        (0x002d, Do::AlreadyFailed, Do::LeftToUser, Do::CannotRecover, Do::Recover),
    ];

    #[test]
    fn every_error_event_has_its_reaction_for_every_user() {
        for (code, failed, passed_through, unprepared, driver) in TABLE {
            let code = ErrorCode(code);
            assert_eq!(code.react(NOW, NOW, User::Failed), failed, "{code}");
            assert_eq!(code.react(NOW, NOW, User::PassedThrough), passed_through, "{code}");
            assert_eq!(code.react(NOW, NOW, User::Unprepared), unprepared, "{code}");
            assert_eq!(code.react(NOW, NOW, User::Driver), driver, "{code}");
        }
    }

    #[test]
    fn an_error_event_with_a_stale_handle_is_ignored_whatever_it_says() {
        let users = [User::Failed, User::PassedThrough, User::Unprepared, User::Driver];
        for (code, user) in TABLE.iter().flat_map(|row| users.map(|user| (ErrorCode(row.0), user))) {
            assert_eq!(code.react(NOW, BEFORE, user), Do::StaleHandle, "{code} {user:?}");
            assert_eq!(code.react(Handle::NONE, Handle::NONE, user), Do::StaleHandle, "{code} {user:?}");
        }
    }
}
