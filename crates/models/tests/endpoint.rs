//! The endpoint-test model as a consumer drives it.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "test code; patterns of bytes")]

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use assign::{Assignment, Attached, DmaMapFlags, DmaMapRequest, IrqAction, IrqData, SetIrqs};
use gate::{AccessKind, Gate, ThreadToken};
use models::endpoint::{self, Config, MAX_TRANSFER};
use pci_core::{BarIndex, VirtualFunction};

const CONFIG_REGION: u32 = 7;
const COMMAND: u64 = 0x04;
const STATUS: u64 = 0x08;
const SOURCE: u64 = 0x0c;
const DESTINATION: u64 = 0x14;
const SIZE: u64 = 0x1c;
const CHECKSUM: u64 = 0x20;
const INTERRUPT_TYPE: u64 = 0x24;
const INTERRUPT_NUMBER: u64 = 0x28;
const MEMORY: u64 = 1 << 20;

struct Bench {
    assignment: Arc<Assignment>,
    attached: Attached,
    memory: File,
    token: ThreadToken,
}

impl Bench {
    fn new() -> Bench {
        let mut token = ThreadToken::at_thread_entry();
        let assignment = endpoint::build("test", &Config::default(), Arc::new(())).unwrap();
        let attached = assignment.attach(&mut token).unwrap();
        let memory = File::from(rustix::fs::memfd_create("guest", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        memory.set_len(MEMORY).unwrap();
        let fd = Some(OwnedFd::from(memory.try_clone().unwrap()));
        let flags = DmaMapFlags(DmaMapFlags::READ | DmaMapFlags::WRITE);
        let map = DmaMapRequest { flags, offset: 0, iova: 0x10_0000, size: MEMORY, fd };
        attached.dma_map(&mut token, map).unwrap();
        let mut bench = Bench { assignment, attached, memory, token };
        bench.write_region(CONFIG_REGION, 4, &0x0006_u16.to_le_bytes());
        bench
    }

    fn write_region(&mut self, region: u32, offset: u64, data: &[u8]) {
        self.attached.region_write(&mut self.token, region, offset, data).unwrap();
    }

    fn set(&mut self, offset: u64, value: u32) {
        self.write_region(0, offset, &value.to_le_bytes());
    }

    fn set_wide(&mut self, offset: u64, value: u64) {
        self.write_region(0, offset, &value.to_le_bytes());
    }

    fn get(&mut self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.attached.region_read(&mut self.token, 0, offset, &mut data).unwrap();
        u32::from_le_bytes(data)
    }

    /// The checksum that Linux's driver computes, bit by bit.
    fn checksum(data: &[u8]) -> u32 {
        data.iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(
                sum ^ u32::from(*byte),
                |sum, _| {
                    if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 }
                },
            )
        })
    }
}

#[test]
fn a_write_fills_the_consumers_memory_and_tells_its_checksum() {
    let mut bench = Bench::new();
    for size in [1_u32, 1024, 1025, 1_024_000] {
        bench.set_wide(DESTINATION, 0x10_0003);
        bench.set(SIZE, size);
        bench.set(COMMAND, 1 << 4);
        assert_eq!(bench.get(STATUS), 1 << 2 | 1 << 6, "{size} bytes");
        let mut data = vec![0; size as usize];
        bench.memory.read_exact_at(&mut data, 3).unwrap();
        assert_eq!(bench.get(CHECKSUM), Bench::checksum(&data), "{size} bytes");
    }
}

#[test]
fn a_read_succeeds_only_with_the_right_checksum() {
    let mut bench = Bench::new();
    let data: Vec<u8> = (0..5000_u32).map(|at| (at * 7) as u8).collect();
    bench.memory.write_all_at(&data, 0).unwrap();
    bench.set_wide(SOURCE, 0x10_0000);
    bench.set(SIZE, 5000);
    for (checksum, status) in [(Bench::checksum(&data), 1 << 0), (1, 1 << 1)] {
        bench.set(CHECKSUM, checksum);
        bench.set(COMMAND, 1 << 3);
        assert_eq!(bench.get(STATUS), status | 1 << 6);
    }
}

