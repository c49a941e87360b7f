//! A function whose registers are a back end's.

#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

mod upstream;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use assign::Assignment;
use gate::{Deadline, Gate, ThreadToken};
use mapping::{Area, Holds};
use pci_core::{AccessError, BarIndex, FIRST_DEVICE_REGION, NoAnswer, ResetKind};
use remote::forward::{self, Forward, ForwardConfig};
use remote::picture::{Difference, Picture};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use upstream::{Double, MMAP, READ, Says, WRITE, bar, endpoint, patient, wait_until};
use vfio_user::codec::SparseArea;

const COMMAND: u16 = 0x04;
const PMCSR: u16 = 0x54;
const MSI_CONTROL: u16 = 0x62;
const MSIX_CONTROL: u16 = 0x82;
const DEVICE_CONTROL: u16 = 0x98;
/// What a back end is told after a reset, with memory on and the bus mastered.
const TOLD: [&str; 4] = ["reset", "write 7 0x4 [06, 00]", "write 7 0x62 [86, 01]", "write 7 0x82 [0f, 00]"];

struct World {
    assignment: Arc<Assignment>,
    forward: Arc<Forward>,
    double: Arc<Double>,
    picture: Picture,
    token: ThreadToken,
}

impl World {
    fn of(double: Double, config: ForwardConfig) -> World {
        let mut token = ThreadToken::at_thread_entry();
        let double = Arc::new(double);
        let picture = Picture::take(&mut token, &*double, patient()).unwrap();
        let built = forward::build(Gate::new("f"), &config, &picture, Arc::new(()), |function| function);
        let (assignment, forward) = built.unwrap();
        World { assignment, forward, double, picture, token }
    }

    /// Attached, with memory on and the bus mastered, of which the back end has been told.
    fn new() -> World {
        let mut world = World::of(Double::new(), ForwardConfig::default());
        world.write_config(COMMAND, &[6]);
        world.attach();
        world.read(0).unwrap();
        assert_eq!(world.double.lines()[..4], TOLD);
        world
    }

    fn attach(&self) {
        self.forward.attach(self.double.clone(), &self.picture);
    }

    fn read(&mut self, offset: u64) -> Result<[u8; 4], AccessError> {
        let mut data = [0; 4];
        let read = self.assignment.function().read_bar(&mut self.token, bar(0), offset, &mut data, patient());
        assert!(read.is_ok() || data == [0xff; 4]);
        read.map(|()| data)
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), AccessError> {
        self.assignment.function().write_bar(&mut self.token, bar(0), offset, data, patient())
    }

    fn write_config(&mut self, offset: u16, data: &[u8]) {
        self.assignment.function().write_config(&mut self.token, offset, data, patient()).unwrap();
    }
}

#[test]
fn reads_are_forwarded_and_writes_are_posted_in_order() {
    let mut w = World::new();
    assert_eq!(w.read(0x10).unwrap(), [0x10; 4]);
    w.write(0x20, &[1, 2, 3, 4]).unwrap();
    w.write(0x28, &[5]).unwrap();
    assert_eq!(w.read(0x30).unwrap(), [0x30; 4]);
    let mut data = [0; 2];
    let f = w.assignment.function().clone();
    f.read_region(&mut w.token, FIRST_DEVICE_REGION, 0x40, &mut data, patient()).unwrap();
    assert_eq!(data, [0x40; 2]);
    f.write_region(&mut w.token, FIRST_DEVICE_REGION, 0x40, &[9], patient()).unwrap();
    let expected = [
        "read 0 0x10 4",
        "write 0 0x20 [01, 02, 03, 04]",
        "write 0 0x28 [05]",
        "read 0 0x30 4",
        "write 9 0x40 [09]",
    ];
    assert_eq!(w.double.lines(), expected);
}

#[test]
fn the_rom_is_a_copy() {
    // VF-16
    let mut w = World::new();
    w.write_config(0x30, &[1]);
    w.double.dead.store(true, Ordering::SeqCst);
    let mut data = [0; 4];
    let f = w.assignment.function();
    f.read_bar(&mut w.token, BarIndex::ROM, 0x100, &mut data, patient()).unwrap();
    assert_eq!(data, [0; 4]);
    assert_eq!(w.double.lines(), [] as [&str; 0]);
}

