//! Copies from and to memory that a client writes at the same time.
//!
//! [`GuestSlice`] is a range of client memory for as long as a pass lasts; [`HeldSlice`] is one that outlives
//! the pass, for I/O in flight, and that an unmap waits for.
//!
//! # Racing with the client
//! The client is another process (or the same memory mapped twice) and may write any byte at any moment. No
//! Rust reference to such memory is ever made: a `&[u8]` promises that nothing changes, a `&mut [u8]` that
//! nobody else looks. Everything here is raw pointers into a shared mapping which the compiler never saw
//! allocated, so it can assume nothing about the contents. Within this process the memory is reached only
//! through these slices. Two devices' threads, or a client that maps one file at two addresses, can make two
//! such copies overlap in time: as on real hardware the bytes are then a mixture, which is why:
//!
//! * Bytes are copied once, by `copy_nonoverlapping` into private memory, and only the copy is examined (law 7);
//!   no value read here is ever read again. Bytes may be torn; nothing relies on their being consistent, and
//!   all types offered are valid for every bit pattern.
//! * What has to be read or written in one piece (a phase bit, a doorbell) goes through [`GuestSlice::load_u32`],
//!   [`GuestSlice::load_u64`] and [`GuestSlice::store_u32_release`]: aligned atomics, which other processes
//!   observe whole and in order.
//! * Lengths and addresses are ours: they come from the table, never from the shared memory.
//!
//! A page that the client truncated away reads as zeroes and swallows writes; the state of the mapping is
//! looked at after each access, one relaxed load, and turns the access into an error (`mapping::sigbus`).

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use zerocopy::FromBytes;

use super::table::DmaAccess;
use crate::error::DmaError;
use crate::mapping::Mapping;

/// A contiguous range of the consumer's memory, for as long as the pass that resolved it.
///
/// Not `Send`: it lives and dies under a short pass. Use [`GuestSlice::hold`] for I/O that outlives it.
#[derive(Clone, Copy)]
pub struct GuestSlice<'p> {
    mapping: &'p Arc<Mapping>,
    range: Range,
    not_send: PhantomData<*mut u8>,
}

/// A contiguous range of the consumer's memory that outlives its pass. An unmap of it waits until this is dropped.
pub struct HeldSlice {
    mapping: Arc<Mapping>,
    range: Range,
}

/// Bytes inside one mapping. `start..start+len` lies within it: made by `GuestSlice::new` and only ever narrowed.
#[derive(Clone, Copy)]
struct Range {
    start: *mut u8,
    len: usize,
    access: DmaAccess,
}

// SAFETY: the pointer leads to memory that belongs to no thread and that `mapping` keeps mapped.
unsafe impl Send for HeldSlice {}
// SAFETY: all access follows this module's head, from any number of threads.
unsafe impl Sync for HeldSlice {}

impl Range {
    /// The first byte of `len` bytes at `offset`.
    #[inline]
    fn at(&self, offset: usize, len: usize) -> Result<*mut u8, DmaError> {
        if offset <= self.len && len <= self.len - offset {
            // SAFETY: `offset` is at most `len`, so the result is in the mapping or one past its end.
            Ok(unsafe { self.start.add(offset) })
        } else {
            Err(DmaError::OutOfRange)
        }
    }

    #[inline]
    fn readable(&self, offset: usize, len: usize) -> Result<*mut u8, DmaError> {
        if !self.access.reads() {
            return Err(DmaError::Denied);
        }
        self.at(offset, len)
    }

    #[inline]
    fn writable(&self, offset: usize, len: usize) -> Result<*mut u8, DmaError> {
        if !self.access.writes() {
            return Err(DmaError::Denied);
        }
        self.at(offset, len)
    }

    #[inline]
    fn read(&self, offset: usize, data: &mut [u8]) -> Result<(), DmaError> {
        let from = self.readable(offset, data.len())?;
        // SAFETY: `from` has `data.len()` mapped, readable bytes; private memory does not overlap client memory.
        unsafe { ptr::copy_nonoverlapping(from, data.as_mut_ptr(), data.len()) };
        Ok(())
    }

    #[inline]
    fn write(&self, offset: usize, data: &[u8]) -> Result<(), DmaError> {
        let to = self.writable(offset, data.len())?;
        // SAFETY: `to` has `data.len()` mapped, writable bytes; private memory does not overlap client memory.
        unsafe { ptr::copy_nonoverlapping(data.as_ptr(), to, data.len()) };
        Ok(())
    }
}

