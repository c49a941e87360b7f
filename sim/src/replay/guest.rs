//! The guest: what it has asked for, and what its disk has to look like for it.
//!
//! A block has one writer or several readers at a time, as a file system keeps it. So after a write that succeeded its value is known, and
//! every read that begins then has to give it, whatever died in between.

use std::collections::BTreeMap;

use nvme_spec::{NvmOpcode, Status, SubmissionEntry};

use super::server::BLOCKS;
use crate::random::Random;

/// Commands that it has under way at a time.
pub(super) const TAGS: u16 = 24;
/// Its I/O queues.
pub(super) const QUEUES: u16 = 3;

/// What it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Write {
        block: u64,
        value: u64,
    },
    Read {
        block: u64,
    },
    Flush,
    /// Something that cannot be executed twice.
    Once,
}

/// Something that is not as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A command was answered that was not under way.
    Answered {
        /// Its tag.
        tag: u16,
    },
    /// A read gave something else than what was written last.
    Data {
        /// Where.
        block: u64,
        /// What was written.
        written: u64,
        /// What was read.
        read: u64,
    },
    /// A command was executed again while a dead back end still wrote.
    Fence {
        /// How many of its writes had not landed.
        old: usize,
    },
    /// A command was answered with an error for no reason.
    Failed {
        /// Its tag.
        tag: u16,
        /// The error.
        status: u16,
    },
    /// At the end not all commands were answered.
    Unanswered {
        /// How many were not.
        count: usize,
    },
    /// The driver did not set a back end up that has no fault.
    NotUp {
        /// What it said.
        why: String,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// What was written last; nothing after a write that failed.
    value: Option<u64>,
    writer: bool,
    readers: u16,
    /// An old write may still land there at any time: the operator was told.
    tainted: bool,
}

/// See the module's head.
#[derive(Default)]
pub(super) struct Guest {
    under_way: BTreeMap<u16, Asked>,
    blocks: BTreeMap<u64, Block>,
    values: u64,
    pub(super) answered: u64,
    pub(super) failed: u64,
}

/// The page of a tag's data.
pub(super) fn page(tag: u16) -> u64 {
    0x1000_0000 + u64::from(tag) * 4096
}

impl Guest {
    fn block(&mut self, block: u64) -> &mut Block {
        // What nobody has written is zeroes.
        self.blocks.entry(block).or_insert(Block { value: Some(0), ..Block::default() })
    }

    pub(super) fn count(&self) -> usize {
        self.under_way.len()
    }

    /// A command that it may ask for now: tag, queue, entry, and the data to write.
    pub(super) fn next(&mut self, random: &mut Random) -> Option<(u16, u16, SubmissionEntry, Option<u64>)> {
        let free: Vec<u16> = (0..TAGS).filter(|tag| !self.under_way.contains_key(tag)).collect();
        let tag = *free.get(random.below(free.len()))?;
        let queue = 1 + u16::try_from(random.below(usize::from(QUEUES))).unwrap_or(0);
        let block = u32::try_from(random.below(usize::from(BLOCKS))).unwrap_or(0);
        let (number, block) = (block, u64::from(block));
        let standing = *self.block(block);
        let mut entry =
            SubmissionEntry { nsid: 1.into(), prp1: page(tag).into(), ..SubmissionEntry::default() };
        entry.cdw10 = number.into();
        let asked = match random.below(20) {
            0 => Asked::Flush,
            // A reservation.
            1 => Asked::Once,
            2..=10 if !standing.writer && standing.readers == 0 => {
                self.values += 1;
                Asked::Write { block, value: self.values }
            }
            _ if !standing.writer => Asked::Read { block },
            _ => return None,
        };
        entry.opcode = match asked {
            Asked::Write { .. } => NvmOpcode::Write.code(),
            Asked::Read { .. } => NvmOpcode::Read.code(),
            Asked::Flush => NvmOpcode::Flush.code(),
            Asked::Once => NvmOpcode::ReservationAcquire.code(),
        };
        let value = match asked {
            Asked::Write { block, value } => {
                self.block(block).writer = true;
                Some(value)
            }
            Asked::Read { block } => {
                self.block(block).readers += 1;
                None
            }
            Asked::Flush | Asked::Once => None,
        };
        self.under_way.insert(tag, asked);
        Some((tag, queue, entry, value))
    }

    /// What a tag is under way with.
    pub(super) fn asked(&self, tag: u16) -> Option<Asked> {
        self.under_way.get(&tag).copied()
    }

    /// It was not taken after all.
    pub(super) fn takes_back(&mut self, tag: u16) {
        if let Some(asked) = self.under_way.remove(&tag) {
            self.let_go(asked);
        }
    }

    fn let_go(&mut self, asked: Asked) {
        match asked {
            Asked::Write { block, .. } => self.block(block).writer = false,
            Asked::Read { block } => self.block(block).readers -= 1,
            Asked::Flush | Asked::Once => {}
        }
    }

    /// An answer. `data` is what is in the tag's page; `excused`: a write may be answered with an error.
    pub(super) fn answer(&mut self, tag: u16, status: Status, data: u64, excused: bool) -> Result<(), Wrong> {
        let asked = self.under_way.remove(&tag).ok_or(Wrong::Answered { tag })?;
        self.let_go(asked);
        self.answered += 1;
        if status.is_success() {
            match asked {
                Asked::Write { block, value } => self.block(block).value = Some(value),
                Asked::Read { block } => {
                    let standing = *self.block(block);
                    match standing.value {
                        Some(written) if written != data && !standing.tainted => {
                            return Err(Wrong::Data { block, written, read: data });
                        }
                        _ => {}
                    }
                }
                Asked::Flush | Asked::Once => {}
            }
            return Ok(());
        }
        self.failed += 1;
        if let Asked::Write { block, .. } = asked {
            let standing = self.block(block);
            standing.value = None;
        }
        let may_fail = excused && matches!(asked, Asked::Write { .. }) || asked == Asked::Once;
        if may_fail { Ok(()) } else { Err(Wrong::Failed { tag, status: status.bits() }) }
    }

    /// The back end has died, and nobody fences what it had under way: where that lands late, nothing is known any more.
    pub(super) fn writes_may_land_late(&mut self) {
        for asked in self.under_way.values() {
            if let Asked::Write { block, .. } = asked
                && let Some(block) = self.blocks.get_mut(block)
            {
                block.tainted = true;
            }
        }
    }

    /// It has reset its controller: what was under way is nobody's any more, and its writes may have been done or not. `late`: if the back
    /// end dies before it has been reset, nobody fences them.
    pub(super) fn forgets(&mut self, late: bool) {
        for (_, asked) in std::mem::take(&mut self.under_way) {
            self.let_go(asked);
            if let Asked::Write { block, .. } = asked {
                let block = self.block(block);
                block.value = None;
                block.tainted |= late;
            }
        }
    }

    /// Blocks whose contents are known.
    pub(super) fn known(&self) -> impl Iterator<Item = (u64, u64)> {
        let sure = |block: &Block| block.value.filter(|_| !block.tainted && !block.writer);
        self.blocks.iter().filter_map(move |(at, block)| Some((*at, sure(block)?)))
    }
}
