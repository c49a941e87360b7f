//! Hardware that asserts what the gate promises, for shuttle.
//!
//! Every access yields to the scheduler while it is inside, so that whoever could come between does. The invariants:
//!
//! * between *granted* and *reopened* only the owner reaches it (CFG-I6, CFG-I10), and nobody is inside when it is granted;
//! * after it was removed nobody reaches it (law 5);
//! * operations of a bridge that were taken out are reached by nobody.
//!
//! Concurrency: plain atomics that shuttle does not see: the monitor adds no schedules of its own but those yields.

use gate::{Gone, Pass, Quiesced, ThreadToken};
use pci_core::mechanism::ConfigOps;
use pci_core::{
    BarIndex, Change, Command, ConfigAddress, ConfigEffects, ConfigSpace, ConfigStatus, Device, PowerState,
    ResetKind, StaysClosed, Time, VirtualTime, Width,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

const NOBODY: usize = usize::MAX;

/// What is known about who may reach a device.
#[derive(Debug)]
pub struct Monitor {
    owner: AtomicUsize,
    /// How many windows the owner has open, one within the other.
    depth: AtomicUsize,
    inside: AtomicUsize,
    removed: AtomicBool,
}

impl Default for Monitor {
    fn default() -> Monitor {
        Monitor {
            owner: AtomicUsize::new(NOBODY),
            depth: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            removed: AtomicBool::new(false),
        }
    }
}

fn this_thread() -> usize {
    shuttle::current::get_current_task().map_or(NOBODY, usize::from)
}

impl Monitor {
    /// An access by this thread, which takes a while.
    pub fn access(&self) {
        self.check();
        self.inside.fetch_add(1, Relaxed);
        shuttle::thread::yield_now();
        self.check();
        self.inside.fetch_sub(1, Relaxed);
    }

    fn check(&self) {
        let owner = self.owner.load(Relaxed);
        assert!(owner == NOBODY || owner == this_thread(), "reached between granted and reopened");
        assert!(!self.removed.load(Relaxed), "reached after it was removed");
    }

    /// This thread has been granted the device, until the window is dropped.
    #[must_use = "dropping the window says that the device is reopened"]
    pub fn granted(&self) -> Window<'_> {
        self.seize();
        shuttle::thread::yield_now();
        Window(self)
    }

    /// As [`Monitor::granted`], up to [`Monitor::release`], for a window whose ends are told by events.
    pub fn seize(&self) {
        assert_eq!(self.inside.load(Relaxed), 0, "granted while an access is inside");
        let before = self.owner.swap(this_thread(), Relaxed);
        assert!(before == NOBODY || before == this_thread(), "granted twice");
        self.depth.fetch_add(1, Relaxed);
    }

    /// Ends the window that this thread opened last.
    pub fn release(&self) {
        if !std::thread::panicking() {
            assert_eq!(self.inside.load(Relaxed), 0, "reopened while an access is inside");
        }
        if self.depth.fetch_sub(1, Relaxed) == 1 {
            self.owner.store(NOBODY, Relaxed);
        }
    }

    /// The device was removed: call when nothing can be inside any more.
    pub fn removed(&self) {
        assert_eq!(self.inside.load(Relaxed), 0, "removed while an access is inside");
        self.removed.store(true, Relaxed);
    }
}

/// The time between *granted* and *reopened*.
pub struct Window<'m>(&'m Monitor);

impl Drop for Window<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            shuttle::thread::yield_now();
        }
        self.0.release();
    }
}

/// A device behind a monitor.
#[derive(Debug, Default)]
pub struct Hardware {
    /// Who may reach it.
    pub monitor: Monitor,
}

impl Device for Hardware {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        self.monitor.access();
        data.fill(0x5a);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {
        self.monitor.access();
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {
        let _window = self.monitor.granted();
        self.monitor.access();
    }

    fn command_changed(&self, _pass: &Pass<'_>, _old: Command, _new: Command) {
        self.monitor.access();
    }

    fn power_changed(&self, _quiesced: &Quiesced<'_>, _change: Change<PowerState>) {
        let _window = self.monitor.granted();
        self.monitor.access();
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Operations that lead to the registers of one device.
pub struct Registers {
    config: Arc<ConfigSpace>,
    hardware: Arc<Hardware>,
    freed: AtomicBool,
}

impl Registers {
    /// Operations that are in use.
    #[must_use]
    pub fn of(config: &Arc<ConfigSpace>, hardware: &Arc<Hardware>) -> Arc<Registers> {
        let (config, hardware) = (config.clone(), hardware.clone());
        Arc::new(Registers { config, hardware, freed: AtomicBool::new(false) })
    }

    /// They are in use no more.
    pub fn free(&self) {
        self.freed.store(true, Relaxed);
    }

    fn access(&self) {
        assert!(!self.freed.load(Relaxed), "operations are used that were taken out");
        self.hardware.monitor.access();
        assert!(!self.freed.load(Relaxed), "operations were taken out under an access");
    }
}

impl ConfigOps for Registers {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        self.access();
        let mut data = [0; 4];
        self.config.read(at.register, &mut data[..usize::from(width.bytes())]);
        Ok(u32::from_le_bytes(data))
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        self.access();
        Ok(self.config.write(at.register, &value.to_le_bytes()[..usize::from(width.bytes())]))
    }
}

/// Virtual time in which a delay of the hardware is a window in which nobody else may reach it.
#[derive(Debug)]
pub struct Delays {
    clock: VirtualTime,
    hardware: Arc<Hardware>,
}

impl Delays {
    /// The delays of one device.
    #[must_use]
    pub fn of(hardware: &Arc<Hardware>) -> Arc<Delays> {
        Arc::new(Delays { clock: VirtualTime::default(), hardware: hardware.clone() })
    }
}

impl Time for Delays {
    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn pass(
        &self,
        token: &mut ThreadToken,
        closed: &dyn StaysClosed,
        duration: Duration,
    ) -> Result<(), Gone> {
        let _window = self.hardware.monitor.granted();
        self.clock.pass(token, closed, duration)
    }
}
