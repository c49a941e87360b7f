//! Command dwords of Read, Write, Compare, Write Zeroes and Verify.
//!
//! NVMe Base 1.4 s6.9 Read command, Write command, s6.6 Compare command, Write Zeroes command, Verify command. Dwords 10 and 11
//! are the starting LBA.

use crate::command::SubmissionEntry;

bit_fields! {
    /// Command dword 12.
    Cdw12(u32) {
        /// Number of Logical Blocks, 0's based.
        nlb, with_nlb: u16 = 0, 0xffff;
        /// Directive Type (Write).
        dtype, with_dtype: u8 = 20, 0xf;
        /// Deallocate (Write Zeroes).
        deac, with_deac: bool = 25;
        /// Protection Information Field: bit 3 PRACT, bits 2:0 PRCHK.
        prinfo, with_prinfo: u8 = 26, 0xf;
        /// Force Unit Access: the data is on non-volatile media before the completion.
        fua, with_fua: bool = 30;
        /// Limited Retry.
        lr, with_lr: bool = 31;
    }
}

impl Cdw12 {
    /// Logical blocks, 1 to 65,536.
    #[must_use]
    pub const fn block_count(self) -> u32 {
        self.nlb() as u32 + 1
    }
}

impl SubmissionEntry {
    /// Starting LBA of a Read, Write, Compare, Write Zeroes or Verify: dwords 10 and 11.
    #[must_use]
    pub fn slba(&self) -> u64 {
        u64::from(self.cdw11.get()) << 32 | u64::from(self.cdw10.get())
    }

    /// Sets the starting LBA: dwords 10 and 11.
    pub fn set_slba(&mut self, slba: u64) {
        let [a, b, c, d, e, f, g, h] = slba.to_le_bytes();
        self.cdw10 = [a, b, c, d].into();
        self.cdw11 = [e, f, g, h].into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forced_write_of_eight_blocks_decodes() {
        let cdw12 = Cdw12(0x4000_0007);
        assert_eq!((cdw12.block_count(), cdw12.fua(), cdw12.lr(), cdw12.prinfo()), (8, true, false, 0));
        assert_eq!(Cdw12::default().with_nlb(7).with_fua(true), cdw12);
        assert!(Cdw12(0x0200_0000).deac());
        assert_eq!(Cdw12(0xffff).block_count(), 65_536);
    }

    #[test]
    fn the_starting_lba_spans_two_dwords() {
        let mut entry = SubmissionEntry::default();
        entry.set_slba(0x1122_3344_5566_7788);
        assert_eq!((entry.cdw10.get(), entry.cdw11.get()), (0x5566_7788, 0x1122_3344));
        assert_eq!(entry.slba(), 0x1122_3344_5566_7788);
    }
}
