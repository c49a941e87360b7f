//! The consumer's files, each kept once: a client maps pieces of the same file over and over, with a descriptor each time.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use assign::{Errno, RequestError};
use rustix::fs::{OFlags, fcntl_getfl, fstat};

/// Files that one consumer may have mapped at once: descriptors of this process. QEMU has one for each memory back end, of which
/// there are 256 slots.
const MAX_FILES: usize = 256;

/// Which file a descriptor stands for, and what it permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
    access: u32,
}

impl FileId {
    pub(super) fn of(file: &OwnedFd) -> Result<FileId, RequestError> {
        let stat = fstat(file)?;
        let access = fcntl_getfl(file)? & OFlags::ACCMODE;
        Ok(FileId { device: stat.st_dev, inode: stat.st_ino, access: access.bits() })
    }
}

/// The files that are in use. Who uses one keeps it.
#[derive(Default)]
pub(super) struct Files(BTreeMap<FileId, Weak<OwnedFd>>);

impl Files {
    /// The descriptor to use for a file: the one there is, or this one, which is taken then.
    ///
    /// # Errors
    /// ENOSPC: the consumer has too many.
    pub(super) fn keep(
        &mut self,
        id: FileId,
        file: &mut Option<OwnedFd>,
    ) -> Result<Option<Arc<OwnedFd>>, RequestError> {
        if let Some(kept) = self.0.get(&id).and_then(Weak::upgrade) {
            return Ok(Some(kept));
        }
        self.0.retain(|_, kept| kept.strong_count() > 0);
        if self.0.len() >= MAX_FILES {
            return Err(RequestError::new(Errno::ENOSPC, "memory of too many files is mapped (256 at most)"));
        }
        let kept = file.take().map(Arc::new);
        if let Some(kept) = &kept {
            self.0.insert(id, Arc::downgrade(kept));
        }
        Ok(kept)
    }

    /// Files in use.
    pub(super) fn len(&self) -> usize {
        self.0.values().filter(|kept| kept.strong_count() > 0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};

    fn file() -> OwnedFd {
        memfd_create("guest", MemfdFlags::CLOEXEC).unwrap()
    }

    fn keep(files: &mut Files, file: OwnedFd) -> Result<Arc<OwnedFd>, RequestError> {
        let id = FileId::of(&file)?;
        Ok(files.keep(id, &mut Some(file))?.unwrap())
    }

    #[test]
    fn a_file_is_kept_once_however_often_it_is_mapped() {
        let mut files = Files::default();
        let memory = file();
        let first = keep(&mut files, memory.try_clone().unwrap()).unwrap();
        let second = keep(&mut files, memory).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        let other = keep(&mut files, file()).unwrap();
        assert!(!Arc::ptr_eq(&first, &other));
        assert_eq!(files.len(), 2);
        drop((first, second));
        assert_eq!(files.len(), 1);
    }

    #[test]
    fn a_descriptor_that_permits_less_does_not_stand_for_one_that_permits_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("memory");
        let writable: OwnedFd = std::fs::File::create_new(&path).unwrap().into();
        let readable: OwnedFd = std::fs::File::open(&path).unwrap().into();
        let mut files = Files::default();
        let _readable = keep(&mut files, readable).unwrap();
        let _writable = keep(&mut files, writable).unwrap();
        assert_eq!(files.len(), 2);
    }

    #[test]
    fn a_consumer_cannot_use_up_the_descriptors() {
        let mut files = Files::default();
        let mut kept: Vec<_> = (0..MAX_FILES).map(|_| keep(&mut files, file()).unwrap()).collect();
        assert_eq!(keep(&mut files, file()).unwrap_err().errno, Errno::ENOSPC);
        kept.pop();
        keep(&mut files, file()).unwrap();
    }
}