#[test]
fn what_a_message_cannot_carry_goes_in_several() {
    let mut double = Double::new();
    double.limit = 64;
    let mut w = World::of(double, ForwardConfig::default());
    w.write_config(COMMAND, &[6]);
    w.attach();
    let mut data = [0; 160];
    w.assignment.function().read_bar(&mut w.token, bar(0), 0, &mut data, patient()).unwrap();
    assert_eq!((data[0], data[64], data[159]), (0, 64, 128));
    let lines = w.double.lines();
    assert_eq!(lines[4..], ["read 0 0x0 64", "read 0 0x40 64", "read 0 0x80 32"]);
}

#[test]
fn beyond_the_back_ends_bytes_there_are_all_ones_and_nothing_is_sent() {
    let mut double = Double::new();
    double.regions.get_mut(&0).unwrap().size = 0x3002;
    let mut w = World::of(double, ForwardConfig::default());
    w.write_config(COMMAND, &[6]);
    w.attach();
    assert_eq!(w.read(0x3000).unwrap(), [0, 0, 0xff, 0xff]);
    assert_eq!(w.read(0x3004).unwrap(), [0xff; 4]);
    w.write(0x3000, &[1, 2, 3, 4]).unwrap();
    w.write(0x3004, &[1, 2, 3, 4]).unwrap();
    assert_eq!(w.double.lines()[4..], ["read 0 0x3000 2", "write 0 0x3000 [01, 02]"]);
}

#[test]
fn a_refusal_is_an_error_and_a_loss_is_a_failure() {
    let mut w = World::new();
    assert!(matches!(w.read(0xbad), Err(AccessError::NoAnswer(NoAnswer::Refused))));
    w.double.dead.store(true, Ordering::SeqCst);
    let failed = NoAnswer::Away("the back end closed the connection");
    assert!(matches!(w.read(0), Err(AccessError::NoAnswer(error)) if error == failed));
    assert!(matches!(w.write(0, &[1]), Err(AccessError::NoAnswer(error)) if error == failed));
    w.forward.detach();
    let away = NoAnswer::Away("the back end is away");
    assert!(matches!(w.read(0), Err(AccessError::NoAnswer(error)) if error == away));
    assert!(matches!(w.write(0, &[1]), Err(AccessError::NoAnswer(error)) if error == away));
}

#[test]
fn the_back_end_is_told_of_the_registers_it_looks_at_before_the_next_access() {
    let mut w = World::new();
    w.write_config(COMMAND, &[2]);
    w.write_config(MSIX_CONTROL, &[0x0f, 0x80]);
    w.write_config(MSI_CONTROL, &[0x07, 0x01]);
    w.read(0).unwrap();
    let lines = w.double.lines();
    // The thread may have been there between two of them.
    let last = |register: &str| lines.iter().rev().find(|line| line.starts_with(register)).unwrap().as_str();
    assert_eq!(last("write 7 0x4 "), "write 7 0x4 [02, 00]");
    assert_eq!(last("write 7 0x62 "), "write 7 0x62 [87, 01]");
    assert_eq!(last("write 7 0x82 "), "write 7 0x82 [0f, 80]");
    assert_eq!(lines.last().unwrap(), "read 0 0x0 4");
    // Registers that mean nothing to it stay with us, and nothing is said twice.
    w.write_config(0x10, &[0, 0, 0, 0xf0]);
    w.write_config(0x3c, &[11]);
    w.write_config(COMMAND, &[2]);
    w.read(0).unwrap();
    assert_eq!(w.double.lines(), ["read 0 0x0 4"]);
}

#[test]
fn it_is_told_also_if_no_access_comes() {
    let mut w = World::new();
    w.write_config(COMMAND, &[2]);
    wait_until("COMMAND at the back end", || w.double.has("write 7 0x4 [02, 00]"));
    w.write_config(MSIX_CONTROL, &[0x0f, 0x80]);
    wait_until("MSI-X at the back end", || w.double.has("write 7 0x82 [0f, 80]"));
    w.write_config(DEVICE_CONTROL, &[0x10, 0xa8]);
    wait_until("a reset of the back end", || w.double.has("reset"));
}

#[test]
fn a_function_that_sleeps_or_is_kept_off_the_bus_masters_nothing_at_the_back_end() {
    let mut w = World::new();
    w.write_config(PMCSR, &[3]);
    w.write_config(PMCSR, &[0]);
    w.read(0).unwrap();
    w.double.lines();
    w.assignment.function().config().hold_dma(true);
    w.read(0).unwrap();
    assert_eq!(w.double.lines(), ["write 7 0x4 [02, 00]", "read 0 0x0 4"]);
    w.assignment.function().release_dma(&w.token);
    w.read(0).unwrap();
    assert_eq!(w.double.lines(), ["write 7 0x4 [06, 00]", "read 0 0x0 4"]);
}

