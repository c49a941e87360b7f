//! Command dwords of the queue commands.
//!
//! NVMe Base 1.4 s5.1 Abort command, s5.3 Create I/O Completion Queue command, s5.4 Create I/O Submission Queue command, s5.5
//! Delete I/O Completion Queue command, s5.6 Delete I/O Submission Queue command.

/// Identifier of the admin queues.
pub const ADMIN_QUEUE: u16 = 0;
/// Fewest entries of a queue. NVMe Base 1.4 s4.1.3 Queue Size.
pub const MIN_ENTRIES: u32 = 2;
/// Most entries of an admin queue. NVMe Base 1.4 s4.1.3 Queue Size.
pub const MAX_ADMIN_ENTRIES: u32 = 4096;
/// Most entries of an I/O queue; CAP.MQES may allow fewer. NVMe Base 1.4 s4.1.3 Queue Size.
pub const MAX_IO_ENTRIES: u32 = 65_536;

bit_fields! {
    /// Command dword 10 of both Create commands. Delete commands use the identifier only.
    CreateCdw10(u32) {
        /// Queue Identifier.
        qid, with_qid: u16 = 0, 0xffff;
        /// Queue Size, entries, 0's based.
        qsize, with_qsize: u16 = 16, 0xffff;
    }
}

impl CreateCdw10 {
    /// Entries of the queue, 1 to 65,536 (1 is illegal).
    #[must_use]
    pub const fn entries(self) -> u32 {
        self.qsize() as u32 + 1
    }
}

bit_fields! {
    /// Command dword 11 of Create I/O Completion Queue.
    CreateCompletionCdw11(u32) {
        /// Physically Contiguous.
        pc, with_pc: bool = 0;
        /// Interrupts Enabled.
        ien, with_ien: bool = 1;
        /// Interrupt Vector.
        iv, with_iv: u16 = 16, 0xffff;
    }
}

bit_fields! {
    /// Command dword 11 of Create I/O Submission Queue.
    CreateSubmissionCdw11(u32) {
        /// Physically Contiguous.
        pc, with_pc: bool = 0;
        /// Queue Priority: 0 urgent to 3 low, used by weighted round robin only.
        qprio, with_qprio: u8 = 1, 0x3;
        /// Completion Queue Identifier.
        cqid, with_cqid: u16 = 16, 0xffff;
    }
}

bit_fields! {
    /// Command dword 10 of Abort.
    AbortCdw10(u32) {
        /// Submission Queue Identifier of the command to abort.
        sqid, with_sqid: u16 = 0, 0xffff;
        /// Command Identifier of the command to abort.
        cid, with_cid: u16 = 16, 0xffff;
    }
}

/// Bit 0 of Abort's completion dword 0: the command was *not* aborted.
pub const ABORT_NOT_ABORTED: u32 = 1 << 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn create_dwords_decode_known_values() {
        let cdw10 = CreateCdw10(0x03ff_0001);
        assert_eq!((cdw10.qid(), cdw10.entries()), (1, 1024));
        assert_eq!(CreateCdw10(0xffff_0001).entries(), MAX_IO_ENTRIES);
        let cq = CreateCompletionCdw11(0x0005_0003);
        assert_eq!((cq.pc(), cq.ien(), cq.iv()), (true, true, 5));
        let sq = CreateSubmissionCdw11(0x0002_0005);
        assert_eq!((sq.pc(), sq.qprio(), sq.cqid()), (true, 2, 2));
        assert_eq!(CreateSubmissionCdw11::default().with_pc(true).with_qprio(2).with_cqid(2), sq);
    }

    #[test]
    fn abort_names_queue_and_command() {
        let abort = AbortCdw10(0x0042_0003);
        assert_eq!((abort.sqid(), abort.cid()), (3, 0x42));
    }
}
