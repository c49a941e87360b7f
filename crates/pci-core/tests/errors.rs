//! Signs of failure, and what a function does while an error of it is contained.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod mapped;
mod support;

use gate::lock::Leaf;
use gate::{AccessKind, Deadline, Gate, GateState, Pass, Quiesced, Reason, Refusal, ThreadToken};
use mapped::Lines;
use pci_core::{
    AccessError, BarIndex, BlockRefused, Change, Command, ConfigSpace, Device, DeviceRegion, DeviceState,
    Dropped, Errno, ErrorSign, FIRST_DEVICE_REGION, FaultName, Function, FunctionEvent, InjectError, IoState,
    Observer, PowerState, Presence, Preserve, PreserveError, READS_WHILE_FROZEN, ResetError, ResetKind,
    Sentinel, Width,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;
use support::{bar, full, identity};

gate::ranks! {
    /// What the tests remember; nothing is taken under it.
    Remembered = 200, "remembered";
}

const COMMAND: u16 = 0x04;
const PMCSR: u16 = 0x44;
const NO_FAULT: u8 = 0xff;
/// A register of [`Failing`] that is never all-ones, and one that may be.
const STATUS: u64 = 0x10;
const DATA: u64 = 0x20;

const FAULTS: &[FaultName] = &[
    FaultName { name: "all-ones", what: "every register reads all-ones" },
    FaultName { name: "hang", what: "nothing is ever done" },
];

fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// Its registers hold one byte; panics where it is told to.
struct Failing {
    byte: AtomicU8,
    panics: AtomicBool,
}

impl Failing {
    fn may_panic(&self) {
        assert!(!self.panics.load(Ordering::Relaxed), "as the test wants it");
    }
}

impl Device for Failing {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0x11);
        self.may_panic();
        data.fill(self.byte.load(Ordering::Relaxed));
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {
        self.may_panic();
    }

    fn store_block(
        &self,
        _pass: &Pass<'_>,
        _bar: BarIndex,
        _offset: u64,
        _data: &[u8],
    ) -> Result<(), BlockRefused> {
        self.may_panic();
        Ok(())
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {
        self.may_panic();
        self.byte.store(0, Ordering::Relaxed);
    }

    fn command_changed(&self, _pass: &Pass<'_>, _old: Command, _new: Command) {
        self.may_panic();
    }

    fn power_changed(&self, _quiesced: &Quiesced<'_>, _change: Change<PowerState>) {
        self.may_panic();
    }

    fn regions(&self) -> &[DeviceRegion] {
        &[DeviceRegion { kind: 0x8000_1b36, subtype: 1, size: 0x100, writable: true }]
    }

    fn read_region(&self, _pass: &Pass<'_>, _nth: usize, _offset: u64, data: &mut [u8]) {
        data.fill(0x11);
        self.may_panic();
    }

    fn write_region(&self, _pass: &Pass<'_>, _nth: usize, _offset: u64, _data: &[u8]) {
        self.may_panic();
    }

    fn never_all_ones(&self, bar: BarIndex, offset: u64, length: usize) -> bool {
        self.may_panic();
        bar.get() == 0 && offset <= STATUS && offset + u64::try_from(length).unwrap() > STATUS
    }

    fn preserve(&self) -> Option<&dyn Preserve> {
        (self.byte.load(Ordering::Relaxed) != NO_FAULT).then_some(self)
    }

    fn faults(&self) -> &'static [FaultName] {
        FAULTS
    }

    fn inject(&self, _pass: &Pass<'_>, fault: &str) -> Result<(), InjectError> {
        self.may_panic();
        match fault {
            "all-ones" => {
                self.byte.store(0xff, Ordering::Relaxed);
                Ok(())
            }
            "hang" => Err(InjectError::NotNow("it does nothing anyway")),
            _ => Err(InjectError::Unknown { known: self.faults() }),
        }
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

impl Preserve for Failing {
    fn save(&self, _quiesced: &Quiesced<'_>) -> Result<Vec<u8>, PreserveError> {
        self.may_panic();
        Ok(vec![self.byte.load(Ordering::Relaxed)])
    }

    fn restore(&self, _quiesced: &Quiesced<'_>, state: &[u8]) -> Result<(), PreserveError> {
        self.may_panic();
        let [byte] = state else { return Err(PreserveError::Malformed("not one byte")) };
        self.byte.store(*byte, Ordering::Relaxed);
        Ok(())
    }
}

/// Remembers the signs.
#[derive(Default)]
struct Seen(Leaf<Remembered, Vec<ErrorSign>>);

impl Sentinel for Seen {
    fn noticed(&self, _token: &ThreadToken, sign: ErrorSign) {
        self.0.lock().push(sign);
    }
}

/// Remembers what a function tells.
#[derive(Default)]
struct Events(Lines);

impl Observer for Events {
    fn event(&self, _function: &str, event: &FunctionEvent<'_>) {
        self.0.add(match event {
            FunctionEvent::ReadWhileFrozen { reads } => format!("{reads} reads"),
            FunctionEvent::Frozen { why } => format!("frozen: {why}"),
            FunctionEvent::ResetFailed { error, .. } => error.to_string(),
            _ => return,
        });
    }
}

struct World {
    function: Function,
    device: Arc<Failing>,
    seen: Arc<Seen>,
    events: Lines,
}

impl World {
    fn new(token: &mut ThreadToken) -> World {
        World::with(full().build().unwrap(), token)
    }

    fn with(config: ConfigSpace, token: &mut ThreadToken) -> World {
        let device = Arc::new(Failing { byte: AtomicU8::new(0), panics: AtomicBool::new(false) });
        let (seen, observer) = (Arc::new(Seen::default()), Arc::new(Events::default()));
        let events = observer.0.clone();
        let function = Function::new("f", Gate::new("f"), Arc::new(config), Arc::clone(&device) as _);
        let function = function.observed_by(observer);
        function.write_config(token, COMMAND, &[0x06], patient()).unwrap();
        assert!(function.watch_errors(Arc::clone(&seen) as _));
        World { function, device, seen, events }
    }

    fn seen(&self) -> Vec<ErrorSign> {
        std::mem::take(&mut self.seen.0.lock())
    }

    fn read(&self, token: &mut ThreadToken, offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        self.function.read_bar(token, bar(0), offset, data, patient())
    }

    /// From now on nobody is there to answer, and nobody knows it.
    fn fall_off(&self) {
        self.device.byte.store(0xff, Ordering::Relaxed);
        self.function.config().lose_power();
    }
}

fn bar_sign(offset: u64) -> ErrorSign {
    ErrorSign::AllOnes { kind: AccessKind::Bar, offset }
}

fn config_sign(offset: u64) -> ErrorSign {
    ErrorSign::AllOnes { kind: AccessKind::Config, offset }
}

#[test]
fn a_register_that_is_never_all_ones_and_reads_as_all_ones_is_a_sign() {
    // EEH-06
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    let mut data = [0; 4];
    world.read(token, STATUS, &mut data).unwrap();
    assert_eq!(world.seen(), [], "a good read");
    world.device.byte.store(0xff, Ordering::Relaxed);
    world.read(token, DATA, &mut data).unwrap();
    assert_eq!(world.seen(), [], "a register that may be all-ones");
    world.read(token, STATUS, &mut data).unwrap();
    world.read(token, STATUS - 4, &mut [0; 8]).unwrap();
    let pass = world.function.handle().try_enter(token, AccessKind::Bar).unwrap();
    world.function.load_bar(&pass, bar(0), STATUS, &mut data[..1]).unwrap();
    assert_eq!(world.seen(), [bar_sign(STATUS), bar_sign(STATUS - 4), bar_sign(STATUS)]);
    world.function.load_bar(&pass, bar(4), STATUS, &mut data).unwrap();
    world.function.load_bar(&pass, bar(0), STATUS, &mut []).unwrap();
    assert_eq!(world.seen(), []);
}

#[test]
fn a_value_that_only_ends_in_ones_is_no_sign() {
    struct High;
    impl Device for High {
        fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
            data.fill(0xff);
            data[0] = 0xfe;
        }
        fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}
        fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}
        fn never_all_ones(&self, _bar: BarIndex, _offset: u64, _length: usize) -> bool {
            true
        }
        fn describe(&self) -> Vec<(String, String)> {
            Vec::new()
        }
    }
    let token = &mut ThreadToken::at_thread_entry();
    let config = Arc::new(full().build().unwrap());
    let function = Function::new("f", Gate::new("f"), config, Arc::new(High));
    let seen = Arc::new(Seen::default());
    assert!(function.watch_errors(Arc::clone(&seen) as _));
    assert!(!function.watch_errors(Arc::clone(&seen) as _), "one sentinel");
    function.write_config(token, COMMAND, &[0x06], patient()).unwrap();
    function.read_bar(token, bar(0), 0, &mut [0; 8], patient()).unwrap();
    assert_eq!(*seen.0.lock(), []);
}

