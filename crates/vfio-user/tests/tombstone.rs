//! What a client is told when its function is no longer there: everything that keeps a virtual machine alive.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use fake::socket::Socket;
use fake::*;
use gate::{Deadline, ThreadToken};
use vfio_user::client::SharedMemory;

/// Commands.
const DMA_MAP: u16 = 2;
const DMA_UNMAP: u16 = 3;
const DEVICE_INFO: u16 = 4;
const REGION_INFO: u16 = 5;
const IO_FDS: u16 = 6;
const IRQ_INFO: u16 = 7;
const SET_IRQS: u16 = 8;
const READ: u16 = 9;
const WRITE: u16 = 10;
const RESET: u16 = 13;
const WRITE_MULTI: u16 = 15;
const FEATURE: u16 = 16;

const ROM: u32 = 6;
const RAM: u64 = 512 << 10;
/// Of `DEVICE_GET_REGION_INFO`.
const MMAP: u32 = 4;
const CAPS: u32 = 8;

fn memory() -> SharedMemory {
    SharedMemory::new(usize::try_from(RAM).unwrap()).unwrap()
}

/// Sends a command that must succeed; its reply's payload.
#[track_caller]
fn done(raw: &mut Raw, command: u16, payload: &[u8], fds: &[BorrowedFd<'_>]) -> Vec<u8> {
    let reply = raw.call_with(command, payload, fds);
    assert_eq!(reply.errno(), 0, "command {command}");
    assert!(reply.fds.is_empty());
    reply.payload
}

#[track_caller]
fn read(raw: &mut Raw, region: u32, offset: u64, count: u32) -> Vec<u8> {
    done(raw, READ, &access(region, offset, count, &[]), &[]).split_off(16)
}

#[track_caller]
fn write(raw: &mut Raw, region: u32, offset: u64, data: &[u8]) {
    let count = u32::try_from(data.len()).unwrap();
    let reply = done(raw, WRITE, &write_payload(region, offset, data), &[]);
    assert_eq!(reply, access(region, offset, count, &[]));
}

fn set_irqs(flags: u32, index: u32, start: u32, count: u32) -> Vec<u8> {
    words(&[20, flags, index, start, count])
}

/// What QEMU 11.1.3 sends when it takes a device, up to where its guest starts.
fn attach_as_qemu_does(raw: &mut Raw, ram: &SharedMemory, eventfd: BorrowedFd<'_>) {
    // The machine's memory and its firmware, which comes without a file; both before the first reply.
    raw.send(&message(1, DMA_MAP, &map_payload(0, RAM)), &[ram.as_fd()]);
    raw.send(&message(2, DMA_MAP, &map_payload(0xfffc_0000, 0x4_0000)), &[]);
    assert_eq!((raw.receive().errno(), raw.receive().errno()), (0, 0));
    done(raw, DEVICE_INFO, &words(&[16, 0, 0, 0]), &[]);
    for index in (0..=5).chain([CONFIG]) {
        let reply = raw.call(REGION_INFO, &region_info(32, index));
        assert_eq!(reply.errno(), 0);
    }
    done(raw, IRQ_INFO, &words(&[16, 0, 3, 0]), &[]);
    assert_eq!(read(raw, CONFIG, 0, 256)[..4], [0x34, 0x12, 0xe8, 0x11]);
    write(raw, CONFIG, 0x30, &[0xff; 4]);
    read(raw, CONFIG, 0x30, 4);
    done(raw, IRQ_INFO, &words(&[16, 0, 2, 0]), &[]);
    done(raw, SET_IRQS, &set_irqs(0x24, 0, 0, 1), &[eventfd]);
    done(raw, RESET, &[], &[]);
    done(raw, SET_IRQS, &set_irqs(0x24, 0, 0, 1), &[eventfd]);
    write(raw, CONFIG, 4, &[6, 0]);
}

/// What QEMU sends while its guest reboots, with the answers that keep it alive.
fn reboot_as_qemu_does(raw: &mut Raw, ram: &SharedMemory, eventfd: BorrowedFd<'_>) {
    let unmap = |flags, iova, size| unmap_payload(flags, iova, size);
    let all_ones = |raw: &mut Raw, region, offset, count: u32| {
        assert_eq!(read(raw, region, offset, count), vec![0xff; count as usize], "region {region}");
    };
    // The guest's driver is still there at first.
    write(raw, 0, 0x40, &[1; 4]);
    all_ones(raw, 0, 0x40, 4);
    raw.send(&posted(3, WRITE, &write_payload(0, SIGNAL, &[0; 4])), &[]);
    // Interrupts off, and the reset of the machine.
    done(raw, SET_IRQS, &set_irqs(0x21, 0, 0, 0), &[]);
    done(raw, RESET, &[], &[]);
    done(raw, SET_IRQS, &set_irqs(0x24, 0, 0, 1), &[eventfd]);
    // The firmware moves memory about, again and again.
    for round in 0..22 {
        let payload = if round % 2 == 0 { unmap(0, 0, RAM) } else { unmap(2, 0, 0) };
        assert_eq!(done(raw, DMA_UNMAP, &payload, &[]), payload, "the reply repeats the request");
        for part in 0..4 {
            done(raw, DMA_MAP, &map_payload(part * 0x1_0000, 0x1_0000), &[ram.as_fd()]);
        }
        done(raw, DMA_MAP, &map_payload(0xfffc_0000, 0x4_0000), &[]);
    }
    // The firmware and the guest look for the device.
    for offset in [0, 0x0e, 0x2c, 0x34, 0x100] {
        all_ones(raw, CONFIG, offset, 4);
    }
    all_ones(raw, CONFIG, 0, 256);
    write(raw, CONFIG, 0x10, &[0xff; 4]);
    write(raw, CONFIG, 4, &[7, 0]);
    write(raw, CONFIG, 0x30, &[0, 0, 0, 0]);
    all_ones(raw, 2, 0, 8);
    all_ones(raw, OWN, OWN_DATA, 64);
    all_ones(raw, FIXED, 0, 16);
    // A driver of every taste, masks and all.
    done(raw, SET_IRQS, &set_irqs(0x22, 0, 0, 1).into_iter().chain([1]).collect::<Vec<_>>(), &[]);
    done(raw, SET_IRQS, &set_irqs(0x11, 0, 0, 1), &[]);
    done(raw, SET_IRQS, &set_irqs(0x21, 0, 0, 0), &[]);
    done(raw, SET_IRQS, &set_irqs(0x24, 1, 0, 4), &[eventfd; 4]);
    done(raw, SET_IRQS, &set_irqs(0x24, 2, 0, 1), &[]);
    let mut writes = 2u64.to_ne_bytes().to_vec();
    for _ in 0..2 {
        writes.extend([&0x40u64.to_ne_bytes()[..], &words(&[0, 4]), &[7; 8]].concat());
    }
    assert_eq!(done(raw, WRITE_MULTI, &writes, &[]), 2u64.to_ne_bytes());
}

fn region_info(argsz: u32, index: u32) -> Vec<u8> {
    words(&[argsz, 0, index, 0, 0, 0, 0, 0])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[4 * at..4 * at + 4].try_into().unwrap())
}

