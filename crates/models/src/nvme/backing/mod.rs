//! Where the blocks of a namespace live.
//!
//! A [`Backing`] is opened by the daemon, and owned by exactly one controller from then on. It knows nothing of
//! NVMe: it is bytes, a length, and for a file what direct I/O asks for. Memory is copied by the engine itself;
//! a file is only described here, its I/O is submitted by the controller's `ring`.

mod file;
mod memory;

use std::io;
use std::path::{Path, PathBuf};

pub use file::{DirectIo, FileBacking, FileOptions};
pub use memory::MemoryBacking;

/// Where the blocks of a namespace live.
#[derive(Debug)]
pub enum Backing {
    /// Anonymous memory: fast, and gone with the process.
    Memory(MemoryBacking),
    /// A regular file or a block device.
    File(FileBacking),
}

/// Why a backing cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BackingError {
    /// A namespace cannot be empty, and a length is at most 2^62 bytes.
    #[error("a disk of {0} bytes is not possible: choose a size of at least 4096 bytes")]
    Size(u64),
    /// The file's length is not what was asked for.
    #[error(
        "{path} holds {found} bytes, but {wanted} were asked for: correct the size, or move the file away"
    )]
    SizeDiffers {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: u64,
        /// The length asked for, in bytes.
        wanted: u64,
    },
    /// Another process (or another disk of this one) serves the same file.
    #[error("{0} is already served as a disk: two writers would destroy it")]
    InUse(PathBuf),
    /// The path names neither a regular file nor a block device.
    #[error("{0} is neither a regular file nor a block device")]
    Kind(PathBuf),
    /// The system said no.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// No address space for the memory backing.
    #[error("cannot map {size} bytes of memory: {source}")]
    Memory {
        /// The length asked for, in bytes.
        size: u64,
        /// The system's answer.
        source: io::Error,
    },
}

impl Backing {
    /// A disk of `size` bytes in anonymous memory, which is taken from the system only as it is written.
    ///
    /// # Errors
    /// [`BackingError::Size`] or [`BackingError::Memory`].
    pub fn memory(size: u64) -> Result<Self, BackingError> {
        MemoryBacking::new(size).map(Self::Memory)
    }

    /// A disk in the file at `path`.
    ///
    /// # Errors
    /// Any [`BackingError`] but [`BackingError::Memory`].
    pub fn file(path: &Path, options: &FileOptions) -> Result<Self, BackingError> {
        FileBacking::open(path, options).map(Self::File)
    }

    /// Length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Memory(memory) => memory.size(),
            Self::File(file) => file.size(),
        }
    }

    /// Whether a write may still be lost with the host's power after it was acknowledged, until a flush.
    #[must_use]
    pub fn has_volatile_cache(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// One line for an operator.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Memory(memory) => format!("memory, {} bytes", memory.size()),
            Self::File(file) => file.describe(),
        }
    }
}

/// Refuses lengths that no namespace can have.
fn check_size(size: u64) -> Result<(), BackingError> {
    if (4096..=1 << 62).contains(&size) { Ok(()) } else { Err(BackingError::Size(size)) }
}
