//! A function whose consumers, resets, power changes, exchanges of operations and removal meet in random schedules.
//!
//! Run with `RUSTFLAGS="--cfg shuttle" cargo test -p museum --release --test shuttle`. The hardware asserts that nobody
//! reaches it between *granted* and *reopened* or after its removal, and shuttle fails a schedule in which everybody
//! sleeps, so every waiter ends. The tests that begin with `found` break one of these on purpose and pass if that is seen.
#![cfg(shuttle)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test code; clippy exempts only functions marked as tests"
)]

mod lifecycles;
mod machine;
mod mappings;
mod random;

use gate::{Deadline, Gate, Reason, Refusal, ThreadToken};
use museum::hardware::{Delays, Hardware, Registers};
use pci_core::mechanism::{BusRange, HostBridge};
use pci_core::{
    AccessError, BarIndex, BarKind, ConfigAddress, ConfigSpace, ConfigStatus, Device, Express, Function,
    Identity, Pm, ResetKind, Width,
};
use pci_spec::{Bdf, ClassCode};
use random::explore;
use shuttle::thread;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

const VENDOR_ID: u16 = 0;
const COMMAND: u16 = 4;
const PMCSR: u16 = 0x44;
const DEVICE_CONTROL: u16 = 0x50;
const MEMORY: u32 = 0x0002;
const D0: u32 = 0;
const D3HOT: u32 = 3;
const FLR: u32 = 0x8000;

/// Never fires under shuttle.
fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(3600))
}

fn at() -> Bdf {
    Bdf::new(0, 1, 0, 0).unwrap()
}

/// One device in its place, behind its bridge.
struct Slot {
    gate: Gate,
    bridge: Arc<HostBridge>,
    hardware: Arc<Hardware>,
    registers: Arc<Registers>,
    config: Arc<ConfigSpace>,
    function: Function,
}

impl Slot {
    fn new(gate: &Gate) -> Arc<Slot> {
        let config = ConfigSpace::builder(Identity::new(0x1b36, 0x0010, ClassCode::NVME))
            .bar(BarIndex::new(0).unwrap(), BarKind::Memory64, 16 << 10)
            .capability(Pm::default())
            .capability(Express::default())
            .build()
            .unwrap();
        let (config, hardware) = (Arc::new(config), Arc::new(Hardware::default()));
        let registers = Registers::of(&config, &hardware);
        let bridge = Arc::new(HostBridge::new("bridge", 0, BusRange::ALL, registers.clone()));
        let function = Function::new("f", gate.clone(), config.clone(), hardware.clone())
            .behind(bridge.clone(), at())
            .timed_by(Delays::of(&hardware));
        Arc::new(Slot { gate: gate.clone(), bridge, hardware, registers, config, function })
    }

    fn access(&self, token: &mut ThreadToken) {
        settled(self.function.read_register(token, VENDOR_ID, Width::Dword, ahead()));
        settled(self.function.write_register(token, COMMAND, Width::Word, MEMORY, ahead()));
        let mut data = [0; 4];
        settled(self.function.read_bar(token, BarIndex::new(0).unwrap(), 0, &mut data, ahead()));
    }
}

/// An access has come to its end, or was told that the function is gone; a deadline never fires here.
fn settled<T>(result: Result<T, AccessError>) {
    match result {
        Ok(_) | Err(AccessError::MemoryDisabled(_)) => {}
        Err(AccessError::Refused(Refusal::Gone | Refusal::StaleEpoch { .. })) => {}
        Err(AccessError::Config(ConfigStatus::DeviceNotFound)) => {}
        Err(AccessError::NotReset(_) | AccessError::PowerNotChanged(_)) => {}
        Err(other) => panic!("{other}"),
    }
}

/// What a thread does.
type Work = Box<dyn FnOnce(&mut ThreadToken) + Send>;

/// Runs each of `works` on a thread of its own and waits for all.
fn together(works: Vec<Work>) {
    let run = |work: Work| thread::spawn(move || work(&mut ThreadToken::at_thread_entry()));
    let threads: Vec<_> = works.into_iter().map(run).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A thread's work on a slot, or on a machine.
fn work<T: Send + Sync + 'static>(
    on: &Arc<T>,
    work: impl FnOnce(&T, &mut ThreadToken) + Send + 'static,
) -> Work {
    let on = on.clone();
    Box::new(move |token| work(&on, token))
}

fn consumer(slot: &Slot, token: &mut ThreadToken) {
    slot.access(token);
    slot.access(token);
}

/// A driver that uses the power states.
fn sleeper(slot: &Slot, token: &mut ThreadToken) {
    settled(slot.function.write_register(token, PMCSR, Width::Word, D3HOT, ahead()));
    settled(slot.function.write_register(token, PMCSR, Width::Word, D0, ahead()));
    slot.access(token);
}

/// A guest that resets its function.
fn resetter(slot: &Slot, token: &mut ThreadToken) {
    settled(slot.function.write_register(token, DEVICE_CONTROL, Width::Word, FLR, ahead()));
    slot.access(token);
}