/// All that a client may ask about a device, as it is answered.
fn information(raw: &mut Raw) -> Vec<(i32, Vec<u8>)> {
    let mut answers = Vec::new();
    let mut ask = |command: u16, payload: &[u8]| {
        let reply = raw.call(command, payload);
        answers.push((reply.errno(), reply.payload));
    };
    ask(DEVICE_INFO, &words(&[16, 0, 0, 0]));
    for index in 0..12 {
        ask(IRQ_INFO, &words(&[16, 0, index, 0]));
        ask(IO_FDS, &words(&[16, 0, index, 0]));
        ask(FEATURE, &words(&[8, index | 1 << 16]));
    }
    // No region; a bad size; a second `VERSION`; a command that is not offered.
    ask(REGION_INFO, &region_info(32, 11));
    ask(REGION_INFO, &region_info(31, 0));
    ask(1, &version("{}"));
    ask(17, &words(&[8, 0]));
    ask(READ, &access(CONFIG, 4094, 4, &[]));
    ask(READ, &access(8, 0, 4, &[]));
    ask(WRITE, &write_payload(0, BAR0_SIZE, &[0]));
    ask(WRITE, &write_payload(FIXED, 0, &[0]));
    ask(SET_IRQS, &set_irqs(0x1000, 0, 0, 1));
    ask(SET_IRQS, &set_irqs(0x04, 0, 0, 1));
    ask(DMA_MAP, &words(&[31, 3, 0, 0, 0, 0, 0, 0]));
    ask(DMA_UNMAP, &unmap_payload(1, 0, 0));
    ask(DMA_UNMAP, &unmap_payload(2, 4096, 0));
    answers
}

