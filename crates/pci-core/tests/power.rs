//! Power changes of one function: who is kept out and for how long, what is lost, what wakes it.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod support;

use gate::{AccessKind, Deadline, Gate, GateState, Gone, Pass, Quiesced, Reason, Refusal, ThreadToken};
use pci_core::{
    AccessError, BarKind, Change, Command, ConfigSpace, Device, DeviceState, Function, FunctionEvent,
    Observer, Pm, PowerDelays, PowerState, PowerStep, ResetKind, StaysClosed, Time, VirtualTime,
};
use pci_spec::capability::pm::Capabilities;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use support::{bar, full, identity, read16};

const COMMAND: u16 = 0x04;
const BAR0: u16 = 0x10;
/// Of the only capability.
const PMCSR: u16 = 0x44;

/// Long enough that only a hang reaches it.
fn patient() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < limit, "never happened: {what}");
        std::thread::yield_now();
    }
}

/// Counts what reaches it.
#[derive(Default)]
struct Counting {
    accesses: AtomicUsize,
    resets: AtomicUsize,
}

impl Device for Counting {
    fn read_bar(&self, _: &Pass<'_>, _: pci_core::BarIndex, _: u64, data: &mut [u8]) {
        self.accesses.fetch_add(1, Ordering::SeqCst);
        data.fill(0x5a);
    }
    fn write_bar(&self, _: &Pass<'_>, _: pci_core::BarIndex, _: u64, _: &[u8]) {
        self.accesses.fetch_add(1, Ordering::SeqCst);
    }
    fn reset(&self, _: &Quiesced<'_>, _: ResetKind) {
        self.resets.fetch_add(1, Ordering::SeqCst);
    }
    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// A clock on which a delay lasts until the test ends it.
struct Standstill {
    delaying: AtomicBool,
    over: AtomicBool,
}

impl Default for Standstill {
    /// No delay lasts yet.
    fn default() -> Standstill {
        Standstill { delaying: AtomicBool::new(false), over: AtomicBool::new(true) }
    }
}

impl Standstill {
    /// Delays last from now on until the answer is dropped, also by a test that fails.
    fn begin(&self) -> StandingStill<'_> {
        self.over.store(false, Ordering::SeqCst);
        self.delaying.store(false, Ordering::SeqCst);
        StandingStill(self)
    }
}

struct StandingStill<'a>(&'a Standstill);

impl Drop for StandingStill<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

impl std::fmt::Debug for Standstill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Standstill")
    }
}

impl Time for Standstill {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn pass(
        &self,
        token: &mut ThreadToken,
        closed: &dyn StaysClosed,
        duration: Duration,
    ) -> Result<(), Gone> {
        if duration.is_zero() {
            return Ok(());
        }
        self.delaying.store(true, Ordering::SeqCst);
        while !self.over.load(Ordering::SeqCst) {
            closed.wait(token, Deadline::after(Duration::from_millis(1)))?;
        }
        Ok(())
    }
}

/// Writes a power state as a guest does.
fn go(function: &Function, token: &mut ThreadToken, state: u8) -> Result<(), AccessError> {
    function.write_config(token, PMCSR, &[state], patient()).map(|_| ())
}

struct Steps(mpsc::Sender<String>);

impl Observer for Steps {
    fn event(&self, _function: &str, event: &FunctionEvent<'_>) {
        let text = match event {
            FunctionEvent::Power(step) => step.to_string(),
            FunctionEvent::PowerChanged(Change { old, new }) => format!("{old} to {new}"),
            other => format!("{other:?}"),
        };
        let _ = self.0.send(text);
    }
}

struct World<T> {
    function: Function,
    device: Arc<Counting>,
    time: Arc<T>,
    steps: mpsc::Receiver<String>,
}

fn config(pm: Pm) -> ConfigSpace {
    let builder = ConfigSpace::builder(identity()).bar(bar(0), BarKind::Memory64, 16 << 10);
    builder.capability(pm).build().unwrap()
}

impl<T: Time + Default + 'static> World<T> {
    fn new(pm: Pm) -> World<T> {
        World::with(config(pm), PowerDelays::default())
    }

    fn with(config: ConfigSpace, delays: PowerDelays) -> World<T> {
        let (sent, steps) = mpsc::channel();
        let (device, time) = (Arc::new(Counting::default()), Arc::new(T::default()));
        let function = Function::new("f", Gate::new("f"), Arc::new(config), device.clone());
        let function = function.observed_by(Arc::new(Steps(sent))).timed_by(time.clone()).delayed_by(delays);
        World { function, device, time, steps }
    }

    /// Memory decoding on, BAR 0 at 0xfeb0_0000.
    fn set_up(&self, token: &mut ThreadToken) {
        self.function.write_config(token, BAR0, &0xfeb0_0000_u32.to_le_bytes(), patient()).unwrap();
        self.function.write_config(token, COMMAND, &[0x06], patient()).unwrap();
    }

    fn heard(&self) -> Vec<String> {
        self.steps.try_iter().collect()
    }
}

