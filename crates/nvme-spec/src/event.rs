//! Asynchronous events. NVMe Base 1.4 s5.2 Asynchronous Event Request command.

use crate::log::LogPage;

code_enum! {
    /// Asynchronous Event Type.
    EventType: u8, unknown UnknownEventType {
        /// The host or the controller did something wrong.
        Error = 0x0, "Error status";
        /// A health threshold was crossed.
        Smart = 0x1, "SMART / Health status";
        /// Something changed.
        Notice = 0x2, "Notice";
        /// Of the I/O command set.
        IoCommandSet = 0x6, "I/O Command Set specific status";
        /// Of the vendor.
        Vendor = 0x7, "Vendor specific";
    }
}

/// An event: what dword 0 of the completion says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// Asynchronous Event Type.
    pub kind: EventType,
    /// Asynchronous Event Information, by type.
    pub info: u8,
    /// Log Page Identifier: reading this log (without Retain Asynchronous Event) clears the event.
    pub log_page: u8,
}

impl Event {
    /// A write to a doorbell of a queue that does not exist.
    pub const INVALID_DOORBELL_REGISTER: Self = Self::error(0x00);
    /// A doorbell value out of the queue's range, or equal to the last one.
    pub const INVALID_DOORBELL_VALUE: Self = Self::error(0x01);
    /// The controller's diagnostics failed.
    pub const DIAGNOSTIC_FAILURE: Self = Self::error(0x02);
    /// An internal error that goes on.
    pub const PERSISTENT_INTERNAL_ERROR: Self = Self::error(0x03);
    /// An internal error that is over.
    pub const TRANSIENT_INTERNAL_ERROR: Self = Self::error(0x04);
    /// A firmware image could not be loaded.
    pub const FIRMWARE_IMAGE_LOAD_ERROR: Self = Self::error(0x05);
    /// Subsystem reliability is degraded.
    pub const SUBSYSTEM_RELIABILITY: Self = Self::smart(0x00);
    /// A temperature threshold was crossed.
    pub const TEMPERATURE_THRESHOLD: Self = Self::smart(0x01);
    /// Spare is below its threshold.
    pub const SPARE_BELOW_THRESHOLD: Self = Self::smart(0x02);
    /// A namespace's attributes changed, or a namespace came or went.
    pub const NAMESPACE_ATTRIBUTE_CHANGED: Self = Self::notice(0x00, LogPage::ChangedNamespaceList);
    /// Firmware activation starts.
    pub const FIRMWARE_ACTIVATION_STARTING: Self = Self::notice(0x01, LogPage::FirmwareSlot);

    const fn error(info: u8) -> Self {
        Self { kind: EventType::Error, info, log_page: LogPage::ErrorInformation.code() }
    }

    const fn smart(info: u8) -> Self {
        Self { kind: EventType::Smart, info, log_page: LogPage::SmartHealth.code() }
    }

    const fn notice(info: u8, log_page: LogPage) -> Self {
        Self { kind: EventType::Notice, info, log_page: log_page.code() }
    }

    /// Completion dword 0: type in 2:0, information in 15:8, log page in 23:16.
    #[must_use]
    pub const fn to_dword0(self) -> u32 {
        self.kind.code() as u32 | (self.info as u32) << 8 | (self.log_page as u32) << 16
    }

    /// What a completion dword 0 says.
    ///
    /// # Errors
    /// [`UnknownEventType`] for the reserved types 3 to 5.
    pub fn from_dword0(dword0: u32) -> Result<Self, UnknownEventType> {
        let [kind, info, log_page, _] = dword0.to_le_bytes();
        Ok(Self { kind: EventType::try_from(kind & 0x7)?, info, log_page })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dword_zero_matches_the_specification() {
        assert_eq!(Event::INVALID_DOORBELL_VALUE.to_dword0(), 0x0001_0100);
        assert_eq!(Event::TEMPERATURE_THRESHOLD.to_dword0(), 0x0002_0101);
        assert_eq!(Event::NAMESPACE_ATTRIBUTE_CHANGED.to_dword0(), 0x0004_0002);
    }

    #[test]
    fn events_round_trip_and_reserved_types_are_refused() {
        for event in [
            Event::INVALID_DOORBELL_REGISTER,
            Event::SPARE_BELOW_THRESHOLD,
            Event::FIRMWARE_ACTIVATION_STARTING,
        ] {
            assert_eq!(Event::from_dword0(event.to_dword0()), Ok(event));
        }
        assert_eq!(Event::from_dword0(0x3), Err(UnknownEventType(3)));
    }
}
