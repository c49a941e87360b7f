//! The table of errors, row by row. A request that failed has touched neither the device nor the consumer's memory.
//!
//! The row of a fault in the copy of the request itself has no test: a request comes in memory of this process.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use assign::{DmaMapFlags, Errno, Limits};
use pci_core::Command;
use rustix::fs::ftruncate;
use zpci::region::layout::{IoRequest, REQUEST_START, SIZE};
use zpci::{View, Work};

use crate::world::*;

#[test]
fn without_a_function_every_access_is_enodev() {
    let assert_gone = |world: &mut World| {
        for offset in [0, 8, 16, 47, 48, u64::MAX] {
            assert_eq!(errno(world.write(offset, &[1; 32])), Errno::ENODEV, "write at {offset}");
            let mut data = [0; 8];
            assert_eq!(errno(world.read(offset, &mut data)), Errno::ENODEV, "read at {offset}");
            assert_eq!(data, [0xff; 8]);
        }
        assert_eq!(errno(world.request(LOAD)), Errno::ENODEV);
        world.assert_untouched();
    };
    // The machine does not know it yet.
    let mut world = World::absent(Limits::default());
    assert_gone(&mut world);
    world.zdev.card(true);
    world.zdev.bring_in(&mut world.token, Arc::clone(&world.view));
    world.read(0, &mut [0; 16]).unwrap();
    // Nor any more.
    world.zdev.take_out(&mut world.token);
    assert_gone(&mut world);
    drop(world);
    // It was torn out.
    let mut world = World::new();
    let _orphans = world.gate.retire(&mut world.token, ahead());
    assert_gone(&mut world);
}

#[test]
fn an_access_that_begins_behind_the_region_is_einval() {
    let mut world = World::new();
    for offset in [SIZE, SIZE + 1, 4096, u64::MAX] {
        assert_eq!(errno(world.write(offset, &[1; 32])), Errno::EINVAL);
        assert_eq!(errno(world.read(offset, &mut [0; 8])), Errno::EINVAL);
    }
    world.assert_untouched();
}

#[test]
fn a_read_that_leaves_the_header_is_efault() {
    let mut world = World::new();
    for (offset, length) in [(0, 17), (0, 48), (0, 1000), (8, 9), (15, 2), (16, 1), (40, 8), (47, 1)] {
        let mut data = vec![0; length];
        assert_eq!(errno(world.read(offset, &mut data)), Errno::EFAULT, "{offset} {length}");
        assert_eq!(data, vec![0xff; length]);
    }
    world.assert_untouched();
}

#[test]
fn a_write_that_begins_before_the_request_is_efault() {
    let mut world = World::new();
    for offset in [0, 8, 15] {
        let whole = [vec![0; 16], BLOCK.encode().to_vec()].concat();
        let from = usize::try_from(offset).unwrap();
        assert_eq!(errno(world.write(offset, &whole[from..])), Errno::EFAULT, "{offset}");
    }
    world.assert_untouched();
}

/// vfio would tell its client that less was written; vfio-user has no such answer.
#[test]
fn a_write_that_leaves_the_region_is_einval_and_nothing_is_done() {
    let mut world = World::new();
    let long = [BLOCK.encode().to_vec(), vec![0]].concat();
    assert_eq!(errno(world.write(REQUEST_START, &long)), Errno::EINVAL);
    assert_eq!(errno(world.write(47, &[0; 2])), Errno::EINVAL);
    world.assert_untouched();
}

#[test]
fn a_load_of_more_than_8_bytes_is_eio() {
    let mut world = World::new();
    for length in [9, 16, 128, u16::MAX] {
        assert_eq!(errno(world.request(IoRequest { length, ..LOAD })), Errno::EIO, "{length}");
    }
    world.assert_untouched();
}

#[test]
fn a_block_longer_than_the_function_takes_is_eio() {
    let mut world = World::new();
    for length in [MAX_STORE + 1, MAX_STORE + 8, 256, 4096, u16::MAX] {
        assert_eq!(errno(world.request(IoRequest { length, ..BLOCK })), Errno::EIO, "{length}");
    }
    world.assert_untouched();
}

#[test]
fn no_bytes_are_eio() {
    let mut world = World::new();
    for request in [LOAD, BLOCK] {
        // Also where the address is that of a page, which another check lets through.
        for address in [MEMORY, MEMORY + 8] {
            assert_eq!(errno(world.request(IoRequest { length: 0, address, ..request })), Errno::EIO);
        }
    }
    world.assert_untouched();
}

