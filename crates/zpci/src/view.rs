//! The s390 view of one device.

use crate::handle::Handle;
use crate::id::Fid;
use crate::resets::Resets;
use crate::zdev::Zdev;
use assign::{Assignment, Port};
use pci_core::Function;
use pci_spec::config;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

/// The s390 view of one device, in one epoch of its gate. Made before the function can be reached, so it has no handle until it is
/// brought in ([`Zdev::bring_in`]), and none after it was taken out.
pub struct View {
    /// [`Handle::NONE`] before and after. Changed under the function's lock, together with what [`Zdev::handle`] says.
    handle: AtomicU32,
    /// The device is in permanent error.
    failed: AtomicBool,
    /// Reads and writes without a handle are allowed.
    mio: AtomicBool,
    resets: Resets,
    max_store: u16,
    fid: Fid,
    /// Vendor and device.
    identity: (u16, u16),
    function: Arc<Function>,
    port: Option<Arc<Port>>,
    /// Weak: it has the view.
    zdev: Weak<Zdev>,
}

impl View {
    /// The longest block store that the architecture has a field for: 13 bits, in bytes, a multiple of 8 (ZP-14).
    pub const LONGEST_STORE: u16 = 8184;

    /// Of a function that a consumer can have. `max_store`: bytes of the longest block store; cut to a multiple of 8, at most
    /// [`View::LONGEST_STORE`].
    #[must_use]
    pub fn new(zdev: &Arc<Zdev>, assignment: &Assignment, max_store: u16) -> Arc<View> {
        let port = Some(Arc::clone(assignment.port()));
        View::make(zdev, Arc::clone(assignment.function()), port, max_store)
    }

    /// Of a function that has no port, such as a virtual one.
    #[must_use]
    pub fn of_function(zdev: &Arc<Zdev>, function: Arc<Function>, max_store: u16) -> Arc<View> {
        View::make(zdev, function, None, max_store)
    }

    fn make(zdev: &Arc<Zdev>, function: Arc<Function>, port: Option<Arc<Port>>, max_store: u16) -> Arc<View> {
        // Nobody else reaches the function yet, so this needs no pass; and it never changes, so a list needs none later.
        let identity = |register| {
            let mut bytes = [0; 2];
            function.config().read(register, &mut bytes);
            u16::from_le_bytes(bytes)
        };
        Arc::new(View {
            identity: (identity(config::VENDOR_ID), identity(config::DEVICE_ID)),
            handle: AtomicU32::new(Handle::NONE.bits()),
            failed: AtomicBool::new(false),
            mio: AtomicBool::new(false),
            resets: Resets::default(),
            max_store: max_store.min(View::LONGEST_STORE) & !7,
            fid: zdev.fid(),
            function,
            port,
            zdev: Arc::downgrade(zdev),
        })
    }

    /// The function.
    #[inline]
    #[must_use]
    pub fn function(&self) -> &Arc<Function> {
        &self.function
    }

    /// The device model's side, with the consumer's memory; `None` of a function that no consumer can have.
    #[must_use]
    pub fn port(&self) -> Option<&Arc<Port>> {
        self.port.as_ref()
    }

    /// The identifier of its place.
    #[must_use]
    pub fn fid(&self) -> Fid {
        self.fid
    }

    /// Its place; `None` when the machine has forgotten that.
    #[must_use]
    pub fn zdev(&self) -> Option<Arc<Zdev>> {
        self.zdev.upgrade()
    }

    /// The handle that it has now; [`Handle::NONE`] before it was brought in and after it was taken out.
    #[inline]
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::from_bits(self.handle.load(Ordering::Acquire))
    }

    /// Whether `handle` is the one that it has now.
    #[inline]
    #[must_use]
    pub fn is_named(&self, handle: Handle) -> bool {
        !handle.is_none() && self.handle() == handle
    }

    /// Whether instructions reach it.
    #[inline]
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.handle().is_enabled()
    }

    /// Whether it is in permanent error: nothing but a recovery that succeeds, or another device, ends that.
    #[inline]
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Whether it is enabled for memory I/O without a handle.
    #[must_use]
    pub fn is_mio_enabled(&self) -> bool {
        self.mio.load(Ordering::Acquire)
    }

    /// Bytes of the longest block store, a multiple of 8.
    #[inline]
    #[must_use]
    pub fn max_store(&self) -> u16 {
        self.max_store
    }

    /// Vendor and device, as its configuration space said when this was made.
    pub(crate) fn identity(&self) -> (u16, u16) {
        self.identity
    }

    pub(crate) fn resets(&self) -> &Resets {
        &self.resets
    }

    pub(crate) fn set_handle(&self, handle: Handle) {
        self.handle.store(handle.bits(), Ordering::Release);
    }

    pub(crate) fn set_failed(&self) {
        self.failed.store(true, Ordering::Release);
    }

    pub(crate) fn clear_failed(&self) {
        self.failed.store(false, Ordering::Release);
    }

    pub(crate) fn set_mio(&self, enabled: bool) {
        self.mio.store(enabled, Ordering::Release);
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "View({} {})", self.fid, self.handle())
    }
}
