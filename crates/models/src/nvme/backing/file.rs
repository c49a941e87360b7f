//! Blocks in a file or on a block device.
//!
//! Opening finds out what the file system can do: direct I/O (no page cache of the host between guest and disk)
//! and with which alignment. The file is locked against a second server. All I/O goes through the controller's
//! ring; the one exception is [`FileBacking::sync`], for the end of a controller whose ring is gone.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, OFlags, StatxFlags, fcntl_getfl, fcntl_setfl, flock, statx};
use rustix::io::Errno;

use super::{BackingError, check_size};

/// Whether to go around the host's page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DirectIo {
    /// Where the file system can, for aligned requests of the namespace's block size.
    #[default]
    WherePossible,
    /// Never: through the host's page cache.
    Never,
}

/// How to open a file as a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileOptions {
    /// Length in bytes. Given: a file that does not exist (or is empty) is made with this length, sparse; one
    /// that exists must have it. `None`: the file must exist, and its length is taken.
    pub size: Option<u64>,
    /// Whether to go around the host's page cache.
    pub direct: DirectIo,
}

/// A disk in a file.
#[derive(Debug)]
pub struct FileBacking {
    file: File,
    path: PathBuf,
    size: u64,
    /// Alignment of memory and file offset that direct I/O asks for; `None`: the page cache is used.
    direct: Option<DirectAlignment>,
}

/// What direct I/O asks for, both powers of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DirectAlignment {
    /// Of memory addresses and segment lengths, in bytes.
    pub(crate) memory: u32,
    /// Of file offsets and total lengths, in bytes.
    pub(crate) offset: u32,
}

impl FileBacking {
    pub(super) fn open(path: &Path, options: &FileOptions) -> Result<Self, BackingError> {
        let failed = |action| {
            let path = path.to_owned();
            move |source: io::Error| BackingError::File { action, path, source }
        };
        options.size.map_or(Ok(()), check_size)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(options.size.is_some())
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed("open"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(BackingError::InUse(path.to_owned())),
            Err(errno) => return Err(failed("lock")(errno.into())),
        }
        let kind = file.metadata().map_err(failed("look at"))?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(BackingError::Kind(path.to_owned()));
        }
        // A block device has no length in its metadata; its end is where seeking to the end leads.
        let found = file.seek(SeekFrom::End(0)).map_err(failed("measure"))?;
        let size = match options.size {
            Some(wanted) if found == 0 && kind.is_file() => {
                file.set_len(wanted).map_err(failed("set the length of"))?;
                file.sync_all().map_err(failed("sync"))?;
                wanted
            }
            Some(wanted) if wanted != found => {
                return Err(BackingError::SizeDiffers { path: path.to_owned(), found, wanted });
            }
            _ => found,
        };
        check_size(size)?;
        let direct = match options.direct {
            DirectIo::WherePossible => turn_direct_on(&file),
            DirectIo::Never => None,
        };
        Ok(Self { file, path: path.to_owned(), size, direct })
    }

    /// Length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What direct I/O asks for; `None` if the page cache is used.
    pub(crate) fn direct(&self) -> Option<DirectAlignment> {
        self.direct
    }

    /// Uses the page cache from now on, if direct I/O cannot address single blocks of `block` bytes.
    pub(crate) fn settle_for_blocks(&mut self, block: u32) {
        if self.direct.is_some_and(|direct| direct.offset > block) {
            turn_direct_off(&self.file);
            self.direct = None;
        }
    }

    /// Brings everything written so far to the disk, waiting for it.
    ///
    /// # Errors
    /// What the system says: nothing about the data on the disk is known then.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    pub(super) fn describe(&self) -> String {
        let cache = if self.direct.is_some() { "direct I/O" } else { "through the page cache" };
        format!("file {}, {} bytes, {cache}", self.path.display(), self.size)
    }
}

impl AsFd for FileBacking {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn turn_direct_on(file: &File) -> Option<DirectAlignment> {
    let flags = fcntl_getfl(file).ok()?;
    fcntl_setfl(file, flags | OFlags::DIRECT).ok()?;
    let alignment = direct_alignment(file);
    if alignment.is_none() {
        turn_direct_off(file);
    }
    alignment
}

fn turn_direct_off(file: &File) {
    if let Ok(flags) = fcntl_getfl(file) {
        // Failing leaves direct I/O on, whose requests then fail one by one: reported, never acknowledged.
        let _ = fcntl_setfl(file, flags - OFlags::DIRECT);
    }
}

fn direct_alignment(file: &File) -> Option<DirectAlignment> {
    // statx(2): since Linux 6.1 the kernel states what direct I/O on this file asks for; 0 means it cannot.
    let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok()?;
    if found.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
        // An older kernel: a page satisfies every file system, and needs more bounce buffers at worst.
        return Some(DirectAlignment { memory: 4096, offset: 4096 });
    }
    let (memory, offset) = (found.stx_dio_mem_align, found.stx_dio_offset_align);
    let usable = memory.is_power_of_two() && offset.is_power_of_two() && memory <= 4096;
    usable.then_some(DirectAlignment { memory, offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(size: u64) -> FileOptions {
        FileOptions { size: Some(size), direct: DirectIo::WherePossible }
    }

    #[test]
    fn a_missing_file_is_made_sparse_with_the_length_asked_for() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let disk = FileBacking::open(&path, &options(1 << 30)).unwrap();
        assert_eq!(disk.size(), 1 << 30);
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!(meta.len(), 1 << 30);
        assert!(meta.blocks() < 64, "the file takes {} blocks", meta.blocks());
        assert_eq!(meta.mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_served_already_is_refused_until_it_is_released() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let first = FileBacking::open(&path, &options(8192)).unwrap();
        assert!(matches!(FileBacking::open(&path, &options(8192)), Err(BackingError::InUse(_))));
        drop(first);
        assert!(FileBacking::open(&path, &options(8192)).is_ok());
    }

    #[test]
    fn a_file_of_another_length_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        std::fs::write(&path, vec![1; 8192]).unwrap();
        let refused = FileBacking::open(&path, &options(16384));
        assert!(matches!(refused, Err(BackingError::SizeDiffers { found: 8192, wanted: 16384, .. })));
        assert_eq!(std::fs::read(&path).unwrap(), vec![1; 8192]);
    }

    #[test]
    fn a_directory_or_a_missing_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(FileBacking::open(dir.path(), &FileOptions::default()).is_err());
        assert!(FileBacking::open(&dir.path().join("none"), &FileOptions::default()).is_err());
        assert!(matches!(
            FileBacking::open(Path::new("/dev/null"), &FileOptions::default()),
            Err(BackingError::Kind(_))
        ));
    }

    #[test]
    fn blocks_smaller_than_direct_io_can_address_turn_it_off() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = FileBacking::open(&dir.path().join("disk"), &options(8192)).unwrap();
        disk.direct = Some(DirectAlignment { memory: 4096, offset: 4096 });
        disk.settle_for_blocks(4096);
        assert!(disk.direct().is_some());
        disk.settle_for_blocks(512);
        assert_eq!(disk.direct(), None);
    }
}
