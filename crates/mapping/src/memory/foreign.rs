//! Memory in a file of somebody else's, which is passed on as it is.
//!
//! It belongs to another process, such as a server that is forwarded to, and so nothing is done to it: it is never filled, emptied
//! or exchanged, and this process neither reads nor writes it. What that costs: while the function is frozen, and after it is gone,
//! whoever has the file mapped goes on reaching what its owner makes of it. Consumers in this process lose their mapping as ever.

use super::view::View;
use super::{Made, Memory, Severed};
use crate::{Area, Holds};
use gate::lock::Leaf;
use rustix::fs::{FileType, OFlags, SealFlags, fcntl_get_seals, fcntl_getfl, fstat};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

impl Memory {
    /// The first `size` bytes of a file that somebody else made, for a region all of whose areas hold
    /// [`Holds::Doorbells`]. A device has no view of it: to [`Memory::read`] it is zeroes, writes are dropped.
    ///
    /// Who can make the file shorter can end, by SIGBUS, a process that has it mapped. So it has to be sealed against that, unless
    /// `accept_unsealed`.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`]: no file of memory that can be read and written, or shorter than `size` (of which a last
    /// page may be missing in part). [`io::ErrorKind::PermissionDenied`]: it is not sealed. Else what the system says.
    pub fn foreign(
        name: &'static str,
        file: OwnedFd,
        size: u64,
        accept_unsealed: bool,
    ) -> io::Result<Arc<Memory>> {
        let mut memory = Memory {
            name,
            size,
            made: OnceLock::new(),
            severed: Leaf::new(Severed::No),
            told: AtomicBool::new(false),
            foreign: true,
        };
        let length = memory.length()?;
        check_file(&file, length, accept_unsealed)?;
        let view = View::nothing()?;
        let made = Made { view, file: Arc::new(file), private: OnceLock::new(), places: Default::default() };
        memory.made = OnceLock::from(made);
        Ok(Arc::new(memory))
    }

    /// Whether it is somebody else's.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }
}

/// Whether `file` is one of memory, of at least `length` bytes, and stays so.
fn check_file(file: &OwnedFd, length: u64, accept_unsealed: bool) -> io::Result<()> {
    let status = fstat(file)?;
    let size = u64::try_from(status.st_size).unwrap_or(0);
    let regular = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile;
    let access = fcntl_getfl(file)? & OFlags::RWMODE;
    if !regular || access != OFlags::RDWR || length == 0 || size < length {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // A file that cannot be sealed at all, such as one of huge pages by path, says so with an error.
    let sealed = fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK));
    if sealed || accept_unsealed { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Data would have to be filled while the function is frozen.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`]: an area holds data.
pub(super) fn check(areas: &[Area]) -> io::Result<()> {
    if areas.iter().all(|area| area.holds == Holds::Doorbells) {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}
