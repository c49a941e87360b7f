//! Configuration space as a file.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod board;
mod support;

use board::{Board, World, at, bridge, passed, patient};
use gate::{Deadline, Gate, Reason, ThreadToken};
use pci_core::access::{ConfigFile, KeepsAwake, Rights};
use pci_core::mechanism::{AddressDataPair, BusRange};
use pci_core::{ConfigSpace, ConfigStatus, Errno, Function};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{full, identity, read16};

const ROOT: Rights = Rights { read_all: true, write: true };
const ANYBODY: Rights = Rights { read_all: false, write: false };

fn open(world: &World, token: &mut ThreadToken, rights: Rights) -> ConfigFile {
    ConfigFile::open(world.function.clone(), token, rights, None, patient()).unwrap()
}

#[test]
fn an_unprivileged_reader_sees_the_standard_header_only() {
    // CFG-13
    let world = World::new(full().build().unwrap());
    let token = &mut ThreadToken::at_thread_entry();
    let file = open(&world, token, ANYBODY);
    assert_eq!(file.size(), 4096);
    let mut data = [0xaa; 128];
    assert_eq!(file.read(token, 0, &mut data, patient()), Ok(64));
    assert_eq!((data[..4].to_vec(), data[64]), (vec![0x36, 0x1b, 0x10, 0], 0xaa));
    assert_eq!(file.read(token, 60, &mut data, patient()), Ok(4));
    assert_eq!(file.read(token, 64, &mut data, patient()), Ok(0));
    assert_eq!(file.write(token, 4, &[6, 0], patient()), Err(Errno::EPERM));
    assert_eq!(world.config.command().bits(), 0);
    assert!(!world.function.was_written_by_user());
}

#[test]
fn anybody_may_read_twice_as_much_of_a_cardbus_bridge() {
    // CFG-13
    let answer = |register| (register == 0x0e).then_some(0x82);
    let world = World::hooked(full().build().unwrap(), move |at, _| Ok(answer(at.register)));
    let token = &mut ThreadToken::at_thread_entry();
    let file = open(&world, token, ANYBODY);
    assert_eq!(file.read(token, 0, &mut [0; 256], patient()), Ok(128));
}

#[test]
fn a_request_is_cut_at_the_end_and_past_it_there_is_nothing() {
    // CFG-13
    let world = World::new(full().build().unwrap());
    let token = &mut ThreadToken::at_thread_entry();
    let file = open(&world, token, ROOT);
    let mut data = [0; 16];
    let table = [(0, 16), (4090, 6), (4095, 1), (4096, 0), (4097, 0), (1 << 16, 0), (u64::MAX, 0)];
    for (offset, count) in table {
        assert_eq!(file.read(token, offset, &mut data, patient()), Ok(count), "{offset:#x}");
        assert_eq!(file.write(token, offset, &data[..0], patient()), Ok(0));
    }
    for (offset, count) in &table[1..] {
        assert_eq!(file.write(token, *offset, &data, patient()), Ok(*count), "{offset:#x}");
    }
}

#[test]
fn a_function_whose_extended_space_cannot_be_reached_is_256_bytes_long() {
    // CFG-13
    let token = &mut ThreadToken::at_thread_entry();
    let plain = World::new(ConfigSpace::builder(identity()).build().unwrap());
    assert_eq!(open(&plain, token, ROOT).size(), 256, "no PCI Express");
    let config = Arc::new(full().build().unwrap());
    let board = Board::with([(0x0100, config.clone())]);
    let pair = bridge(Arc::new(AddressDataPair::new(board, BusRange::ALL)));
    let function = Function::new("f", Gate::new("f"), config, plain.function.device().clone());
    let function = Arc::new(function.behind(pair, at(0x0100)));
    let file = ConfigFile::open(function, token, ROOT, None, patient()).unwrap();
    assert_eq!(file.size(), 256, "two ports reach no further");
    assert_eq!(file.read(token, 0x40, &mut [0; 4096], patient()), Ok(192));
}

#[test]
fn reads_that_fail_count_and_are_all_ones() {
    // CFG-03, CFG-13
    let world = World::new(full().build().unwrap());
    let token = &mut ThreadToken::at_thread_entry();
    let file = open(&world, token, ROOT);
    world.fail_with(Some(ConfigStatus::SetFailed));
    let mut data = [0; 6];
    assert_eq!(file.read(token, 2, &mut data, patient()), Ok(6));
    assert_eq!(data, [0xff; 6]);
    assert_eq!(file.write(token, 4, &[6, 0], patient()), Err(Errno::EIO));
    world.fail_with(None);
    world.function.freeze("a test");
    data = [0; 6];
    assert_eq!(file.read(token, 2, &mut data, patient()), Ok(6));
    assert_eq!(data, [0xff; 6]);
    assert_eq!(file.write(token, 4, &[6, 0], patient()), Ok(2), "dropped");
    assert!(world.function.thaw());
    assert_eq!(world.config.command().bits(), 0);
}

