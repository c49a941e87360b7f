//! A tap on a function's accesses.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod mapped;
mod support;

use gate::{AccessKind, Deadline, Gate, LongPass, Pass, Quiesced, ThreadToken};
use mapped::Lines;
use pci_core::{
    AccessError, BarIndex, Command, Device, DeviceRegion, Dropped, Errno, ErrorSign, FIRST_DEVICE_REGION,
    Function, NoAnswer, ReadVerdict, ResetKind, Sentinel, Tap, TapAt, WaitRegion, Waits, Width, WriteVerdict,
};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use support::{bar, full, read8};

const COMMAND: u16 = 0x04;
/// Of the vendor-specific capability: can be written, and does nothing.
const SCRATCH: u16 = 0xa8 + 3;
const OWN: u32 = FIRST_DEVICE_REGION;

fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// Does as it is told, and tells what it saw.
#[derive(Default)]
struct Script {
    lines: Lines,
    verdict: AtomicU8,
}

const PASS: u8 = 0;
const SPOIL: u8 = 1;
const OTHER: u8 = 2;
const PANIC: u8 = 3;

impl Script {
    fn says(&self, verdict: u8) {
        self.verdict.store(verdict, Ordering::SeqCst);
    }

    fn verdict<V>(&self, [pass, spoil, other]: [V; 3]) -> V {
        match self.verdict.load(Ordering::SeqCst) {
            PASS => pass,
            SPOIL => spoil,
            OTHER => other,
            _ => panic!("as the test wants it"),
        }
    }
}

impl Tap for Script {
    fn read(&self, _token: &mut ThreadToken, at: TapAt, offset: u64, length: usize) -> ReadVerdict {
        self.lines.add(format!("tap read {at:?} {offset:#x} {length}"));
        self.verdict([ReadVerdict::Pass, ReadVerdict::AllOnes, ReadVerdict::Fail])
    }

    fn write(&self, _token: &mut ThreadToken, at: TapAt, offset: u64, data: &[u8]) -> WriteVerdict {
        self.lines.add(format!("tap write {at:?} {offset:#x} {data:x?}"));
        self.verdict([WriteVerdict::Pass, WriteVerdict::Drop, WriteVerdict::Twice])
    }
}

struct Signs(mpsc::Sender<ErrorSign>);

impl Sentinel for Signs {
    fn noticed(&self, _token: &ThreadToken, sign: ErrorSign) {
        let _ = self.0.send(sign);
    }
}

/// Tells what reaches it, whether it waits or not.
struct Recorder {
    lines: Lines,
    waits: bool,
}

impl Recorder {
    fn read(&self, at: &str, data: &mut [u8]) {
        data.fill(0x5a);
        self.lines.add(format!("read {at}"));
    }

    fn write(&self, at: &str) {
        self.lines.add(format!("write {at}"));
    }
}

impl Waits for Recorder {
    fn read(
        &self,
        _token: &mut ThreadToken,
        _inside: &LongPass,
        _region: WaitRegion,
        _offset: u64,
        data: &mut [u8],
        _until: Deadline,
    ) -> Result<(), NoAnswer> {
        Recorder::read(self, "waited for", data);
        Ok(())
    }

    fn write(
        &self,
        _token: &mut ThreadToken,
        _inside: &LongPass,
        _region: WaitRegion,
        _offset: u64,
        _data: &[u8],
        _until: Deadline,
    ) -> Result<(), NoAnswer> {
        Recorder::write(self, "waited for");
        Ok(())
    }
}

impl Device for Recorder {
    fn waits(&self) -> Option<&dyn Waits> {
        self.waits.then_some(self)
    }

    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        self.read("a BAR", data);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {
        self.write("a BAR");
    }

    fn regions(&self) -> &[DeviceRegion] {
        &[DeviceRegion { kind: 0, subtype: 0, size: 0x100, writable: true }]
    }

    fn read_region(&self, _pass: &Pass<'_>, _nth: usize, _offset: u64, data: &mut [u8]) {
        self.read("a region", data);
    }

