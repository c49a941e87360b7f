//! Plain memory behind a BAR, made when it is first written.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// A memory BAR that keeps what is written to it.
#[derive(Debug)]
pub(super) struct Memory {
    size: usize,
    bytes: OnceLock<Box<[AtomicU8]>>,
}

impl Memory {
    /// Memory of `size` bytes that reads 0 and takes none until it is written.
    pub(super) const fn new(size: usize) -> Memory {
        Memory { size, bytes: OnceLock::new() }
    }

    pub(super) fn read(&self, offset: u64, data: &mut [u8]) {
        let bytes = self.bytes.get();
        for (at, byte) in (offset..).zip(data) {
            let cell = usize::try_from(at).ok().and_then(|at| bytes?.get(at));
            *byte = cell.map_or(0, |cell| cell.load(Ordering::Relaxed));
        }
    }

    pub(super) fn write(&self, offset: u64, data: &[u8]) {
        let bytes = self.bytes.get_or_init(|| (0..self.size).map(|_| AtomicU8::new(0)).collect());
        for (at, byte) in (offset..).zip(data) {
            if let Some(cell) = usize::try_from(at).ok().and_then(|at| bytes.get(at)) {
                cell.store(*byte, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn clear(&self) {
        let bytes = self.bytes.get().map(AsRef::as_ref).unwrap_or_default();
        bytes.iter().for_each(|cell| cell.store(0, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_what_is_written_and_nothing_beyond_its_end() {
        let memory = Memory::new(8);
        let mut data = [1; 4];
        memory.read(2, &mut data);
        assert_eq!(data, [0; 4]);
        memory.write(6, &[1, 2, 3, 4]);
        memory.read(5, &mut data);
        assert_eq!(data, [0, 1, 2, 0]);
        memory.clear();
        memory.read(5, &mut data);
        assert_eq!(data, [0; 4]);
    }
}
