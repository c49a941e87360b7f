//! Signs that the function has failed: what is looked at after a read, what a panic of the device comes to, and who is told.
//!
//! Nothing is asked of an access that succeeds but whether the last byte that it read is 0xff, which is in a register at
//! that moment. Everything else is off the way. A sign is passed on to one sentinel, from wherever it was noticed; what
//! follows from it (a freeze of everything that fails together, recovery) is decided elsewhere.
//!
//! The one exception is a panic: the function is frozen at once. The device is in no state that anybody knows, and a
//! consumer that goes on would decide how many panics are logged (law 10).
//!
//! Concurrency: no locks, but the gate's when the device has panicked.

use super::Function;
use super::inside::Inside;
use crate::access::Width;
use crate::config::BarIndex;
use crate::device::Device;
use crate::observe::FunctionEvent;
use crate::power::DeviceState;
use crate::recovery::{ErrorSign, Sentinel};
use gate::{AccessKind, Admission, ThreadToken};
use pci_spec::config;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Reads of a frozen function after which its operator is told that somebody goes on reading (EEH-08).
pub const READS_WHILE_FROZEN: u64 = 2_100_000;

/// Bytes of a header, of either type, in which some bits are always 0: the upper half of COMMAND, the lower one of STATUS,
/// the header type, the pointer to the capabilities. PCIe 6.0 s7.5.1.1 *Type 0/1 Common Configuration Space*.
const NEVER_ALL_ONES: [u16; 4] =
    [config::COMMAND + 1, config::STATUS, config::HEADER_TYPE, config::CAPABILITIES_POINTER];

/// What a function keeps of errors.
#[derive(Default)]
pub(super) struct Errors {
    sentinel: OnceLock<Arc<dyn Sentinel>>,
    /// Reads since the function was last frozen or contained by its own methods.
    reads_while_frozen: AtomicU64,
    /// Panics of the device, ever.
    panics: AtomicU64,
}

/// The device panicked; that has been told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panicked;

impl Function {
    /// Has `sentinel` told of every sign that the function has failed. One, and for as long as the function lives: false if
    /// there is one already.
    pub fn watch_errors(&self, sentinel: Arc<dyn Sentinel>) -> bool {
        self.errors.sentinel.set(sentinel).is_ok()
    }

    /// Passes a sign on to whoever watches for errors. Allowed in any context.
    #[cold]
    #[inline(never)]
    pub fn notice(&self, token: &ThreadToken, sign: ErrorSign) {
        if let Some(sentinel) = self.errors.sentinel.get() {
            sentinel.noticed(token, sign);
        }
    }

    /// Freezes the function for an error that is contained: see [`gate::Handle::contain`]. Waits for nothing. False if it is
    /// gone.
    pub fn contain(&self) -> bool {
        let contained = self.handle.contain();
        if contained {
            self.count_reads_anew();
        }
        contained
    }

    /// Takes one call of [`Function::contain`] back; true if that ended the freeze: see [`gate::Handle::release`].
    pub fn release(&self) -> bool {
        self.handle.release()
    }

    /// Whether an error of the function, or of something that fails with it, is contained.
    #[must_use]
    pub fn is_contained(&self) -> bool {
        self.handle.is_contained()
    }

    /// Lets the function on the bus again after [`ConfigSpace::hold_dma`](crate::ConfigSpace::hold_dma), and tells the device,
    /// which may have waited for it, as it is told of a write to COMMAND. Waits for nothing: a device whose function is closed
    /// looks for itself when it opens.
    pub fn release_dma(&self, token: &ThreadToken) {
        if !self.config.is_dma_held() {
            return;
        }
        self.config.hold_dma(false);
        if let Ok(pass) = self.handle.try_enter(token, AccessKind::Config) {
            let command = self.config.command();
            // That it panicked has been noticed.
            let _told = self.call(&pass, |device| device.command_changed(&pass, command, command));
        }
    }

    /// How often the device has panicked, ever: for whoever has it do something by way of its registers, and is told of nothing.
    #[must_use]
    pub fn device_panics(&self) -> u64 {
        self.errors.panics.load(Ordering::Acquire)
    }