#[test]
fn configuration_registers_that_cannot_be_all_ones_are_a_sign_wherever_they_are_read() {
    // EEH-06
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    let function = &world.function;
    // What a user may well find: a free interrupt line, and all that is not implemented.
    function.write_config(token, 0x3c, &[0xff], patient()).unwrap();
    function.read_register(token, 0x3c, Width::Byte, patient()).unwrap();
    function.read_config(token, 0, &mut [0; 0x1000], patient()).unwrap();
    assert_eq!(world.seen(), []);
    world.fall_off();
    for (register, width) in [(0, Width::Dword), (0, Width::Word), (4, Width::Word), (6, Width::Word)] {
        let read = function.read_register(token, register, width, patient()).unwrap();
        assert_eq!((read, world.seen()), (width.all_ones(), vec![config_sign(register.into())]));
    }
    // Half an identifier, a BAR and an interrupt line may be.
    for register in [0, 2, 0x10, 0x3c] {
        function.read_register(token, register, Width::Byte, patient()).unwrap();
        assert_eq!(world.seen(), [], "{register:#x}");
    }
    function.read_config(token, 8, &mut [0; 0x38], patient()).unwrap();
    assert_eq!(world.seen(), [config_sign(8)], "the header type is among it");
    function.read_config(token, 0x40, &mut [0; 0xc0], patient()).unwrap();
    assert_eq!(world.seen(), []);
    let pass = function.handle().try_enter(token, AccessKind::Config).unwrap();
    function.config_read(&pass, 0, Width::Dword).unwrap();
    assert_eq!(world.seen(), [config_sign(0)]);
}

