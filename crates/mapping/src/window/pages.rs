//! What the kernel does to one range of addresses, and what a checker does in its place.

use super::Window;
use std::ptr::NonNull;
use std::sync::Arc;

/// Why pages could not be made present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagesError {
    /// The range was replaced meanwhile; whoever waits has been woken and looks again.
    Replaced,
    /// The system has no memory for it.
    NoMemory,
}

/// What the kernel does to one range of addresses. A checker brings its own.
///
/// Every method but [`Pages::zap`] wakes those whose fault it answers. Offsets are from the range's start, in bytes.
/// [`Pages::populate`] may run on several threads at once and beside any other method; the others are called one at a
/// time, under the window's leaf lock: they wait for nobody and take no lock. Dropping it unmaps the range, on
/// whatever thread was the last to use it.
pub trait Pages: Send + Sync {
    /// Called once, before anybody can touch the range: its faults go to [`Window::fault`]. Keeps no strong reference,
    /// for the window owns the pages.
    fn attach(&self, window: &Arc<Window>) {
        let _ = window;
    }

    /// Makes the page at `offset` present, and others with it. Idempotent: present already is success (MM-I1).
    ///
    /// # Errors
    /// [`PagesError`]; nothing half-done is left (MM-I4).
    fn populate(&self, offset: u64) -> Result<(), PagesError>;

    /// Has accesses to the page at `offset` fail until the next zap.
    fn poison(&self, offset: u64);

    /// Takes all pages away, and what was poisoned; the next access faults.
    fn zap(&self);

    /// Shows all-ones until [`Pages::uncover`]; what is written is dropped sooner or later.
    fn cover(&self);

    /// Ends a cover: nothing is present, the next access faults. An access that comes before this returns may find what
    /// the memory has. Called only while it may be reached.
    ///
    /// # Errors
    /// [`PagesError::NoMemory`]; the range shows all-ones still.
    fn uncover(&self) -> Result<(), PagesError>;

    /// Has everyone who waits in the range look again.
    fn wake(&self);

    /// The first byte; `None` for a checker's.
    fn base(&self) -> Option<NonNull<u8>>;
}