/// The operator's reset, by the owner's own accesses under the proof.
fn owner(slot: &Slot, token: &mut ThreadToken) {
    let _ = slot.function.reset(token, ResetKind::DeviceReset, ahead());
    if let Ok(quiesced) = slot.gate.close(token, Reason::Reset, ahead())
        && !slot.function.handle().is_gone()
    {
        let _window = slot.hardware.monitor.granted();
        // Removed under the proof: the registers answer no more.
        let gone = |status| assert_eq!(status, ConfigStatus::DeviceNotFound);
        slot.function.config_write_quiesced(&quiesced, COMMAND, Width::Word, 0).map_or_else(gone, drop);
        slot.function.config_read(&quiesced, VENDOR_ID, Width::Dword).map_or_else(gone, drop);
    }
}

/// Error injection: other operations for a while.
fn injector(slot: &Slot, token: &mut ThreadToken) {
    let injected = Registers::of(&slot.config, &slot.hardware);
    let ops = injected.clone();
    slot.bridge.with_ops(token, |_| ops, ahead(), |_| thread::yield_now()).unwrap();
    injected.free();
    let next = Registers::of(&slot.config, &slot.hardware);
    drop(slot.bridge.set_ops(token, next, ahead()).unwrap());
    slot.registers.free();
}

/// Surprise removal, and another device in the place.
fn remover(slot: &Slot, token: &mut ThreadToken) {
    assert!(slot.gate.retire(token, ahead()).orphans.is_empty());
    slot.hardware.monitor.removed();
    assert!(slot.gate.renew().is_some());
    let next = Slot::new(&slot.gate);
    next.access(token);
    consumer(slot, token);
}

#[test]
fn three_consumers_and_resets_by_a_guest_and_by_the_owner() {
    explore(|| {
        let slot = Slot::new(&Gate::new("f"));
        together(vec![
            work(&slot, consumer),
            work(&slot, consumer),
            work(&slot, resetter),
            work(&slot, owner),
        ]);
    });
}

#[test]
fn power_changes_hold_the_gate_to_the_end_of_their_delays() {
    // CFG-I10
    explore(|| {
        let slot = Slot::new(&Gate::new("f"));
        together(vec![work(&slot, consumer), work(&slot, sleeper), work(&slot, sleeper), work(&slot, owner)]);
    });
}

#[test]
fn operations_are_exchanged_under_three_consumers_and_a_reset() {
    explore(|| {
        let slot = Slot::new(&Gate::new("f"));
        let consumers = [(); 3].map(|()| work(&slot, consumer));
        together(consumers.into_iter().chain([work(&slot, injector), work(&slot, owner)]).collect());
    });
}

#[test]
fn everything_at_once_and_then_the_device_is_pulled() {
    explore(|| {
        let slot = Slot::new(&Gate::new("f"));
        together(vec![
            work(&slot, consumer),
            work(&slot, sleeper),
            work(&slot, resetter),
            work(&slot, owner),
            work(&slot, injector),
            work(&slot, remover),
        ]);
    });
}

/// The checker sees what `scenario` does wrong.
fn found(complaint: &str, scenario: fn()) {
    let panic = catch_unwind(|| explore(scenario)).expect_err("nothing was found");
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    let text = text.unwrap_or_default();
    assert!(text.contains(complaint), "found something else: {text}");
}

#[test]
fn found_an_access_by_a_back_door() {
    found("granted", || {
        let slot = Slot::new(&Gate::new("f"));
        let back_door = |slot: &Slot, token: &mut ThreadToken| {
            // Through the bridge, past the gate, as the kernel masks INTx.
            let _ = slot.bridge.read(token, ConfigAddress::new(at(), VENDOR_ID), Width::Dword);
        };
        together(vec![work(&slot, back_door), work(&slot, owner)]);
    });
}

#[test]
fn found_a_reset_under_the_proof_of_another_function() {
    found("granted", || {
        let slot = Slot::new(&Gate::new("f"));
        let wrong = |slot: &Slot, token: &mut ThreadToken| {
            let other = Gate::new("g");
            let quiesced = other.try_close(token, Reason::Reset).unwrap();
            // Past the function, whose mappings would notice.
            slot.hardware.reset(&quiesced, ResetKind::DeviceReset);
        };
        together(vec![work(&slot, wrong), work(&slot, consumer)]);
    });
}

#[test]
fn found_an_access_after_the_removal() {
    found("removed", || {
        let slot = Slot::new(&Gate::new("f"));
        let hasty = |slot: &Slot, token: &mut ThreadToken| {
            // Does not wait for what is inside.
            drop(slot.gate.retire(token, Deadline::after(Duration::ZERO)).orphans);
            slot.hardware.monitor.removed();
        };
        together(vec![work(&slot, hasty), work(&slot, consumer)]);
    });
}

#[test]
fn found_operations_that_are_freed_under_an_access() {
    found("taken out", || {
        let slot = Slot::new(&Gate::new("f"));
        let hasty = |slot: &Slot, _token: &mut ThreadToken| slot.registers.free();
        together(vec![work(&slot, hasty), work(&slot, consumer)]);
    });
}

#[test]
fn found_a_waiter_that_nobody_wakes() {
    found("deadlock", || {
        let slot = Slot::new(&Gate::new("f"));
        let stuck = |slot: &Slot, token: &mut ThreadToken| {
            std::mem::forget(slot.gate.close(token, Reason::Reset, ahead()));
        };
        together(vec![work(&slot, stuck), work(&slot, consumer)]);
    });
}