#[test]
fn cfg_i10_nobody_gets_in_between_the_write_to_pmcsr_and_the_end_of_the_delay() {
    // CFG-I10, PWR-04: the second thread is known to wait, so nothing here depends on timing.
    for (from, to) in [(0, 3), (3, 0)] {
        let world: World<Standstill> = World::new(Pm { no_soft_reset: true, ..Pm::default() });
        let token = &mut ThreadToken::at_thread_entry();
        world.set_up(token);
        let gate = world.function.gate();
        if from != 0 {
            go(&world.function, token, from).unwrap();
        }
        std::thread::scope(|scope| {
            let still = world.time.begin();
            let writer = scope.spawn(|| go(&world.function, &mut ThreadToken::at_thread_entry(), to));
            wait_until("the delay begins", || world.time.delaying.load(Ordering::SeqCst));
            assert_eq!(world.function.config().power_state().bits(), u16::from(to), "written already");
            let config = scope.spawn(|| {
                let mut data = [0; 2];
                let token = &mut ThreadToken::at_thread_entry();
                world.function.read_config(token, PMCSR, &mut data, patient()).map(|()| data)
            });
            let memory = scope.spawn(|| {
                let token = &mut ThreadToken::at_thread_entry();
                world.function.read_bar(token, bar(0), 0, &mut [0; 4], patient())
            });
            wait_until("both wait", || gate.status().waiting_accesses == 2);
            assert_eq!(gate.status().state, GateState::Blocked(Reason::PowerChange));
            assert!(world.function.handle().try_enter(token, AccessKind::Dma).is_err());
            assert!(!config.is_finished() && !memory.is_finished() && !writer.is_finished());
            assert_eq!(world.device.accesses.load(Ordering::SeqCst), 0);
            drop(still);
            writer.join().unwrap().unwrap();
            assert_eq!(config.join().unwrap().unwrap()[0] & 3, to);
            let memory = memory.join().unwrap();
            assert_eq!(memory.is_ok(), to == 0, "VF-17: {memory:?}");
        });
        assert_eq!(gate.status().state, GateState::Open);
    }
}

#[test]
fn the_delay_of_one_function_blocks_no_other() {
    let world: World<Standstill> = World::new(Pm::default());
    let other: World<Standstill> = World::new(Pm::default());
    let token = &mut ThreadToken::at_thread_entry();
    std::thread::scope(|scope| {
        let still = world.time.begin();
        let writer = scope.spawn(|| go(&world.function, &mut ThreadToken::at_thread_entry(), 3));
        wait_until("the delay begins", || world.time.delaying.load(Ordering::SeqCst));
        other.set_up(token);
        let mut data = [0; 4];
        other.function.read_bar(token, bar(0), 0, &mut data, patient()).unwrap();
        assert_eq!(data, [0x5a; 4]);
        assert!(!writer.is_finished());
        drop(still);
        writer.join().unwrap().unwrap();
    });
}

#[test]
fn a_removal_ends_the_delay_at_once() {
    // Law 4, CFG-I4: nobody ends the delay.
    let world: World<Standstill> = World::new(Pm::default());
    let token = &mut ThreadToken::at_thread_entry();
    std::thread::scope(|scope| {
        let still = world.time.begin();
        let writer = scope.spawn(|| go(&world.function, &mut ThreadToken::at_thread_entry(), 3));
        wait_until("the delay begins", || world.time.delaying.load(Ordering::SeqCst));
        assert!(world.function.gate().retire(token, patient()).orphans.is_empty());
        let ended = writer.join().unwrap();
        assert!(matches!(ended, Err(AccessError::Refused(Refusal::Gone))), "{ended:?}");
        drop(still);
    });
}

#[test]
fn pwr_04_each_change_takes_the_time_of_its_states() {
    let pm = Pm { d1: true, d2: true, no_soft_reset: true, ..Pm::default() };
    let world: World<VirtualTime> = World::new(pm);
    let token = &mut ThreadToken::at_thread_entry();
    let mut took = |state| {
        let before = world.time.now();
        go(&world.function, token, state).unwrap();
        (world.time.now() - before).as_micros()
    };
    assert_eq!([took(3), took(0), took(2), took(0), took(1), took(0)], [10_000, 10_000, 200, 200, 0, 0]);
    assert_eq!(took(0), 0, "the state it is in already");
    assert_eq!([took(1), took(2), took(3), took(2)], [0, 200, 10_000, 0], "the last one is not made");
}

