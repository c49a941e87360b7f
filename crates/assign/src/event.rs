//! What an operator learns about an assigned function.

use std::sync::Arc;

/// Something happened to a function that an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A consumer attached.
    ClientAttached,
    /// A consumer came and was sent away.
    AttachRefused {
        /// Why.
        reason: &'static str,
    },
    /// The consumer left; its memory and eventfds were dropped, the device's state was kept.
    ClientDetached {
        /// Mappings that I/O in flight still held at the deadline; see [`Event::DmaOrphaned`].
        orphans: usize,
    },
    /// An unmap found DMA in flight that did not end in time: the consumer got an error, and the function
    /// was frozen because consumers treat a late unmap as done and reuse the memory.
    DmaUnmapTimedOut {
        /// First I/O address that was to be unmapped.
        iova: u64,
        /// Bytes from there to the end of the last mapping concerned.
        size: u64,
        /// Held slices and passes still inside, as far as known.
        in_flight: usize,
    },
    /// Device memory that the consumer, which is another process, might map is not offered to it: accesses are trapped.
    NotShared {
        /// Region, numbered as vfio numbers them.
        region: u32,
        /// Bytes that are not offered.
        bytes: u64,
        /// Why: a limit, or what the system said.
        detail: String,
    },
    /// A mapping left the map while I/O still held it. It no longer reaches the consumer's memory, except
    /// for pages the kernel has pinned for that I/O; its addresses are given back when the I/O ends.
    DmaOrphaned {
        /// First I/O address.
        iova: u64,
        /// Bytes.
        size: u64,
        /// Held slices.
        held: usize,
    },
    /// The function was frozen: reads give all-ones, DMA and interrupts are dropped.
    Frozen {
        /// Why.
        reason: &'static str,
    },
    /// The function was reset.
    Reset {
        /// What asked for it.
        reason: &'static str,
    },
    /// A reset that the guest asked for was not done, and the function is as it was.
    NotReset {
        /// What stood in the way.
        detail: String,
    },
    /// The power state changed.
    PowerChanged {
        /// `D0` to `D3cold`.
        from: &'static str,
        /// `D0` to `D3cold`.
        to: &'static str,
    },
    /// A power state that was asked for was not entered.
    PowerNotChanged {
        /// What stood in the way.
        detail: String,
    },
    /// An operator changed the function: its reset methods, its virtual functions, a register.
    Operator {
        /// What was done, for people.
        detail: String,
    },
    /// Something on the way through a reset or a power change that is worth knowing.
    Notice {
        /// What, for people.
        detail: String,
    },
    /// The device model found itself or its backing broken.
    DeviceFault {
        /// What is wrong, for people.
        detail: String,
    },
}

/// Receives events. Called with no lock held and outside any pass; may be called from any thread.
pub trait EventSink: Send + Sync {
    /// `function` is the name of the function's gate.
    fn event(&self, function: &str, event: Event);
}

/// A sink that forgets: for functions nobody watches.
impl EventSink for () {
    fn event(&self, _function: &str, _event: Event) {}
}

impl<S: EventSink + ?Sized> EventSink for Arc<S> {
    fn event(&self, function: &str, event: Event) {
        (**self).event(function, event);
    }
}
