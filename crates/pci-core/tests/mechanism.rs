//! The mechanisms of host bridges against an array of bytes, and what each of them serialises.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod board;
mod support;

use board::{Board, Hooked, OneStep, ecam};
use pci_core::mechanism::{
    AddressDataPair, BridgeEvent, BridgeObserver, BusRange, ConfigOps, ConfigWindow, Ecam, Firmware,
    FirmwareCalls, Ports, Write32Only,
};
use pci_core::{ConfigAddress, ConfigEffects, ConfigSpace, ConfigStatus, Vendor, Width};
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use support::{full, identity};

const WIDTHS: [Width; 3] = [Width::Byte, Width::Word, Width::Dword];

fn register(register: u16) -> ConfigAddress {
    ConfigAddress { bus: 1, devfn: 0, register }
}

/// Two buses of bytes: every register can be written, nothing has a meaning.
struct Bytes {
    bytes: Box<[AtomicU8]>,
    latch: AtomicU32,
}

const BUSES: BusRange = BusRange { first: 0, last: 1 };

impl Bytes {
    fn new() -> Arc<Bytes> {
        Arc::new(Bytes { bytes: (0..2 << 20).map(|_| AtomicU8::new(0)).collect(), latch: AtomicU32::new(0) })
    }

    fn load(&self, offset: usize, width: Width) -> u32 {
        let bytes = &self.bytes[offset..offset + usize::from(width.bytes())];
        bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(byte.load(Ordering::SeqCst)))
    }

    fn store(&self, offset: usize, width: Width, value: u32) -> ConfigEffects {
        let bytes = &self.bytes[offset..offset + usize::from(width.bytes())];
        bytes.iter().zip(value.to_le_bytes()).for_each(|(byte, value)| byte.store(value, Ordering::SeqCst));
        ConfigEffects::default()
    }

    fn index(at: ConfigAddress) -> usize {
        usize::from(at.bus) << 20 | usize::from(at.devfn) << 12 | usize::from(at.register)
    }

    fn selected(&self, port: u16) -> usize {
        let latch = self.latch.load(Ordering::SeqCst);
        assert_eq!(latch & 0xff00_0003, 0x8000_0000, "enabled, and nothing in reserved bits");
        let [register, devfn, bus, _] = latch.to_le_bytes();
        let register = u16::from(register) + (port - 0xcfc);
        Bytes::index(ConfigAddress { bus, devfn, register })
    }
}

impl ConfigWindow for Bytes {
    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, offset: u64, width: Width) -> u32 {
        self.load(usize::try_from(offset).unwrap(), width)
    }

    fn write(&self, offset: u64, width: Width, value: u32) -> ConfigEffects {
        self.store(usize::try_from(offset).unwrap(), width, value)
    }
}

impl Ports for Bytes {
    fn read(&self, port: u16, width: Width) -> u32 {
        self.load(self.selected(port), width)
    }

    fn write(&self, port: u16, width: Width, value: u32) -> ConfigEffects {
        if port == 0xcf8 {
            assert_eq!(width, Width::Dword);
            self.latch.store(value, Ordering::SeqCst);
            return ConfigEffects::default();
        }
        self.store(self.selected(port), width, value)
    }
}

impl FirmwareCalls for Bytes {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        Ok(self.load(Bytes::index(at), width))
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        Ok(self.store(Bytes::index(at), width, value))
    }
}

/// Each mechanism over bytes of its own, with how much of a function it reaches.
fn mechanisms() -> Vec<(&'static str, usize, Box<dyn ConfigOps>)> {
    vec![
        ("ECAM", 4096, Box::new(Ecam::new(Bytes::new(), BUSES))),
        ("address/data pair", 256, Box::new(AddressDataPair::new(Bytes::new(), BUSES))),
        ("firmware", 4096, Box::new(Firmware::new(Bytes::new(), BUSES, 4096))),
        ("old firmware", 256, Box::new(Firmware::new(Bytes::new(), BUSES, 256))),
        ("32-bit writes", 4096, Box::new(Write32Only::new(Ecam::new(Bytes::new(), BUSES), None))),
    ]
}