    fn write_region(&self, _pass: &Pass<'_>, _nth: usize, _offset: u64, _data: &[u8]) {
        self.write("a region");
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// A device that does not wait and one that does, which tell their lines where the tap does.
fn worlds() -> [(Function, Arc<Script>); 2] {
    [false, true].map(|waits| {
        let lines = Lines::default();
        let device = Arc::new(Recorder { lines: lines.clone(), waits });
        let function = Function::new("f", Gate::new("f"), Arc::new(full().build().unwrap()), device);
        let token = &mut ThreadToken::at_thread_entry();
        function.write_config(token, COMMAND, &[6], patient()).unwrap();
        let script = Arc::new(Script { lines, ..Script::default() });
        assert!(function.tap(script.clone()));
        (function, script)
    })
}

/// What the device saw of it, and what the tap did.
fn device_saw(script: &Script) -> usize {
    script.lines.take().iter().filter(|line| !line.starts_with("tap")).count()
}

#[test]
fn the_tap_sees_each_access_that_enters_by_itself_and_then_the_device_does() {
    for (f, script) in worlds() {
        let token = &mut ThreadToken::at_thread_entry();
        let mut data = [0; 4];
        f.read_bar(token, bar(0), 8, &mut data, patient()).unwrap();
        f.write_bar(token, bar(0), 8, &[1], patient()).unwrap();
        f.read_region(token, OWN, 4, &mut data, patient()).unwrap();
        assert_eq!(data, [0x5a; 4]);
        f.write_region(token, OWN, 4, &[2], patient()).unwrap();
        f.read_config(token, 0, &mut data, patient()).unwrap();
        assert_eq!(data[..2], [0x36, 0x1b]);
        f.write_config(token, SCRATCH, &[3], patient()).unwrap();
        assert_eq!(f.read_register(token, 2, Width::Word, patient()).unwrap(), 0x10);
        f.write_register(token, SCRATCH, Width::Byte, 4, patient()).unwrap();
        let lines = script.lines.take();
        let tapped: Vec<_> = lines.iter().filter(|line| line.starts_with("tap")).collect();
        let bar = format!("{:?}", TapAt::Bar(bar(0)));
        assert_eq!(
            tapped,
            [
                &format!("tap read {bar} 0x8 4"),
                &format!("tap write {bar} 0x8 [1]"),
                "tap read Own(0) 0x4 4",
                "tap write Own(0) 0x4 [2]",
                "tap read Config 0x0 4",
                "tap write Config 0xab [3]",
                "tap read Config 0x2 2",
                "tap write Config 0xab [4]",
            ]
        );
        assert_eq!(lines.len() - tapped.len(), 4, "{lines:?}");
        assert!(
            lines[0].starts_with("tap") && !lines[1].starts_with("tap"),
            "the tap comes first: {lines:?}"
        );
    }
}

#[test]
fn a_spoiled_read_is_all_ones_or_fails_and_does_not_reach_the_device() {
    for (f, script) in worlds() {
        let token = &mut ThreadToken::at_thread_entry();
        for (verdict, fails) in [(SPOIL, false), (OTHER, true)] {
            script.says(verdict);
            let check = |read: Result<(), AccessError>, data: &[u8]| {
                assert!(data.iter().all(|byte| *byte == 0xff));
                match read {
                    Ok(()) => assert!(!fails),
                    Err(error) => {
                        assert!(fails && matches!(error, AccessError::Injected), "{error}");
                        assert_eq!(error.errno(), Errno::EIO);
                    }
                }
            };
            let mut data = [0; 4];
            check(f.read_bar(token, bar(0), 8, &mut data, patient()), &data);
            data = [0; 4];
            check(f.read_region(token, OWN, 4, &mut data, patient()), &data);
            data = [0; 4];
            check(f.read_config(token, 0, &mut data, patient()), &data);
            match f.read_register(token, 2, Width::Word, patient()) {
                Ok(value) => assert_eq!((value, fails), (0xffff, false)),
                Err(error) => assert!(fails && matches!(error, AccessError::Injected)),
            }
        }
        assert_eq!(device_saw(&script), 0);
        let dropped = Dropped { config_reads: 2, bar_reads: 2, ..Dropped::default() };
        assert_eq!(f.dropped(), dropped, "what failed is counted, what was all-ones succeeded");
    }
}

#[test]
fn injected_all_ones_are_a_sign_where_real_ones_would_be() {
    // EEH-06
    let [(f, script), _] = worlds();
    let (told, signs) = mpsc::channel();
    assert!(f.watch_errors(Arc::new(Signs(told))));
    script.says(SPOIL);
    let token = &mut ThreadToken::at_thread_entry();
    f.read_config(token, 0, &mut [0; 4], patient()).unwrap();
    f.read_bar(token, bar(0), 8, &mut [0; 4], patient()).unwrap();
    let expected = [ErrorSign::AllOnes { kind: AccessKind::Config, offset: 0 }];
    assert_eq!(signs.try_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_write_is_dropped_without_an_error_or_done_twice() {
    for (f, script) in worlds() {
        let token = &mut ThreadToken::at_thread_entry();
        for (verdict, times) in [(SPOIL, 0), (OTHER, 2), (PASS, 1)] {
            script.says(verdict);
            f.write_bar(token, bar(0), 8, &[1], patient()).unwrap();
            assert_eq!(device_saw(&script), times);
            f.write_region(token, OWN, 8, &[1], patient()).unwrap();
            assert_eq!(device_saw(&script), times);
        }
        script.says(SPOIL);
        f.write_config(token, SCRATCH, &[0x77], patient()).unwrap();
        assert_ne!(read8(f.config(), SCRATCH), 0x77);
        script.says(OTHER);
        let effects = f.write_config(token, COMMAND, &[2], patient()).unwrap();
        let change = effects.command.expect("the first of the two writes changed it");
        assert_eq!(change.old ^ change.new, Command::BUS_MASTER);
        assert_eq!(f.dropped(), Dropped::default());
    }
}

#[test]
fn what_lies_outside_fails_as_ever_whatever_the_tap_says() {
    for (f, script) in worlds() {
        let token = &mut ThreadToken::at_thread_entry();
        for verdict in [PASS, SPOIL] {
            script.says(verdict);
            let mut data = [0; 4];
            let read = f.read_bar(token, bar(0), u64::MAX, &mut data, patient()).unwrap_err();
            assert!(matches!(read, AccessError::OutOfRange));
            let read = f.read_region(token, OWN, 0xfe, &mut data, patient()).unwrap_err();
            assert!(matches!(read, AccessError::OutOfRange));
            let read = f.read_config(token, 4094, &mut data, patient()).unwrap_err();
            assert!(matches!(read, AccessError::OutOfRange));
            assert_eq!(data, [0xff; 4]);
        }
    }
}

#[test]
fn a_tap_that_panics_is_no_tap() {
    for (f, script) in worlds() {
        let token = &mut ThreadToken::at_thread_entry();
        script.says(PANIC);
        let mut data = [0; 4];
        f.read_bar(token, bar(0), 8, &mut data, patient()).unwrap();
        assert_eq!(data, [0x5a; 4]);
        f.write_bar(token, bar(0), 8, &data, patient()).unwrap();
        assert_eq!((device_saw(&script), f.device_panics()), (2, 0));
    }
}

#[test]
fn there_is_one_tap_and_what_holds_a_pass_goes_past_it() {
    let [(f, script), _] = worlds();
    assert!(!f.tap(Arc::new(Script::default())));
    script.says(OTHER);
    let token = ThreadToken::at_thread_entry();
    let pass = f.handle().try_enter(&token, AccessKind::Bar).unwrap();
    let mut data = [0; 4];
    f.load_bar(&pass, bar(0), 8, &mut data).unwrap();
    f.store_bar(&pass, bar(0), 8, &data).unwrap();
    assert_eq!(device_saw(&script), 2);
}

#[test]
fn the_tap_may_wait_because_nothing_is_held_yet() {
    // Law 1: a reset gets in while the tap holds an access up.
    struct Slow(mpsc::Sender<()>, gate::lock::Leaf<Held, Option<mpsc::Receiver<()>>>);
    gate::ranks! { /// Of the test.
    Held = 200, "held"; }
    impl Tap for Slow {
        #[allow(clippy::disallowed_methods, reason = "the test's own wait, at nothing of the function's")]
        fn read(&self, _token: &mut ThreadToken, _at: TapAt, _offset: u64, _length: usize) -> ReadVerdict {
            let go = self.1.lock().take();
            let _ = self.0.send(());
            let _ = go.map(|go| go.recv());
            ReadVerdict::Pass
        }
        fn write(&self, _t: &mut ThreadToken, _at: TapAt, _offset: u64, _data: &[u8]) -> WriteVerdict {
            WriteVerdict::Pass
        }
    }
    let function = Function::new(
        "f",
        Gate::new("f"),
        Arc::new(full().build().unwrap()),
        Arc::new(Recorder { lines: Lines::default(), waits: false }),
    );
    let (came, comes) = mpsc::channel();
    let (go, goes) = mpsc::channel();
    assert!(function.tap(Arc::new(Slow(came, gate::lock::Leaf::new(Some(goes))))));
    std::thread::scope(|threads| {
        let f = &function;
        let reader = threads.spawn(move || {
            let token = &mut ThreadToken::at_thread_entry();
            f.read_config(token, 0, &mut [0; 4], patient())
        });
        comes.recv().unwrap();
        let token = &mut ThreadToken::at_thread_entry();
        f.reset(token, ResetKind::FunctionLevel, patient()).unwrap();
        go.send(()).unwrap();
        reader.join().unwrap().unwrap();
    });
}
