//! Devices that wait before they answer.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod mapped;
mod support;

use gate::{AccessKind, CloseError, Deadline, Gate, LongPass, Pass, Quiesced, Refusal, ThreadToken};
use mapped::Lines;
use pci_core::{
    AccessError, BarIndex, BlockRefused, Device, DeviceRegion, Dropped, Errno, ErrorSign,
    FIRST_DEVICE_REGION, Function, NoAnswer, ResetError, ResetKind, Sentinel, WaitRegion, Waits,
};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use support::{bar, full};

const COMMAND: u16 = 0x04;
const PMCSR: u16 = 0x44;
const NOT_HERE: u64 = 0x40;
const DEAD: u64 = 0x80;
const PANICS: u64 = 0xc0;
/// Waits until the test lets it go.
const SLOW: u64 = 0xf0;
/// A register that is never all-ones.
const STATUS: u64 = 0x10;

fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// Another thread that answers, and sleeps in the access as such a device does.
struct Elsewhere {
    lines: Lines,
    byte: AtomicU8,
    /// Somebody is in the slow access.
    inside: AtomicBool,
    go: AtomicBool,
}

impl Elsewhere {
    fn access(&self, token: &mut ThreadToken, what: String, offset: u64) -> Result<(), NoAnswer> {
        self.lines.add(what);
        // Law 1: whoever waits proves that nothing is held.
        let _token: &mut ThreadToken = token;
        match offset {
            NOT_HERE => Err(NoAnswer::Refused),
            DEAD => Err(NoAnswer::Failed("its process has ended")),
            PANICS => panic!("as the test wants it"),
            SLOW => {
                self.inside.store(true, Ordering::SeqCst);
                while !self.go.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Waits for Elsewhere {
    fn read(
        &self,
        token: &mut ThreadToken,
        _inside: &LongPass,
        region: WaitRegion,
        offset: u64,
        data: &mut [u8],
        until: Deadline,
    ) -> Result<(), NoAnswer> {
        assert!(until.remaining().is_some());
        data.fill(self.byte.load(Ordering::SeqCst));
        self.access(token, format!("read {region:?} {offset:#x} {}", data.len()), offset)
    }

    fn write(
        &self,
        token: &mut ThreadToken,
        _inside: &LongPass,
        region: WaitRegion,
        offset: u64,
        data: &[u8],
        _until: Deadline,
    ) -> Result<(), NoAnswer> {
        self.access(token, format!("write {region:?} {offset:#x} {data:x?}"), offset)
    }
}

impl Device for Elsewhere {
    fn waits(&self) -> Option<&dyn Waits> {
        Some(self)
    }

    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        self.lines.add("under a pass");
        data.fill(0xff);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {
        self.lines.add("under a pass");
    }

    fn store_block(
        &self,
        _pass: &Pass<'_>,
        _bar: BarIndex,
        _offset: u64,
        _data: &[u8],
    ) -> Result<(), BlockRefused> {
        Err(BlockRefused::NotAccepted)
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, kind: ResetKind) {
        self.lines.add(kind.to_string());
    }

    fn regions(&self) -> &[DeviceRegion] {
        const REGION: DeviceRegion = DeviceRegion { kind: 0, subtype: 0, size: 0x100, writable: true };
        &[REGION, DeviceRegion { writable: false, ..REGION }]
    }

    fn never_all_ones(&self, _bar: BarIndex, offset: u64, _length: usize) -> bool {
        offset == STATUS
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

struct Signs(mpsc::Sender<ErrorSign>);

impl Sentinel for Signs {
    fn noticed(&self, _token: &ThreadToken, sign: ErrorSign) {
        let _ = self.0.send(sign);
    }
}

struct World {
    function: Function,
    device: Arc<Elsewhere>,
    signs: mpsc::Receiver<ErrorSign>,
}

impl World {
    fn signs(&self) -> Vec<ErrorSign> {
        self.signs.try_iter().collect()
    }
}

/// With memory and ports decoded.
fn world() -> (World, ThreadToken) {
    let device = Arc::new(Elsewhere {
        lines: Lines::default(),
        byte: AtomicU8::new(0x5a),
        inside: AtomicBool::new(false),
        go: AtomicBool::new(false),
    });
    let (told, signs) = mpsc::channel();
    let function = Function::new("f", Gate::new("f"), Arc::new(full().build().unwrap()), device.clone());
    assert!(function.watch_errors(Arc::new(Signs(told))));
    let mut token = ThreadToken::at_thread_entry();
    function.write_config(&mut token, COMMAND, &[0x07], patient()).unwrap();
    (World { function, device, signs }, token)
}

#[test]
fn its_bars_rom_and_regions_are_reached_by_accesses_that_wait() {
    let (w, mut token) = world();
    let (f, token) = (&w.function, &mut token);
    let mut data = [0; 4];
    f.read_bar(token, bar(0), 4, &mut data, patient()).unwrap();
    assert_eq!(data, [0x5a; 4]);
    f.write_bar(token, bar(2), 8, &[1, 2], patient()).unwrap();
    f.write_config(token, 0x30, &[1], patient()).unwrap();
    f.read_bar(token, BarIndex::ROM, 0, &mut data, patient()).unwrap();
    assert!(matches!(f.write_bar(token, BarIndex::ROM, 0, &data, patient()), Err(AccessError::ReadOnly)));
    f.read_region(token, FIRST_DEVICE_REGION + 1, 0xfc, &mut data, patient()).unwrap();
    f.write_region(token, FIRST_DEVICE_REGION, 0, &[7], patient()).unwrap();
    assert!(matches!(
        f.write_region(token, FIRST_DEVICE_REGION + 1, 0, &[7], patient()),
        Err(AccessError::ReadOnly)
    ));
    let rom = BarIndex::ROM;
    let expected = [
        format!("read {:?} 0x4 4", WaitRegion::Bar(bar(0))),
        format!("write {:?} 0x8 [1, 2]", WaitRegion::Bar(bar(2))),
        format!("read {:?} 0x0 4", WaitRegion::Bar(rom)),
        "read Own(1) 0xfc 4".into(),
        "write Own(0) 0x0 [7]".into(),
    ];
    assert_eq!(w.device.lines.take(), expected);
    assert_eq!(w.signs(), []);
}

#[test]
fn what_any_function_refuses_never_reaches_it() {
    // CFG-03, VF-17: the same answers in the same order as without waiting.
    let (w, mut token) = world();
    let (f, token) = (&w.function, &mut token);
    let read = |token: &mut ThreadToken, window, offset| {
        let mut data = [0; 4];
        let error = f.read_bar(token, window, offset, &mut data, patient()).unwrap_err();
        assert_eq!(data, [0xff; 4]);
        let written = f.write_bar(token, window, offset, &data, patient()).unwrap_err();
        assert_eq!(written.errno(), error.errno());
        error
    };
    let own = |token: &mut ThreadToken| {
        let mut data = [0; 4];
        let error = f.read_region(token, FIRST_DEVICE_REGION, 0, &mut data, patient()).unwrap_err();
        assert_eq!(data, [0xff; 4]);
        assert!(f.write_region(token, FIRST_DEVICE_REGION, 0, &data, patient()).is_err());
        error
    };
    assert!(matches!(read(token, bar(1), 0), AccessError::NoWindow(_)));
    assert!(matches!(read(token, bar(0), (16 << 10) - 3), AccessError::OutOfRange));
    assert!(matches!(read(token, bar(0), u64::MAX), AccessError::OutOfRange));
    f.write_config(token, COMMAND, &[0], patient()).unwrap();
    assert!(matches!(read(token, bar(0), 0), AccessError::MemoryDisabled(_)));
    f.write_config(token, COMMAND, &[7], patient()).unwrap();
    f.write_config(token, PMCSR, &[3], patient()).unwrap();
    assert!(matches!(own(token), AccessError::Asleep(FIRST_DEVICE_REGION)));
    f.write_config(token, PMCSR, &[0], patient()).unwrap();
    f.freeze("test");
    assert!(matches!(read(token, bar(0), 0), AccessError::Refused(Refusal::Frozen)));
    assert!(matches!(own(token), AccessError::Refused(Refusal::Frozen)));
    f.thaw();
    assert!(f.disconnect(token, patient()).orphans.is_empty());
    assert!(matches!(read(token, bar(0), 0), AccessError::Refused(Refusal::Gone)));
    assert!(w.device.lines.take().iter().all(|line| !line.contains("Bar") && !line.contains("Own")));
}

#[test]
fn no_answer_reads_all_ones_and_is_a_sign_unless_the_device_refuses() {
    let (w, mut token) = world();
    let (f, token) = (&w.function, &mut token);
    let mut data = [0; 4];
    let refused = f.read_bar(token, bar(0), NOT_HERE, &mut data, patient()).unwrap_err();
    assert!(matches!(refused, AccessError::NoAnswer(NoAnswer::Refused)));
    assert_eq!((data, refused.errno()), ([0xff; 4], Errno::EIO));
    f.write_bar(token, bar(0), NOT_HERE, &data, patient()).unwrap_err();
    assert_eq!(w.signs(), []);

    data = [0; 4];
    let dead = f.read_bar(token, bar(0), DEAD, &mut data, patient()).unwrap_err();
    assert!(matches!(dead, AccessError::NoAnswer(NoAnswer::Failed("its process has ended"))));
    assert_eq!((data, dead.errno()), ([0xff; 4], Errno::EIO));
    f.write_bar(token, bar(0), DEAD, &data, patient()).unwrap_err();
    data = [0; 4];
    f.read_region(token, FIRST_DEVICE_REGION, DEAD, &mut data, patient()).unwrap_err();
    assert_eq!(data, [0xff; 4]);
    f.write_region(token, FIRST_DEVICE_REGION, DEAD, &data, patient()).unwrap_err();
    assert_eq!(w.signs(), [ErrorSign::DeviceFault("its process has ended"); 4]);
    assert_eq!(f.dropped(), Dropped { bar_reads: 3, bar_writes: 3, ..Dropped::default() });
}

#[test]
fn all_ones_where_they_cannot_be_are_a_sign_there_too() {
    // EEH-06
    let (w, mut token) = world();
    let (f, token) = (&w.function, &mut token);
    w.device.byte.store(0xff, Ordering::SeqCst);
    f.read_bar(token, bar(0), 0, &mut [0; 4], patient()).unwrap();
    assert_eq!(w.signs(), []);
    f.read_bar(token, bar(0), STATUS, &mut [0; 4], patient()).unwrap();
    assert_eq!(w.signs(), [ErrorSign::AllOnes { kind: AccessKind::Bar, offset: STATUS }]);
}

#[test]
fn its_panic_freezes_the_function() {
    let (w, mut token) = world();
    let (f, token) = (&w.function, &mut token);
    let mut data = [0; 4];
    let panicked = f.read_bar(token, bar(0), PANICS, &mut data, patient()).unwrap_err();
    assert!(matches!(panicked, AccessError::DevicePanicked));
    assert_eq!((data, f.device_panics()), ([0xff; 4], 1));
    assert_eq!(w.signs(), [ErrorSign::DevicePanicked]);
    let frozen = f.read_bar(token, bar(0), 0, &mut data, patient()).unwrap_err();
    assert!(matches!(frozen, AccessError::Refused(Refusal::Frozen)));
}

#[test]
fn under_a_pass_of_the_caller_loads_come_as_ever_and_stores_are_refused() {
    let (w, token) = world();
    let pass = w.function.handle().try_enter(&token, AccessKind::Bar).unwrap();
    let mut data = [0; 4];
    w.function.load_bar(&pass, bar(0), 0, &mut data).unwrap();
    assert_eq!(data, [0xff; 4]);
    let store = w.function.store_bar(&pass, bar(0), 0, &data).unwrap_err();
    assert!(matches!(store, AccessError::NotPlain(_)));
    let block = w.function.store_block(&pass, bar(0), 0, &data).unwrap_err();
    assert!(matches!(block, AccessError::Block(BlockRefused::NotAccepted)));
    assert_eq!(w.device.lines.take(), ["under a pass"]);
}

#[test]
fn a_reset_waits_for_an_access_that_waits_and_what_replaces_tables_does_not() {
    let (w, mut token) = world();
    let (f, token) = (&w.function, &mut token);
    std::thread::scope(|threads| {
        let reader = threads.spawn(|| {
            let mut token = ThreadToken::at_thread_entry();
            let mut data = [0; 4];
            f.read_bar(&mut token, bar(0), SLOW, &mut data, patient()).map(|()| data)
        });
        while !w.device.inside.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        // What is read under short passes only is replaced beside it: a map of DMA that the device needs to answer.
        drop(f.gate().close_short(token, gate::Reason::Remap, patient()).unwrap());
        let soon = Deadline::after(Duration::from_millis(1));
        let busy = f.reset(token, ResetKind::FunctionLevel, soon).unwrap_err();
        let ResetError::NotQuiesced { cause: CloseError::Drain { inside, .. }, .. } = busy else {
            panic!("{busy}")
        };
        assert!(inside.iter().any(|inside| inside.what == "an access to a device that waits"), "{inside:?}");
        // A freeze waits for nobody; what was let in before still has its answer.
        f.freeze("test");
        w.device.go.store(true, Ordering::SeqCst);
        assert_eq!(reader.join().unwrap().unwrap(), [0x5a; 4]);
    });
    f.reset(token, ResetKind::FunctionLevel, patient()).unwrap();
}