#[test]
fn a_copy_moves_data_and_an_address_that_is_not_mapped_is_named() {
    let mut bench = Bench::new();
    bench.memory.write_all_at(b"portcullis", 0).unwrap();
    bench.set_wide(SOURCE, 0x10_0000);
    bench.set_wide(DESTINATION, 0x10_2000);
    bench.set(SIZE, 10);
    bench.set(COMMAND, 1 << 5);
    assert_eq!(bench.get(STATUS), 1 << 4 | 1 << 6);
    let mut data = [0; 10];
    bench.memory.read_exact_at(&mut data, 0x2000).unwrap();
    assert_eq!(&data, b"portcullis");
    bench.set_wide(DESTINATION, u64::MAX - 4);
    bench.set(COMMAND, 1 << 5);
    assert_eq!(bench.get(STATUS), 1 << 5 | 1 << 6 | 1 << 8, "the destination is at fault");
    bench.set_wide(SOURCE, 0x8000_0000);
    bench.set(COMMAND, 1 << 5);
    assert_eq!(bench.get(STATUS), 1 << 5 | 1 << 6 | 1 << 7, "the source is at fault");
}

#[test]
fn a_transfer_longer_than_the_limit_fails_at_once() {
    let mut bench = Bench::new();
    bench.set_wide(SOURCE, 0x10_0000);
    bench.set(SIZE, MAX_TRANSFER + 1);
    bench.set(COMMAND, 1 << 3);
    assert_eq!(bench.get(STATUS), 1 << 1 | 1 << 6);
}

#[test]
fn a_transfer_that_would_wrap_to_address_0_fails_there() {
    let mut bench = Bench::new();
    // The last page there is, and the first: a wrapping transfer would find both.
    for (iova, offset) in [(u64::MAX - 0xfff, 0), (0, 0x1000)] {
        let fd = Some(OwnedFd::from(bench.memory.try_clone().unwrap()));
        let flags = DmaMapFlags(DmaMapFlags::READ | DmaMapFlags::WRITE);
        let map = DmaMapRequest { flags, offset, iova, size: 0x1000, fd };
        // A map that ends at the last address may be refused; then nothing can wrap.
        let _ = bench.attached.dma_map(&mut bench.token, map);
    }
    bench.memory.write_all_at(&[0x55; 0x2000], 0).unwrap();
    bench.set_wide(DESTINATION, u64::MAX - 0xfff);
    bench.set_wide(SOURCE, u64::MAX - 0xfff);
    bench.set(SIZE, 0x2000);
    for (command, failed) in [(1 << 3, 1 << 1), (1 << 4, 1 << 3), (1 << 5, 1 << 5)] {
        bench.set(COMMAND, command);
        assert_eq!(bench.get(STATUS) & (failed | 1 << 6), failed | 1 << 6, "command {command:#x}");
    }
    let mut first = [0; 0x1000];
    bench.memory.read_exact_at(&mut first, 0x1000).unwrap();
    assert_eq!(first, [0x55; 0x1000], "address 0 was written");
}

#[test]
fn a_copy_onto_itself_goes_from_low_to_high_and_stays_in_its_range() {
    let mut bench = Bench::new();
    let data: Vec<u8> = (0..20_000_u32).map(|at| (at % 253) as u8).collect();
    for (source, destination) in [(0x100_u64, 0x1_u64), (0x1, 0x1), (0x1, 0x100)] {
        bench.memory.write_all_at(&data, 0).unwrap();
        bench.set_wide(SOURCE, 0x10_0000 + source);
        bench.set_wide(DESTINATION, 0x10_0000 + destination);
        bench.set(SIZE, 10_000);
        bench.set(COMMAND, 1 << 5);
        assert_eq!(bench.get(STATUS), 1 << 4 | 1 << 6);
        let mut now = vec![0; data.len()];
        bench.memory.read_exact_at(&mut now, 0).unwrap();
        let (source, end) = (source as usize, destination as usize + 10_000);
        assert!(now[end..] == data[end..] && now[0] == data[0], "outside of the destination");
        let pieces = |at: usize| now[destination as usize + at] == data[source + at];
        let intact = if destination > source as u64 { 4096 } else { 10_000 };
        assert!((0..intact).all(pieces), "{source} to {destination}");
    }
}

