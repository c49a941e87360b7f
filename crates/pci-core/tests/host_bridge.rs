//! The operations of a host bridge are exchanged while accesses run.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod board;
mod support;

use board::{Board, Hooked, World, at, bridge, ecam, passed, patient, wait_until};
use gate::ThreadToken;
use pci_core::mechanism::{BusRange, ConfigOps, HostBridge, SetOpsError};
use pci_core::{ConfigAddress, ConfigEffects, ConfigStatus, Width};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::full;

/// Answers every read with a number of its own.
struct Constant(u32);

impl ConfigOps for Constant {
    fn read(&self, _at: ConfigAddress, _width: Width) -> Result<u32, ConfigStatus> {
        Ok(self.0)
    }

    fn write(&self, _at: ConfigAddress, _width: Width, _value: u32) -> Result<ConfigEffects, ConfigStatus> {
        Err(ConfigStatus::SetFailed)
    }
}

const ANY: ConfigAddress = ConfigAddress { bus: 1, devfn: 0, register: 0 };

fn read(bridge: &HostBridge, token: &ThreadToken) -> u32 {
    bridge.read(token, ANY, Width::Dword).unwrap()
}

/// Blocks inside its first read until it is let go.
struct Slow {
    inside: AtomicBool,
    go: AtomicBool,
}

impl Slow {
    fn new() -> Arc<Slow> {
        Arc::new(Slow { inside: AtomicBool::new(false), go: AtomicBool::new(false) })
    }
}

impl ConfigOps for Slow {
    fn read(&self, _at: ConfigAddress, _width: Width) -> Result<u32, ConfigStatus> {
        if !self.inside.swap(true, Ordering::SeqCst) {
            wait_until("the read is let go", || self.go.load(Ordering::SeqCst));
        }
        Ok(1)
    }

    fn write(&self, _at: ConfigAddress, _width: Width, _value: u32) -> Result<ConfigEffects, ConfigStatus> {
        Ok(ConfigEffects::default())
    }
}

#[test]
fn a_bridge_reaches_its_own_buses() {
    let bridge = HostBridge::new("pci2", 2, BusRange { first: 4, last: 7 }, Arc::new(Constant(0)));
    let address = |text: &str| text.parse().unwrap();
    assert!(bridge.reaches(address("0002:04:00.0")) && bridge.reaches(address("0002:07:1f.7")));
    assert!(!bridge.reaches(address("0000:04:00.0")) && !bridge.reaches(address("0002:08:00.0")));
    assert_eq!((bridge.name(), bridge.segment(), bridge.buses().first), ("pci2", 2, 4));
}

#[test]
fn new_accesses_use_the_new_operations_at_once_while_an_old_one_still_runs() {
    let slow = Slow::new();
    let bridge = &bridge(slow.clone());
    let token = &ThreadToken::at_thread_entry();
    let given_back = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let old = scope.spawn(|| read(bridge, &ThreadToken::at_thread_entry()));
        wait_until("the old read is inside", || slow.inside.load(Ordering::SeqCst));
        let swap = scope.spawn(|| {
            let token = &mut ThreadToken::at_thread_entry();
            let swapped = bridge.set_ops(token, Arc::new(Constant(2)), patient()).map(drop);
            given_back.store(true, Ordering::SeqCst);
            swapped
        });
        wait_until("the new operations are in use", || read(bridge, token) == 2);
        // Looks often enough that an exchange that does not wait would have returned.
        (0..1000).for_each(|_| std::thread::yield_now());
        assert!(!given_back.load(Ordering::SeqCst), "the old operations are still in use");
        slow.go.store(true, Ordering::SeqCst);
        assert!(swap.join().unwrap().is_ok());
        assert_eq!(old.join().unwrap(), 1, "the old access ended in the old operations");
    });
    assert_eq!(Arc::strong_count(&slow), 1, "nobody is inside the old ones and nobody keeps them");
}

#[test]
fn an_access_that_outlives_the_deadline_keeps_the_old_operations_until_it_ends() {
    let slow = Slow::new();
    let bridge = &bridge(slow.clone());
    let token = &mut ThreadToken::at_thread_entry();
    std::thread::scope(|scope| {
        let old = scope.spawn(|| read(bridge, &ThreadToken::at_thread_entry()));
        wait_until("the old read is inside", || slow.inside.load(Ordering::SeqCst));
        let swap = bridge.set_ops(token, Arc::new(Constant(2)), passed());
        assert!(matches!(swap.map(drop), Err(SetOpsError::StillInside(_))));
        assert_eq!(read(bridge, token), 2, "in use all the same");
        assert_eq!(Arc::strong_count(&slow), 2);
        slow.go.store(true, Ordering::SeqCst);
        assert_eq!(old.join().unwrap(), 1);
    });
    assert_eq!(Arc::strong_count(&slow), 1);
}

#[test]
fn an_exchange_waits_for_no_function_and_counts_for_all_at_once() {
    let world = World::new(full().build().unwrap());
    let token = &ThreadToken::at_thread_entry();
    let pass = world.pass(token);
    let bridge = world.function.bridge().unwrap();
    assert_eq!(world.function.config_read(&pass, 0, Width::Word), Ok(0x1b36));
    std::thread::scope(|scope| {
        let swap = || {
            let token = &mut ThreadToken::at_thread_entry();
            bridge.set_ops(token, Arc::new(Constant(7)), patient()).map(drop).unwrap();
        };
        scope.spawn(swap);
    });
    assert_eq!(world.function.config_read(&pass, 0, Width::Word), Ok(7), "the pass does not hold it up");
    let write = world.function.config_write(&pass, 4, Width::Word, 6);
    assert_eq!(write.err(), Some(ConfigStatus::SetFailed));
}

