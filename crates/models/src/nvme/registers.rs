//! The controller registers as a host reads them.
//!
//! Values only: what a write means is decided by the [engine](super::engine), which stores the outcome here under its
//! lock. Reads take no lock; a host that polls CSTS costs the worker nothing.
//!
//! NVMe 1.4 s3.1 *Register Definition*.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nvme_spec::VERSION_1_4;
use nvme_spec::register::{
    ACQ, ADMIN_QUEUE_ADDRESS_MASK, AQA, AQA_RW, ASQ, AdminQueueAttributes, CAP, CAP_CSS_NVM, CC, CC_RW, CSTS,
    Capabilities, Configuration, ControllerStatus, INTMC, INTMS, VS,
};

use super::doorbell::STRIDE;
use super::limits::QUEUE_ENTRIES;
use crate::saved::fields;

/// CAP.TO: how long CSTS.RDY may take to follow CC.EN, in units of 500 ms. A reset waits for I/O in flight, so it
/// is as long as a slow disk.
const READY_TIMEOUT: u8 = 60;

/// Controller Capabilities.
#[expect(clippy::cast_possible_truncation, reason = "4,095")]
pub(super) const CAPABILITIES: Capabilities = Capabilities(0)
    .with_mqes((QUEUE_ENTRIES - 1) as u16)
    .with_cqr(true)
    .with_to(READY_TIMEOUT)
    .with_dstrd(STRIDE)
    .with_css(CAP_CSS_NVM);

/// The bits of CSTS that are used here: RDY, CFS, SHST.
pub(super) const CSTS_USED: u32 = 0xf;

/// CAP.TO of a controller whose commands are executed elsewhere: as long as can be said, 127.5 s. A reset and enabling wait
/// for whoever executes them, who may have to come back first.
const LONG_READY_TIMEOUT: u8 = u8::MAX;

/// The registers.
#[derive(Debug)]
pub(super) struct Registers {
    capabilities: Capabilities,
    version: u32,
    cc: AtomicU32,
    csts: AtomicU32,
    aqa: AtomicU32,
    asq: AtomicU64,
    acq: AtomicU64,
    interrupt_mask: AtomicU32,
}

/// What they hold at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Values {
    pub(super) cc: u32,
    pub(super) csts: u32,
    pub(super) aqa: u32,
    pub(super) asq: u64,
    pub(super) acq: u64,
    pub(super) interrupt_mask: u32,
}

fields!(Values { cc, csts, aqa, asq, acq, interrupt_mask });

impl Values {
    /// Whether the registers can hold this at all, whoever says so.
    pub(super) fn are_possible(&self) -> bool {
        let Self { cc, csts, aqa, asq, acq, interrupt_mask: _ } = *self;
        let pages = !ADMIN_QUEUE_ADDRESS_MASK;
        cc & !CC_RW == 0 && csts & !CSTS_USED == 0 && aqa & !AQA_RW == 0 && (asq | acq) & pages == 0
    }
}

impl Default for Registers {
    fn default() -> Self {
        Self::new(CAPABILITIES, VERSION_1_4)
    }
}

impl Registers {
    fn new(capabilities: Capabilities, version: u32) -> Self {
        let (cc, csts, aqa, interrupt_mask) = Default::default();
        let (asq, acq) = Default::default();
        Self { capabilities, version, cc, csts, aqa, asq, acq, interrupt_mask }
    }

    /// Those of a controller that says it is of this version, and whose commands are executed elsewhere.
    pub(super) fn of_elsewhere(version: u32) -> Self {
        Self::new(CAPABILITIES.with_to(LONG_READY_TIMEOUT), version)
    }

    /// What they hold.
    pub(super) fn values(&self) -> Values {
        Values {
            cc: self.cc().0,
            csts: self.csts().0,
            aqa: self.aqa().0,
            asq: self.asq(),
            acq: self.acq(),
            interrupt_mask: self.interrupt_mask(),
        }
    }

