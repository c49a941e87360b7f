//! The disk that all back ends have in turn, and the kernel that brings their writes there.
//!
//! A write that a back end has begun lands when the kernel gets to it, also after the back end was killed. Only when nothing of a
//! process is under way any more is the process over.

use std::collections::BTreeMap;

/// One back end, of those that come one after the other.
pub(super) type Process = u32;

/// A write that somebody has begun.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) process: Process,
    pub(super) block: u64,
    pub(super) value: u64,
    /// Which of its commands; nothing waits for it once the process is dead.
    pub(super) command: u64,
}

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Disk {
    blocks: BTreeMap<u64, u64>,
    under_way: Vec<Begun>,
}

impl Disk {
    pub(super) fn read(&self, block: u64) -> u64 {
        self.blocks.get(&block).copied().unwrap_or(0)
    }

    pub(super) fn begin(&mut self, write: Begun) {
        self.under_way.push(write);
    }

    /// Writes of this process that have not landed.
    pub(super) fn under_way(&self, process: Process) -> usize {
        self.under_way.iter().filter(|write| write.process == process).count()
    }

    /// Writes of processes before this one that have not landed.
    pub(super) fn old(&self, than: Process) -> usize {
        self.under_way.iter().filter(|write| write.process < than).count()
    }

    /// Writes that have not landed.
    pub(super) fn count(&self) -> usize {
        self.under_way.len()
    }

    /// Whose the nth write is.
    pub(super) fn process_of(&self, nth: usize) -> Option<Process> {
        self.under_way.get(nth).map(|write| write.process)
    }

    /// The nth write of any process lands.
    pub(super) fn land(&mut self, nth: usize) -> Option<Begun> {
        if nth >= self.under_way.len() {
            return None;
        }
        let write = self.under_way.remove(nth);
        self.blocks.insert(write.block, write.value);
        Some(write)
    }

    /// Position of the nth write of a process.
    pub(super) fn nth_of(&self, process: Process, nth: usize) -> Option<usize> {
        let mut own = self.under_way.iter().enumerate().filter(|(_, write)| write.process == process);
        own.nth(nth).map(|(at, _)| at)
    }

    /// The kernel cancels the nth write.
    pub(super) fn cancel(&mut self, nth: usize) {
        if nth < self.under_way.len() {
            self.under_way.remove(nth);
        }
    }
}
