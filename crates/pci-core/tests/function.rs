//! A function in front of a fake device: what waits, what is dropped, what is reset.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod support;

use gate::{AccessKind, CloseError, Deadline, Gate, GateState, Pass, Quiesced, Reason, Refusal, ThreadToken};
use pci_core::{
    AccessError, BarIndex, Change, Command, ConfigSpace, Device, Dropped, Express, Function, FunctionEvent,
    Observer, Pm, PowerState, ResetError, ResetKind,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use support::{bar, full, identity, read16};

const COMMAND: u16 = 0x04;
const PMCSR: u16 = 0x44;
const DEVICE_CONTROL: u16 = 0x74;
const MSI_CONTROL: u16 = 0x4a;
const MSIX_CONTROL: u16 = 0x62;
const FLR: [u8; 2] = 0xa810_u16.to_le_bytes();

/// Long enough that only a hang reaches it.
fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn passed() -> Deadline {
    Deadline::at(Instant::now())
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < limit, "never happened: {what}");
        std::thread::yield_now();
    }
}

/// Remembers what it was told; its BARs read as their offset.
struct Fake {
    told: mpsc::Sender<String>,
    resets: AtomicUsize,
}

impl Device for Fake {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, offset: u64, data: &mut [u8]) {
        data.fill(offset.to_le_bytes()[0]);
    }

    fn write_bar(&self, _pass: &Pass<'_>, bar: BarIndex, offset: u64, data: &[u8]) {
        let _ = self.told.send(format!("{bar} {offset:#x} {data:x?}"));
    }

    fn reset(&self, quiesced: &Quiesced<'_>, kind: ResetKind) {
        self.resets.fetch_add(1, Ordering::Relaxed);
        let _ = self.told.send(format!("{kind} for a {}", quiesced.reason()));
    }

    fn command_changed(&self, _pass: &Pass<'_>, old: Command, new: Command) {
        let _ = self.told.send(format!("command {old:?} to {new:?}"));
    }

    fn interrupts_changed(&self, _pass: &Pass<'_>) {
        let _ = self.told.send("interrupts".into());
    }

    fn power_changed(&self, quiesced: &Quiesced<'_>, change: Change<PowerState>) {
        let _ = self.told.send(format!("{:?} to {:?} for a {}", change.old, change.new, quiesced.reason()));
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

struct Events(mpsc::Sender<String>);

impl Observer for Events {
    fn event(&self, function: &str, event: &FunctionEvent<'_>) {
        let text = match event {
            FunctionEvent::Reset { kind } => format!("{kind}"),
            FunctionEvent::ResetFailed { error, .. } => format!("{error}"),
            FunctionEvent::PowerChanged(change) => format!("{:?} to {:?}", change.old, change.new),
            FunctionEvent::PowerNotChanged { error } => format!("power: {error}"),
            FunctionEvent::Frozen { why } => format!("frozen: {why}"),
            other => format!("{other:?}"),
        };
        let _ = self.0.send(format!("{function}: {text}"));
    }
}

struct World {
    function: Function,
    device: Arc<Fake>,
    told: mpsc::Receiver<String>,
    events: mpsc::Receiver<String>,
}

impl World {
    fn new() -> World {
        World::with(full().build().unwrap())
    }

    fn with(config: ConfigSpace) -> World {
        let (told, heard) = mpsc::channel();
        let (sent, events) = mpsc::channel();
        let device = Arc::new(Fake { told, resets: AtomicUsize::new(0) });
        let function = Function::new("f", Gate::new("f"), Arc::new(config), device.clone());
        let function = function.observed_by(Arc::new(Events(sent)));
        World { function, device, told: heard, events }
    }

    /// Memory decoding on, and the notice of it forgotten.
    fn enable(&self, token: &mut ThreadToken) {
        self.function.write_config(token, COMMAND, &[0x06], patient()).unwrap();
        self.heard();
    }

    fn heard(&self) -> Vec<String> {
        self.told.try_iter().collect()
    }

    fn seen(&self) -> Vec<String> {
        self.events.try_iter().collect()
    }

    fn state(&self) -> GateState {
        self.function.gate().status().state
    }

    fn resets(&self) -> usize {
        self.device.resets.load(Ordering::Relaxed)
    }
}

#[test]
fn a_bar_access_reaches_the_device_while_memory_is_enabled() {
    let world = World::new();
    let token = &mut ThreadToken::at_thread_entry();
    world.enable(token);
    let mut data = [0; 4];
    world.function.read_bar(token, bar(0), 0x3ffc, &mut data, patient()).unwrap();
    assert_eq!(data, [0xfc; 4]);
    world.function.write_bar(token, bar(4), 0x10, &[1, 2], patient()).unwrap();
    world.function.write_bar(token, bar(2), 0x3f, &[3], patient()).unwrap();
    assert_eq!(world.heard(), ["BAR 4 0x10 [1, 2]", "BAR 2 0x3f [3]"]);
    assert_eq!(world.function.dropped(), Dropped::default());
}

#[test]
fn a_bar_access_is_refused_while_memory_is_disabled_or_in_d3hot() {
    // VF-17, VF-18, CFG-03
    let world = World::new();
    let token = &mut ThreadToken::at_thread_entry();
    let refused = |token: &mut ThreadToken| {
        let mut data = [0; 4];
        let read = world.function.read_bar(token, bar(0), 0, &mut data, patient());
        let write = world.function.write_bar(token, bar(0), 0, &data, patient());
        assert!(matches!(read, Err(AccessError::MemoryDisabled(_))), "{read:?}");
        assert!(matches!(write, Err(AccessError::MemoryDisabled(_))), "{write:?}");
        assert_eq!(data, [0xff; 4]);
    };
    refused(token);
    world.enable(token);
    world.function.write_config(token, PMCSR, &[3], patient()).unwrap();
    refused(token);
    assert_eq!(world.function.dropped(), Dropped { bar_reads: 2, bar_writes: 2, ..Dropped::default() });
    assert_eq!(world.heard(), ["D0 to D3Hot for a power change"], "no access reached the device");
}

#[test]
fn accesses_outside_a_window_are_refused() {
    let world = World::new();
    let token = &mut ThreadToken::at_thread_entry();
    world.enable(token);
    let f = &world.function;
    let mut read = |bar, offset, length| {
        let mut data = vec![0; length];
        let read = f.read_bar(token, bar, offset, &mut data, patient());
        assert!(read.is_ok() || data.iter().all(|byte| *byte == 0xff));
        read
    };
    assert!(read(bar(0), 0x4000, 0).is_ok());
    assert!(matches!(read(bar(0), 0x3ffd, 4), Err(AccessError::OutOfRange)));
    assert!(matches!(read(bar(0), 0x4001, 0), Err(AccessError::OutOfRange)));
    assert!(matches!(read(bar(0), u64::MAX, 4), Err(AccessError::OutOfRange)));
    assert!(matches!(read(bar(1), 0, 4), Err(AccessError::NoWindow(_))));
    assert!(read(BarIndex::ROM, 0xfffc, 4).is_ok());
    let rom = f.write_bar(token, BarIndex::ROM, 0, &[0], patient());
    assert!(matches!(rom, Err(AccessError::ReadOnly)));
    let mut data = [0; 4];
    assert!(matches!(f.read_config(token, 0xffd, &mut data, patient()), Err(AccessError::OutOfRange)));
    assert_eq!(data, [0xff; 4]);
    assert!(f.read_config(token, 0xffc, &mut data, patient()).is_ok());
    assert!(matches!(f.write_config(token, u16::MAX, &[0], patient()), Err(AccessError::OutOfRange)));
}

#[test]
fn the_device_is_told_of_a_change_of_command() {
    let world = World::new();
    let token = &mut ThreadToken::at_thread_entry();
    let effects = world.function.write_config(token, COMMAND, &[0x04], patient()).unwrap();
    assert_eq!(effects.command.map(|change| change.new), Some(Command::BUS_MASTER));
    world.function.write_config(token, COMMAND, &[0x04], patient()).unwrap();
    assert_eq!(world.heard(), ["command Command(0x0) to Command(BUS_MASTER)"]);
}

#[test]
fn the_device_is_told_of_a_change_of_msi_and_msi_x_and_of_nothing_else_there() {
    let world = World::new();
    let token = &mut ThreadToken::at_thread_entry();
    let mut write = |register, value: u8| {
        world.function.write_config(token, register, &[value], patient()).unwrap();
        world.heard()
    };
    let nothing = [] as [String; 0];
    assert_eq!(write(MSI_CONTROL, 1), ["interrupts"]);
    assert_eq!(write(MSI_CONTROL, 1), nothing);
    assert_eq!(write(MSI_CONTROL + 2, 0xf0), nothing);
    assert_eq!(write(MSIX_CONTROL + 1, 0x80), ["interrupts"]);
}

#[test]
fn a_function_level_reset_waits_for_what_is_in_flight() {
    // RST-05
    let world = World::new();
    let token = &mut ThreadToken::at_thread_entry();
    world.enable(token);
    let handle = world.function.handle().clone();
    let flight = handle.enter_long(token, AccessKind::Dma, "a command", patient()).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let token = &mut ThreadToken::at_thread_entry();
            world.function.write_config(token, DEVICE_CONTROL, &FLR, patient()).map(|effects| effects.flr)
        });
        wait_until("the reset closes the gate", || world.state() == GateState::Blocked(Reason::Reset));
        assert_eq!(world.resets(), 0, "the command is still in flight");
        assert_eq!(world.function.config().command().bits(), 0x06);
        drop(flight);
        assert!(matches!(writer.join().unwrap(), Ok(true)));
    });
    assert_eq!(world.heard(), ["function level reset for a reset"]);
    assert_eq!(world.seen(), ["f: function level reset"]);
    assert_eq!(world.function.config().command(), Command::empty());
    assert_eq!(read16(world.function.config(), DEVICE_CONTROL), 0x2810);
    assert_eq!(world.state(), GateState::Open);
}