/// Fails accesses to one register, and lets everything else through.
fn failing(register: u16, below: Arc<dyn ConfigOps>) -> Arc<dyn ConfigOps> {
    let hook = move |at: ConfigAddress, _value| {
        if at.register == register { Err(ConfigStatus::DeviceNotFound) } else { Ok(None) }
    };
    Arc::new(Hooked { below, hook: Box::new(hook) })
}

#[test]
fn an_injected_error_is_there_for_its_scope_and_gone_after() {
    let world = World::new(full().build().unwrap());
    let token = &mut ThreadToken::at_thread_entry();
    let bridge = world.function.bridge().unwrap();
    let user = |token: &mut ThreadToken, register| {
        world.function.read_register(token, register, Width::Word, patient()).map_err(|error| error.errno())
    };
    let look = |token: &mut ThreadToken| (user(token, 0), user(token, 2));
    let inside = bridge.with_ops(token, |old| failing(2, old), patient(), look);
    assert_eq!(inside.unwrap(), (Ok(0x1b36), Err(pci_core::Errno::ENODEV)));
    assert_eq!(user(token, 2), Ok(0x0010));
}

#[test]
fn a_panic_in_the_scope_puts_the_old_operations_back_too() {
    // Law 9
    let bridge = bridge(Arc::new(Constant(1)));
    let token = &mut ThreadToken::at_thread_entry();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        bridge.with_ops(
            token,
            |_old| Arc::new(Constant(2)),
            patient(),
            |token| {
                assert_eq!(read(&bridge, token), 2);
                panic!("a test failed");
            },
        )
    }));
    assert!(panicked.is_err());
    assert_eq!(read(&bridge, token), 1);
    assert!(bridge.set_ops(token, Arc::new(Constant(3)), patient()).is_ok(), "the turn was given back");
}

#[test]
fn only_one_exchanges_the_operations_at_a_time() {
    let bridge = &bridge(Arc::new(Constant(1)));
    let token = &mut ThreadToken::at_thread_entry();
    let other = || {
        let token = &mut ThreadToken::at_thread_entry();
        let refused = bridge.set_ops(token, Arc::new(Constant(3)), passed());
        assert!(matches!(refused.map(drop), Err(SetOpsError::Contended(_))));
        let refused =
            bridge.with_ops(token, |_| Arc::new(Constant(4)), passed(), |_| panic!("not to be run"));
        assert!(matches!(refused, Err(SetOpsError::Contended(_))));
        read(bridge, token)
    };
    let during = |_: &mut ThreadToken| std::thread::scope(|scope| scope.spawn(other).join().unwrap());
    let injected = bridge.with_ops(token, |_old| Arc::new(Constant(2)), patient(), during);
    assert_eq!(injected.unwrap(), 2, "a refused exchange changes nothing");
    assert_eq!(read(bridge, token), 1);
}

/// Answers with its number and the register: a mixture of two would show as a number of neither.
struct Numbered {
    number: u32,
    /// It was given back to who exchanged it.
    retired: AtomicBool,
}

impl Numbered {
    fn new(number: u32) -> Arc<Numbered> {
        Arc::new(Numbered { number, retired: AtomicBool::new(false) })
    }
}

impl ConfigOps for Numbered {
    fn read(&self, at: ConfigAddress, _width: Width) -> Result<u32, ConfigStatus> {
        assert!(!self.retired.load(Ordering::SeqCst), "an access began in operations that were given back");
        std::thread::yield_now();
        assert!(!self.retired.load(Ordering::SeqCst), "operations were given back with an access inside");
        Ok(self.number + u32::from(at.register))
    }

    fn write(&self, _at: ConfigAddress, _width: Width, _value: u32) -> Result<ConfigEffects, ConfigStatus> {
        Ok(ConfigEffects::default())
    }
}

#[test]
fn accesses_are_never_torn_while_operations_are_exchanged_all_the_time() {
    let first = Numbered::new(0);
    let bridge = &bridge(first.clone());
    let stop = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let token = &mut ThreadToken::at_thread_entry();
            let mut current = first;
            for round in 1..1000 {
                let next = Numbered::new(round * 0x1000);
                let old = bridge.set_ops(token, next.clone(), patient()).unwrap();
                drop(old);
                // Drained: from here on nobody may be inside the old ones, and nobody else has them.
                assert_eq!(Arc::strong_count(&current), 1);
                current.retired.store(true, Ordering::SeqCst);
                current = next;
            }
            stop.store(true, Ordering::SeqCst);
        });
        scope.spawn(move || {
            let token = &ThreadToken::at_thread_entry();
            let mut last = 0;
            while !stop.load(Ordering::SeqCst) {
                let answer = bridge.read(token, ConfigAddress { register: 4, ..ANY }, Width::Dword).unwrap();
                assert_eq!(answer % 0x1000, 4);
                assert!(answer >= last, "older operations came back");
                last = answer;
            }
        });
    });
}

#[test]
fn a_bridge_finds_functions_that_are_not_set_up_yet() {
    // CFG-16
    let board = Board::with([(0x0108, Arc::new(full().build().unwrap()))]);
    let bridge = bridge(ecam(&board));
    let token = &ThreadToken::at_thread_entry();
    let present = pci_core::Presence::Present { vendor: 0x1b36, device: 0x0010 };
    assert_eq!(bridge.presence(token, at(0x0108)), present);
    assert_eq!(bridge.presence(token, at(0x0109)), pci_core::Presence::Absent);
}
