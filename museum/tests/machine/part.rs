//! One device of the machine, which checks what is done to it.
//!
//! It is told of resets as any driver is: from *prepare* to *done* nobody but the one who resets may reach it, and its
//! registers are afterwards what they were before.

use super::MSI_ADDRESS;
use gate::{Gate, Handle, Pass, Quiesced};
use museum::hardware::Monitor;
use pci_core::{
    BarIndex, BarKind, Change, Command, ConfigSpace, Device, Express, FunctionEvent, Identity, Observer,
    PowerState, ResetKind, ResetStep, VirtualFunction,
};
use pci_spec::{ClassCode, config};
use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// COMMAND, both halves of the first BAR, and the address of MSI.
pub(crate) type Registers = [u32; 4];

std::thread_local! {
    /// shuttle runs all threads of a scenario on the thread that checks it.
    static MARK: Cell<u8> = const { Cell::new(0) };
}

/// Neither zeros nor all-ones, and none of the last 200.
fn next_mark() -> u8 {
    let mark = MARK.get() % 0xfe + 1;
    MARK.set(mark);
    mark
}

/// A device, its registers and its gate; see the module's head. Its lock is never held over a scheduling point.
pub(crate) struct Part {
    pub(crate) gate: Gate,
    handle: Handle,
    pub(crate) config: Arc<ConfigSpace>,
    pub(crate) monitor: Monitor,
    /// What its BARs read as, which tells it from those before and after it.
    mark: u8,
    /// How often it was reset, which its BARs tell as well: the second byte of what is read at once.
    resets: AtomicU8,
    before: Mutex<Option<Registers>>,
    virtuals: Mutex<Vec<Arc<Part>>>,
}

impl Part {
    pub(crate) fn new(gate: Gate, config: ConfigSpace) -> Arc<Part> {
        let (handle, config, monitor) = (gate.handle(), Arc::new(config), Monitor::default());
        let (before, virtuals) = (Mutex::default(), Mutex::default());
        Arc::new(Part {
            gate,
            handle,
            config,
            monitor,
            mark: next_mark(),
            resets: AtomicU8::new(0),
            before,
            virtuals,
        })
    }

    /// Takes no lock.
    pub(crate) fn is_gone(&self) -> bool {
        self.handle.is_gone()
    }

    /// What a reset shall bring back.
    pub(crate) fn registers(&self) -> Registers {
        let dword = |at: u16| {
            let mut bytes = [0; 4];
            self.config.read(at, &mut bytes);
            u32::from_le_bytes(bytes)
        };
        let msi = self.config.find_capability(pci_spec::capability::id::MSI);
        let command = dword(config::COMMAND) & 0xffff;
        [command, dword(config::BAR0), dword(config::BAR0 + 4), msi.map_or(0, |msi| dword(msi + MSI_ADDRESS))]
    }

    /// An access where nothing is held: also while a parked gate's owner waits nobody gets here, not even that owner.
    pub(crate) fn reached(&self) {
        self.monitor.access();
        let owner = self.gate.status().owner;
        assert!(!owner.is_some_and(|owner| owner.parked), "{} reached while parked", self.gate.name());
    }

    /// The virtual functions that it has made and that are not gone.
    pub(crate) fn virtuals(&self) -> Vec<Arc<Part>> {
        let made = self.virtuals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        made.into_iter().filter(|part| !part.is_gone()).collect()
    }

    /// Nobody is inside the virtual functions that are gone, and nobody will be.
    pub(crate) fn bury_virtuals(&self) {
        let made = self.virtuals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        made.iter().filter(|part| part.is_gone()).for_each(|part| part.monitor.removed());
    }
}

impl Device for Part {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        self.reached();
        data.fill(self.mark);
        if let Some(second) = data.get_mut(1) {
            *second = self.resets.load(Relaxed);
        }
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {
        self.reached();
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {
        let _window = self.monitor.granted();
        self.resets.fetch_add(1, Relaxed);
        self.monitor.access();
    }

    fn command_changed(&self, _pass: &Pass<'_>, _old: Command, _new: Command) {
        self.reached();
    }

    fn power_changed(&self, _quiesced: &Quiesced<'_>, _change: Change<PowerState>) {
        let _window = self.monitor.granted();
        self.monitor.access();
    }

    fn virtual_function(&self, _index: u16, gate: &Gate) -> Option<VirtualFunction> {
        let identity = Identity::new(0x1b36, 0x00ff, ClassCode::NVME);
        let config = ConfigSpace::virtual_builder(identity)
            .bar(BarIndex::new(0)?, BarKind::Memory64, 4096)
            .capability(Express::default());
        let part = Part::new(gate.clone(), config.build().ok()?);
        self.virtuals.lock().unwrap_or_else(PoisonError::into_inner).push(part.clone());
        Some(VirtualFunction { config: part.config.clone(), device: part })
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

impl Observer for Part {
    fn event(&self, function: &str, event: &FunctionEvent<'_>) {
        let FunctionEvent::ResetStep(step) = event else { return };
        match step {
            ResetStep::Prepare => {
                self.monitor.seize();
                let now = self.config.is_powered().then(|| self.registers());
                *self.before.lock().unwrap_or_else(PoisonError::into_inner) = now;
            }
            ResetStep::Done { .. } => {
                let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).take();
                let there = self.config.is_powered() && !self.is_gone();
                if let Some(before) = before.filter(|_| there) {
                    assert_eq!(self.registers(), before, "{function} is not as it was before the reset");
                }
                self.monitor.release();
            }
            _ => {}
        }
    }
}