/// A plain array of bytes with the rules written down once more.
#[derive(Default)]
struct Model {
    bytes: std::collections::HashMap<(u8, u8, u16), u8>,
}

impl Model {
    fn allows(at: ConfigAddress, width: Width, size: usize) -> Result<(), ConfigStatus> {
        let misaligned = !at.register.is_multiple_of(width.bytes());
        if misaligned || usize::from(at.register) + usize::from(width.bytes()) > size {
            Err(ConfigStatus::BadRegisterNumber)
        } else if at.bus > 1 {
            Err(ConfigStatus::DeviceNotFound)
        } else {
            Ok(())
        }
    }

    fn read(&self, at: ConfigAddress, width: Width, size: usize) -> Result<u32, ConfigStatus> {
        Model::allows(at, width, size)?;
        let byte = |register| self.bytes.get(&(at.bus, at.devfn, register)).copied().unwrap_or(0);
        let registers = at.register..at.register + width.bytes();
        Ok(registers.rev().fold(0, |value, register| value << 8 | u32::from(byte(register))))
    }

    fn write(
        &mut self,
        at: ConfigAddress,
        width: Width,
        value: u32,
        size: usize,
    ) -> Result<(), ConfigStatus> {
        Model::allows(at, width, size)?;
        for (register, byte) in (at.register..at.register + width.bytes()).zip(value.to_le_bytes()) {
            self.bytes.insert((at.bus, at.devfn, register), byte);
        }
        Ok(())
    }
}

