//! Controller registers in BAR 0. NVMe Base 1.4 s3.1 Register Definition.

/// Controller Capabilities, 8 bytes, read-only: [`Capabilities`]. s3.1.1 CAP - Controller Capabilities.
pub const CAP: u64 = 0x00;
/// Version, 4 bytes, read-only: [`VERSION_1_4`](crate::VERSION_1_4). s3.1.2 VS - Version.
pub const VS: u64 = 0x08;
/// Interrupt Mask Set, 4 bytes, write one to set; undefined with MSI-X. s3.1.3 INTMS - Interrupt Mask Set.
pub const INTMS: u64 = 0x0c;
/// Interrupt Mask Clear, 4 bytes, write one to clear; undefined with MSI-X. s3.1.4 INTMC - Interrupt Mask Clear.
pub const INTMC: u64 = 0x10;
/// Controller Configuration, 4 bytes, read-write: [`Configuration`]. s3.1.5 CC - Controller Configuration.
pub const CC: u64 = 0x14;
/// Controller Status, 4 bytes: [`ControllerStatus`]. s3.1.6 CSTS - Controller Status.
pub const CSTS: u64 = 0x1c;
/// NVM Subsystem Reset, 4 bytes, optional: write [`NSSR_MAGIC`]. s3.1.7 NSSR - NVM Subsystem Reset.
pub const NSSR: u64 = 0x20;
/// Admin Queue Attributes, 4 bytes, read-write: [`AdminQueueAttributes`]. s3.1.8 AQA - Admin Queue Attributes.
pub const AQA: u64 = 0x24;
/// Admin Submission Queue Base Address, 8 bytes, read-write. s3.1.9 ASQ - Admin Submission Queue Base Address.
pub const ASQ: u64 = 0x28;
/// Admin Completion Queue Base Address, 8 bytes, read-write. s3.1.10 ACQ - Admin Completion Queue Base Address.
pub const ACQ: u64 = 0x30;
/// Controller Memory Buffer Location, 4 bytes, optional, read-only. CMBLOC - Controller Memory Buffer Location.
pub const CMBLOC: u64 = 0x38;
/// Controller Memory Buffer Size, 4 bytes, optional, read-only. CMBSZ - Controller Memory Buffer Size.
pub const CMBSZ: u64 = 0x3c;
/// Boot Partition Information, 4 bytes, optional, read-only. BPINFO - Boot Partition Information.
pub const BPINFO: u64 = 0x40;
/// Boot Partition Read Select, 4 bytes, optional. BPRSEL - Boot Partition Read Select.
pub const BPRSEL: u64 = 0x44;
/// Boot Partition Memory Buffer Location, 8 bytes, optional. BPMBL - Boot Partition Memory Buffer Location.
pub const BPMBL: u64 = 0x48;
/// Controller Memory Buffer Memory Space Control, 8 bytes, optional. CMBMSC.
pub const CMBMSC: u64 = 0x50;
/// Controller Memory Buffer Status, 4 bytes, optional, read-only. CMBSTS.
pub const CMBSTS: u64 = 0x58;
/// Persistent Memory Region Capabilities, 4 bytes, optional, read-only. PMRCAP.
pub const PMRCAP: u64 = 0xe00;
/// Persistent Memory Region Control, 4 bytes, optional. PMRCTL.
pub const PMRCTL: u64 = 0xe04;
/// Persistent Memory Region Status, 4 bytes, optional, read-only. PMRSTS.
pub const PMRSTS: u64 = 0xe08;
/// Persistent Memory Region Elasticity Buffer Size, 4 bytes, optional, read-only. PMREBS.
pub const PMREBS: u64 = 0xe0c;
/// Persistent Memory Region Sustained Write Throughput, 4 bytes, optional, read-only. PMRSWTP.
pub const PMRSWTP: u64 = 0xe10;
/// Persistent Memory Region Memory Space Control, 8 bytes, optional. PMRMSC.
pub const PMRMSC: u64 = 0xe14;
/// First doorbell; see [`doorbell`](crate::doorbell).
pub const DOORBELLS: u64 = 0x1000;

/// What a host writes to [`NSSR`]: "NVMe". s3.1.7 NSSR - NVM Subsystem Reset.
pub const NSSR_MAGIC: u32 = 0x4e56_4d65;
/// Address bits of [`ASQ`] and [`ACQ`]: the queues start at a multiple of 4 KiB.
pub const ADMIN_QUEUE_ADDRESS_MASK: u64 = !0xfff;
/// Unit of [`Capabilities::to`], in milliseconds.
pub const TIMEOUT_UNIT_MS: u64 = 500;