#[test]
fn a_file_of_a_blocked_or_removed_function_says_so() {
    // Law 4: Linux would wait for ever.
    let world = World::new(full().build().unwrap());
    let token = &mut ThreadToken::at_thread_entry();
    let file = open(&world, token, ROOT);
    let blocked = world.function.gate().close(token, Reason::Reset, patient()).unwrap().park();
    assert_eq!(file.read(token, 0, &mut [0; 4], passed()), Err(Errno::ETIMEDOUT));
    assert_eq!(file.write(token, 4, &[0], passed()), Err(Errno::ETIMEDOUT));
    drop(blocked);
    assert!(world.function.disconnect(token, patient()).orphans.is_empty());
    assert_eq!(file.read(token, 0, &mut [0; 4], patient()), Err(Errno::ENODEV));
    assert_eq!(file.write(token, 4, &[0], patient()), Err(Errno::ENODEV));
    let again = ConfigFile::open(world.function.clone(), token, ROOT, None, patient());
    assert!(matches!(again, Err(Errno::ENODEV)));
}

#[test]
fn the_first_write_of_a_user_and_the_first_to_a_drivers_own_registers_are_reported() {
    // CFG-14
    let world = World::with(full().build().unwrap(), |function| {
        function
            .with_exclusive_config(0x3c..0x3e, "driver")
            .with_exclusive_config(0xa8..0xb0, "vendor driver")
    });
    let token = &mut ThreadToken::at_thread_entry();
    let file = open(&world, token, ROOT);
    assert!(!world.function.was_written_by_user());
    assert_eq!(file.write(token, 4, &[6, 0], patient()), Ok(2));
    assert!(world.function.was_written_by_user());
    assert_eq!(world.seen(), ["WrittenByUser { offset: 4 }"]);
    assert_eq!(file.write(token, 0x3b, &[0], patient()), Ok(1));
    assert_eq!(file.write(token, 0x3e, &[0], patient()), Ok(1));
    assert!(world.seen().is_empty(), "beside the range");
    assert_eq!(file.write(token, 0x3a, &[1, 2, 3], patient()), Ok(3));
    assert_eq!(world.seen(), ["ExclusiveRangeWritten { offset: 58, owner: \"driver\" }"]);
    assert_eq!(read16(&world.config, 0x3c) & 0xff, 3, "a warning, not a refusal");
    for _ in 0..3 {
        assert_eq!(file.write(token, 0xa8, &[0; 8], patient()), Ok(8));
    }
    assert!(world.seen().is_empty(), "a user does not decide how often it is told");
}

#[derive(Default)]
struct Parent {
    awake: AtomicUsize,
    woken: AtomicUsize,
    refuses: AtomicUsize,
}

impl KeepsAwake for Parent {
    fn acquire(&self, _token: &mut ThreadToken, _deadline: Deadline) -> Result<(), Errno> {
        if self.refuses.load(Ordering::SeqCst) != 0 {
            return Err(Errno::EIO);
        }
        self.woken.fetch_add(1, Ordering::SeqCst);
        self.awake.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn release(&self) {
        self.awake.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn every_access_keeps_the_parent_awake_and_lets_it_sleep_on_every_exit() {
    // CFG-15
    let parent = Arc::new(Parent::default());
    let watched = parent.clone();
    let world = World::hooked(full().build().unwrap(), move |_, _| {
        assert_eq!(watched.awake.load(Ordering::SeqCst), 1, "the bridge above sleeps");
        Ok(None)
    });
    let token = &mut ThreadToken::at_thread_entry();
    let awake: Option<Arc<dyn KeepsAwake>> = Some(parent.clone());
    let file = ConfigFile::open(world.function.clone(), token, ROOT, awake, patient()).unwrap();
    file.read(token, 0, &mut [0; 8], patient()).unwrap();
    file.write(token, 4, &[0], patient()).unwrap();
    assert_eq!((parent.woken.load(Ordering::SeqCst), parent.awake.load(Ordering::SeqCst)), (3, 0));
    assert_eq!(file.read(token, 4096, &mut [0; 8], patient()), Ok(0));
    assert_eq!(parent.woken.load(Ordering::SeqCst), 3, "nothing is accessed past the end");

    let blocked = world.function.gate().close(token, Reason::Reset, patient()).unwrap().park();
    assert!(file.read(token, 0, &mut [0; 8], passed()).is_err());
    drop(blocked);
    world.function.freeze("a test");
    assert!(file.write(token, 0, &[0; 8], passed()).is_ok());
    assert_eq!(parent.awake.load(Ordering::SeqCst), 0);
    parent.refuses.store(1, Ordering::SeqCst);
    assert_eq!(file.read(token, 0, &mut [0; 8], patient()), Err(Errno::EIO));
    assert_eq!(file.write(token, 0, &[0; 8], patient()), Err(Errno::EIO));
    assert_eq!(parent.awake.load(Ordering::SeqCst), 0);
}