#[test]
fn a_reset_reaches_the_back_end_before_the_next_access_and_it_is_told_everything_again() {
    // RST-05: by the consumer's own function level reset, and by one of its owner.
    let mut w = World::new();
    w.write_config(DEVICE_CONTROL, &[0x10, 0xa8]);
    w.write_config(COMMAND, &[6]);
    w.write(0x14, &[1]).unwrap();
    let lines = w.double.lines();
    assert_eq!(lines.iter().filter(|line| *line == "reset").count(), 1);
    assert_eq!((lines[0].as_str(), lines.last().unwrap().as_str()), ("reset", "write 0 0x14 [01]"));
    assert!(lines.iter().any(|line| line == "write 7 0x4 [06, 00]"), "{lines:?}");
    let f = w.assignment.function().clone();
    f.reset(&mut w.token, ResetKind::DeviceReset, patient()).unwrap();
    w.write_config(COMMAND, &[6]);
    w.read(0).unwrap();
    assert_eq!(w.double.lines()[0], "reset");
}

#[test]
fn a_back_end_without_device_reset_is_reset_by_its_own_function_level_reset() {
    let mut double = Double::new();
    double.flags = 2;
    let w = World::of(double, ForwardConfig::default());
    w.attach();
    wait_until("function level reset", || w.double.has("write 7 0x98 [00, 80]"));
    assert!(!w.double.has("reset"));
}

#[test]
fn the_next_back_end_is_reset_and_told_everything_and_the_last_one_nothing_more() {
    let mut w = World::new();
    w.forward.detach();
    w.write_config(MSI_CONTROL, &[0x07, 0x01]);
    let next = Arc::new(Double::new());
    w.forward.attach(next.clone(), &w.picture);
    w.read(8).unwrap();
    let expected = ["reset", "write 7 0x4 [06, 00]", "write 7 0x62 [87, 01]", "write 7 0x82 [0f, 00]"];
    let lines = next.lines();
    assert_eq!((&lines[..4], lines[4].as_str()), (&expected.map(String::from)[..], "read 0 0x8 4"));
    assert_eq!(w.double.lines(), [] as [&str; 0]);
}

#[test]
fn an_access_overtakes_nothing_that_is_being_told() {
    let mut w = World::new();
    w.double.holds.store(true, Ordering::SeqCst);
    w.double.entered.store(false, Ordering::SeqCst);
    w.write_config(COMMAND, &[2]);
    // The thread is telling it.
    wait_until("the thread at the back end", || w.double.entered.load(Ordering::SeqCst));
    std::thread::scope(|threads| {
        let f = w.assignment.function();
        let reader = threads.spawn(|| {
            let token = &mut ThreadToken::at_thread_entry();
            f.read_bar(token, bar(0), 0, &mut [0; 4], patient())
        });
        // Time enough for it to overtake, if it could.
        (0..1000).for_each(|_| std::thread::yield_now());
        assert_eq!(w.double.lines(), ["write 7 0x4 [02, 00]"]);
        w.double.holds.store(false, Ordering::SeqCst);
        reader.join().unwrap().unwrap();
    });
    assert_eq!(w.double.lines(), ["read 0 0x0 4"]);
}

#[test]
fn an_access_that_waits_for_its_turn_gives_up_at_its_deadline() {
    // Law 4
    let mut w = World::new();
    w.double.holds.store(true, Ordering::SeqCst);
    w.double.entered.store(false, Ordering::SeqCst);
    w.write_config(COMMAND, &[2]);
    wait_until("the thread at the back end", || w.double.entered.load(Ordering::SeqCst));
    let soon = Deadline::after(std::time::Duration::from_millis(5));
    let mut data = [0; 4];
    let read = w.assignment.function().read_bar(&mut w.token, bar(0), 0, &mut data, soon);
    w.double.holds.store(false, Ordering::SeqCst);
    assert!(matches!(read, Err(AccessError::NoAnswer(NoAnswer::Failed(_)))), "{read:?}");
}

#[test]
fn a_frozen_function_is_reset_at_the_back_end_at_once_and_told_of_when_it_thaws() {
    let mut w = World::new();
    let f = w.assignment.function().clone();
    assert!(f.contain());
    let quiesced = f.gate().close(&mut w.token, gate::Reason::Reset, patient()).unwrap();
    assert!(f.reset_quiesced(&quiesced, ResetKind::PowerCycle));
    drop(quiesced);
    wait_until("a reset of the back end", || w.double.has("reset"));
    assert!(f.release());
    wait_until("everything at the back end", || w.double.has("write 7 0x4 [00, 00]"));
}

