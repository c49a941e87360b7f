//! The memory behind a region, as its device has it.
//!
//! A [`Memory`] is a file that takes memory only where it was written, and the device's own view of it, at an address that
//! stays the same. Both are made when they are first needed, once (MM-I6). Consumers in this process map the file; another
//! process is given it. What becomes of the memory then is in `hiding`, and who sees to it in `keeper`.
//!
//! What this module does **not** do: it knows no gate and asks nobody whether an access is permitted. The device has a pass
//! or a proof whenever it gets here.
//!
//! # Concurrency
//! The view is reached through atomics, by any thread at any time, also while what lies behind it is exchanged. Exchanges
//! are made one at a time: by who has the device to itself, and by a removal, which has the last word.

mod file;
mod foreign;
mod hiding;
mod injection;
pub(crate) mod keeper;
pub(crate) mod lent;
mod places;
mod view;

use crate::ranks;
use gate::lock::Leaf;
use places::Places;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use view::View;

/// The memory behind a region.
pub struct Memory {
    name: &'static str,
    size: u64,
    made: OnceLock<Made>,
    /// Whether the view was cut off for good.
    ///
    /// Rank: 76, device memory; a leaf. Held for what is done once, or must not overlap a removal: making file and view, and
    /// one exchange of what the view shows, each a few system calls that wait for nobody. No atomic covers them.
    severed: Leaf<ranks::Memory, Severed>,
    /// A write was dropped for want of memory, and the operator told.
    told: AtomicBool,
    /// Somebody else's file: see [`Memory::foreign`].
    foreign: bool,
}

/// Whether a view was cut off. After `No` nothing is exchanged any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severed {
    No,
    /// The system has refused.
    Failed,
    Done,
}

/// What there is from the first use on.
struct Made {
    view: View,
    /// The descriptor stays the same, the file behind it may be exchanged.
    file: Arc<OwnedFd>,
    /// Where the device's bytes lie while they are hidden.
    private: OnceLock<Arc<OwnedFd>>,
    places: Places,
}

impl Memory {
    /// Memory of `size` bytes, all zeroes; takes none until it is first used. `name` is for people.
    #[must_use]
    pub fn new(name: &'static str, size: u64) -> Arc<Memory> {
        Arc::new(Memory {
            name,
            size,
            made: OnceLock::new(),
            severed: Leaf::new(Severed::No),
            told: AtomicBool::new(false),
            foreign: false,
        })
    }

    /// Makes file and view, once (MM-I6).
    ///
    /// # Errors
    /// What the system says; the next call tries again.
    pub fn set_up(&self) -> io::Result<()> {
        self.made().map(|_| ())
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file in which the byte at `offset` lies at present, at the same offset; it is made if need be.
    ///
    /// The file of a byte may be exchanged, of which [`Mappings`](crate::Mappings) tells its windows: so ask again for each
    /// new mapping of it. Once [`Memory::set_up`] has succeeded, neither a lock is taken nor a system call made.
    ///
    /// # Errors
    /// As [`Memory::set_up`].
    pub fn file(&self, offset: u64) -> io::Result<Arc<OwnedFd>> {
        let made = self.made()?;
        let hidden = made.places.hidden().any(|place| place.range().contains(&offset));
        let private = made.private.get().filter(|_| hidden);
        Ok(Arc::clone(private.unwrap_or(&made.file)))
    }

    /// Reads, in as few accesses as alignment allows; what was never written, and what lies beyond the end, reads 0.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        let inside = self.clip(offset, data.len());
        let (data, beyond) = data.split_at_mut(inside);
        beyond.fill(0);
        match (self.made.get(), usize::try_from(offset)) {
            (Some(made), Ok(offset)) if !self.foreign => made.view.read(offset, data),
            _ => data.fill(0),
        }
    }

    /// Writes, in as few accesses as alignment allows; what lies beyond the end is dropped, and so is everything if the
    /// memory cannot be set up.
    pub fn write(&self, offset: u64, data: &[u8]) {
        let (data, _beyond) = data.split_at(self.clip(offset, data.len()));
        let Ok(offset) = usize::try_from(offset) else { return };
        if data.is_empty() || self.foreign {
            return;
        }
        match self.made() {
            Ok(made) => made.view.write(offset, data),
            Err(error) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    tracing::error!(memory = self.name, %error, "no memory for a device; writes to it are dropped");
                }
            }
        }
    }

    /// The dword at `offset`, for atomic use; `None` if misaligned, beyond the end, or not set up.
    #[inline]
    #[must_use]
    pub fn dword(&self, offset: u64) -> Option<&AtomicU32> {
        self.made.get().filter(|_| !self.foreign)?.view.dword(usize::try_from(offset).ok()?)
    }

    /// Makes everything zero and gives the memory back to the system, without touching what was never written. For who has
    /// the device to itself.
    pub fn clear(&self) {
        let Some(made) = self.made.get().filter(|_| !self.foreign) else { return };
        if let Err(error) = self.empty(made) {
            // The system frees memory without needing any, so this is a mistake, and must not show one consumer what
            // another has written.
            tracing::error!(memory = self.name, %error, "memory of a device could not be freed; it is overwritten");
            self.zero(made);
        }
    }

    fn zero(&self, made: &Made) {
        const ZEROES: [u8; 4096] = [0; 4096];
        let mut at = 0;
        while at < self.size {
            let piece = usize::try_from(self.size - at).unwrap_or(ZEROES.len()).min(ZEROES.len());
            if let Ok(offset) = usize::try_from(at) {
                made.view.write(offset, &ZEROES[..piece]);
            }
            at += piece as u64;
        }
    }

    /// Bytes of an access of `length` at `offset` that lie inside.
    fn clip(&self, offset: u64, length: usize) -> usize {
        usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX).min(length)
    }

    /// Bytes of file and view: whole pages.
    fn length(&self) -> io::Result<u64> {
        let page = rustix::param::page_size() as u64;
        self.size.checked_next_multiple_of(page).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    #[inline]
    fn made(&self) -> io::Result<&Made> {
        self.made.get().map_or_else(|| self.make(), Ok)
    }

    #[cold]
    fn make(&self) -> io::Result<&Made> {
        // Two first users: the second finds what the first has made.
        let once = self.severed.lock();
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let length = self.length()?;
        let file = Arc::new(OwnedFd::from(file::make(self.name, length)?));
        let bytes = |count| usize::try_from(count).map_err(|_| io::ErrorKind::OutOfMemory);
        let view = View::new(&file, bytes(length)?, bytes(self.size)?)?;
        if *once != Severed::No {
            view.show_nothing()?;
        }
        Ok(self.made.get_or_init(|| Made { view, file, private: OnceLock::new(), places: Places::default() }))
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = self.made.get().is_some();
        f.debug_struct("Memory")
            .field("name", &self.name)
            .field("size", &self.size)
            .field("made", &made)
            .finish()
    }
}

#[cfg(test)]
mod tests;