#[test]
fn pwr_04_a_device_may_need_more_and_immediate_readiness_spares_the_way_to_d0() {
    let delays = PowerDelays { d3hot: Duration::from_millis(120), ..PowerDelays::default() };
    let pm = Pm { immediate_readiness: true, ..Pm::default() };
    let world: World<VirtualTime> = World::with(config(pm), delays);
    let token = &mut ThreadToken::at_thread_entry();
    go(&world.function, token, 3).unwrap();
    assert_eq!(world.time.now().as_millis(), 120);
    go(&world.function, token, 0).unwrap();
    assert_eq!(world.time.now().as_millis(), 120, "ready at once");
}

#[test]
fn pwr_05_the_header_is_restored_once_the_function_may_be_touched_again() {
    // VF-48
    let world: World<VirtualTime> = World::new(Pm::default());
    let token = &mut ThreadToken::at_thread_entry();
    world.set_up(token);
    go(&world.function, token, 3).unwrap();
    go(&world.function, token, 0).unwrap();
    assert_eq!(world.device.resets.load(Ordering::SeqCst), 1, "the state was lost in between");
    let config = world.function.config();
    assert_eq!(config.bar_address(bar(0)), Some(0xfeb0_0000));
    assert_eq!(config.command(), Command::MEMORY_SPACE | Command::BUS_MASTER);
    assert_eq!(world.heard(), ["D0 to D3hot", "D3hot to D0"]);
    let mut data = [0; 4];
    world.function.read_bar(token, bar(0), 0, &mut data, patient()).unwrap();
}

#[test]
fn pwr_05_nothing_is_restored_before_the_delay_is_over() {
    let world: World<Standstill> = World::new(Pm::default());
    let token = &mut ThreadToken::at_thread_entry();
    world.set_up(token);
    go(&world.function, token, 3).unwrap();
    std::thread::scope(|scope| {
        let still = world.time.begin();
        let writer = scope.spawn(|| go(&world.function, &mut ThreadToken::at_thread_entry(), 0));
        wait_until("the delay begins", || world.time.delaying.load(Ordering::SeqCst));
        assert_eq!(world.function.config().command(), Command::empty());
        drop(still);
        writer.join().unwrap().unwrap();
    });
    assert_eq!(world.function.config().command(), Command::MEMORY_SPACE | Command::BUS_MASTER);
}

#[test]
fn a_function_without_power_answers_nothing_and_comes_back_as_after_power_on() {
    // PWR-07, VF-17, CFG-03
    let world: World<VirtualTime> = World::new(Pm::default());
    let token = &mut ThreadToken::at_thread_entry();
    world.set_up(token);
    let f = &world.function;
    let quiesced = f.gate().close(token, Reason::PowerChange, patient()).unwrap();
    f.lose_power(&quiesced);
    drop(quiesced);
    assert_eq!(f.device_state(), DeviceState::D3Cold);
    let mut data = [0; 4];
    f.read_config(token, 0, &mut data, patient()).unwrap();
    assert_eq!(data, [0xff; 4]);
    let effects = f.write_config(token, COMMAND, &[0x06], patient()).unwrap();
    assert_eq!(effects, pci_core::ConfigEffects::default());
    let read = f.read_bar(token, bar(0), 0, &mut data, patient());
    assert!(matches!(read, Err(AccessError::MemoryDisabled(_))), "{read:?}");
    assert_eq!(f.config().command(), Command::empty(), "nobody in here is misled by all-ones");

    let quiesced = f.gate().close(token, Reason::PowerChange, patient()).unwrap();
    f.regain_power(&quiesced);
    drop(quiesced);
    assert_eq!(f.device_state(), DeviceState::D0);
    assert_eq!(read16(f.config(), 0), 0x1b36);
    assert_eq!((f.config().command(), f.config().bar_address(bar(0))), (Command::empty(), Some(0)));
    assert_eq!(world.device.resets.load(Ordering::SeqCst), 1);
}

#[test]
fn a_function_that_counts_as_cold_has_no_memory() {
    // PWR-03, VF-17
    let world: World<VirtualTime> = World::new(Pm::default());
    let token = &mut ThreadToken::at_thread_entry();
    world.set_up(token);
    let f = &world.function;
    let quiesced = f.gate().close(token, Reason::PowerChange, patient()).unwrap();
    f.note_state(&quiesced, DeviceState::D3Cold);
    drop(quiesced);
    let read = f.read_bar(token, bar(0), 0, &mut [0; 4], patient());
    assert!(matches!(read, Err(AccessError::MemoryDisabled(_))), "{read:?}");
    assert_eq!(world.device.accesses.load(Ordering::SeqCst), 0);
    f.reset(token, ResetKind::DeviceReset, patient()).unwrap();
    assert_eq!(f.device_state(), DeviceState::D0, "a reset function is where its register says");
}