#[test]
fn intx_stays_up_until_the_status_is_read_and_a_reset_lets_it_down() {
    let mut bench = Bench::new();
    let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).unwrap();
    let data = IrqData::Eventfd(vec![event.try_clone().unwrap()]);
    let request = SetIrqs { index: 0, start: 0, count: 1, action: IrqAction::Trigger, data };
    bench.attached.set_irqs(&mut bench.token, request).unwrap();
    let unmask = |bench: &mut Bench| {
        let request =
            SetIrqs { index: 0, start: 0, count: 1, action: IrqAction::Unmask, data: IrqData::None };
        bench.attached.set_irqs(&mut bench.token, request).unwrap();
    };
    let signalled = || rustix::io::read(&event, &mut [0; 8]).is_ok();
    let asserted = |bench: &mut Bench| {
        let mut status = [0; 2];
        bench.attached.region_read(&mut bench.token, CONFIG_REGION, 6, &mut status).unwrap();
        status[0] & 1 << 3 != 0
    };
    bench.set(COMMAND, 1);
    assert!(signalled() && asserted(&mut bench));
    unmask(&mut bench);
    assert!(signalled(), "the level is still up");
    assert_eq!(bench.get(COMMAND), 0);
    assert!(asserted(&mut bench), "another register was read");
    bench.get(STATUS);
    unmask(&mut bench);
    assert!(!signalled() && !asserted(&mut bench));
    bench.set(COMMAND, 1);
    assert!(signalled() && asserted(&mut bench));
    bench.attached.reset(&mut bench.token).unwrap();
    unmask(&mut bench);
    assert!(!signalled() && !asserted(&mut bench), "reset");
}

#[test]
fn a_virtual_function_has_memory_of_its_own_and_no_consumers() {
    let mut bench = Bench::new();
    let physical = bench.assignment.function();
    let gate = Gate::new("vf");
    let made = physical.device().virtual_function(0, &gate).unwrap();
    let VirtualFunction { config, device } = made;
    let _effects = config.write(4, &6_u16.to_le_bytes());
    let token = &mut bench.token;
    let handle = gate.handle();
    let pass = handle.try_enter(token, AccessKind::Bar).unwrap();
    let registers = BarIndex::new(0).unwrap();
    let set = |offset: u64, value: u64| device.write_bar(&pass, registers, offset, &value.to_le_bytes());
    // The physical function's consumer has memory there.
    set(DESTINATION, 0x10_0000);
    set(SOURCE, 0x10_0000);
    set(SIZE, 64);
    for (command, status) in [
        (1_u32 << 3, 1 << 1 | 1 << 7 | 1 << 6),
        (1 << 4, 1 << 3 | 1 << 8 | 1 << 6),
        (1 << 5, 1 << 5 | 1 << 7 | 1 << 6),
        (1, 1 << 6),
    ] {
        device.write_bar(&pass, registers, COMMAND, &command.to_le_bytes());
        let mut read = [0; 4];
        device.read_bar(&pass, registers, STATUS, &mut read);
        assert_eq!(u32::from_le_bytes(read), status, "command {command:#x}");
        device.write_bar(&pass, registers, COMMAND, &1_u32.to_le_bytes());
        let mut status = [0; 2];
        config.read(6, &mut status);
        assert_eq!(status[0] & 1 << 3, 0, "it has no INTx (PCIe 6.0 s9.3.4 Configuration Space of a VF)");
    }
    let mut data = [1; 64];
    bench.memory.read_exact_at(&mut data, 0).unwrap();
    assert_eq!(data, [0; 64], "memory of somebody else's consumer was written");
}