bit_fields! {
    /// CAP. NVMe Base 1.4 s3.1.1 CAP - Controller Capabilities.
    Capabilities(u64) {
        /// Maximum Queue Entries Supported, 0's based, at least 1.
        mqes, with_mqes: u16 = 0, 0xffff;
        /// Contiguous Queues Required.
        cqr, with_cqr: bool = 16;
        /// Arbitration Mechanism Supported: bit 0 weighted round robin with urgent, bit 1 vendor specific.
        ams, with_ams: u8 = 17, 0x3;
        /// Timeout: longest wait for CSTS.RDY to follow CC.EN, in units of 500 ms.
        to, with_to: u8 = 24, 0xff;
        /// Doorbell Stride: doorbells are 4 << field bytes apart.
        dstrd, with_dstrd: u8 = 32, 0xf;
        /// NVM Subsystem Reset Supported.
        nssrs, with_nssrs: bool = 36;
        /// Command Sets Supported: bit 0 NVM command set, bit 7 none (admin only).
        css, with_css: u8 = 37, 0xff;
        /// Boot Partition Support.
        bps, with_bps: bool = 45;
        /// Memory Page Size Minimum: 4 KiB << field.
        mpsmin, with_mpsmin: u8 = 48, 0xf;
        /// Memory Page Size Maximum: 4 KiB << field.
        mpsmax, with_mpsmax: u8 = 52, 0xf;
        /// Persistent Memory Region Supported.
        pmrs, with_pmrs: bool = 56;
        /// Controller Memory Buffer Supported.
        cmbs, with_cmbs: bool = 57;
    }
}

/// Value of [`Capabilities::css`]: the NVM command set.
pub const CAP_CSS_NVM: u8 = 1 << 0;

bit_fields! {
    /// CC. NVMe Base 1.4 s3.1.5 CC - Controller Configuration.
    Configuration(u32) {
        /// Enable. 1 to 0 is a Controller Reset.
        en, with_en: bool = 0;
        /// I/O Command Set Selected: 0 NVM command set.
        css, with_css: u8 = 4, 0x7;
        /// Memory Page Size: 4 KiB << field.
        mps, with_mps: u8 = 7, 0xf;
        /// Arbitration Mechanism Selected: 0 round robin.
        ams, with_ams: u8 = 11, 0x7;
        /// Shutdown Notification, see [`ShutdownNotification`].
        shn, with_shn: u8 = 14, 0x3;
        /// I/O Submission Queue Entry Size: log2 of bytes, 6 for the NVM command set.
        iosqes, with_iosqes: u8 = 16, 0xf;
        /// I/O Completion Queue Entry Size: log2 of bytes, 4 for the NVM command set.
        iocqes, with_iocqes: u8 = 20, 0xf;
    }
}

impl Configuration {
    /// The shutdown that the host asks for.
    #[must_use]
    pub const fn shutdown(self) -> ShutdownNotification {
        match self.shn() {
            0 => ShutdownNotification::None,
            1 => ShutdownNotification::Normal,
            2 => ShutdownNotification::Abrupt,
            _ => ShutdownNotification::Reserved,
        }
    }
}

/// Bits of [`CC`] that are defined; the others are reserved.
pub const CC_RW: u32 = 0x00ff_fff1;

/// CC.SHN. NVMe Base 1.4 s3.1.5 CC - Controller Configuration (Shutdown Notification).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum ShutdownNotification {
    /// No shutdown is asked for.
    #[default]
    None = 0,
    /// Normal: finish and flush.
    Normal = 1,
    /// Abrupt: power is about to go.
    Abrupt = 2,
    /// Reserved encoding.
    Reserved = 3,
}

bit_fields! {
    /// CSTS. NVMe Base 1.4 s3.1.6 CSTS - Controller Status.
    ControllerStatus(u32) {
        /// Ready: follows CC.EN.
        rdy, with_rdy: bool = 0;
        /// Controller Fatal Status.
        cfs, with_cfs: bool = 1;
        /// Shutdown Status, see [`ShutdownStatus`].
        shst, with_shst: u8 = 2, 0x3;
        /// NVM Subsystem Reset Occurred. Write one to clear.
        nssro, with_nssro: bool = 4;
        /// Processing Paused.
        pp, with_pp: bool = 5;
    }
}

