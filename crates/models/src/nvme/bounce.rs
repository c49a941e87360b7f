//! Bounce buffers: for transfers whose guest memory direct I/O cannot take as it is.
//!
//! A PRP may start on any dword, direct I/O asks for more. The data then makes a detour through an aligned buffer.
//! (A second descriptor without direct I/O would avoid the copy, but the page cache works in pages: two guests'
//! blocks in one page, one written through the cache and one around it, and the cache would bring old data back.)
#![allow(unsafe_code)] // aligned memory is allocated by hand

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use assign::DmaError;

use super::limits::{BOUNCE_BUFFERS, MAX_TRANSFER_LEN};
use super::transfer::Transfer;

/// Alignment that satisfies every file system's direct I/O.
const ALIGNMENT: usize = 4096;

/// An aligned buffer of the largest transfer.
#[derive(Debug)]
pub(super) struct Bounce {
    start: NonNull<u8>,
}

// SAFETY: the buffer is owned by this value alone and not tied to a thread.
unsafe impl Send for Bounce {}

impl Bounce {
    const LAYOUT: Layout = match Layout::from_size_align(MAX_TRANSFER_LEN, ALIGNMENT) {
        Ok(layout) => layout,
        Err(_) => panic!("a constant size and alignment"),
    };

    fn new() -> Option<Self> {
        // SAFETY: the layout's size is not 0. The pages are taken from the system only as they are used.
        NonNull::new(unsafe { alloc_zeroed(Self::LAYOUT) }).map(|start| Self { start })
    }

    /// The first byte of [`MAX_TRANSFER_LEN`].
    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: allocated and initialised with this length, and `&mut self` makes the slice the only one; the ring
        // calls this only while the kernel does not work on the buffer.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), MAX_TRANSFER_LEN) }
    }

    /// Copies the transfer's guest memory here: before a write.
    ///
    /// # Errors
    /// The guest memory went away.
    pub(super) fn gather(&mut self, transfer: &Transfer) -> Result<(), DmaError> {
        let mut rest = self.bytes();
        for slice in transfer.memory() {
            let (now, later) = rest.split_at_mut_checked(slice.len()).ok_or(DmaError::OutOfRange)?;
            slice.read_at(0, now)?;
            rest = later;
        }
        Ok(())
    }

    /// Copies what is here to the transfer's guest memory: after a read.
    ///
    /// # Errors
    /// The guest memory went away.
    pub(super) fn scatter(&mut self, transfer: &Transfer) -> Result<(), DmaError> {
        let mut rest: &[u8] = self.bytes();
        for slice in transfer.memory() {
            let (now, later) = rest.split_at_checked(slice.len()).ok_or(DmaError::OutOfRange)?;
            slice.write_at(0, now)?;
            rest = later;
        }
        Ok(())
    }
}

impl Drop for Bounce {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout.
        unsafe { dealloc(self.start.as_ptr(), Self::LAYOUT) };
    }
}

/// The buffers of one controller, made as they are first needed.
#[derive(Debug, Default)]
pub(super) struct BouncePool {
    free: Vec<Bounce>,
    made: usize,
}

impl BouncePool {
    /// A buffer; `None` if all are in use (or memory is).
    pub(super) fn take(&mut self) -> Option<Bounce> {
        if let Some(buffer) = self.free.pop() {
            return Some(buffer);
        }
        if self.made == BOUNCE_BUFFERS {
            return None;
        }
        let buffer = Bounce::new()?;
        self.made += 1;
        Some(buffer)
    }

    /// Gives a buffer back.
    pub(super) fn put(&mut self, buffer: Bounce) {
        self.free.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_bounded_and_buffers_come_back() {
        let mut pool = BouncePool::default();
        let mut taken: Vec<_> = (0..BOUNCE_BUFFERS).map(|_| pool.take().unwrap()).collect();
        assert!(taken.iter().all(|buffer| buffer.as_ptr().addr().is_multiple_of(ALIGNMENT)));
        assert!(pool.take().is_none());
        pool.put(taken.pop().unwrap());
        assert!(pool.take().is_some());
    }
}
