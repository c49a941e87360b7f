//! Features: identifiers, and the dwords that carry their values.
//!
//! NVMe Base 1.4 s5.13 Get Features command, s5.21 Set Features command, s5.21.1 Feature Specific Information.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

code_enum! {
    /// Feature Identifier. Figure "Set Features - Feature Identifiers".
    FeatureId: u8, unknown UnknownFeatureId {
        /// s5.21.1.1 Arbitration: [`Arbitration`].
        Arbitration = 0x01, "Arbitration";
        /// s5.21.1.2 Power Management: [`PowerManagement`].
        PowerManagement = 0x02, "Power Management";
        /// s5.21.1.3 LBA Range Type.
        LbaRangeType = 0x03, "LBA Range Type";
        /// s5.21.1.4 Temperature Threshold: [`TemperatureThreshold`].
        TemperatureThreshold = 0x04, "Temperature Threshold";
        /// s5.21.1.5 Error Recovery: [`ErrorRecovery`].
        ErrorRecovery = 0x05, "Error Recovery";
        /// s5.21.1.6 Volatile Write Cache: [`VolatileWriteCache`].
        VolatileWriteCache = 0x06, "Volatile Write Cache";
        /// s5.21.1.7 Number of Queues: [`NumberOfQueues`].
        NumberOfQueues = 0x07, "Number of Queues";
        /// s5.21.1.8 Interrupt Coalescing: [`InterruptCoalescing`].
        InterruptCoalescing = 0x08, "Interrupt Coalescing";
        /// s5.21.1.9 Interrupt Vector Configuration: [`InterruptVectorConfiguration`].
        InterruptVectorConfiguration = 0x09, "Interrupt Vector Configuration";
        /// s5.21.1.10 Write Atomicity Normal: [`WriteAtomicityNormal`].
        WriteAtomicityNormal = 0x0a, "Write Atomicity Normal";
        /// s5.21.1.11 Asynchronous Event Configuration: [`AsyncEventConfiguration`].
        AsyncEventConfiguration = 0x0b, "Asynchronous Event Configuration";
        /// Autonomous Power State Transition.
        AutonomousPowerStateTransition = 0x0c, "Autonomous Power State Transition";
        /// Host Memory Buffer.
        HostMemoryBuffer = 0x0d, "Host Memory Buffer";
        /// Timestamp.
        Timestamp = 0x0e, "Timestamp";
        /// Keep Alive Timer.
        KeepAliveTimer = 0x0f, "Keep Alive Timer";
        /// Host Controlled Thermal Management.
        HostControlledThermalManagement = 0x10, "Host Controlled Thermal Management";
        /// Non-Operational Power State Config.
        NonOperationalPowerState = 0x11, "Non-Operational Power State Config";
        /// Read Recovery Level Config.
        ReadRecoveryLevel = 0x12, "Read Recovery Level Config";
        /// Predictable Latency Mode Config.
        PredictableLatencyMode = 0x13, "Predictable Latency Mode Config";
        /// Predictable Latency Mode Window.
        PredictableLatencyWindow = 0x14, "Predictable Latency Mode Window";
        /// LBA Status Information Report Interval.
        LbaStatusReportInterval = 0x15, "LBA Status Information Report Interval";
        /// Host Behavior Support: [`HostBehaviorSupport`].
        HostBehaviorSupport = 0x16, "Host Behavior Support";
        /// Sanitize Config.
        SanitizeConfig = 0x17, "Sanitize Config";
        /// Endurance Group Event Configuration.
        EnduranceGroupEvent = 0x18, "Endurance Group Event Configuration";
        /// Software Progress Marker.
        SoftwareProgressMarker = 0x80, "Software Progress Marker";
        /// Host Identifier.
        HostIdentifier = 0x81, "Host Identifier";
        /// Reservation Notification Mask.
        ReservationNotificationMask = 0x82, "Reservation Notification Mask";
        /// Reservation Persistence.
        ReservationPersistence = 0x83, "Reservation Persistence";
        /// Namespace Write Protection Config.
        NamespaceWriteProtection = 0x84, "Namespace Write Protection Config";
    }
}