#[test]
fn data_that_is_not_8_aligned_is_eio() {
    let mut world = World::new();
    for request in [LOAD, BLOCK, IoRequest { length: 1, ..LOAD }] {
        for by in 1..8 {
            let request = IoRequest { address: MEMORY + by, ..request };
            assert_eq!(errno(world.request(request)), Errno::EIO, "{request:?}");
        }
    }
    world.assert_untouched();
}

#[test]
fn data_that_crosses_a_page_is_eio() {
    let mut world = World::new();
    for before in [8, 64, 120] {
        let request = IoRequest { address: MEMORY + 0x1000 - before, ..BLOCK };
        assert_eq!(errno(world.request(request)), Errno::EIO, "{before}");
    }
    world.assert_untouched();
    world.request(IoRequest { address: MEMORY + 0x1000 - 128, ..BLOCK }).unwrap();
}

#[test]
fn memory_that_is_not_the_clients_is_eio() {
    let mut world = World::new();
    let nowhere = [0, MEMORY - 0x1000, MEMORY + MEMORY_SIZE, 1 << 63, !0xfff];
    for request in [LOAD, BLOCK] {
        for address in nowhere {
            assert_eq!(errno(world.request(IoRequest { address, ..request })), Errno::EIO, "{address:#x}");
        }
    }
    // The load was not done for nothing.
    world.assert_untouched();
    // Mapped without a file.
    let request = assign::DmaMapRequest {
        flags: DmaMapFlags(DmaMapFlags::READ | DmaMapFlags::WRITE),
        offset: 0,
        iova: 0x20_0000,
        size: 0x1000,
        fd: None,
    };
    world.assignment.dma_map(&mut world.token, request).unwrap();
    for request in [LOAD, BLOCK] {
        assert_eq!(errno(world.request(IoRequest { address: 0x20_0000, ..request })), Errno::EIO);
    }
    world.assert_untouched();
}

#[test]
fn memory_that_the_client_truncated_is_eio() {
    let mut world = World::new();
    ftruncate(&world.memory, 0).unwrap();
    assert_eq!(errno(world.request(BLOCK)), Errno::EIO);
    assert_eq!(world.probe.take(), [], "no zeroes instead of the client's bytes");
    assert_eq!(errno(world.request(LOAD)), Errno::EIO);
}

#[test]
fn flags_of_no_operation_of_both_and_without_a_meaning_are_eio() {
    let mut world = World::new();
    for flags in [0, 3, 4, 5, 6, 7, 1 << 63, 1 << 32 | 1, u64::MAX] {
        for request in [LOAD, BLOCK] {
            assert_eq!(errno(world.request(IoRequest { flags, ..request })), Errno::EIO, "{flags:#x}");
        }
    }
    world.assert_untouched();
}

#[test]
fn an_instruction_that_there_is_not_is_eio() {
    let mut world = World::new();
    let odd = [3, 5, 6, 7].map(|length| IoRequest { length, ..LOAD });
    let part = [1, 4, 12, 124].map(|length| IoRequest { length, ..BLOCK });
    let crossing = [IoRequest { offset: 0xffc, ..LOAD }, IoRequest { offset: 0xff8, ..BLOCK }];
    let spaces = [6, 7, 14, 16, 255].map(|space| IoRequest { space, ..LOAD });
    let requests = odd.iter().chain(&part).chain(&crossing).chain(&spaces);
    for request in requests {
        assert_eq!(errno(world.request(*request)), Errno::EIO, "{request:?}");
    }
    world.assert_untouched();
}

#[test]
fn an_instruction_that_the_function_does_not_carry_out_is_eio() {
    let mut world = World::new();
    let empty_bar = IoRequest { space: 2, ..LOAD };
    let beyond = [BAR_SIZE, !7].map(|offset| IoRequest { offset, ..BLOCK });
    for request in beyond.iter().chain([&empty_bar]) {
        assert_eq!(errno(world.request(*request)), Errno::EIO, "{request:?}");
    }
    // Memory decoding is off.
    world.command(Command::empty());
    for request in [LOAD, BLOCK] {
        assert_eq!(errno(world.request(request)), Errno::EIO);
    }
    world.command(Command::MEMORY_SPACE);
    world.probe.refuses.store(true, Ordering::Release);
    assert_eq!(errno(world.request(BLOCK)), Errno::EIO);
    world.assert_untouched();
}

