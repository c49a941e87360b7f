//! Where doorbells stand. NVMe Base 1.4 s3.1 Register Definition: SQyTDBL - Submission Queue y Tail Doorbell, CQyHDBL -
//! Completion Queue y Head Doorbell.
//!
//! Shadow doorbells and event indexes (s5.7 Doorbell Buffer Config command) use the same index without the 0x1000 base.

use crate::register::DOORBELLS;

/// One doorbell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doorbell {
    /// Tail of the submission queue with this identifier.
    SubmissionTail(u16),
    /// Head of the completion queue with this identifier.
    CompletionHead(u16),
}

impl Doorbell {
    /// Position among the doorbells: twice the queue identifier, plus one for a completion queue.
    #[must_use]
    pub const fn index(self) -> u32 {
        match self {
            Doorbell::SubmissionTail(qid) => 2 * qid as u32,
            Doorbell::CompletionHead(qid) => 2 * qid as u32 + 1,
        }
    }

    /// The doorbell at a position; `None` above the last queue identifier.
    #[must_use]
    pub const fn from_index(index: u32) -> Option<Self> {
        if index > u16::MAX as u32 * 2 + 1 {
            return None;
        }
        let qid = (index >> 1 & 0xffff) as u16;
        Some(if index & 1 == 0 { Doorbell::SubmissionTail(qid) } else { Doorbell::CompletionHead(qid) })
    }

    /// Offset in the shadow doorbell or event index buffer, in bytes, for CAP.DSTRD `stride` (0 to 15).
    #[must_use]
    pub const fn shadow_offset(self, stride: u8) -> u64 {
        self.index() as u64 * spacing(stride)
    }

    /// Offset in BAR 0, in bytes, for CAP.DSTRD `stride` (0 to 15).
    #[must_use]
    pub const fn offset(self, stride: u8) -> u64 {
        DOORBELLS + self.shadow_offset(stride)
    }

    /// The doorbell whose 4 bytes start at `offset` in BAR 0; `None` below the doorbells, between two, or above the last.
    #[must_use]
    pub const fn decode(offset: u64, stride: u8) -> Option<Self> {
        let Some(from_base) = offset.checked_sub(DOORBELLS) else { return None };
        let spacing = spacing(stride);
        // No index above 17 bits is a doorbell, so the cast below loses nothing.
        let index = from_base / spacing;
        if !from_base.is_multiple_of(spacing) || index > 0x1_ffff {
            return None;
        }
        Self::from_index((index & 0x1_ffff) as u32)
    }
}

/// Bytes from one doorbell to the next: 4 << CAP.DSTRD (the field has 4 bits; higher ones are cut).
#[must_use]
pub const fn spacing(stride: u8) -> u64 {
    4 << (stride & 0xf)
}

/// Bytes that the doorbells of queue identifiers 0 to `last_qid` take.
#[must_use]
pub const fn length(last_qid: u16, stride: u8) -> u64 {
    (last_qid as u64 + 1) * 2 * spacing(stride)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doorbells_stand_where_the_specification_puts_them() {
        assert_eq!(Doorbell::SubmissionTail(0).offset(0), 0x1000);
        assert_eq!(Doorbell::CompletionHead(0).offset(0), 0x1004);
        assert_eq!(Doorbell::SubmissionTail(3).offset(0), 0x1018);
        assert_eq!(Doorbell::CompletionHead(1).offset(2), 0x1030);
        assert_eq!(Doorbell::CompletionHead(1).shadow_offset(0), 0xc);
    }

    #[test]
    fn every_offset_decodes_to_its_doorbell() {
        for stride in 0..16 {
            for qid in [0, 1, 2, 64, 255, 0x7fff, 0xffff] {
                for doorbell in [Doorbell::SubmissionTail(qid), Doorbell::CompletionHead(qid)] {
                    assert_eq!(Doorbell::decode(doorbell.offset(stride), stride), Some(doorbell));
                }
            }
        }
    }

    #[test]
    fn offsets_that_are_no_doorbell_are_refused() {
        assert_eq!(Doorbell::decode(0xffc, 0), None);
        assert_eq!(Doorbell::decode(0x1002, 0), None);
        assert_eq!(Doorbell::decode(0x1004, 1), None, "between two doorbells of a wider stride");
        assert_eq!(Doorbell::decode(Doorbell::CompletionHead(u16::MAX).offset(0) + 4, 0), None);
        assert_eq!(Doorbell::decode(!3, 0), None);
        assert_eq!(Doorbell::from_index(0x2_0000), None);
    }

    #[test]
    fn length_covers_the_last_queue_pair() {
        assert_eq!(length(64, 0), 65 * 8);
        assert_eq!(Doorbell::CompletionHead(64).shadow_offset(0) + 4, length(64, 0));
    }
}
