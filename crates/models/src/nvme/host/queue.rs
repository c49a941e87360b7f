//! An I/O queue pair with its slots.

use nvme_spec::command::{Fuse, Psdt};
use nvme_spec::io::Cdw12;
use nvme_spec::{NvmOpcode, SubmissionEntry};
use vfio_user::client::{ClientError, SharedMemory};
use zerocopy::IntoBytes;

use super::DriverError;
use super::layout::{Layout, PAGE, iova};
use super::ring::{Half, Ring};

/// What a slot is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// Disk to buffer.
    Read {
        /// First logical block.
        lba: u64,
        /// Blocks, at least 1.
        blocks: u32,
    },
    /// Buffer to disk.
    Write {
        /// First logical block.
        lba: u64,
        /// Blocks, at least 1.
        blocks: u32,
        /// Force Unit Access: on the medium before it is completed.
        fua: bool,
    },
    /// Everything written so far to the medium.
    Flush,
}

/// One queue pair. Slot numbers are command identifiers.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) ring: Ring,
    /// Tail that the controller was told last.
    pub(super) rung_tail: u16,
    index: u16,
    /// Whether a slot's command is in flight.
    pub(super) busy: Vec<bool>,
}

impl Queue {
    /// An empty queue, whose PRP lists are written here.
    pub(super) fn new(memory: &SharedMemory, layout: &Layout, index: u16) -> Result<Self, DriverError> {
        for slot in 0..layout.depth {
            let buffer = iova(layout.buffer(index, slot));
            // The list holds the second page of the buffer onwards.
            let pages: Vec<u64> =
                (1..layout.transfer / PAGE).map(|n| (buffer + (n * PAGE) as u64).to_le()).collect();
            memory.write(layout.prp_list(index, slot), pages.as_bytes()).map_err(ClientError::Memory)?;
        }
        let half = |at| Half { at, entries: layout.entries };
        Ok(Self {
            ring: Ring::new(index + 1, half(layout.submission(index)), half(layout.completion(index))),
            rung_tail: 0,
            index,
            busy: vec![false; usize::from(layout.depth)],
        })
    }

    /// The command for `io` in `slot`.
    #[inline]
    pub(super) fn command(
        &self,
        layout: &Layout,
        nsid: u32,
        block_size: usize,
        slot: u16,
        io: Io,
    ) -> SubmissionEntry {
        let entry = SubmissionEntry {
            flags: SubmissionEntry::flags(Fuse::Normal, Psdt::Prp),
            cid: slot.into(),
            nsid: nsid.into(),
            ..SubmissionEntry::default()
        };
        let (opcode, lba, blocks, fua) = match io {
            Io::Read { lba, blocks } => (NvmOpcode::Read, lba, blocks, false),
            Io::Write { lba, blocks, fua } => (NvmOpcode::Write, lba, blocks, fua),
            Io::Flush => return SubmissionEntry { opcode: NvmOpcode::Flush.code(), ..entry },
        };
        let (prp1, prp2) = self.prps(layout, slot, blocks as usize * block_size);
        // Checked by the caller: 1 to 65,536 blocks.
        let nlb = u16::try_from(blocks.saturating_sub(1)).unwrap_or(u16::MAX);
        let cdw12 = Cdw12::default().with_nlb(nlb).with_fua(fua);
        let mut entry = SubmissionEntry {
            opcode: opcode.code(),
            prp1: prp1.into(),
            prp2: prp2.into(),
            cdw12: cdw12.0.into(),
            ..entry
        };
        entry.set_slba(lba);
        entry
    }

    /// PRP entries for the first `length` bytes of a slot's buffer, which starts a page.
    ///
    /// NVMe Base 1.4 s4.3 Physical Region Page Entry and List.
    #[inline]
    fn prps(&self, layout: &Layout, slot: u16, length: usize) -> (u64, u64) {
        let buffer = iova(layout.buffer(self.index, slot));
        let second = match length.div_ceil(PAGE) {
            0 | 1 => 0,
            2 => buffer + PAGE as u64,
            _ => iova(layout.prp_list(self.index, slot)),
        };
        (buffer, second)
    }
}