/// Regions, and their descriptors.
fn regions(raw: &mut Raw) -> Vec<(Vec<u8>, usize)> {
    (0..=FIXED)
        .map(|index| {
            let reply = raw.call(REGION_INFO, &region_info(4096, index));
            assert_eq!(reply.errno(), 0, "region {index}");
            (reply.payload, reply.fds.len())
        })
        .collect()
}

fn assert_regions_stay_but_for_mapping(before: &[(Vec<u8>, usize)], after: &[(Vec<u8>, usize)]) {
    assert_ne!(before.iter().map(|(_, fds)| fds).sum::<usize>(), 0, "there was something to map");
    for (index, ((before, _), (after, fds))) in before.iter().zip(after).enumerate() {
        assert_eq!(*fds, 0, "region {index}");
        // Index, size and offset; and what it permits, but not to map.
        assert_eq!(word(before, 2), word(after, 2));
        assert_eq!(before[16..32], after[16..32], "region {index}");
        assert_eq!(word(before, 1) & !(MMAP | CAPS), word(after, 1) & !CAPS, "region {index}");
        // The kind of a region of the device's own is a capability that stays; a list of areas does not.
        let own = index >= OWN as usize;
        assert_eq!((word(after, 1) & CAPS != 0, after.len() > 32), (own, own), "region {index}");
        assert_eq!(word(after, 0) as usize, after.len());
    }
}

#[test]
fn a_virtual_machine_reboots_on_a_tombstone_as_if_nothing_had_happened() {
    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let socket = Socket::of(&fixture);
    let (ram, eventfd) = (memory(), new_eventfd());
    let mut raw = socket.raw();
    attach_as_qemu_does(&mut raw, &ram, eventfd.as_fd());
    let (known, mapped) = (information(&mut raw), regions(&mut raw));
    let revoked = socket.revoke(&mut token);
    assert_eq!(revoked.unwrap().pid, Some(i32::try_from(std::process::id()).unwrap()));
    for _ in 0..3 {
        reboot_as_qemu_does(&mut raw, &ram, eventfd.as_fd());
        assert_eq!(information(&mut raw), known);
        assert_regions_stay_but_for_mapping(&mapped, &regions(&mut raw));
    }
    assert_eq!(signals(&eventfd), 0);
    assert_eq!(fixture.device.resets.load(std::sync::atomic::Ordering::Relaxed), 1, "only its own");
}

#[test]
fn a_function_that_is_gone_without_a_revocation_leaves_the_same_tombstone() {
    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let socket = Socket::of(&fixture);
    let (ram, eventfd) = (memory(), new_eventfd());
    let mut raw = socket.raw();
    attach_as_qemu_does(&mut raw, &ram, eventfd.as_fd());
    let (known, mapped) = (information(&mut raw), regions(&mut raw));
    let _orphans = fixture.gate.retire(&mut token, Deadline::after(Duration::from_secs(60)));
    reboot_as_qemu_does(&mut raw, &ram, eventfd.as_fd());
    assert_eq!(information(&mut raw), known);
    assert_regions_stay_but_for_mapping(&mapped, &regions(&mut raw));
    // It has been let go, by the session itself.
    assert!(!fixture.assignment.is_attached() && !socket.server.holds());
    assert_eq!(socket.told(), ["attached", "released"]);
    // Nobody else gets it, though it has not been taken off the socket.
    let mut second = socket.knock();
    assert_eq!(second.call(1, &version("{}")).errno(), 16);
    assert!(socket.revoke(&mut token).is_some());
    assert_eq!(Arc::strong_count(&fixture.assignment), 1);
    reboot_as_qemu_does(&mut raw, &ram, eventfd.as_fd());
    assert_eq!(socket.server.tombstones().len(), 1);
}