bit_fields! {
    /// Command dword 10 of Get Features.
    GetCdw10(u32) {
        /// Feature Identifier.
        fid, with_fid: u8 = 0, 0xff;
        /// Select, see [`Select`].
        sel, with_sel: u8 = 8, 0x7;
    }
}

impl GetCdw10 {
    /// Which value is asked for; `None` for a reserved encoding.
    #[must_use]
    pub const fn select(self) -> Option<Select> {
        match self.sel() {
            0 => Some(Select::Current),
            1 => Some(Select::Default),
            2 => Some(Select::Saved),
            3 => Some(Select::Supported),
            _ => None,
        }
    }
}

/// Select of Get Features: which value is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Select {
    /// The value in force.
    #[default]
    Current = 0,
    /// The value after a reset, if nothing was saved.
    Default = 1,
    /// The value that was saved.
    Saved = 2,
    /// What can be done with the feature: [`SupportedCapabilities`].
    Supported = 3,
}

bit_fields! {
    /// Command dword 10 of Set Features.
    SetCdw10(u32) {
        /// Feature Identifier.
        fid, with_fid: u8 = 0, 0xff;
        /// Save: keep the value over resets and power cycles.
        sv, with_sv: bool = 31;
    }
}

bit_fields! {
    /// Completion dword 0 of Get Features with [`Select::Supported`].
    SupportedCapabilities(u32) {
        /// The value can be saved.
        saveable, with_saveable: bool = 0;
        /// Each namespace has its own value.
        namespace_specific, with_namespace_specific: bool = 1;
        /// The value can be changed.
        changeable, with_changeable: bool = 2;
    }
}

bit_fields! {
    /// s5.21.1.1 Arbitration.
    Arbitration(u32) {
        /// Arbitration Burst: commands in a row, log2; 7 is no limit.
        ab, with_ab: u8 = 0, 0x7;
        /// Low Priority Weight, 0's based.
        lpw, with_lpw: u8 = 8, 0xff;
        /// Medium Priority Weight, 0's based.
        mpw, with_mpw: u8 = 16, 0xff;
        /// High Priority Weight, 0's based.
        hpw, with_hpw: u8 = 24, 0xff;
    }
}

bit_fields! {
    /// s5.21.1.2 Power Management.
    PowerManagement(u32) {
        /// Power State.
        ps, with_ps: u8 = 0, 0x1f;
        /// Workload Hint.
        wh, with_wh: u8 = 5, 0x7;
    }
}

bit_fields! {
    /// s5.21.1.4 Temperature Threshold.
    TemperatureThreshold(u32) {
        /// Threshold in kelvin.
        tmpth, with_tmpth: u16 = 0, 0xffff;
        /// Which sensor: 0 composite, 1 to 8 a sensor, 15 all (Set only).
        tmpsel, with_tmpsel: u8 = 16, 0xf;
        /// Which threshold: 0 over, 1 under.
        thsel, with_thsel: u8 = 20, 0x3;
    }
}

bit_fields! {
    /// s5.21.1.5 Error Recovery.
    ErrorRecovery(u32) {
        /// Time Limited Error Recovery, in units of 100 ms; 0 is no limit.
        tler, with_tler: u16 = 0, 0xffff;
        /// Deallocated or Unwritten Logical Block Error Enable.
        dulbe, with_dulbe: bool = 16;
    }
}

bit_fields! {
    /// s5.21.1.6 Volatile Write Cache.
    VolatileWriteCache(u32) {
        /// Write Cache Enable.
        wce, with_wce: bool = 0;
    }
}

