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
const ROM: u32 = 6;
const HISTORY: u32 = 9;
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
        Bench::of(&Config::default())
    }

    fn of(config: &Config) -> Bench {
        let mut token = ThreadToken::at_thread_entry();
        let assignment = endpoint::build("test", config, Arc::new(())).unwrap();
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

    fn read_region(&mut self, region: u32, offset: u64, length: usize) -> Vec<u8> {
        let mut data = vec![0x5a; length];
        self.attached.region_read(&mut self.token, region, offset, &mut data).unwrap();
        data
    }

    /// The memory of a region, as a client in another process is given it.
    fn share(&mut self, region: u32) -> Option<File> {
        let shared = self.attached.share(&mut self.token, region, || String::from("client"))?;
        Some(File::from(shared.file().try_clone().unwrap()))
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

#[test]
fn what_a_client_stores_in_mapped_memory_is_what_the_device_has() {
    let mut bench = Bench::new();
    for region in [2, HISTORY] {
        let info = bench.attached.region_info(region).unwrap();
        assert_eq!((info.size, info.areas.len()), (64 << 10, 1));
        let file = bench.share(region).unwrap();
        file.write_all_at(b"portcullis", 0x8000).unwrap();
        assert_eq!(bench.read_region(region, 0x8000, 10), b"portcullis");
        bench.write_region(region, 0x9000, b"back");
        let mut data = [0; 4];
        file.read_exact_at(&mut data, 0x9000).unwrap();
        assert_eq!(&data, b"back");
    }
    assert!(bench.share(0).is_none(), "registers are not memory");
}

#[test]
fn nothing_is_offered_for_mapping_if_the_operator_says_so() {
    let mut bench = Bench::of(&Config { mapped: false, ..Config::default() });
    for region in [2, HISTORY] {
        assert!(bench.attached.region_info(region).unwrap().areas.is_empty());
        assert!(bench.share(region).is_none());
        bench.write_region(region, 0x2000, b"trapped");
        assert_eq!(bench.read_region(region, 0x2000, 7), b"trapped");
    }
}

#[test]
fn a_memory_of_64_gib_takes_what_is_touched_and_nothing_after_a_reset() {
    let mut bench = Bench::of(&Config { memory: 64 << 30, ..Config::default() });
    assert_eq!(bench.attached.region_info(2).unwrap().size, 64 << 30);
    let memory = bench.assignment.function().device().mappable(2).unwrap().memory;
    let file = File::from(memory.file(0).unwrap().try_clone().unwrap());
    let blocks = || std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap());
    for at in [0, 32 << 30, (64 << 30) - 8] {
        bench.write_region(2, at, b"portcull");
        assert_eq!(bench.read_region(2, at, 8), b"portcull");
    }
    assert_eq!(blocks(), 3 * 8);
    bench.attached.reset(&mut bench.token).unwrap();
    assert_eq!(blocks(), 0);
    bench.write_region(CONFIG_REGION, 4, &0x0006_u16.to_le_bytes());
    assert_eq!(bench.read_region(2, (64 << 30) - 8, 8), [0; 8]);
}

#[test]
fn a_size_that_no_bar_has_is_refused() {
    for memory in [0, 1, 2048, 4097, 3 << 20, 128 << 30, u64::MAX] {
        let config = Config { memory, ..Config::default() };
        assert!(endpoint::build("test", &config, Arc::new(())).is_err(), "{memory}");
    }
    for memory in [*endpoint::MEMORY_SIZES.start(), *endpoint::MEMORY_SIZES.end()] {
        let config = Config { memory, ..Config::default() };
        assert!(endpoint::build("test", &config, Arc::new(())).is_ok(), "{memory}");
    }
    let rom: Option<Arc<[u8]>> = Some(vec![0; endpoint::MAX_ROM as usize + 1].into());
    assert!(endpoint::build("test", &Config { rom, ..Config::default() }, Arc::new(())).is_err());
}

#[test]
fn a_rom_reads_its_image_and_all_ones_beyond_it_vf_16() {
    for (length, size) in [(3, 2048), (2048, 2048), (2049, 4096), (5000, 8192)] {
        let image: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
        let rom = Some(Arc::from(image.as_slice()));
        let mut bench = Bench::of(&Config { rom, ..Config::default() });
        assert_eq!(bench.attached.region_info(ROM).unwrap().size, size);
        bench.write_region(CONFIG_REGION, 0x30, &1_u32.to_le_bytes());
        let mut expected = image;
        expected.resize(size as usize, 0xff);
        assert!(bench.read_region(ROM, 0, size as usize) == expected, "{length}");
        assert_eq!(bench.read_region(ROM, size - 2, 2), expected[size as usize - 2..]);
    }
    let mut bench = Bench::new();
    assert_eq!(bench.attached.region_info(ROM).unwrap().size, 0, "VF-13");
    let mut data = [0; 4];
    let _ = bench.attached.region_read(&mut bench.token, ROM, 0, &mut data);
}

#[test]
fn the_history_tells_each_command_until_a_reset() {
    let mut bench = Bench::new();
    let info = bench.attached.region_info(HISTORY).unwrap();
    assert_eq!(info.kind.map(|kind| (kind.kind, kind.subtype)), Some((0x8000_1234, 1)));
    bench.set_wide(DESTINATION, 0x10_0000);
    bench.set(SIZE, 100);
    for _ in 0..300 {
        bench.set(COMMAND, 1 << 4);
    }
    let checksum = bench.get(CHECKSUM);
    let count = bench.read_region(HISTORY, 0, 4);
    assert_eq!(count, 300_u32.to_le_bytes());
    let at = 16 + (299 % 255) * 16;
    let entry: Vec<u32> = bench
        .read_region(HISTORY, at, 16)
        .chunks(4)
        .map(|dword| u32::from_le_bytes(dword.try_into().unwrap()))
        .collect();
    assert_eq!(entry, [1 << 4, 1 << 2 | 1 << 6, 100, checksum]);
    assert_eq!(bench.read_region(HISTORY, 4096, 4), [0; 4], "the rest is the consumer's");
    bench.attached.reset(&mut bench.token).unwrap();
    assert_eq!(bench.read_region(HISTORY, 0, 32), [0; 32]);
}