/// The first command after the removal is of each kind once.
#[test]
fn no_command_is_refused_because_the_function_is_gone() {
    let mut token = ThreadToken::at_thread_entry();
    let ram = memory();
    let eventfd = new_eventfd();
    let commands: [(u16, Vec<u8>, bool); 9] = [
        (DMA_MAP, map_payload(RAM, RAM), true),
        (DMA_UNMAP, unmap_payload(0, 0, RAM), false),
        (DMA_UNMAP, unmap_payload(2, 0, 0), false),
        (SET_IRQS, set_irqs(0x21, 0, 0, 0), false),
        (SET_IRQS, set_irqs(0x24, 1, 0, 1), true),
        (SET_IRQS, set_irqs(0x11, 0, 0, 1), false),
        (RESET, Vec::new(), false),
        (READ, access(0, 0, 8, &[]), false),
        (WRITE, write_payload(CONFIG, 4, &[0, 0]), false),
    ];
    for (nth, (command, payload, fd)) in commands.iter().enumerate() {
        for revoked in [false, true] {
            let fixture = Fixture::new();
            let socket = Socket::of(&fixture);
            let mut raw = socket.raw();
            attach_as_qemu_does(&mut raw, &ram, eventfd.as_fd());
            if revoked {
                socket.revoke(&mut token);
            } else {
                let _orphans = fixture.gate.retire(&mut token, Deadline::after(Duration::from_secs(60)));
            }
            let fds = [if *command == DMA_MAP { ram.as_fd() } else { eventfd.as_fd() }];
            done(&mut raw, *command, payload, if *fd { &fds } else { &[] });
            // Reads and writes ask nothing of the function that is not there.
            let noticed = ![READ, WRITE].contains(command) || revoked;
            assert_eq!(
                fixture.assignment.is_attached(),
                !noticed,
                "command {nth}: the function is given up at once"
            );
            let rom = raw.call(READ, &access(ROM, 0, 4, &[]));
            assert_eq!(rom.errno(), 22, "there never was a ROM: command {nth}");
        }
    }
}

#[test]
fn what_was_sent_together_is_answered_in_order_whenever_the_revocation_comes() {
    const BATCH: u16 = 400;
    let mut token = ThreadToken::at_thread_entry();
    for round in 0..30 {
        let fixture = Fixture::new();
        let socket = Socket::of(&fixture);
        let mut raw = socket.raw();
        let mut batch = Vec::new();
        for id in 0..BATCH {
            match id % 4 {
                0 => batch.extend(message(id, READ, &access(CONFIG, 0, 4, &[]))),
                1 => batch.extend(message(id, DMA_MAP, &map_payload(u64::from(id) << 12, 4096))),
                2 => batch.extend(message(id, WRITE, &write_payload(0, 0x40, &[1; 4]))),
                _ => batch.extend(message(id, DMA_UNMAP, &unmap_payload(0, u64::from(id - 2) << 12, 4096))),
            }
        }
        raw.send(&batch, &[]);
        let mut gone = false;
        for id in 0..BATCH {
            if id == round * 12 {
                socket.revoke(&mut token);
            }
            let reply = raw.receive();
            // Memory decoding is on from the attach, so that nothing of it fails.
            assert_eq!((reply.header.message_id, reply.errno()), (id, 0), "round {round}");
            if id % 4 == 0 {
                let absent = reply.payload[16..] == [0xff; 4];
                assert!(absent || !gone, "what is gone does not come back");
                gone = absent;
            }
        }
        assert_eq!(Arc::strong_count(&fixture.assignment), 1);
    }
}
