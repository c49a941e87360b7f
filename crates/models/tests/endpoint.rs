//! The endpoint-test model as a consumer drives it.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "test code; patterns of bytes")]

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use assign::{Assignment, Attached, DmaMapFlags, DmaMapRequest, IrqAction, IrqData, SetIrqs};
use gate::ThreadToken;
use models::endpoint::{self, Config, MAX_TRANSFER};

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