bit_fields! {
    /// s5.21.1.7 Number of Queues: what the host asks for (dword 11), and what it gets (completion dword 0).
    NumberOfQueues(u32) {
        /// I/O submission queues, 0's based; 65,535 is illegal to ask for.
        submission, with_submission: u16 = 0, 0xffff;
        /// I/O completion queues, 0's based; 65,535 is illegal to ask for.
        completion, with_completion: u16 = 16, 0xffff;
    }
}

bit_fields! {
    /// s5.21.1.8 Interrupt Coalescing.
    InterruptCoalescing(u32) {
        /// Aggregation Threshold: completions per interrupt, 0's based.
        thr, with_thr: u8 = 0, 0xff;
        /// Aggregation Time, in units of 100 us; 0 is no delay.
        time, with_time: u8 = 8, 0xff;
    }
}

bit_fields! {
    /// s5.21.1.9 Interrupt Vector Configuration.
    InterruptVectorConfiguration(u32) {
        /// Interrupt Vector.
        iv, with_iv: u16 = 0, 0xffff;
        /// Coalescing Disable.
        cd, with_cd: bool = 16;
    }
}

bit_fields! {
    /// s5.21.1.10 Write Atomicity Normal.
    WriteAtomicityNormal(u32) {
        /// Disable Normal: AWUN and NAWUN need not be honoured.
        dn, with_dn: bool = 0;
    }
}

bit_fields! {
    /// s5.21.1.11 Asynchronous Event Configuration.
    AsyncEventConfiguration(u32) {
        /// SMART / Health Critical Warnings: one bit for each of [`CriticalWarning`](crate::log::CriticalWarning).
        smart, with_smart: u8 = 0, 0xff;
        /// Namespace Attribute Notices.
        namespace_attribute, with_namespace_attribute: bool = 8;
        /// Firmware Activation Notices.
        firmware_activation, with_firmware_activation: bool = 9;
        /// Telemetry Log Notices.
        telemetry_log, with_telemetry_log: bool = 10;
        /// Asymmetric Namespace Access Change Notices.
        ana_change, with_ana_change: bool = 11;
    }
}

/// Data of Host Behavior Support, 512 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct HostBehaviorSupport {
    /// Advanced Command Retry Enable: 1 if the host honours the retry delay; above 1 is reserved.
    pub acre: u8,
    /// Reserved.
    pub reserved: [u8; 511],
}
const _: () = assert!(size_of::<HostBehaviorSupport>() == 512);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feature_identifiers_round_trip() {
        let known = (0..=u8::MAX).filter_map(|code| FeatureId::try_from(code).ok().map(|id| (code, id)));
        assert!(known.clone().all(|(code, id)| id.code() == code));
        assert_eq!(known.count(), FeatureId::ALL.len());
        assert_eq!(FeatureId::try_from(0x07), Ok(FeatureId::NumberOfQueues));
        assert_eq!(FeatureId::try_from(0x16), Ok(FeatureId::HostBehaviorSupport));
        assert_eq!(FeatureId::try_from(0x00), Err(UnknownFeatureId(0)));
    }

    #[test]
    fn command_dwords_split_identifier_select_and_save() {
        let get = GetCdw10(0x0000_0307);
        assert_eq!((get.fid(), get.select()), (7, Some(Select::Supported)));
        assert_eq!(GetCdw10(0x0000_0407).select(), None);
        assert!(SetCdw10(0x8000_0006).sv());
    }

    #[test]
    fn values_stand_where_the_specification_puts_them() {
        let queues = NumberOfQueues(0x003f_001f);
        assert_eq!((queues.submission(), queues.completion()), (0x1f, 0x3f));
        let temperature = TemperatureThreshold(0x0010_0157);
        assert_eq!((temperature.tmpth(), temperature.tmpsel(), temperature.thsel()), (343, 0, 1));
        assert!(InterruptVectorConfiguration(0x0001_0004).cd());
        assert!(AsyncEventConfiguration(0x100).namespace_attribute());
        assert!(ErrorRecovery(0x1_0000).dulbe());
        assert_eq!(InterruptCoalescing(0x0a07).time(), 10);
    }
}