#[test]
fn who_asks_whether_anybody_answers_gives_no_sign() {
    // CFG-16, RST-10: a reset polls until the function answers.
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    let function = &world.function;
    world.fall_off();
    let pass = function.handle().try_enter(token, AccessKind::Config).unwrap();
    assert_eq!(function.presence(&pass), Ok(Presence::Absent));
    drop(pass);
    let quiesced = function.gate().close(token, Reason::Reset, patient()).unwrap();
    assert_eq!(function.config_read(&quiesced, 0, Width::Dword), Ok(u32::MAX));
    function.note_state(&quiesced, DeviceState::D3Cold);
    drop(quiesced);
    assert_eq!(function.read_register(token, 0, Width::Dword, patient()).unwrap(), u32::MAX);
    assert_eq!(world.seen(), [], "without power nothing answers, and everybody knows it");
}

#[test]
fn a_virtual_function_has_no_identifiers_and_that_is_no_sign() {
    // CAP-04
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::with(ConfigSpace::virtual_builder(identity()).build().unwrap(), token);
    world.function.config().lose_power();
    world.function.read_register(token, 0, Width::Dword, patient()).unwrap();
    assert_eq!(world.seen(), []);
    world.function.read_register(token, COMMAND, Width::Dword, patient()).unwrap();
    assert_eq!(world.seen(), [config_sign(4)]);
}

