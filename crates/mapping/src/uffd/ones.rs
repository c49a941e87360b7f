//! The file of all-ones: what a range shows whose function cannot be reached.

use rustix::fs::{MemfdFlags, SealFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of the file at first, and of the pieces in which it is written.
const SMALLEST: usize = 2 << 20;
/// Mappings that one covered range takes at most. A process may have 65,530 (`vm.max_map_count`).
const STRIPS: usize = 512;

/// A file in memory that has nothing but ones, made with the first range: a cover must not fail for want of a descriptor.
///
/// A range is covered strip by strip, each a private mapping of the file's beginning. So that a range of many GiB does not
/// use up the mappings of the process, the file grows with the largest range, to 1/512 of it.
#[derive(Debug)]
pub(crate) struct Ones {
    file: OwnedFd,
    /// Bytes that are ones. Only grows; two who let it grow at once write the same.
    filled: AtomicUsize,
}

impl Ones {
    /// # Errors
    /// What the system says: no descriptor, or no memory.
    pub(crate) fn new() -> io::Result<Ones> {
        let file = rustix::fs::memfd_create("all-ones", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        // What is beyond its end cannot be read, so it must not end earlier some day.
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK)?;
        let ones = Ones { file, filled: AtomicUsize::new(0) };
        ones.prepare(SMALLEST)?;
        Ok(ones)
    }

    /// Sees to it that a range of `len` bytes can be covered later on.
    ///
    /// # Errors
    /// What the system says: no memory.
    pub(super) fn prepare(&self, len: usize) -> io::Result<()> {
        let strip = strip(len);
        let mut at = self.filled.load(Ordering::Acquire);
        if at >= strip {
            return Ok(());
        }
        let piece = vec![0xff; SMALLEST];
        while at < strip {
            at += rustix::io::pwrite(&self.file, &piece[..piece.len().min(strip - at)], at as u64)?;
        }
        self.filled.fetch_max(strip, Ordering::Release);
        Ok(())
    }

    /// Bytes that are shown by one mapping of a range of `len` bytes, for which `prepare` was called.
    pub(super) fn strip(&self, len: usize) -> usize {
        strip(len)
    }

    /// An offset at which the file has nothing.
    pub(super) fn beyond(&self) -> u64 {
        1 << 62
    }
}

impl AsFd for Ones {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn strip(len: usize) -> usize {
    len.div_ceil(STRIPS).next_power_of_two().max(SMALLEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_range_takes_few_mappings() {
        assert_eq!(strip(4096), SMALLEST);
        assert_eq!(strip(1 << 30), SMALLEST);
        assert_eq!(strip(64 << 30), 128 << 20);
        for len in [1_usize << 20, (1 << 30) + 4096, (5 << 30) + 4096] {
            assert!(len.div_ceil(strip(len)) <= STRIPS, "{len}");
        }
    }

    #[test]
    fn it_is_ones_as_far_as_a_range_needs() {
        let ones = Ones::new().unwrap();
        ones.prepare(2 << 30).unwrap();
        let mut data = vec![0; 3 * SMALLEST];
        let mut read = 0;
        while let Ok(more @ 1..) = rustix::io::pread(&ones, &mut data[read..], read as u64) {
            read += more;
        }
        assert_eq!(read, 2 * SMALLEST);
        assert!(data[..read].iter().all(|byte| *byte == 0xff));
    }
}