fn access() -> impl Strategy<Value = (ConfigAddress, Width, Option<u32>)> {
    // Few places, so that writes meet reads; some beyond each end.
    let register = prop_oneof![8 => 0u16..24, 2 => 248u16..264, 1 => 4090u16..=4100, 1 => Just(u16::MAX)];
    let place = (0u8..3, prop_oneof![Just(0u8), Just(1), Just(8), Just(255)], register);
    let place = place.prop_map(|(bus, devfn, register)| ConfigAddress { bus, devfn, register });
    (place, proptest::sample::select(&WIDTHS[..]), proptest::option::of(any::<u32>()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// CFG-01, CFG-05
    #[test]
    fn every_mechanism_does_what_an_array_of_bytes_does(accesses in proptest::collection::vec(access(), 1..120)) {
        for (name, size, ops) in mechanisms() {
            let mut model = Model::default();
            for (at, width, value) in &accesses {
                match value {
                    Some(value) => {
                        let written = ops.write(*at, *width, *value).map(drop);
                        prop_assert_eq!(written, model.write(*at, *width, *value, size), "{}: {:?}", name, at);
                    }
                    None => {
                        let read = ops.read(*at, *width);
                        prop_assert_eq!(read, model.read(*at, *width, size), "{}: {:?}", name, at);
                    }
                }
            }
        }
    }
}

#[test]
fn a_misaligned_or_unreachable_register_touches_no_hardware() {
    // CFG-01
    let board = Board::with([(0x0100, Arc::new(full().build().unwrap()))]);
    let pair = AddressDataPair::new(board.clone(), BusRange::ALL);
    let firmware = Firmware::new(board.clone(), BusRange::ALL, 256);
    let narrow = Write32Only::new(ecam(&board), None);
    let direct = ecam(&board);
    let all: [(&dyn ConfigOps, u16); 4] = [(&direct, 4096), (&pair, 256), (&firmware, 256), (&narrow, 4096)];
    for (ops, size) in all {
        let bad = [
            (1, Width::Word),
            (2, Width::Dword),
            (3, Width::Word),
            (size, Width::Byte),
            (u16::MAX, Width::Byte),
        ];
        for (offset, width) in bad {
            assert_eq!(ops.read(register(offset), width), Err(ConfigStatus::BadRegisterNumber));
            assert_eq!(ops.write(register(offset), width, 0), Err(ConfigStatus::BadRegisterNumber));
        }
        assert!(ops.read(register(size - 4), Width::Dword).is_ok());
    }
    assert_eq!(board.touched(), 4, "only the four good reads");
}

#[test]
fn a_bus_outside_the_range_or_the_window_is_no_device() {
    let board = Board::with([]);
    let few = BusRange { first: 4, last: 7 };
    let ops: [Box<dyn ConfigOps>; 3] = [
        Box::new(Ecam::new(board.clone(), few)),
        Box::new(AddressDataPair::new(board.clone(), few)),
        Box::new(Firmware::new(board.clone(), few, 4096)),
    ];
    for ops in &ops {
        for bus in [0, 3, 8, 255] {
            let at = ConfigAddress { bus, ..register(0) };
            assert_eq!(ops.read(at, Width::Dword), Err(ConfigStatus::DeviceNotFound));
            assert_eq!(ops.write(at, Width::Dword, 0), Err(ConfigStatus::DeviceNotFound));
        }
        let inside = ConfigAddress { bus: 4, ..register(0) };
        assert_eq!(ops.read(inside, Width::Word), Ok(0xffff), "CFG-03: nobody answers");
    }
    // A window shorter than its range of buses: two buses of four.
    let short = Ecam::new(Bytes::new(), BusRange { first: 0, last: 3 });
    let last = ConfigAddress { bus: 1, devfn: 0xff, register: 0xffc };
    assert!(short.read(last, Width::Dword).is_ok());
    assert_eq!(short.read(ConfigAddress { bus: 2, ..last }, Width::Dword), Err(ConfigStatus::DeviceNotFound));
}

#[test]
fn the_two_steps_of_an_address_data_access_are_one_to_other_threads() {
    let config =
        |device| Arc::new(ConfigSpace::builder(pci_core::Identity { device, ..identity() }).build().unwrap());
    let board = Board::with([(0x0100, config(1)), (0x0108, config(2))]);
    let pair = &AddressDataPair::new(board, BusRange::ALL);
    std::thread::scope(|scope| {
        for (devfn, device) in [(0x00, 1), (0x08, 2)] {
            scope.spawn(move || {
                for _ in 0..2000 {
                    let read = pair.read(ConfigAddress { bus: 1, devfn, register: 2 }, Width::Word);
                    assert_eq!(read, Ok(device), "the other thread's address was used");
                }
            });
        }
    });
}

#[test]
fn two_bridges_do_not_serialise_each_other() {
    // An access that hangs in one bridge's ports holds up nobody at another bridge.
    struct Stuck(AtomicBool, AtomicBool);
    impl Ports for &'static Stuck {
        fn read(&self, _port: u16, width: Width) -> u32 {
            self.0.store(true, Ordering::SeqCst);
            while !self.1.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            width.all_ones()
        }

        fn write(&self, _port: u16, _width: Width, _value: u32) -> ConfigEffects {
            ConfigEffects::default()
        }
    }
    let stuck: &'static Stuck = Box::leak(Box::new(Stuck(AtomicBool::new(false), AtomicBool::new(false))));
    let slow = &AddressDataPair::new(stuck, BusRange::ALL);
    let other = AddressDataPair::new(Board::with([]), BusRange::ALL);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| slow.read(register(0), Width::Dword));
        board::wait_until("the first is inside", || stuck.0.load(Ordering::SeqCst));
        assert!(other.read(register(0), Width::Dword).is_ok());
        stuck.1.store(true, Ordering::SeqCst);
        assert!(reader.join().unwrap().is_ok());
    });
}