#[test]
fn a_frozen_function_gives_no_more_signs() {
    // EEH-07: one event for each freeze. What is refused was not read.
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    world.device.byte.store(0xff, Ordering::Relaxed);
    assert!(world.function.contain());
    let mut data = [0; 4];
    assert!(matches!(world.read(token, STATUS, &mut data), Err(AccessError::Refused(Refusal::Frozen))));
    assert_eq!((data, world.seen()), ([0xff; 4], vec![]));
    assert!(world.function.release());
    world.read(token, STATUS, &mut data).unwrap();
    assert_eq!(world.seen(), [bar_sign(STATUS)]);
}

#[test]
fn somebody_who_goes_on_reading_a_frozen_function_is_told_of_once_for_each_freeze() {
    // EEH-08
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    let read = |token: &mut ThreadToken, times: u64| {
        for nth in 0..times {
            let refused = if nth % 2 == 0 {
                world.function.read_bar(token, bar(0), 0, &mut [0; 1], patient()).is_err()
            } else {
                world.function.read_register(token, 0, Width::Byte, patient()).is_err()
            };
            assert!(refused);
        }
    };
    let contain = |f: &Function| f.contain();
    for freeze in [contain, contain, |f: &Function| f.freeze("a test"), contain] {
        assert!(freeze(&world.function));
        world.events.take();
        read(token, READS_WHILE_FROZEN - 1);
        assert_eq!(world.events.take(), Vec::<String>::new());
        read(token, 2);
        assert_eq!(world.events.take(), ["2100000 reads"]);
        assert!(world.function.release() || world.function.thaw());
    }
}

#[test]
fn of_reads_that_are_refused_and_not_because_of_a_freeze_nobody_is_told_eeh_08() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    // Not decoded.
    world.function.write_config(token, COMMAND, &[0], patient()).unwrap();
    world.events.take();
    for _ in 0..=READS_WHILE_FROZEN {
        assert!(world.read(token, 0, &mut [0; 1]).is_err());
    }
    assert_eq!(world.events.take(), Vec::<String>::new());
}

#[test]
fn configuration_space_of_a_contained_function_is_blocked_in_both_directions() {
    // EEH-09: all-ones, and the error of a set that failed.
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    let function = &world.function;
    assert!(function.contain());
    let mut data = [0; 4];
    let read = function.read_config(token, 0, &mut data, patient()).unwrap_err();
    let written = function.write_config(token, COMMAND, &[0], patient()).unwrap_err();
    assert_eq!((data, read.errno(), written.errno()), ([0xff; 4], Errno::EIO, Errno::EIO));
    let register = function.read_register(token, 0, Width::Dword, patient()).unwrap_err();
    assert_eq!(register.errno(), Errno::EIO);
    assert!(function.config().command().contains(Command::MEMORY_SPACE), "dropped");
    let dropped = Dropped { config_reads: 2, config_writes: 1, ..Dropped::default() };
    assert_eq!(function.dropped(), dropped);
}

#[test]
fn cfg_18_a_contained_function_is_frozen_and_one_that_is_gone_stays_gone() {
    let token = &mut ThreadToken::at_thread_entry();
    let function = World::new(token).function;
    assert!(function.contain() && function.contain());
    assert!(!function.thaw());
    assert_eq!(function.io_state(), IoState::Frozen);
    assert!(!function.release() && function.release());
    assert_eq!(function.io_state(), IoState::Normal);
    assert!(function.contain());
    assert!(function.disconnect(token, patient()).orphans.is_empty());
    assert!(!function.release() && !function.contain() && !function.thaw() && !function.is_contained());
    assert_eq!(function.io_state(), IoState::PermanentFailure);
}