impl<'p> GuestSlice<'p> {
    /// `len` bytes of `mapping` from `offset`.
    #[inline]
    pub(super) fn new(
        mapping: &'p Arc<Mapping>,
        offset: u64,
        len: u64,
        access: DmaAccess,
    ) -> Result<GuestSlice<'p>, DmaError> {
        if offset.checked_add(len).is_none_or(|end| end > mapping.len()) {
            return Err(DmaError::OutOfRange);
        }
        let (Ok(offset), Ok(len)) = (usize::try_from(offset), usize::try_from(len)) else {
            return Err(DmaError::OutOfRange);
        };
        // SAFETY: just checked: `offset` bytes from the base is in the mapping or one past its end.
        let start = unsafe { mapping.base().add(offset) };
        Ok(GuestSlice { mapping, range: Range { start, len, access }, not_send: PhantomData })
    }

    /// Bytes.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "an empty slice is of no use to a device")]
    pub fn len(&self) -> usize {
        self.range.len
    }

    /// The part of `len` bytes at `offset`.
    ///
    /// # Errors
    /// [`DmaError::OutOfRange`].
    #[inline]
    pub fn slice(&self, offset: usize, len: usize) -> Result<GuestSlice<'p>, DmaError> {
        let start = self.range.at(offset, len)?;
        Ok(GuestSlice { range: Range { start, len, ..self.range }, ..*self })
    }

    /// Copies the first `data.len()` bytes out.
    ///
    /// # Errors
    /// [`DmaError::OutOfRange`] or [`DmaError::Denied`]: nothing was copied. [`DmaError::Truncated`] or
    /// [`DmaError::Severed`]: `data` holds anything.
    #[inline]
    pub fn read_into(&self, data: &mut [u8]) -> Result<(), DmaError> {
        self.range.read(0, data)?;
        self.mapping.check()
    }

    /// Copies `data` to the beginning.
    ///
    /// # Errors
    /// As [`GuestSlice::read_into`]; some bytes may have arrived.
    #[inline]
    pub fn write_from(&self, data: &[u8]) -> Result<(), DmaError> {
        self.range.write(0, data)?;
        self.mapping.check()
    }

    /// Sets every byte to `value`.
    ///
    /// # Errors
    /// As [`GuestSlice::write_from`].
    pub fn fill(&self, value: u8) -> Result<(), DmaError> {
        let to = self.range.writable(0, self.range.len)?;
        // SAFETY: the whole range is mapped and writable.
        unsafe { ptr::write_bytes(to, value, self.range.len) };
        self.mapping.check()
    }

    /// Copies all of this slice to the beginning of `to`; the two may overlap.
    ///
    /// # Errors
    /// As [`GuestSlice::write_from`], for either slice.
    pub fn copy_to(&self, to: &GuestSlice<'_>) -> Result<(), DmaError> {
        let from = self.range.readable(0, self.range.len)?;
        let target = to.range.writable(0, self.range.len)?;
        // SAFETY: both have `len` mapped bytes of the right direction; `copy` allows overlap.
        unsafe { ptr::copy(from, target, self.range.len) };
        self.mapping.check()?;
        to.mapping.check()
    }

    /// Copies `len` bytes out, to raw memory that others may use at the same time (a device's memory disk).
    ///
    /// # Safety
    /// `to` has `len` bytes that may be written, outside the consumer's memory.
    ///
    /// # Errors
    /// As [`GuestSlice::read_into`].
    #[inline]
    pub unsafe fn copy_to_ptr(&self, to: *mut u8, len: usize) -> Result<(), DmaError> {
        let from = self.range.readable(0, len)?;
        // SAFETY: `from` has `len` readable bytes; the rest is the caller's promise.
        unsafe { ptr::copy_nonoverlapping(from, to, len) };
        self.mapping.check()
    }

    /// Copies `len` bytes in, from raw memory that others may use at the same time (a device's memory disk).
    ///
    /// # Safety
    /// `from` has `len` bytes that may be read, outside the consumer's memory.
    ///
    /// # Errors
    /// As [`GuestSlice::write_from`].
    #[inline]
    pub unsafe fn copy_from_ptr(&self, from: *const u8, len: usize) -> Result<(), DmaError> {
        let to = self.range.writable(0, len)?;
        // SAFETY: `to` has `len` writable bytes; the rest is the caller's promise.
        unsafe { ptr::copy_nonoverlapping(from, to, len) };
        self.mapping.check()
    }

    /// Copies one `T` out of `offset`, which need not be aligned. Examine the copy, never the memory (law 7).
    ///
    /// # Errors
    /// As [`GuestSlice::read_into`].
    #[inline]
    pub fn read_pod<T: FromBytes>(&self, offset: usize) -> Result<T, DmaError> {
        let from = self.range.readable(offset, size_of::<T>())?;
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: `from` has the bytes; `value` is private memory of that size. Every bit pattern is a valid `T`.
        let value = unsafe {
            ptr::copy_nonoverlapping(from, value.as_mut_ptr().cast::<u8>(), size_of::<T>());
            value.assume_init()
        };
        self.mapping.check()?;
        Ok(value)
    }

    /// Reads a little-endian dword in one piece; reads that follow it see what was written before it.
    ///
    /// # Errors
    /// [`DmaError::Misaligned`], else as [`GuestSlice::read_into`].
    #[inline]
    pub fn load_u32(&self, offset: usize) -> Result<u32, DmaError> {
        let at = self.range.readable(offset, size_of::<u32>())?.cast::<u32>();
        aligned(at)?;
        // SAFETY: mapped, readable and aligned; client memory is only accessed atomically or by raw copies
        // that accept any mixture (module head). A relaxed or acquire load never writes, so a read-only
        // mapping will do.
        let value = unsafe { AtomicU32::from_ptr(at) }.load(Ordering::Acquire);
        self.mapping.check()?;
        Ok(u32::from_le(value))
    }

    /// Reads a little-endian qword in one piece; reads that follow it see what was written before it.
    ///
    /// # Errors
    /// As [`GuestSlice::load_u32`].
    #[inline]
    pub fn load_u64(&self, offset: usize) -> Result<u64, DmaError> {
        let at = self.range.readable(offset, size_of::<u64>())?.cast::<u64>();
        aligned(at)?;
        // SAFETY: as in `load_u32`.
        let value = unsafe { AtomicU64::from_ptr(at) }.load(Ordering::Acquire);
        self.mapping.check()?;
        Ok(u64::from_le(value))
    }

    /// Writes a little-endian dword in one piece, after everything written before it: the dword of a
    /// completion entry that holds the phase bit, once the rest of the entry is in place.
    ///
    /// # Errors
    /// [`DmaError::Misaligned`], else as [`GuestSlice::write_from`].
    #[inline]
    pub fn store_u32_release(&self, offset: usize, value: u32) -> Result<(), DmaError> {
        let at = self.range.writable(offset, size_of::<u32>())?.cast::<u32>();
        aligned(at)?;
        // SAFETY: as in `load_u32`, and writable.
        unsafe { AtomicU32::from_ptr(at) }.store(value.to_le(), Ordering::Release);
        self.mapping.check()
    }

    /// Whether everything accessed so far was the client's memory; for accesses through [`GuestSlice::as_ptr`].
    ///
    /// # Errors
    /// [`DmaError::Truncated`], [`DmaError::Severed`].
    #[inline]
    pub fn check(&self) -> Result<(), DmaError> {
        self.mapping.check()
    }

    /// The first byte. Valid for `len` bytes while the slice lives, in the directions it was resolved for; the
    /// client writes the memory at the same time, so no reference may be made of it. Call
    /// [`GuestSlice::check`] after the access.
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        self.range.start
    }

    /// Keeps the memory beyond the pass, for I/O in flight. An unmap of it waits until the result is dropped, so
    /// drop it as soon as the I/O is over.
    pub fn hold(&self) -> HeldSlice {
        self.mapping.hold();
        HeldSlice { mapping: Arc::clone(self.mapping), range: self.range }
    }
}

