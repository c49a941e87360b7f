//! One load or store of memory that may refuse it.
//!
//! A page of a mapping can be poisoned, or lie beyond the end of a file that somebody truncated; touching it raises SIGBUS.
//! [`load`] and [`store`] are one machine instruction each, at an address that is written down in a table of its own
//! section. The process's handler (`sigbus`) finds a fault at such an address there, marks the access as failed and lets the
//! thread go on behind it. Nobody pays for this but the access that fails.
//!
//! What this module does **not** do: it checks no bounds and no alignment, and it does not know why an access failed. An
//! access of a page that is not present takes as long as its fault is unanswered.
//!
//! # How a failure is told
//! The address is in a register that the access leaves as it is. No address is null, so null in that register after the access
//! means that it failed: the fast path is the access and one test. The handler needs no code of the access's own, only the
//! number of the register, which is the same everywhere.
//!
//! # Several files in one process
//! The table belongs to the file (program or library) that the access is linked into, and so does the handler that looks into
//! it. Two libraries that each contain this crate have a table and a handler each; the later handler passes on what is not in
//! its own table, and the earlier one finds it.
//!
//! A library that contains this crate for others to link to (Rust's `dylib`) is the difficult case: what the compiler copies
//! into the other file, because it is generic or short, would bring its entry along, to a table that nobody looks into. So the
//! functions with the instructions are not generic, and have names: the compiler makes a function with a name of its own once,
//! in its own crate. The names have the crate's version, as the section has, since a program may contain two. Optimisation at link time, which sees one file, copies them all the same, and does so in release builds.
//!
//! # Concurrency
//! None: an access is what the processor makes of it. One that is aligned happens in one piece. The compiler moves no other
//! access of memory across it. The processor may, as far as it may with any other: on aarch64, whoever needs an order among
//! accesses of different memory puts a fence between them.

mod entries;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "aarch64")]
use aarch64 as arch;
#[cfg(target_arch = "x86_64")]
use x86_64 as arch;

#[cfg(not(all(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    target_endian = "little",
    target_pointer_width = "64"
)))]
compile_error!(
    "accesses that may fail are written for x86_64 and aarch64, little-endian, with 64-bit addresses"
);

use std::ffi::c_void;

/// A value that is read or written in one access: `u8`, `u16`, `u32`, `u64`, in the processor's byte order, which is the
/// little-endian one of devices on all that this crate is for.
pub trait Value: Copy + Send + sealed::Word + 'static {
    /// What a read gives where nothing answers.
    const ALL_ONES: Self;
}

impl Value for u8 {
    const ALL_ONES: u8 = u8::MAX;
}
impl Value for u16 {
    const ALL_ONES: u16 = u16::MAX;
}
impl Value for u32 {
    const ALL_ONES: u32 = u32::MAX;
}
impl Value for u64 {
    const ALL_ONES: u64 = u64::MAX;
}

mod sealed {
    /// The two instructions of a width, and its bytes.
    pub trait Word: Sized {
        /// The value with zeroes above.
        fn widened(self) -> u64;

        /// The value in the low bytes of `wide`.
        fn narrowed(wide: u64) -> Self;

        /// As [`load`](super::load).
        ///
        /// # Safety
        /// As there.
        unsafe fn load(from: *const Self) -> Option<Self>;

        /// As [`store`](super::store).
        ///
        /// # Safety
        /// As there.
        unsafe fn store(to: *mut Self, value: Self) -> bool;
    }
}

/// Reads the value at `from`. `None`: the access raised SIGBUS.
///
/// Before the first access, somebody has called [`sigbus::install`](crate::sigbus::install); without, a SIGBUS ends the process.
///
/// # Safety
/// `from` is not null, aligned, and leads to a mapping that is readable and outlives the call. Others may write to it
/// at the same time, with one access for each value.
#[inline]
pub(crate) unsafe fn load<V: Value>(from: *const V) -> Option<V> {
    // SAFETY: the caller's promise is the same.
    unsafe { V::load(from) }
}

/// Writes the value at `to`. False: the access raised SIGBUS, and nothing was written.
///
/// Before the first access, somebody has called [`sigbus::install`](crate::sigbus::install); without, a SIGBUS ends the process.
///
/// # Safety
/// `to` is not null, aligned, and leads to a mapping that is writable and outlives the call; no Rust reference to it exists,
/// but to atomics. Others may access it at the same time, with one access for each value.
#[inline]
pub(crate) unsafe fn store<V: Value>(to: *mut V, value: V) -> bool {
    // SAFETY: the caller's promise is the same.
    unsafe { V::store(to, value) }
}

/// Marks the access that a fault interrupted as failed, and has the thread go on behind it. False: the thread was not
/// in an access of this module, and nothing has changed.
///
/// Async-signal-safe: reads the table and changes the context, no more.
///
/// # Safety
/// `context` is what the kernel passed to the handler of a fault on this thread.
pub(crate) unsafe fn fail_interrupted(context: *mut c_void) -> bool {
    // SAFETY: the caller's promise; the reference ends with this function.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let Some(resume) = entries::resume_after(arch::instruction(context)) else {
        return false;
    };
    arch::fail(context, resume);
    true
}

#[cfg(test)]
mod signals_tests;
#[cfg(test)]
mod tests;