#[test]
fn a_reset_whose_drain_misses_the_deadline_leaves_the_function_as_it_was() {
    let world = World::new();
    let token = &mut ThreadToken::at_thread_entry();
    world.enable(token);
    let handle = world.function.handle().clone();
    let flight = handle.enter_long(token, AccessKind::Dma, "a stuck command", patient()).unwrap();
    let soon = Deadline::after(Duration::from_millis(1));
    let write = world.function.write_config(token, DEVICE_CONTROL, &FLR, soon);
    let Err(AccessError::NotReset(ResetError::NotQuiesced { kind, cause: CloseError::Drain { inside } })) =
        write
    else {
        panic!("{write:?}");
    };
    assert_eq!(kind, ResetKind::FunctionLevel);
    assert!(inside.iter().any(|inside| inside.what == "a stuck command"), "{inside:?}");
    let [event] = &world.seen()[..] else { panic!("one event") };
    assert!(event.starts_with("f: function level reset not done"), "{event}");
    assert!(world.heard().is_empty());
    assert_eq!((world.state(), world.function.config().command().bits()), (GateState::Open, 0x06));
    drop(flight);
    world.function.write_config(token, DEVICE_CONTROL, &FLR, patient()).unwrap();
    assert_eq!(world.resets(), 1);
}

