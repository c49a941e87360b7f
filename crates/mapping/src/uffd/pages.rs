//! The pages of one range, by the kernel.

use super::descriptor::Filled;
use super::range::Range;
use crate::fault::{Pool, Serve, Unavailable};
use crate::window::Window;
use crate::{Memory, Pages, PagesError};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

/// Up to this size, in bytes, a range is made present as a whole, and memory is allocated for all of it at the first hole.
const WHOLE: usize = 16 << 20;
/// A larger range is made present in pieces of this size, as far as memory has been allocated; a hole costs one page.
const PIECE: usize = 2 << 20;
/// System calls for one fault. A range with more alternations of memory and holes than half of that is made present by
/// several faults; more than a few are taken only when others answer the same pages at the same time.
const ATTEMPTS: usize = 64;

/// Where the file behind a range comes from.
pub(crate) trait Backing: Send + Sync {
    /// The present file of the byte at `offset`. Once it has succeeded it takes no lock: it is asked for under a window's.
    ///
    /// # Errors
    /// There is none yet, and none could be made.
    fn file(&self, offset: u64) -> io::Result<Arc<OwnedFd>>;
}

impl Backing for Memory {
    fn file(&self, offset: u64) -> io::Result<Arc<OwnedFd>> {
        Memory::file(self, offset)
    }
}

/// A mapping of a device's memory whose pages come and go.
///
/// *Populate* makes pages present by the descriptor alone, so it always acts on the file that is mapped at that moment,
/// whichever that is, and finds the range replaced if it is late. Memory for holes comes from the same place
/// (`UFFDIO_ZEROPAGE`), not from the file's descriptor, for the same reason.
///
/// *Uncover* maps the file, then registers the range, and an access between the two is served by the kernel at once. Why
/// that is no way around the gate, `window` says; what such an access made present is gone when this returns.
pub(crate) struct KernelPages {
    range: Range,
    file: Arc<dyn Backing>,
    /// Of the range's start, in bytes.
    offset: u64,
    /// Lives longer than the range is mapped: its end closes the descriptor.
    pool: Arc<Pool>,
}

impl KernelPages {
    /// Maps `size` bytes of `file` from `offset` on; both are multiples of the page size. No page is present, and no fault is
    /// answered before [`Pages::attach`].
    ///
    /// # Errors
    /// [`Unavailable`]; nothing is left (MM-I4).
    pub(crate) fn map(file: Arc<dyn Backing>, offset: u64, size: u64) -> Result<KernelPages, Unavailable> {
        let pool = Pool::get()?;
        KernelPages::map_with(pool, file, offset, size)
    }

    /// The same with the handlers of `pool`.
    pub(crate) fn map_with(
        pool: Arc<Pool>,
        file: Arc<dyn Backing>,
        offset: u64,
        size: u64,
    ) -> Result<KernelPages, Unavailable> {
        let len = usize::try_from(size).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        // What a cover and an uncover need later is made now, where its lack can still be reported.
        pool.ones().prepare(len)?;
        let range = Range::new(pool.uffd(), file.file(offset)?.as_fd(), offset, len)?;
        Ok(KernelPages { range, file, offset, pool })
    }

    /// Faults in the range go to `window` from now on.
    pub(crate) fn attach_to<S: Serve + 'static>(&self, window: &Arc<S>) {
        self.pool.attach(self.range.start(), self.range.len(), window);
    }

    /// Makes what can be made present of `[from, to)`, at least the first page; for a hole at most `hole` bytes are allocated
    /// at once. True if there was anything to do.
    fn fill(&self, from: usize, to: usize, hole: usize) -> Result<bool, PagesError> {
        let uffd = self.pool.uffd();
        let (mut at, mut allocate) = (from, false);
        for _ in 0..ATTEMPTS {
            let (start, left) = (self.range.start() + at, to - at);
            let done = match allocate {
                false => uffd.map_present(start, left),
                true => uffd.map_zeroed(start, left.min(hole)),
            };
            match done {
                Filled::Bytes(done) => at += done,
                Filled::Replaced => return Err(PagesError::Replaced),
                Filled::NoMemory if at == from => return Err(PagesError::NoMemory),
                // Somebody else was here: what is beyond is theirs, or for the next fault.
                Filled::Present if !allocate => break,
                // A larger range gets memory for the page that was touched, and no more.
                Filled::Hole if at > from && hole == page() => break,
                Filled::NoMemory => break,
                // Memory came to be there meanwhile.
                Filled::Present | Filled::Hole | Filled::Again => {}
            }
            allocate = done == Filled::Hole && !allocate;
            if at >= to {
                break;
            }
        }
        // Who faulted on the first page may have begun to wait after it was made present by others.
        if at == from {
            uffd.wake(self.range.start() + from, page());
        }
        Ok(at > from)
    }
}

impl Pages for KernelPages {
    fn attach(&self, window: &Arc<Window>) {
        self.attach_to(window);
    }

    fn populate(&self, offset: u64) -> Result<(), PagesError> {
        let len = self.range.len();
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let first = offset - offset % page();
        if first >= len {
            return Ok(());
        }
        if len > WHOLE {
            let end = (first - first % PIECE + PIECE).min(len);
            return self.fill(first, end, page()).map(drop);
        }
        // The page that somebody waits for comes first; it decides whether this has succeeded.
        if self.fill(first, len, len)? && first > 0 {
            let _ = self.fill(0, first, len);
        }
        Ok(())
    }

    fn poison(&self, offset: u64) {
        let Ok(offset) = usize::try_from(offset) else { return };
        let at = offset - offset % page();
        if at >= self.range.len() || !self.range.is_ours() {
            return;
        }
        let start = self.range.start() + at;
        // Present, poisoned already or replaced: whoever waits looks again and finds that.
        if !matches!(self.pool.uffd().poison(start, page()), Filled::Bytes(_)) {
            self.pool.uffd().wake(start, page());
        }
    }

    fn zap(&self) {
        self.range.discard();
    }

    fn cover(&self) {
        self.range.cover(self.pool.ones());
        self.wake();
    }

    fn uncover(&self) -> Result<(), PagesError> {
        let shown = self
            .file
            .file(self.offset)
            .and_then(|file| self.range.show(self.pool.uffd(), file.as_fd(), self.offset));
        // The window reports it, when it has let go of its lock.
        shown.map_err(|_| {
            self.range.cover(self.pool.ones());
            PagesError::NoMemory
        })
    }

    fn wake(&self) {
        self.pool.uffd().wake(self.range.start(), self.range.len());
    }

    fn base(&self) -> Option<NonNull<u8>> {
        Some(self.range.base())
    }
}

impl Drop for KernelPages {
    fn drop(&mut self) {
        if !self.range.is_ours() {
            return;
        }
        let (start, len) = (self.range.start(), self.range.len());
        // Before the addresses can be another's.
        self.pool.detach(start);
        self.range.unmap();
        // Nobody can wait there who keeps to the contract. Who does not ends with SIGSEGV instead of waiting for ever.
        self.pool.uffd().wake(start, len);
    }
}

fn page() -> usize {
    rustix::param::page_size()
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
