//! A function on real threads, for ThreadSanitizer: `cargo xtask tsan`. See the gate's `tests/stress.rs`.
//!
//! The device is plain memory that its model reads under passes and writes under proofs, as models are told they may.
#![cfg(not(any(loom, shuttle, miri)))]
#![allow(unsafe_code)] // The device's memory; the function is what makes its accesses exclusive.
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

use gate::{Deadline, Gate, Pass, Quiesced, Reason, ThreadToken, barrier};
use pci_core::mechanism::{BusRange, ConfigOps, HostBridge};
use pci_core::{
    AccessError, BarIndex, BarKind, Change, ConfigAddress, ConfigEffects, ConfigSpace, ConfigStatus, Device,
    Express, Function, Identity, Pm, PowerState, ResetKind, VirtualTime, Width,
};
use pci_spec::{Bdf, ClassCode};
use std::cell::UnsafeCell;
use std::sync::Arc;
use std::time::Duration;

const TURNS: usize = 400;
const VENDOR_ID: u16 = 0;
const COMMAND: u16 = 4;
const PMCSR: u16 = 0x44;
const DEVICE_CONTROL: u16 = 0x50;

/// Only a hang reaches it.
fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(120))
}

fn bar() -> BarIndex {
    BarIndex::new(0).unwrap()
}

/// A device whose whole state is plain memory.
struct Memory(UnsafeCell<[u64; 8]>);

// SAFETY: read under a pass, written under a proof, which exclude each other; ThreadSanitizer checks it.
unsafe impl Sync for Memory {}

impl Memory {
    fn change(&self) {
        // SAFETY: under a proof.
        unsafe { (*self.0.get()).iter_mut().for_each(|word| *word += 1) };
    }
}

impl Device for Memory {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        // SAFETY: under a pass.
        let words = unsafe { *self.0.get() };
        assert!(words.iter().all(|word| *word == words[0]), "torn: {words:?}");
        data.fill(words[0].to_le_bytes()[0]);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {
        self.change();
    }

    fn power_changed(&self, _quiesced: &Quiesced<'_>, _change: Change<PowerState>) {
        self.change();
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Operations that count on plain memory that nobody frees them while they run.
struct Counted {
    config: Arc<ConfigSpace>,
    alive: Vec<u64>,
}

impl ConfigOps for Counted {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        assert_eq!(self.alive, [7; 8]);
        let mut data = [0; 4];
        self.config.read(at.register, &mut data[..usize::from(width.bytes())]);
        Ok(u32::from_le_bytes(data))
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        assert_eq!(self.alive, [7; 8]);
        Ok(self.config.write(at.register, &value.to_le_bytes()[..usize::from(width.bytes())]))
    }
}

struct World {
    function: Function,
    bridge: Arc<HostBridge>,
    config: Arc<ConfigSpace>,
}

impl World {
    fn new() -> World {
        // The sanitizer knows no membarrier.
        assert!(barrier::choose(barrier::Strategy::Fences), "another choice was made in this process");
        let config = ConfigSpace::builder(Identity::new(0x1b36, 0x0010, ClassCode::NVME))
            .bar(bar(), BarKind::Memory64, 16 << 10)
            .capability(Pm::default())
            .capability(Express::default())
            .build();
        let config = Arc::new(config.unwrap());
        let device = Arc::new(Memory(UnsafeCell::new([0; 8])));
        let ops = Arc::new(Counted { config: config.clone(), alive: vec![7; 8] });
        let bridge = Arc::new(HostBridge::new("bridge", 0, BusRange::ALL, ops));
        let function = Function::new("f", Gate::new("f"), config.clone(), device)
            .behind(bridge.clone(), Bdf::new(0, 1, 0, 0).unwrap())
            .timed_by(Arc::new(VirtualTime::default()));
        World { function, bridge, config }
    }
}

/// A turn has come to its end; memory may be off because somebody else reset the function.
fn settled<T>(result: Result<T, AccessError>) {
    match result {
        Ok(_) | Err(AccessError::MemoryDisabled(_)) => {}
        Err(other) => panic!("{other}"),
    }
}

/// Runs each of `works` on a thread of its own, [`TURNS`] times.
fn together(works: &[&(dyn Fn(&mut ThreadToken) + Sync)]) {
    std::thread::scope(|scope| {
        for work in works {
            scope.spawn(|| {
                let mut token = ThreadToken::at_thread_entry();
                (0..TURNS).for_each(|_| work(&mut token));
            });
        }
    });
}

#[test]
fn accesses_resets_power_changes_and_exchanges_of_operations_are_ordered() {
    let world = World::new();
    let function = &world.function;
    let consumer = |token: &mut ThreadToken| {
        settled(function.read_register(token, VENDOR_ID, Width::Dword, ahead()));
        settled(function.write_register(token, COMMAND, Width::Word, 2, ahead()));
        settled(function.read_bar(token, bar(), 0, &mut [0; 4], ahead()));
    };
    let driver = |token: &mut ThreadToken| {
        settled(function.write_register(token, DEVICE_CONTROL, Width::Word, 0x8000, ahead()));
        settled(function.write_register(token, PMCSR, Width::Word, 3, ahead()));
        settled(function.write_register(token, PMCSR, Width::Word, 0, ahead()));
    };
    let owner = |token: &mut ThreadToken| {
        function.reset(token, ResetKind::DeviceReset, ahead()).unwrap();
        let quiesced = function.gate().close(token, Reason::Reset, ahead()).unwrap();
        function.config_write_quiesced(&quiesced, COMMAND, Width::Word, 2).unwrap();
    };
    let injector = |token: &mut ThreadToken| {
        let ops = Arc::new(Counted { config: world.config.clone(), alive: vec![7; 8] });
        drop(world.bridge.set_ops(token, ops, ahead()).unwrap());
    };
    together(&[&consumer, &consumer, &driver, &owner, &injector]);
}