/// Bits of [`CSTS`] that writing 1 clears.
pub const CSTS_RW1C: u32 = 1 << 4;

/// CSTS.SHST. NVMe Base 1.4 s3.1.6 CSTS - Controller Status (Shutdown Status).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum ShutdownStatus {
    /// Normal operation.
    #[default]
    Normal = 0,
    /// Shutdown is in progress.
    Occurring = 1,
    /// Shutdown is complete.
    Complete = 2,
}

impl ShutdownStatus {
    /// The field's bits, for [`ControllerStatus::with_shst`].
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

bit_fields! {
    /// AQA. NVMe Base 1.4 s3.1.8 AQA - Admin Queue Attributes.
    AdminQueueAttributes(u32) {
        /// Admin Submission Queue Size, entries, 0's based (1 to 4095).
        asqs, with_asqs: u16 = 0, 0xfff;
        /// Admin Completion Queue Size, entries, 0's based (1 to 4095).
        acqs, with_acqs: u16 = 16, 0xfff;
    }
}

impl AdminQueueAttributes {
    /// Entries of the admin submission queue, 1 to 4096 (1 is illegal).
    #[must_use]
    pub const fn submission_entries(self) -> u16 {
        self.asqs() + 1
    }

    /// Entries of the admin completion queue, 1 to 4096 (1 is illegal).
    #[must_use]
    pub const fn completion_entries(self) -> u16 {
        self.acqs() + 1
    }
}

/// Defined bits of [`AQA`].
pub const AQA_RW: u32 = 0x0fff_0fff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_fields_stand_where_the_specification_puts_them() {
        let cap =
            Capabilities::default().with_mqes(0x0fff).with_cqr(true).with_to(0x1e).with_css(CAP_CSS_NVM);
        assert_eq!(cap.0, 0x0000_0020_1e01_0fff);
        assert_eq!(
            Capabilities::default().with_mpsmax(4).with_mpsmin(1).with_dstrd(2).0,
            0x0041_0002_0000_0000
        );
        assert_eq!((cap.mqes(), cap.cqr(), cap.to(), cap.css(), cap.dstrd()), (0x0fff, true, 0x1e, 1, 0));
        assert_eq!(Capabilities(1 << 57).with_pmrs(true).0, 0b11 << 56);
    }

    #[test]
    fn the_configuration_a_linux_host_writes_decodes() {
        // EN, 4 KiB pages, 64-byte and 16-byte entries.
        let cc = Configuration(0x0046_0001);
        assert!(cc.en());
        assert_eq!((cc.css(), cc.mps(), cc.ams(), cc.iosqes(), cc.iocqes()), (0, 0, 0, 6, 4));
        assert_eq!(Configuration(0x0046_4001).shutdown(), ShutdownNotification::Normal);
        assert_eq!(Configuration(0x0046_8001).shutdown(), ShutdownNotification::Abrupt);
        assert_eq!(Configuration(u32::MAX).0 & CC_RW, 0x00ff_fff1);
    }

    #[test]
    fn controller_status_round_trips() {
        let done = ControllerStatus::default().with_rdy(true).with_shst(ShutdownStatus::Complete.bits());
        assert_eq!(done.0, 0x9);
        assert_eq!(done.with_rdy(false).0, 0x8);
        assert!(ControllerStatus(0x2).cfs());
    }

    #[test]
    fn admin_queue_sizes_are_zeroes_based() {
        let aqa = AdminQueueAttributes(0x001f_003f);
        assert_eq!((aqa.submission_entries(), aqa.completion_entries()), (64, 32));
        assert_eq!(AdminQueueAttributes::default().with_asqs(0xffff).0, 0xfff, "a builder cuts to the field");
    }

    #[test]
    fn a_builder_replaces_what_the_field_held_and_nothing_else() {
        assert_eq!(Configuration(0x00ff_fff1).with_mps(0x5).0, 0x00ff_faf1);
        assert_eq!(Capabilities(u64::MAX).with_to(0).0, 0xffff_ffff_00ff_ffff);
        assert_eq!(Capabilities(u64::MAX).with_cqr(false).0, !(1 << 16));
    }

    #[test]
    fn the_reset_magic_spells_nvme() {
        assert_eq!(&NSSR_MAGIC.to_be_bytes(), b"NVMe");
    }
}
