//! Zeroing and deallocating: Write Zeroes and Dataset Management, cut into bounded steps.
//!
//! Both may name far more bytes than any transfer, so a step takes what can be done shortly and the worker comes
//! back for the rest between other commands. Blocks are given back wherever the backing can, so a sparse file
//! stays sparse; in every case they read as zeros afterwards.

use super::ring::ZERO_BYTES;
use super::transfer::Operation;
use crate::saved::fields;

/// A stretch of the backing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteRange {
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// How far a command over ranges has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RangeWork {
    /// Which range is next.
    index: usize,
    /// How much of it is done, in bytes.
    done: u64,
    /// The blocks must read as zeros afterwards (Write Zeroes); otherwise it is a hint (Deallocate).
    pub(super) required: bool,
    /// The outcome must be on the disk before the command is done.
    pub(super) durable: bool,
}

fields!(ByteRange { offset, len });
fields!(RangeWork { index, done, required, durable });

impl RangeWork {
    pub(super) const fn new(required: bool, durable: bool) -> Self {
        Self { index: 0, done: 0, required, durable }
    }

    /// Whether this can be how far work over `ranges` has come, whoever says so.
    pub(super) fn is_possible(&self, ranges: &[ByteRange]) -> bool {
        self.index <= ranges.len() && self.done <= ranges.get(self.index).map_or(0, |range| range.len)
    }

    /// The next piece, of at most `most` bytes; `None` when all is done.
    pub(super) fn next(&mut self, ranges: &[ByteRange], most: u64) -> Option<ByteRange> {
        // Bounded by the number of ranges; only empty ones are passed over.
        loop {
            let range = ranges.get(self.index)?;
            let left = range.len.saturating_sub(self.done);
            if left > 0 {
                return Some(ByteRange { offset: range.offset + self.done, len: left.min(most) });
            }
            self.index += 1;
            self.done = 0;
        }
    }

    /// `bytes` bytes of the piece last given are done.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
    }
}

/// How the file system zeroes a range: the best it can, found out by trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ZeroMethod {
    /// Punch a hole.
    #[default]
    Punch,
    /// Convert to unwritten extents.
    ZeroRange,
    /// Write zeros.
    Write,
}

impl ZeroMethod {
    /// The operation, and the most bytes of one.
    pub(super) const fn operation(self) -> (Operation, u64) {
        match self {
            Self::Punch => (Operation::PunchHole, u64::MAX),
            Self::ZeroRange => (Operation::ZeroRange, u64::MAX),
            Self::Write => (Operation::WriteZeros, ZERO_BYTES),
        }
    }

    /// What to try if the file system cannot do this.
    pub(super) const fn next(self) -> Option<Self> {
        match self {
            Self::Punch => Some(Self::ZeroRange),
            Self::ZeroRange => Some(Self::Write),
            Self::Write => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_into_pieces_and_empty_ones_passed_over() {
        let ranges = [
            ByteRange { offset: 0, len: 0 },
            ByteRange { offset: 100, len: 25 },
            ByteRange { offset: 7, len: 0 },
            ByteRange { offset: 500, len: 10 },
        ];
        let mut work = RangeWork::new(true, false);
        let mut pieces = Vec::new();
        while let Some(piece) = work.next(&ranges, 10) {
            pieces.push((piece.offset, piece.len));
            work.advance(piece.len);
        }
        assert_eq!(pieces, [(100, 10), (110, 10), (120, 5), (500, 10)]);
    }
}