#[test]
fn a_reset_waits_for_the_command_that_runs_and_nothing_of_it_comes_later() {
    const ROUNDS: u32 = 100;
    let mut bench = Bench::new();
    let memory = 0x10_0000_u64;
    let assignment = Arc::clone(&bench.assignment);
    let runner = std::thread::spawn(move || {
        let mut token = ThreadToken::at_thread_entry();
        for _ in 0..ROUNDS {
            for (offset, value) in [(DESTINATION, memory), (SIZE, MEMORY / 2), (COMMAND, 1 << 4)] {
                let data = (value as u32).to_le_bytes();
                // Refused between a reset and the return of COMMAND.
                let _ = assignment.region_write(&mut token, 0, offset, &data);
            }
            let mut status = [0; 4];
            if assignment.region_read(&mut token, 0, STATUS, &mut status).is_ok() {
                // A reset in between has cleared it, or what the command was to work on.
                let status = u32::from_le_bytes(status);
                let [written, failed] = [1 << 2 | 1 << 6, 1 << 3 | 1 << 8 | 1 << 6];
                assert!([0, written, failed].contains(&status), "{status:#x}");
            }
        }
    });
    while !runner.is_finished() {
        bench.assignment.reset(&mut bench.token).unwrap();
    }
    runner.join().unwrap();
    bench.memory.write_all_at(&[0xee; 4096], 0).unwrap();
    bench.assignment.reset(&mut bench.token).unwrap();
    let mut data = [0; 4096];
    bench.memory.read_exact_at(&mut data, 0).unwrap();
    assert_eq!((data, bench.get(STATUS), bench.get(SIZE)), ([0xee; 4096], 0, 0));
}

#[test]
fn a_command_ends_with_the_interrupt_that_was_asked_for() {
    let mut bench = Bench::new();
    let flags = rustix::event::EventfdFlags::NONBLOCK;
    let events: Vec<_> = (0..32).map(|_| rustix::event::eventfd(0, flags).unwrap()).collect();
    let eventfds = events.iter().map(|event| event.try_clone().unwrap()).collect();
    let request = SetIrqs {
        index: 1,
        start: 0,
        count: 32,
        action: IrqAction::Trigger,
        data: IrqData::Eventfd(eventfds),
    };
    bench.attached.set_irqs(&mut bench.token, request).unwrap();
    bench.set(INTERRUPT_TYPE, 1);
    for vector in [1_u32, 32] {
        bench.set(INTERRUPT_NUMBER, vector);
        bench.set(COMMAND, 1 << 1);
        let raised: Vec<usize> =
            (0..32).filter(|at| rustix::io::read(&events[*at], &mut [0; 8]).is_ok()).collect();
        assert_eq!(raised, [vector as usize - 1]);
    }
    bench.set(INTERRUPT_NUMBER, 33);
    bench.set(COMMAND, 1 << 1);
    assert!(
        events.iter().all(|event| rustix::io::read(event, &mut [0; 8]).is_err()),
        "there is no such vector"
    );
}

#[test]
fn the_memory_bar_keeps_what_is_written_until_a_reset() {
    let mut bench = Bench::new();
    bench.write_region(2, 0xfff0, b"0123456789abcdef");
    let mut data = [0; 16];
    bench.attached.region_read(&mut bench.token, 2, 0xfff0, &mut data).unwrap();
    assert_eq!(&data, b"0123456789abcdef");
    bench.set(SIZE, 99);
    bench.attached.reset(&mut bench.token).unwrap();
    bench.attached.region_read(&mut bench.token, 2, 0xfff0, &mut data).unwrap();
    assert_eq!(data, [0; 16]);
    assert_eq!(bench.get(SIZE), 0);
    assert!(bench.assignment.is_attached());
}