#[test]
fn the_thread_ends_with_the_function() {
    let w = World::new();
    let double = w.double.clone();
    let alive = Arc::strong_count(&double);
    drop(w);
    wait_until("the thread let go of the back end", || Arc::strong_count(&double) < alive);
    wait_until("nobody has the back end", || Arc::strong_count(&double) == 1);
}

fn memfd(size: u64, seal: bool) -> OwnedFd {
    let file = memfd_create("doorbells", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, size).unwrap();
    if seal {
        fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
    }
    file
}

/// BAR 0 with doorbells at 0x1000 in memory of its own.
fn with_memory(file: OwnedFd) -> Double {
    let mut double = Double::of(&endpoint().build().unwrap());
    let areas = vec![SparseArea { offset: 0x1000, size: 0x1000 }];
    let says = Says { size: 16 << 10, flags: READ | WRITE | MMAP, areas, ..Says::default() };
    double.regions.insert(0, says);
    double.files.insert(0, file);
    double
}

const PASS_ON: ForwardConfig = ForwardConfig { pass_on_memory: true, accept_unsealed: false };

fn areas(w: &World) -> Vec<Area> {
    w.assignment.function().device().mappable(0).map(|mappable| mappable.areas).unwrap_or_default()
}

#[test]
fn memory_is_passed_on_if_it_was_asked_for_and_is_sealed() {
    let doorbells = [Area { offset: 0x1000, size: 0x1000, holds: Holds::Doorbells }];
    let passed_on = |sealed, config| {
        let w = World::of(with_memory(memfd(16 << 10, sealed)), config);
        (areas(&w), w.forward.left_out())
    };
    assert_eq!(passed_on(true, PASS_ON), (doorbells.to_vec(), vec![]));
    let not_here = vec![String::from("memory of region 0: not passed on in this mode")];
    assert_eq!(passed_on(true, ForwardConfig::default()), (vec![], not_here));
    let (areas, why) = passed_on(false, PASS_ON);
    assert!(areas.is_empty() && why[0].contains("not sealed"), "{why:?}");
    let accept = ForwardConfig { accept_unsealed: true, ..PASS_ON };
    assert_eq!(passed_on(false, accept), (doorbells.to_vec(), vec![]));
}

#[test]
fn memory_that_is_not_what_the_back_end_says_is_trapped() {
    let spoil: [fn(&mut Double); 7] = [
        |d| drop(d.files.insert(0, memfd(12 << 10, true))),
        |d| drop(d.files.insert(0, File::open("/dev/null").unwrap().into())),
        |d| d.regions.get_mut(&0).unwrap().offset = 4096,
        |d| d.regions.get_mut(&0).unwrap().areas[0].size = 0x1001,
        |d| d.regions.get_mut(&0).unwrap().areas[0].offset = u64::MAX - 0xfff,
        |d| d.regions.get_mut(&0).unwrap().areas.push(SparseArea { offset: 0x1000, size: 0x1000 }),
        |d| d.regions.get_mut(&0).unwrap().areas.push(SparseArea { offset: 0x4000, size: 0x1000 }),
    ];
    for (index, spoil) in spoil.into_iter().enumerate() {
        let mut double = with_memory(memfd(16 << 10, true));
        spoil(&mut double);
        let w = World::of(double, PASS_ON);
        assert_eq!(areas(&w), [], "case {index}");
        assert_eq!(w.forward.left_out().len(), 1, "case {index}");
    }
}

#[test]
fn a_consumer_that_has_the_last_back_ends_memory_stands_in_the_way_of_the_next() {
    let mut w = World::of(with_memory(memfd(16 << 10, true)), PASS_ON);
    assert_eq!(w.forward.in_use(), []);
    let consumers = w.assignment.function().device().mappable(0).unwrap();
    let in_the_way = w.forward.in_use();
    assert_eq!(in_the_way, [Difference::Memory { region: 0 }]);
    assert!(in_the_way[0].to_string().contains("still has the memory"));
    drop(consumers);
    // Nobody has it: the next consumer is given the next back end's.
    let before = Arc::downgrade(&w.assignment.function().device().mappable(0).unwrap().memory);
    let next = Arc::new(with_memory(memfd(16 << 10, true)));
    let picture = Picture::take(&mut w.token, &*next, patient()).unwrap();
    w.forward.attach(next, &picture);
    assert!(before.upgrade().is_none());
    assert_eq!(areas(&w).len(), 1);
}