#[test]
fn firmware_is_called_by_one_thread_at_a_time() {
    struct Calls(AtomicUsize);
    impl FirmwareCalls for Calls {
        fn read(&self, _at: ConfigAddress, _width: Width) -> Result<u32, ConfigStatus> {
            assert_eq!(self.0.fetch_add(1, Ordering::SeqCst), 0, "two calls at once");
            std::thread::yield_now();
            self.0.fetch_sub(1, Ordering::SeqCst);
            Err(ConfigStatus::BadVendorId)
        }

        fn write(&self, at: ConfigAddress, width: Width, _value: u32) -> Result<ConfigEffects, ConfigStatus> {
            self.read(at, width).map(|_| ConfigEffects::default())
        }
    }
    let firmware = &Firmware::new(Calls(AtomicUsize::new(0)), BusRange::ALL, 4096);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(move || {
                for _ in 0..2000 {
                    assert_eq!(firmware.read(register(0), Width::Byte), Err(ConfigStatus::BadVendorId));
                    assert!(firmware.write(register(0), Width::Byte, 0).is_err());
                }
            });
        }
    });
}

struct Reports(mpsc::Sender<BridgeEvent>);

impl BridgeObserver for Reports {
    fn event(&self, event: &BridgeEvent) {
        let _ = self.0.send(*event);
    }
}

#[test]
fn a_bridge_of_whole_dwords_reads_modifies_and_writes_and_says_so_once_per_function() {
    // CFG-05
    let (send, reports) = mpsc::channel();
    let config = Arc::new(full().build().unwrap());
    config.record_status(pci_spec::Status::SIGNALED_TARGET_ABORT);
    let board = Board::with([(0x0100, config.clone()), (0x01ff, Arc::new(full().build().unwrap()))]);
    let ops = Write32Only::new(ecam(&board), Some(Arc::new(Reports(send))));
    assert!(ops.write(register(0x0c), Width::Dword, 8).is_ok());
    assert_eq!(reports.try_iter().count(), 0, "a whole dword needs no warning");

    let effects = ops.write(register(4), Width::Word, 0x0006).unwrap();
    assert_eq!(
        effects.command.map(|change| change.new.bits()),
        Some(6),
        "what an emulated function asks comes back"
    );
    assert!(config.status().is_empty() || !config.status().contains(pci_spec::Status::SIGNALED_TARGET_ABORT));
    for _ in 0..3 {
        ops.write(register(0x3c), Width::Byte, 5).unwrap();
    }
    let first: Vec<_> = reports.try_iter().collect();
    assert_eq!(first, [BridgeEvent::NarrowWrite { at: register(4), width: Width::Word }]);
    let other = ConfigAddress { devfn: 0xff, ..register(0x3c) };
    ops.write(other, Width::Byte, 1).unwrap();
    assert_eq!(
        reports.try_iter().collect::<Vec<_>>(),
        [BridgeEvent::NarrowWrite { at: other, width: Width::Byte }]
    );
    assert_eq!(ops.read(register(0x3c), Width::Byte), Ok(5));
}

#[test]
fn a_read_modify_write_of_a_bridge_is_one_step_to_all_its_writers() {
    // CFG-05
    let vendor = Vendor { data: vec![0; 13], writable: vec![0xff; 13] };
    let config = ConfigSpace::builder(identity()).capability_at(0x40, vendor).build().unwrap();
    let board = Board::with([(0x0100, Arc::new(config))]);
    let steps = Arc::new(OneStep::default());
    let watch = steps.clone();
    let hook = move |_at: ConfigAddress, value: Option<u32>| {
        watch.see(value.is_some());
        Ok(None)
    };
    let ops = &Write32Only::new(Hooked { below: ecam(&board), hook: Box::new(hook) }, None);
    std::thread::scope(|scope| {
        for (offset, width) in [(0x44, Width::Byte), (0x46, Width::Word), (0x44, Width::Dword)] {
            let steps = &steps;
            scope.spawn(move || {
                for count in 0..1000 {
                    steps.want();
                    ops.write(register(offset), width, count & width.all_ones()).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_failed_read_of_the_dword_fails_the_narrow_write() {
    let board = Board::with([]);
    let hook = Box::new(|_, value: Option<u32>| match value {
        None => Err(ConfigStatus::DeviceNotFound),
        Some(_) => panic!("written without having been read"),
    });
    let ops = Write32Only::new(Hooked { below: ecam(&board), hook }, None);
    assert_eq!(ops.write(register(4), Width::Word, 6), Err(ConfigStatus::DeviceNotFound));
}