    /// Back to what they held.
    pub(super) fn put_back(&self, values: &Values) {
        let Values { cc, csts, aqa, asq, acq, interrupt_mask } = *values;
        self.set_cc(Configuration(cc));
        self.set_aqa(AdminQueueAttributes(aqa));
        self.set_asq(asq);
        self.set_acq(acq);
        self.set_interrupt_mask(interrupt_mask);
        self.set_csts(ControllerStatus(csts));
    }

    /// The bits that the byte at `offset` of the register page can ever have.
    const fn possible(&self, offset: u64) -> u8 {
        #[expect(clippy::cast_possible_truncation, reason = "one byte of a word is wanted")]
        const fn byte(word: u64, offset: u64) -> u8 {
            (word >> (offset % 8 * 8)) as u8
        }
        match offset {
            CAP..0x08 => byte(self.capabilities.0, offset),
            0x08..0x0c => byte(self.version as u64, offset),
            0x0c..0x14 => 0xff,
            0x14..0x18 => byte((CC_RW as u64) << 32, offset),
            0x1c..0x20 => byte((CSTS_USED as u64) << 32, offset),
            0x24..0x28 => byte((AQA_RW as u64) << 32, offset),
            0x28..0x38 => byte(ADMIN_QUEUE_ADDRESS_MASK, offset),
            _ => 0,
        }
    }

    /// Whether `length` bytes from `offset` of the register page can never be all-ones.
    pub(super) fn never_all_ones(&self, offset: u64, length: usize) -> bool {
        (offset..).take(length).any(|at| self.possible(at) != 0xff)
    }

    /// Fills `data` with what stands from `offset` on, which lies in the first page of BAR 0.
    pub(super) fn read(&self, offset: u64, data: &mut [u8]) {
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let dword = self.dword(at & !3).to_le_bytes();
            let skip = (at & 3) as usize;
            let count = rest.len().min(4 - skip);
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&dword[skip..skip + count]);
            rest = later;
            at += count as u64;
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low and high halves of a qword")]
    fn dword(&self, offset: u64) -> u32 {
        const fn half(value: u64, high: bool) -> u32 {
            if high { (value >> 32) as u32 } else { value as u32 }
        }
        match offset {
            CAP | 0x04 => half(self.capabilities.0, offset != CAP),
            VS => self.version,
            // Both read as the mask in force.
            INTMS | INTMC => self.interrupt_mask(),
            CC => self.cc().0,
            CSTS => self.csts().0,
            AQA => self.aqa().0,
            ASQ | 0x2c => half(self.asq(), offset != ASQ),
            ACQ | 0x34 => half(self.acq(), offset != ACQ),
            _ => 0,
        }
    }

    pub(super) fn cc(&self) -> Configuration {
        Configuration(self.cc.load(Ordering::Acquire))
    }

    pub(super) fn set_cc(&self, value: Configuration) {
        self.cc.store(value.0, Ordering::Release);
    }

    pub(super) fn csts(&self) -> ControllerStatus {
        ControllerStatus(self.csts.load(Ordering::Acquire))
    }

    pub(super) fn set_csts(&self, value: ControllerStatus) {
        self.csts.store(value.0, Ordering::Release);
    }

    pub(super) fn aqa(&self) -> AdminQueueAttributes {
        AdminQueueAttributes(self.aqa.load(Ordering::Acquire))
    }

    pub(super) fn set_aqa(&self, value: AdminQueueAttributes) {
        self.aqa.store(value.0, Ordering::Release);
    }

    pub(super) fn asq(&self) -> u64 {
        self.asq.load(Ordering::Acquire)
    }

    pub(super) fn set_asq(&self, value: u64) {
        self.asq.store(value, Ordering::Release);
    }

    pub(super) fn acq(&self) -> u64 {
        self.acq.load(Ordering::Acquire)
    }

    pub(super) fn set_acq(&self, value: u64) {
        self.acq.store(value, Ordering::Release);
    }

    pub(super) fn interrupt_mask(&self) -> u32 {
        self.interrupt_mask.load(Ordering::Acquire)
    }

    pub(super) fn set_interrupt_mask(&self, value: u32) {
        self.interrupt_mask.store(value, Ordering::Release);
    }