#[test]
fn a_reset_does_not_thaw_what_is_contained() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    let function = &world.function;
    world.device.byte.store(7, Ordering::Relaxed);
    assert!(function.contain());
    function.reset(token, ResetKind::DeviceReset, patient()).unwrap();
    assert_eq!(world.device.byte.load(Ordering::Relaxed), 0, "it was reset");
    assert_eq!(function.gate().status().state, GateState::Frozen);
    let quiesced = function.gate().close(token, Reason::Reset, patient()).unwrap();
    assert!(!function.thaw_quiesced(quiesced));
    assert!(function.release());
    assert_eq!(function.gate().status().state, GateState::Open);
}

#[test]
fn dma_that_is_held_is_off_whatever_command_says() {
    let token = &mut ThreadToken::at_thread_entry();
    let function = World::new(token).function;
    let config = function.config();
    assert!(config.masters_bus());
    config.hold_dma(true);
    assert!(!config.masters_bus() && config.is_dma_held());
    assert!(config.command().contains(Command::BUS_MASTER), "nobody sees it");
    function.write_config(token, COMMAND, &[0x06], patient()).unwrap();
    assert!(!config.masters_bus(), "no write ends it");
    function.reset(token, ResetKind::DeviceReset, patient()).unwrap();
    function.write_config(token, COMMAND, &[0x06], patient()).unwrap();
    assert!(!config.masters_bus(), "and no reset");
    config.hold_dma(false);
    assert!(config.masters_bus());
}

#[test]
fn a_device_hears_when_it_may_use_the_bus_again_and_its_panic_over_that_is_an_answer() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    let (function, config) = (&world.function, world.function.config());
    world.device.panics.store(true, Ordering::Relaxed);
    function.release_dma(token);
    assert_eq!(world.seen(), [], "it was never off");
    config.hold_dma(true);
    let closed = function.gate().close(token, Reason::Recovery, patient()).unwrap().park();
    function.release_dma(token);
    assert_eq!((config.is_dma_held(), world.seen()), (false, vec![]), "it looks for itself when it opens");
    drop(closed);
    config.hold_dma(true);
    function.release_dma(token);
    assert_eq!((config.is_dma_held(), world.seen()), (false, vec![ErrorSign::DevicePanicked]));
    assert_eq!(function.device_panics(), 1);
}

/// What is done to a device that panics, and what the consumer gets.
type Access = fn(&World, &mut ThreadToken) -> Result<(), AccessError>;