#[test]
fn a_second_reset_waits_for_the_first() {
    let world = World::new();
    let token = &mut ThreadToken::at_thread_entry();
    let handle = world.function.handle().clone();
    let flight = handle.enter_long(token, AccessKind::Dma, "a command", patient()).unwrap();
    let write = || {
        let token = &mut ThreadToken::at_thread_entry();
        world.function.write_config(token, DEVICE_CONTROL, &FLR, patient()).map(|_| ())
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(write);
        wait_until("the first closes", || world.state() == GateState::Blocked(Reason::Reset));
        let second = scope.spawn(write);
        // Its configuration write is what is blocked: it does not even reach the register.
        wait_until("the second waits", || world.function.gate().status().waiting_accesses == 1);
        assert_eq!(world.resets(), 0);
        drop(flight);
        assert!(first.join().unwrap().is_ok() && second.join().unwrap().is_ok());
    });
    assert_eq!(world.resets(), 2);
}

#[test]
fn a_blocked_config_read_waits_and_then_succeeds() {
    // CFG-09
    let world = World::new();
    let token = &mut ThreadToken::at_thread_entry();
    let gate = world.function.gate().clone();
    let quiesced = gate.close(token, Reason::Reset, patient()).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let token = &mut ThreadToken::at_thread_entry();
            let mut data = [0; 2];
            world.function.read_config(token, 0, &mut data, patient()).map(|()| data)
        });
        wait_until("the reader waits", || gate.status().waiting_accesses == 1);
        drop(quiesced);
        assert_eq!(reader.join().unwrap().unwrap(), [0x36, 0x1b]);
    });
    assert_eq!(world.function.dropped(), Dropped::default());
}