    /// Everything back to its value after power-on.
    pub(super) fn reset(&self) {
        let Self { capabilities: _, version: _, cc, csts, aqa, asq, acq, interrupt_mask } = self;
        for register in [cc, csts, aqa, interrupt_mask] {
            register.store(0, Ordering::Release);
        }
        for register in [asq, acq] {
            register.store(0, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<const N: usize>(registers: &Registers, offset: u64) -> [u8; N] {
        let mut data = [0xee; N];
        registers.read(offset, &mut data);
        data
    }

    #[test]
    fn capabilities_say_what_the_controller_can() {
        let cap = Capabilities(u64::from_le_bytes(read(&Registers::default(), CAP)));
        assert_eq!((cap.mqes(), cap.cqr(), cap.dstrd(), cap.css()), (4095, true, 0, 1));
        assert_eq!((cap.mpsmin(), cap.mpsmax(), cap.ams(), cap.nssrs()), (0, 0, 0, false));
        assert!(cap.to() > 0);
    }

    #[test]
    fn registers_read_in_any_size_and_piece() {
        let registers = Registers::default();
        registers.set_asq(0x1122_3344_5566_7000);
        assert_eq!(u64::from_le_bytes(read(&registers, ASQ)), 0x1122_3344_5566_7000);
        assert_eq!(u32::from_le_bytes(read(&registers, ASQ + 4)), 0x1122_3344);
        assert_eq!(u16::from_le_bytes(read(&registers, VS + 1)), 0x0104);
        assert_eq!(read::<1>(&registers, VS + 2), [1]);
        assert_eq!(read::<8>(&registers, 0xff8), [0; 8], "what is not there reads zeros");
    }

    #[test]
    fn only_reads_that_could_be_all_ones_are_taken_as_such() {
        for (offset, length, never) in [
            (CAP, 8, true),
            (CAP, 1, CAPABILITIES.0 & 0xff != 0xff),
            (VS, 4, true),
            (INTMS, 4, false),
            (INTMC, 4, false),
            (CC, 4, true),
            (CSTS, 4, true),
            (AQA, 4, true),
            (AQA, 1, false),
            (ASQ, 8, true),
            (ASQ + 4, 4, false),
            (ACQ + 2, 2, false),
            (0x800, 4, true),
        ] {
            assert_eq!(Registers::default().never_all_ones(offset, length), never, "{offset:#x}+{length}");
        }
        // Whatever a host writes, what is said never to be all-ones is not.
        let registers = Registers::default();
        registers.put_back(&Values {
            cc: CC_RW,
            csts: CSTS_USED,
            aqa: AQA_RW,
            asq: ADMIN_QUEUE_ADDRESS_MASK,
            acq: ADMIN_QUEUE_ADDRESS_MASK,
            interrupt_mask: u32::MAX,
        });
        for at in 0..0x40 {
            let [value] = read(&registers, at);
            assert_eq!(value, registers.possible(at), "{at:#x}");
        }
    }

    #[test]
    fn values_come_back_as_they_were_and_reserved_bits_are_no_values() {
        let registers = Registers::default();
        let values = Values { cc: 0x0046_0001, csts: 1, aqa: 7, asq: 0x1000, acq: 0x2000, interrupt_mask: 5 };
        registers.put_back(&values);
        assert_eq!(registers.values(), values);
        assert!(values.are_possible());
        for bad in [
            Values { cc: 2, ..values },
            Values { csts: 0x10, ..values },
            Values { aqa: 0x1000, ..values },
            Values { asq: 1, ..values },
            Values { acq: 0x800, ..values },
        ] {
            assert!(!bad.are_possible(), "{bad:?}");
        }
    }

    #[test]
    fn reset_leaves_no_value_behind() {
        let registers = Registers::default();
        registers.set_cc(Configuration(1));
        registers.set_csts(ControllerStatus(1));
        registers.set_aqa(AdminQueueAttributes(1));
        registers.set_asq(4096);
        registers.set_acq(4096);
        registers.set_interrupt_mask(1);
        registers.reset();
        assert_eq!(read::<0x30>(&registers, INTMS), [0; 0x30]);
    }
}