#[test]
fn a_panic_of_the_device_ends_one_access_and_freezes_the_function() {
    let token = &mut ThreadToken::at_thread_entry();
    let accesses: [(&str, Access); 7] = [
        ("read", |world, token| {
            let mut data = [0; 4];
            let read = world.read(token, 0, &mut data);
            assert!(read.is_ok() || data == [0xff; 4], "CFG-03");
            read
        }),
        ("load", |world, token| {
            let mut data = [0; 4];
            let pass = world.function.handle().try_enter(token, AccessKind::Bar).unwrap();
            let read = world.function.load_bar(&pass, bar(0), 0, &mut data);
            assert!(read.is_ok() || data == [0xff; 4], "CFG-03");
            read
        }),
        ("write", |world, token| world.function.write_bar(token, bar(0), 0, &[0; 4], patient())),
        ("store", |world, token| {
            let pass = world.function.handle().try_enter(token, AccessKind::Bar).unwrap();
            world.function.store_bar(&pass, bar(0), 0, &[0; 4])
        }),
        ("block", |world, token| {
            let pass = world.function.handle().try_enter(token, AccessKind::Bar).unwrap();
            world.function.store_block(&pass, bar(0), 0, &[0; 64])
        }),
        ("read of a region", |world, token| {
            let mut data = [0; 4];
            let read = world.function.read_region(token, FIRST_DEVICE_REGION, 0, &mut data, patient());
            assert!(read.is_ok() || data == [0xff; 4], "CFG-03");
            read
        }),
        ("write of a region", |world, token| {
            world.function.write_region(token, FIRST_DEVICE_REGION, 0, &[0; 4], patient())
        }),
    ];
    for (what, access) in accesses {
        let world = World::new(token);
        access(&world, token).unwrap();
        world.device.panics.store(true, Ordering::Relaxed);
        let error = access(&world, token).unwrap_err();
        assert!(matches!(error, AccessError::DevicePanicked) && error.errno() == Errno::EIO, "{what}");
        assert_eq!(world.seen(), [ErrorSign::DevicePanicked], "{what}");
        let dropped = world.function.dropped();
        assert_eq!(dropped.bar_reads + dropped.bar_writes, 1, "{what}");
        // A consumer that goes on decides no more of them.
        assert!(world.read(token, 0, &mut [0; 4]).is_err());
        assert_eq!((world.function.io_state(), world.seen()), (IoState::Frozen, vec![]), "{what}");
        assert_eq!(world.events.take(), ["frozen: its device model has panicked"], "{what}");
        // No lock and no pass was left behind.
        world.device.panics.store(false, Ordering::Relaxed);
        world.function.reset(token, ResetKind::DeviceReset, patient()).unwrap();
        world.function.write_config(token, COMMAND, &[0x06], patient()).unwrap();
        access(&world, token).unwrap();
    }
}

#[test]
fn a_panic_over_a_write_to_configuration_space_is_noticed_and_the_write_stays_stored() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    world.device.panics.store(true, Ordering::Relaxed);
    world.function.write_config(token, COMMAND, &[0x02], patient()).unwrap();
    assert_eq!(world.seen(), [ErrorSign::DevicePanicked]);
    assert!(!world.function.config().command().contains(Command::BUS_MASTER));
    assert!(world.function.thaw());
    world.function.write_config(token, PMCSR, &[1], patient()).unwrap();
    assert_eq!(world.seen(), [ErrorSign::DevicePanicked], "D1");
    assert_eq!(world.function.device_state(), DeviceState::D1);
}

#[test]
fn a_panic_over_a_reset_is_an_answer_and_the_function_stays_frozen() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    let function = &world.function;
    world.device.panics.store(true, Ordering::Relaxed);
    let error = function.reset(token, ResetKind::DeviceReset, patient()).unwrap_err();
    assert!(matches!(error, ResetError::DevicePanicked(_)) && error.errno() == Errno::EIO);
    assert_eq!(world.seen(), [ErrorSign::DevicePanicked]);
    assert_eq!(function.io_state(), IoState::Frozen);
    assert!(!function.config().masters_bus(), "its registers were reset");
    let expected =
        ["frozen: its device model has panicked", "device reset not done: the device model has panicked"];
    assert_eq!(world.events.take(), expected);
    let quiesced = function.gate().close(token, Reason::Recovery, patient()).unwrap();
    assert!(!function.reset_quiesced(&quiesced, ResetKind::DeviceReset));
    world.device.panics.store(false, Ordering::Relaxed);
    assert!(function.reset_quiesced(&quiesced, ResetKind::DeviceReset));
}

#[test]
fn a_panic_over_the_question_what_all_ones_mean_is_noticed() {
    let token = &mut ThreadToken::at_thread_entry();
    struct Asked;
    impl Device for Asked {
        fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
            data.fill(0xff);
        }
        fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}
        fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}
        fn never_all_ones(&self, _bar: BarIndex, _offset: u64, _length: usize) -> bool {
            panic!("as the test wants it")
        }
        fn describe(&self) -> Vec<(String, String)> {
            Vec::new()
        }
    }
    let config = Arc::new(full().build().unwrap());
    let function = Function::new("f", Gate::new("f"), config, Arc::new(Asked));
    function.write_config(token, COMMAND, &[0x06], patient()).unwrap();
    function.read_bar(token, bar(0), 0, &mut [0; 4], patient()).unwrap();
    let seen = Arc::new(Seen::default());
    function.watch_errors(Arc::clone(&seen) as _);
    function.read_bar(token, bar(0), 0, &mut [0; 4], patient()).unwrap();
    assert_eq!(*seen.0.lock(), [ErrorSign::DevicePanicked]);
}

