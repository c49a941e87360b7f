//! A consumer's mapping: bounds, alignment, and the access itself.
#![allow(unsafe_code)] // Loads and stores at addresses of the mapping, which is there as long as the value is.

use crate::mappings::list::{Mapped, Shown};
use crate::window::Window;
use crate::{MappingError, MappingReport, Mappings, Value, access};
use gate::ThreadToken;
use std::ptr::NonNull;
use std::sync::Arc;

/// A consumer's mapping of a part of a region. Dropping it unmaps it. Several threads may share it, in an [`Arc`].
///
/// Each access is one load or store of its size, volatile, in the processor's byte order: little-endian, as devices are.
///
/// # Concurrency
/// An access takes `&mut ThreadToken`, because it may have to wait until the function is open or enabled, and a thread
/// that has the gate would wait for itself (law 1). No lock is taken unless the access fails.
pub struct Mapping {
    mappings: Mappings,
    mapped: Arc<Mapped>,
    /// The first byte, of as many as are mapped; `None` if accesses are trapped.
    base: Option<NonNull<u8>>,
}

// SAFETY: `base` is the address of a mapping that belongs to no thread and that `mapped` keeps. It is accessed by
// single loads and stores that may race with each other, as accesses to memory that another process has may.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Of what is listed in `mappings`. From now on its drop takes it out.
    pub(crate) fn new(mappings: Mappings, mapped: Arc<Mapped>) -> Mapping {
        let base = match &mapped.shown {
            Shown::Window(window) => window.base(),
            Shown::Trapped(_) => None,
        };
        Mapping { mappings, mapped, base }
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.mapped.size
    }

    /// Whether every access is a call through the gate, because the system permits no page faults in user space.
    #[must_use]
    pub fn is_trapped(&self) -> bool {
        matches!(self.mapped.shown, Shown::Trapped(_))
    }

    /// What an operator is shown of it.
    #[must_use]
    pub fn report(&self) -> MappingReport {
        self.mapped.report()
    }

    /// Reads the value at `offset` bytes from the mapping's start; waits while the function is closed, and for as long
    /// as the mapping's [`OnDisabled`](crate::OnDisabled) says while the region is disabled.
    ///
    /// # Errors
    /// [`MappingError`]. A caller that wants a value in any case uses all-ones.
    #[inline]
    pub fn read<V: Value>(&self, token: &mut ThreadToken, offset: u64) -> Result<V, MappingError> {
        token.assert_holds_nothing();
        let at = self.locate::<V>(offset)?;
        match &self.mapped.shown {
            Shown::Window(window) => {
                let address = self.address(at)?;
                // SAFETY: `locate` has checked that the value lies inside the mapping and is aligned.
                access_through(window, token, || unsafe { access::load(address.cast::<V>()) })
            }
            Shown::Trapped(trapped) => {
                let mut wide = [0; 8];
                trapped.read(token, self.mapped.offset + offset, &mut wide[..size_of::<V>()])?;
                Ok(V::narrowed(u64::from_le_bytes(wide)))
            }
        }
    }

    /// Writes the value at `offset` bytes from the mapping's start; waits as [`Mapping::read`] does.
    ///
    /// # Errors
    /// [`MappingError`]; a write that fails may have been dropped, or not.
    #[inline]
    pub fn write<V: Value>(
        &self,
        token: &mut ThreadToken,
        offset: u64,
        value: V,
    ) -> Result<(), MappingError> {
        token.assert_holds_nothing();
        let at = self.locate::<V>(offset)?;
        match &self.mapped.shown {
            Shown::Window(window) => {
                let address = self.address(at)?;
                // SAFETY: as in `read`; mappings are writable, and no reference to their memory is ever made.
                let store = || unsafe { access::store(address.cast::<V>(), value) }.then_some(());
                access_through(window, token, store)
            }
            Shown::Trapped(trapped) => {
                let wide = value.widened().to_le_bytes();
                trapped.write(token, self.mapped.offset + offset, &wide[..size_of::<V>()])
            }
        }
    }

    /// The first byte of [`Mapping::size`] bytes, for loads and stores without a call; `None` if accesses are trapped.
    ///
    /// # Safety
    /// * Use the addresses as those of memory that another process changes, through volatile or atomic accesses, and
    ///   only while the mapping is alive.
    /// * An access raises SIGBUS where [`Mapping::read`] fails with [`MappingError::Disabled`],
    ///   [`MappingError::TimedOut`] or [`MappingError::NoMemory`]. Who has no handler for it ends. One that finds
    ///   all-ones may have met a function that is frozen or gone, or a region that was disabled when a freeze ended and has
    ///   not been enabled since.
    /// * An access may wait. The thread holds no pass, proof or lock that the function's closer may wait for: nothing
    ///   checks that here.
    /// * Do not pass them to system calls: they wait for nobody and fail with EFAULT where no page is present.
    /// * While the function is frozen, and once it is gone, what was written is read back by who wrote it, and reaches
    ///   no device.
    #[must_use]
    pub unsafe fn as_ptr(&self) -> Option<NonNull<u8>> {
        self.base
    }

    /// Where the value at `offset` lies, if it does.
    #[inline]
    fn locate<V: Value>(&self, offset: u64) -> Result<usize, MappingError> {
        let bytes = size_of::<V>() as u64;
        let end = offset.checked_add(bytes).ok_or(MappingError::OutOfRange)?;
        if end > self.mapped.size {
            return Err(MappingError::OutOfRange);
        }
        if !offset.is_multiple_of(bytes) {
            return Err(MappingError::Misaligned);
        }
        usize::try_from(offset).map_err(|_| MappingError::OutOfRange)
    }

    #[inline]
    fn address(&self, at: usize) -> Result<*mut u8, MappingError> {
        // A checker's pages have no addresses; there is nothing to be reached by them.
        let base = self.base.ok_or(MappingError::Disabled)?;
        // Inside the mapping, see `locate`.
        Ok(base.as_ptr().wrapping_add(at))
    }
}

/// One access, which the window says was answered by the device, or not.
#[inline]
fn access_through<T>(
    window: &Window,
    token: &mut ThreadToken,
    access: impl FnOnce() -> Option<T>,
) -> Result<T, MappingError> {
    let turn = window.begin(token)?;
    window.judge(turn, access())
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.mappings.remove(&self.mapped);
    }
}

impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapping").field("report", &self.report()).finish_non_exhaustive()
    }
}