#[test]
fn a_function_that_is_frozen_is_eio() {
    let mut world = World::new();
    world.gate.freeze();
    for request in [LOAD, BLOCK] {
        assert_eq!(errno(world.request(request)), Errno::EIO);
    }
    world.assert_untouched();
    world.gate.thaw();
    world.request(LOAD).unwrap();
}

#[test]
fn a_function_that_is_disabled_is_eio() {
    let mut world = World::new();
    let zdev = Arc::clone(&world.zdev);
    let recovery = zdev.begin(Work::Recovery).unwrap();
    recovery.renew(&mut world.token, false).unwrap();
    for request in [LOAD, BLOCK] {
        assert_eq!(errno(world.request(request)), Errno::EIO);
    }
    world.assert_untouched();
    recovery.renew(&mut world.token, true).unwrap();
    drop(recovery);
    world.request(LOAD).unwrap();
}

#[test]
fn a_function_in_permanent_error_is_eio() {
    let mut world = World::new();
    world.zdev.fail();
    for request in [LOAD, BLOCK] {
        assert_eq!(errno(world.request(request)), Errno::EIO);
    }
    world.assert_untouched();
}

#[test]
fn a_request_that_succeeds_has_been_carried_out() {
    let mut world = World::new();
    for (length, at) in [(1, 0x101), (2, 0x102), (4, 0x104), (8, 0x108)] {
        let request = IoRequest { length, offset: at, address: MEMORY + 0x1ff8, ..LOAD };
        world.fill(0x1ff8, &[0xee; 16]);
        world.request(request).unwrap();
        let length = usize::from(length);
        assert_eq!(world.probe.take(), [Reached::Load(at, length)]);
        let expected: Vec<u8> = (at..).map(pattern).take(length).chain([0xee; 16]).take(16).collect();
        assert_eq!(world.bytes(0x1ff8, 16), expected, "{length} bytes");
    }
    let block: Vec<u8> = (0..128).collect();
    world.fill(0x80, &block);
    for length in [8, 16, 120, 128] {
        world.request(IoRequest { length, offset: 0x80, address: MEMORY + 0x80, ..BLOCK }).unwrap();
        assert_eq!(world.probe.take(), [Reached::Block(0x80, block[..usize::from(length)].to_vec())]);
    }
}

#[test]
fn a_block_has_at_most_a_page_however_long_the_function_takes_them() {
    let mut world = World::taking(View::LONGEST_STORE, Limits::default());
    world.zdev.card(true);
    world.zdev.bring_in(&mut world.token, Arc::clone(&world.view));
    let page: Vec<u8> = (0..4096_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
    world.fill(0, &page);
    for length in [8, 128, 136, 2048, 4096] {
        world.request(IoRequest { length, ..BLOCK }).unwrap();
        assert_eq!(world.probe.take(), [Reached::Block(0, page[..usize::from(length)].to_vec())]);
    }
    for length in [4104, View::LONGEST_STORE, u16::MAX] {
        assert_eq!(errno(world.request(IoRequest { length, ..BLOCK })), Errno::EIO, "{length}");
    }
    assert_eq!(world.probe.take(), []);
    let mut longest = [0; 2];
    world.read(8, &mut longest).unwrap();
    assert_eq!(longest, View::LONGEST_STORE.to_ne_bytes());
}

#[test]
fn configuration_space_is_loaded_too() {
    let mut world = World::new();
    world.request(IoRequest { space: CONFIG, length: 4, ..LOAD }).unwrap();
    assert_eq!(world.bytes(0, 8), [0x34, 0x12, 1, 0, 0, 0, 0, 0]);
    assert_eq!(world.probe.take(), []);
}

#[test]
fn the_header_can_be_read_in_parts() {
    let mut world = World::new();
    let mut header = [0xee; 16];
    world.read(0, &mut header).unwrap();
    let expected = [&[0; 8][..], &MAX_STORE.to_ne_bytes(), &[0; 6]].concat();
    assert_eq!(header[..], expected);
    for (offset, length) in [(8, 2), (8, 8), (9, 1), (0, 0), (16, 0)] {
        let mut part = vec![0xee; length];
        world.read(offset, &mut part).unwrap();
        let from = usize::try_from(offset).unwrap();
        assert_eq!(part, expected[from..from + length]);
    }
    // It says nothing of the function, so a frozen one has it too.
    world.gate.freeze();
    world.read(0, &mut header).unwrap();
    assert_eq!(header[..], expected);
}