#[test]
fn the_devices_state_is_saved_and_restored_around_a_reset() {
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    let (function, byte) = (&world.function, &world.device.byte);
    byte.store(42, Ordering::Relaxed);
    let quiesced = function.gate().close(token, Reason::Recovery, patient()).unwrap();
    let state = function.save_device(&quiesced).unwrap();
    assert!(function.reset_quiesced(&quiesced, ResetKind::DeviceReset));
    assert_eq!(byte.load(Ordering::Relaxed), 0);
    assert_eq!(function.restore_device(&quiesced, &[]), Err(PreserveError::Malformed("not one byte")));
    assert_eq!(byte.load(Ordering::Relaxed), 0);
    function.restore_device(&quiesced, &state).unwrap();
    assert_eq!(byte.load(Ordering::Relaxed), 42);
    world.device.panics.store(true, Ordering::Relaxed);
    assert_eq!(function.save_device(&quiesced), Err(PreserveError::DevicePanicked));
    assert_eq!(function.restore_device(&quiesced, &state), Err(PreserveError::DevicePanicked));
    byte.store(NO_FAULT, Ordering::Relaxed);
    assert_eq!(function.save_device(&quiesced), Err(PreserveError::Unsupported));
    assert_eq!(function.restore_device(&quiesced, &state), Err(PreserveError::Unsupported));
}

#[test]
fn a_fault_is_asked_for_by_name_and_an_unknown_one_is_told_the_names() {
    // EEH-25
    let token = &mut ThreadToken::at_thread_entry();
    let world = World::new(token);
    let function = &world.function;
    let unknown = function.inject(token, "flood", patient()).unwrap_err();
    assert_eq!(unknown, InjectError::Unknown { known: FAULTS });
    assert_eq!(unknown.to_string(), "the device has no such fault; it knows all-ones, hang");
    let refused = function.inject(token, "hang", patient());
    assert_eq!(refused, Err(InjectError::NotNow("it does nothing anyway")));
    function.inject(token, "all-ones", patient()).unwrap();
    world.read(token, STATUS, &mut [0; 4]).unwrap();
    assert_eq!(world.seen(), [bar_sign(STATUS)]);
    world.device.panics.store(true, Ordering::Relaxed);
    assert_eq!(function.inject(token, "all-ones", patient()), Err(InjectError::DevicePanicked));
    let frozen = function.inject(token, "all-ones", patient());
    assert_eq!(frozen, Err(InjectError::Refused(Refusal::Frozen)));
    let none = InjectError::Unknown { known: &[] };
    assert_eq!(none.to_string(), "the device has no such fault; it knows none");
}

#[test]
fn signs_are_told_in_words() {
    let signs = [
        (config_sign(4), "configuration register 0x4 reads all-ones"),
        (bar_sign(0x1c), "register 0x1c reads all-ones"),
        (ErrorSign::DeviceFault("no clock"), "the device has failed: no clock"),
        (ErrorSign::DevicePanicked, "the device model has panicked"),
        (ErrorSign::DmaFault { iova: 0x1000 }, "DMA to 0x1000, which is not mapped for it"),
        (ErrorSign::DriverPanicked, "the driver has panicked"),
        (ErrorSign::Injected("hang"), "injected: hang"),
        (ErrorSign::Forced("an operator"), "forced: an operator"),
    ];
    for (sign, words) in signs {
        assert_eq!(sign.to_string(), words);
    }
}
