//! Command opcodes. NVMe Base 1.4 chapter 5 Admin Command Set, chapter 6 NVM Command Set.

code_enum! {
    /// Admin command. NVMe Base 1.4 chapter 5, figure "Opcodes for Admin Commands".
    AdminOpcode: u8, unknown UnknownAdminOpcode {
        /// s5.6 Delete I/O Submission Queue command.
        DeleteIoSubmissionQueue = 0x00, "Delete I/O Submission Queue";
        /// s5.4 Create I/O Submission Queue command.
        CreateIoSubmissionQueue = 0x01, "Create I/O Submission Queue";
        /// s5.14 Get Log Page command.
        GetLogPage = 0x02, "Get Log Page";
        /// s5.5 Delete I/O Completion Queue command.
        DeleteIoCompletionQueue = 0x04, "Delete I/O Completion Queue";
        /// s5.3 Create I/O Completion Queue command.
        CreateIoCompletionQueue = 0x05, "Create I/O Completion Queue";
        /// s5.15 Identify command.
        Identify = 0x06, "Identify";
        /// s5.1 Abort command.
        Abort = 0x08, "Abort";
        /// s5.21 Set Features command.
        SetFeatures = 0x09, "Set Features";
        /// s5.13 Get Features command.
        GetFeatures = 0x0a, "Get Features";
        /// s5.2 Asynchronous Event Request command.
        AsyncEventRequest = 0x0c, "Asynchronous Event Request";
        /// Namespace Management command.
        NamespaceManagement = 0x0d, "Namespace Management";
        /// Firmware Commit command.
        FirmwareCommit = 0x10, "Firmware Commit";
        /// Firmware Image Download command.
        FirmwareImageDownload = 0x11, "Firmware Image Download";
        /// Device Self-test command.
        DeviceSelfTest = 0x14, "Device Self-test";
        /// Namespace Attachment command.
        NamespaceAttachment = 0x15, "Namespace Attachment";
        /// Keep Alive command.
        KeepAlive = 0x18, "Keep Alive";
        /// Directive Send command.
        DirectiveSend = 0x19, "Directive Send";
        /// Directive Receive command.
        DirectiveReceive = 0x1a, "Directive Receive";
        /// Virtualization Management command.
        VirtualizationManagement = 0x1c, "Virtualization Management";
        /// NVMe-MI Send command.
        MiSend = 0x1d, "NVMe-MI Send";
        /// NVMe-MI Receive command.
        MiReceive = 0x1e, "NVMe-MI Receive";
        /// s5.7 Doorbell Buffer Config command.
        DoorbellBufferConfig = 0x7c, "Doorbell Buffer Config";
        /// Format NVM command.
        FormatNvm = 0x80, "Format NVM";
        /// Security Send command.
        SecuritySend = 0x81, "Security Send";
        /// Security Receive command.
        SecurityReceive = 0x82, "Security Receive";
        /// Sanitize command.
        Sanitize = 0x84, "Sanitize";
        /// Get LBA Status command.
        GetLbaStatus = 0x86, "Get LBA Status";
    }
}

code_enum! {
    /// I/O command of the NVM command set. NVMe Base 1.4 chapter 6, figure "Opcodes for NVM Commands".
    NvmOpcode: u8, unknown UnknownNvmOpcode {
        /// s6.8 Flush command.
        Flush = 0x00, "Flush";
        /// Write command.
        Write = 0x01, "Write";
        /// s6.9 Read command.
        Read = 0x02, "Read";
        /// Write Uncorrectable command.
        WriteUncorrectable = 0x04, "Write Uncorrectable";
        /// s6.6 Compare command.
        Compare = 0x05, "Compare";
        /// Write Zeroes command.
        WriteZeroes = 0x08, "Write Zeroes";
        /// s6.7 Dataset Management command.
        DatasetManagement = 0x09, "Dataset Management";
        /// Verify command.
        Verify = 0x0c, "Verify";
        /// Reservation Register command.
        ReservationRegister = 0x0d, "Reservation Register";
        /// Reservation Report command.
        ReservationReport = 0x0e, "Reservation Report";
        /// Reservation Acquire command.
        ReservationAcquire = 0x11, "Reservation Acquire";
        /// Reservation Release command.
        ReservationRelease = 0x15, "Reservation Release";
        /// Copy command, since the NVM Command Set Specification 1.0 of NVMe 2.0.
        Copy = 0x19, "Copy";
    }
}

/// Which way data goes: the low two bits of every opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DataTransfer {
    /// No data.
    None = 0,
    /// Host to controller.
    HostToController = 1,
    /// Controller to host.
    ControllerToHost = 2,
    /// Both ways.
    Bidirectional = 3,
}

impl DataTransfer {
    /// Direction that an opcode encodes.
    ///
    /// An opcode may encode a direction and yet move no data (Write Zeroes does not; Set Features rarely does).
    #[must_use]
    pub const fn of(opcode: u8) -> Self {
        match opcode & 0x3 {
            0 => DataTransfer::None,
            1 => DataTransfer::HostToController,
            2 => DataTransfer::ControllerToHost,
            _ => DataTransfer::Bidirectional,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn every_opcode_round_trips_and_all_others_are_refused() {
        let admin = (0..=u8::MAX).filter_map(|code| AdminOpcode::try_from(code).ok().map(|op| (code, op)));
        assert!(admin.clone().all(|(code, op)| op.code() == code));
        assert_eq!(admin.count(), AdminOpcode::ALL.len());
        let nvm = (0..=u8::MAX).filter_map(|code| NvmOpcode::try_from(code).ok().map(|op| (code, op)));
        assert!(nvm.clone().all(|(code, op)| op.code() == code));
        assert_eq!(nvm.count(), NvmOpcode::ALL.len());
    }

    #[test]
    fn the_tables_hold_the_codes_of_the_specification() {
        let admin = [
            0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x0d, 0x10, 0x11, 0x14, 0x15, 0x18,
            0x19, 0x1a, 0x1c, 0x1d, 0x1e, 0x7c, 0x80, 0x81, 0x82, 0x84, 0x86,
        ];
        assert!(AdminOpcode::ALL.iter().map(|op| op.code()).eq(admin));
        let nvm = [0x00, 0x01, 0x02, 0x04, 0x05, 0x08, 0x09, 0x0c, 0x0d, 0x0e, 0x11, 0x15, 0x19];
        assert!(NvmOpcode::ALL.iter().map(|op| op.code()).eq(nvm));
    }

    #[test]
    fn well_known_opcodes_have_their_names() {
        assert_eq!(AdminOpcode::try_from(0x06).unwrap().to_string(), "Identify");
        assert_eq!(AdminOpcode::try_from(0x7c), Ok(AdminOpcode::DoorbellBufferConfig));
        assert_eq!(NvmOpcode::try_from(0x08), Ok(NvmOpcode::WriteZeroes));
        assert_eq!(AdminOpcode::try_from(0x03), Err(UnknownAdminOpcode(0x03)));
        assert_eq!(UnknownNvmOpcode(0x7f).to_string(), "NvmOpcode has no code 0x7f");
    }

    #[test]
    fn the_low_bits_of_an_opcode_are_its_data_direction() {
        assert_eq!(DataTransfer::of(NvmOpcode::Write.code()), DataTransfer::HostToController);
        assert_eq!(DataTransfer::of(NvmOpcode::Read.code()), DataTransfer::ControllerToHost);
        assert_eq!(DataTransfer::of(NvmOpcode::Flush.code()), DataTransfer::None);
        assert_eq!(DataTransfer::of(AdminOpcode::Identify.code()), DataTransfer::ControllerToHost);
    }
}