    /// Calls the device; its panic is an answer.
    #[inline]
    pub(super) fn call<R>(
        &self,
        held: &impl Inside,
        call: impl FnOnce(&dyn Device) -> R,
    ) -> Result<R, Panicked> {
        self.call_at(held.token(), call)
    }

    /// The same for who holds a long pass, or asks for a fact.
    #[inline]
    fn call_at<R>(&self, token: &ThreadToken, call: impl FnOnce(&dyn Device) -> R) -> Result<R, Panicked> {
        // What a panic leaves half done is the device's own. Its locks and passes have been let go by unwinding.
        match catch_unwind(AssertUnwindSafe(|| call(&*self.device))) {
            Ok(answer) => Ok(answer),
            Err(_panic) => Err(self.device_panicked(token)),
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn device_panicked(&self, token: &ThreadToken) -> Panicked {
        self.errors.panics.fetch_add(1, Ordering::AcqRel);
        self.freeze("its device model has panicked");
        self.notice(token, ErrorSign::DevicePanicked);
        Panicked
    }

    /// Looks at what a BAR gave.
    #[inline]
    pub(super) fn look_at_bar(&self, token: &ThreadToken, bar: BarIndex, offset: u64, data: &[u8]) {
        if let [.., u8::MAX] = data {
            self.suspect_bar(token, bar, offset, data);
        }
    }

    #[cold]
    #[inline(never)]
    fn suspect_bar(&self, token: &ThreadToken, bar: BarIndex, offset: u64, data: &[u8]) {
        if self.errors.sentinel.get().is_none() || data.iter().any(|byte| *byte != u8::MAX) {
            return;
        }
        if let Ok(true) = self.call_at(token, |device| device.never_all_ones(bar, offset, data.len())) {
            self.notice(token, ErrorSign::AllOnes { kind: AccessKind::Bar, offset });
        }
    }

    /// Looks at what configuration space gave to somebody who did not ask whether anybody is there.
    #[inline]
    pub(super) fn look_at_config(&self, token: &ThreadToken, offset: u16, data: &[u8]) {
        if let [.., u8::MAX] = data {
            self.suspect_config(token, offset, data);
        }
    }

    /// The same of one register.
    #[inline]
    pub(super) fn look_at_register(&self, token: &ThreadToken, register: u16, width: Width, value: u32) {
        if value == width.all_ones() {
            self.suspect_config(token, register, &[u8::MAX; 4][..usize::from(width.bytes())]);
        }
    }

    #[cold]
    #[inline(never)]
    fn suspect_config(&self, token: &ThreadToken, offset: u16, data: &[u8]) {
        // Without power nothing answers, and everybody knows it.
        if self.errors.sentinel.get().is_none() || self.device_state() >= DeviceState::D3Cold {
            return;
        }
        let is_all_ones = |register: u16| {
            let at = register.checked_sub(offset).map(usize::from);
            at.and_then(|at| data.get(at)) == Some(&u8::MAX)
        };
        // Hardware shows a virtual function without identifiers (CAP-04).
        let vendor =
            !self.config.is_virtual() && is_all_ones(config::VENDOR_ID) && is_all_ones(config::VENDOR_ID + 1);
        if vendor || NEVER_ALL_ONES.into_iter().any(is_all_ones) {
            self.notice(token, ErrorSign::AllOnes { kind: AccessKind::Config, offset: offset.into() });
        }
    }

    /// Counts a read that was refused, if that is because the function is frozen (EEH-08).
    pub(super) fn count_read_while_frozen(&self) {
        if self.handle.admission() != Admission::Frozen {
            return;
        }
        let reads = self.errors.reads_while_frozen.fetch_add(1, Ordering::Relaxed) + 1;
        if reads == READS_WHILE_FROZEN {
            self.tell(&FunctionEvent::ReadWhileFrozen { reads });
        }
    }

    pub(super) fn count_reads_anew(&self) {
        self.errors.reads_while_frozen.store(0, Ordering::Relaxed);
    }
}