#[test]
fn a_config_access_still_blocked_at_its_deadline_is_refused() {
    let world = World::new();
    let token = &mut ThreadToken::at_thread_entry();
    let gate = world.function.gate().clone();
    let quiesced = gate.close(token, Reason::PowerChange, patient()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let token = &mut ThreadToken::at_thread_entry();
            let mut data = [0; 2];
            let read = world.function.read_config(token, 0, &mut data, passed());
            assert!(
                matches!(read, Err(AccessError::Refused(Refusal::Blocked(Reason::PowerChange)))),
                "{read:?}"
            );
            assert_eq!(data, [0xff; 2]);
            assert!(world.function.write_config(token, COMMAND, &[0x04], passed()).is_err());
        });
    });
    drop(quiesced);
    assert_eq!(world.function.dropped(), Dropped { config_reads: 1, config_writes: 1, ..Dropped::default() });
    assert_eq!(world.function.config().command(), Command::empty(), "the write was dropped");
}

#[test]
fn a_frozen_function_reads_all_ones_and_a_reset_thaws_it() {
    // CFG-03, EEH-06
    let world = World::new();
    let token = &mut ThreadToken::at_thread_entry();
    world.enable(token);
    assert!(world.function.freeze("a test") && !world.function.freeze("again"));
    let mut data = [0; 4];
    let read = world.function.read_config(token, 0, &mut data, patient());
    assert!(matches!(read, Err(AccessError::Refused(Refusal::Frozen))) && data == [0xff; 4]);
    data = [0; 4];
    let read = world.function.read_bar(token, bar(0), 0, &mut data, patient());
    assert!(matches!(read, Err(AccessError::Refused(Refusal::Frozen))) && data == [0xff; 4]);
    assert!(world.function.write_config(token, DEVICE_CONTROL, &FLR, patient()).is_err());
    assert_eq!(world.resets(), 0, "the write that asks for a reset was dropped");

    world.function.reset(token, ResetKind::DeviceReset, patient()).unwrap();
    assert_eq!(world.state(), GateState::Open);
    world.function.read_config(token, 0, &mut data, patient()).unwrap();
    assert_eq!(data, [0x36, 0x1b, 0x10, 0x00]);
    assert_eq!(world.heard(), ["device reset for a reset"]);
    assert_eq!(world.seen(), ["f: frozen: a test", "f: device reset"]);
}

#[test]
fn a_frozen_function_stays_frozen_if_its_reset_fails() {
    let world = World::new();
    let token = &mut ThreadToken::at_thread_entry();
    let handle = world.function.handle().clone();
    let flight = handle.enter_long(token, AccessKind::Dma, "a command", patient()).unwrap();
    world.function.freeze("a test");
    assert!(world.function.reset(token, ResetKind::DeviceReset, passed()).is_err());
    assert_eq!((world.state(), world.resets()), (GateState::Frozen, 0));
    drop(flight);
}

#[test]
fn a_function_that_is_gone_reads_all_ones_and_never_touches_its_successor() {
    // Laws 4 and 5, CFG-04
    let world = World::new();
    let token = &mut ThreadToken::at_thread_entry();
    world.enable(token);
    let gate = world.function.gate().clone();
    assert!(gate.retire(token, patient()).orphans.is_empty());
    let touch = |token: &mut ThreadToken| {
        let mut data = [0; 8];
        assert!(world.function.read_config(token, 0, &mut data, patient()).is_err());
        assert_eq!(data, [0xff; 8]);
        data = [0; 8];
        assert!(world.function.read_bar(token, bar(0), 0, &mut data, patient()).is_err());
        assert_eq!(data, [0xff; 8]);
        assert!(world.function.write_config(token, DEVICE_CONTROL, &FLR, patient()).is_err());
        assert!(world.function.write_bar(token, bar(0), 0, &data, patient()).is_err());
        let reset = world.function.reset(token, ResetKind::DeviceReset, patient());
        assert!(matches!(reset, Err(ResetError::NotQuiesced { cause: CloseError::Gone, .. })), "{reset:?}");
        assert!(!world.function.freeze("a stale function"));
    };
    touch(token);
    assert!(gate.renew().is_some());
    let read = world.function.read_config(token, 0, &mut [0; 4], patient());
    assert!(matches!(read, Err(AccessError::Refused(Refusal::StaleEpoch { .. }))), "{read:?}");
    touch(token);
    assert_eq!(gate.status().state, GateState::Open, "the successor's gate is untouched");
    assert!(world.heard().is_empty());
}