impl HeldSlice {
    /// Bytes.
    #[expect(clippy::len_without_is_empty, reason = "an empty slice is of no use to a device")]
    pub fn len(&self) -> usize {
        self.range.len
    }

    /// The first byte, as [`GuestSlice::as_ptr`]; call [`HeldSlice::check`] when the I/O is over.
    pub fn as_ptr(&self) -> *mut u8 {
        self.range.start
    }

    /// Copies `data.len()` bytes out of `offset`.
    ///
    /// # Errors
    /// As [`GuestSlice::read_into`].
    pub fn read_at(&self, offset: usize, data: &mut [u8]) -> Result<(), DmaError> {
        self.range.read(offset, data)?;
        self.mapping.check()
    }

    /// Copies `data` to `offset`.
    ///
    /// # Errors
    /// As [`GuestSlice::write_from`].
    pub fn write_at(&self, offset: usize, data: &[u8]) -> Result<(), DmaError> {
        self.range.write(offset, data)?;
        self.mapping.check()
    }

    /// Whether everything accessed so far was the client's memory. I/O by the kernel into a truncated file fails
    /// with EFAULT by itself.
    ///
    /// # Errors
    /// [`DmaError::Truncated`], [`DmaError::Severed`].
    pub fn check(&self) -> Result<(), DmaError> {
        self.mapping.check()
    }
}

impl Drop for HeldSlice {
    fn drop(&mut self) {
        self.mapping.unhold();
    }
}

#[inline]
fn aligned<T>(at: *mut T) -> Result<(), DmaError> {
    if at.is_aligned() { Ok(()) } else { Err(DmaError::Misaligned) }
}