#[test]
fn pme_is_told_where_it_is_enabled_and_the_function_can_signal_it() {
    // PWR-10
    let pm =
        Pm { pme: Capabilities::PME_D3HOT | Capabilities::PME_D3COLD, no_soft_reset: true, ..Pm::default() };
    let world: World<VirtualTime> = World::new(pm);
    let token = &mut ThreadToken::at_thread_entry();
    let f = &world.function;
    let wakes = |token: &mut ThreadToken| f.signal_pme(token, patient()).unwrap();
    assert!(!wakes(token), "not in D0");
    go(&world.function, token, 3).unwrap();
    assert!(!wakes(token), "not enabled");
    assert_eq!(read16(f.config(), PMCSR) & 0x8000, 0x8000, "but seen in the status");
    f.write_config(token, PMCSR, &0x8103_u16.to_le_bytes(), patient()).unwrap();
    world.heard();
    assert!(wakes(token));
    assert!(!wakes(token), "once until it is cleared");
    assert_eq!(world.heard(), [PowerStep::WakeUp.to_string()]);
    assert_eq!(f.config().power_state(), PowerState::D3Hot, "it wakes nobody by itself");
}

#[test]
fn auxiliary_power_keeps_the_pme_context_over_the_loss_of_power() {
    let pm = Pm { pme: Capabilities::PME_D3COLD, ..Pm::default() };
    let world: World<VirtualTime> = World::new(pm);
    let token = &mut ThreadToken::at_thread_entry();
    let f = &world.function;
    f.write_config(token, PMCSR, &0x0100_u16.to_le_bytes(), patient()).unwrap();
    let quiesced = f.gate().close(token, Reason::PowerChange, patient()).unwrap();
    f.lose_power(&quiesced);
    drop(quiesced);
    assert!(f.signal_pme(token, patient()).unwrap(), "a function without power wakes the system");
    let quiesced = f.gate().close(token, Reason::PowerChange, patient()).unwrap();
    f.regain_power(&quiesced);
    drop(quiesced);
    assert_eq!(read16(f.config(), PMCSR), 0x8100, "and can be found");
}

#[test]
fn a_wake_up_is_not_lost_to_a_power_change_under_way() {
    let pm = Pm { pme: Capabilities::PME_D3HOT, no_soft_reset: true, ..Pm::default() };
    let world: World<Standstill> = World::new(pm);
    let token = &mut ThreadToken::at_thread_entry();
    let f = &world.function;
    f.write_config(token, PMCSR, &0x0100_u16.to_le_bytes(), patient()).unwrap();
    std::thread::scope(|scope| {
        let still = world.time.begin();
        let writer = scope.spawn(|| {
            let token = &mut ThreadToken::at_thread_entry();
            f.write_config(token, PMCSR, &0x0103_u16.to_le_bytes(), patient()).map(|_| ())
        });
        wait_until("the delay begins", || world.time.delaying.load(Ordering::SeqCst));
        let device = scope.spawn(|| f.signal_pme(&mut ThreadToken::at_thread_entry(), patient()));
        wait_until("the wake-up waits", || f.gate().status().waiting_accesses == 1);
        drop(still);
        writer.join().unwrap().unwrap();
        assert!(device.join().unwrap().unwrap());
    });
}

#[test]
fn vf_48_a_physical_function_with_virtual_functions_stays_out_of_d3() {
    let sr_iov = pci_core::SrIov::new(4, 0x11);
    let builder = full().extended_capability(pci_core::ExtendedCapability::SrIov(sr_iov));
    let config = builder.build().unwrap();
    let at = config.sr_iov_layout().unwrap().at;
    let world: World<VirtualTime> = World::with(config, PowerDelays::default());
    let token = &mut ThreadToken::at_thread_entry();
    // By its owner: to consumers these registers are read-only.
    let write = |offset, value: u16| {
        let _effects = world.function.config().write(at + offset, &value.to_le_bytes());
    };
    write(0x10, 2);
    write(0x08, 1);
    let refused = go(&world.function, token, 3).unwrap_err();
    assert_eq!(refused.errno(), pci_core::Errno::EBUSY);
    assert_eq!(world.function.device_state(), DeviceState::D0);
    assert_eq!(world.heard(), ["Refused to change power state from D0 to D3hot"]);
    go(&world.function, token, 1).unwrap();
    go(&world.function, token, 0).unwrap();
    write(0x08, 0);
    go(&world.function, token, 3).unwrap();
    assert_eq!(world.function.device_state(), DeviceState::D3Hot);
}