#[test]
fn going_to_d3hot_waits_for_what_is_in_flight() {
    // CAP-10, CFG-I10
    let world = World::new();
    let token = &mut ThreadToken::at_thread_entry();
    let handle = world.function.handle().clone();
    let flight = handle.enter_long(token, AccessKind::Dma, "a command", patient()).unwrap();
    let soon = Deadline::after(Duration::from_millis(1));
    let write = world.function.write_config(token, PMCSR, &[3], soon);
    assert!(matches!(write, Err(AccessError::PowerNotChanged(CloseError::Drain { .. }))), "{write:?}");
    assert_eq!(world.function.config().power_state(), PowerState::D0, "PWR-06: the real state is shown");
    drop(flight);
    world.function.write_config(token, PMCSR, &[3], patient()).unwrap();
    assert_eq!(world.function.config().power_state(), PowerState::D3Hot);
    assert_eq!(world.heard(), ["D0 to D3Hot for a power change"]);
    let events = world.seen();
    assert!(events[0].starts_with("f: power: ") && events[1..] == ["f: D0 to D3Hot"], "{events:?}");
}

#[test]
fn a_function_that_loses_its_state_in_d3hot_is_reset_on_the_way_back_and_its_header_restored() {
    // PWR-05, RST-07, VF-48
    let world = World::new();
    let token = &mut ThreadToken::at_thread_entry();
    world.enable(token);
    world.function.write_config(token, PMCSR, &[3], patient()).unwrap();
    world.function.write_config(token, PMCSR, &[0], patient()).unwrap();
    assert_eq!(
        world.heard(),
        ["D0 to D3Hot for a power change", "reset on power-up from D3hot for a power change"]
    );
    assert_eq!(world.function.config().command(), Command::MEMORY_SPACE | Command::BUS_MASTER);
    assert_eq!(world.function.config().power_state(), PowerState::D0);
}

#[test]
fn a_function_without_soft_reset_keeps_its_state_over_d3hot() {
    let config = ConfigSpace::builder(identity()).capability(Pm { no_soft_reset: true, ..Pm::default() });
    let world = World::with(config.build().unwrap());
    let token = &mut ThreadToken::at_thread_entry();
    world.enable(token);
    for state in [3, 0] {
        world.function.write_config(token, PMCSR, &[state], patient()).unwrap();
    }
    assert_eq!(world.resets(), 0);
    assert_eq!(world.function.config().command(), Command::BUS_MASTER);
}

#[test]
fn a_function_level_reset_brings_a_function_back_from_d3hot() {
    let world = World::new();
    let token = &mut ThreadToken::at_thread_entry();
    world.function.write_config(token, PMCSR, &[3], patient()).unwrap();
    world.function.write_config(token, DEVICE_CONTROL, &FLR, patient()).unwrap();
    assert_eq!(world.function.config().power_state(), PowerState::D0);
    assert_eq!(world.resets(), 1);
}

#[test]
fn a_function_without_flr_has_none() {
    // RST-05
    let config = ConfigSpace::builder(identity()).capability(Express { flr: false, ..Express::default() });
    let world = World::with(config.build().unwrap());
    let token = &mut ThreadToken::at_thread_entry();
    let effects = world.function.write_config(token, 0x48, &FLR, patient()).unwrap();
    assert!(!effects.flr);
    let reset = world.function.reset(token, ResetKind::FunctionLevel, patient());
    assert!(matches!(reset, Err(ResetError::Unsupported(_))));
    assert_eq!(world.resets(), 0);
    assert!(world.function.reset(token, ResetKind::DeviceReset, patient()).is_ok());
}
