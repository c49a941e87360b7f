//! Every command, over a raw stream: what it answers, and with which errno it is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use assign::Limits;
use fake::*;
use gate::{AccessKind, Deadline, Reason, ThreadToken};
use rustix::io::Errno;
use vfio_user::client::SharedMemory;
use vfio_user::server::{SessionEnd, SessionOptions};

const EINVAL: i32 = 22;
const EEXIST: i32 = 17;
const EBUSY: i32 = 16;
const ENOTTY: i32 = 25;
const E2BIG: i32 = 7;
const ETIMEDOUT: i32 = 110;
const EOPNOTSUPP: i32 = 95;

fn dword(bytes: &[u8], index: usize) -> u32 {
    u32::from_ne_bytes(bytes[index * 4..index * 4 + 4].try_into().unwrap())
}

fn qword(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

#[test]
fn version_answers_with_what_this_side_takes_in_at_most_214_bytes() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::new(client);
    let reply = raw.call(1, &version("{\"capabilities\":{\"write_multiple\":true}}"));
    assert_eq!(reply.errno(), 0);
    assert!(reply.header.size <= 214, "{}", reply.header.size);
    assert_eq!(reply.payload[..4], [0, 0, 1, 0]);
    let text = std::str::from_utf8(&reply.payload[4..]).unwrap();
    for capability in ["\"max_msg_fds\":16", "\"max_data_xfer_size\":1048576", "\"pgsizes\":4096"] {
        assert!(text.contains(capability), "{text}");
    }
    assert!(text.ends_with("}\0"));
}

#[test]
fn a_lower_minor_version_is_taken_and_a_higher_one_is_not() {
    for (proposed, answered) in [(0u16, 0u16), (1, 1), (7, 1)] {
        let fixture = Fixture::new();
        let (client, _session) = fixture.serve();
        let mut raw = Raw::new(client);
        let payload = [0u16.to_ne_bytes(), proposed.to_ne_bytes()].concat();
        assert_eq!(raw.call(1, &payload).payload[2..4], answered.to_ne_bytes());
    }
}

#[test]
fn a_version_that_cannot_be_spoken_is_refused_and_the_session_ends() {
    for payload in [vec![], vec![1, 0, 0, 0], vec![0, 0, 1, 0, b'{', 0], vec![0, 0, 1, 0, b'{', b'}']] {
        let fixture = Fixture::new();
        let (client, session) = fixture.serve();
        let mut raw = Raw::new(client);
        assert_eq!(raw.call(1, &payload).errno(), EINVAL, "{payload:?}");
        assert!(raw.rest().is_empty());
        assert_eq!(session.report().end, SessionEnd::Refused(Errno::INVAL));
        assert!(!fixture.assignment.is_attached());
    }
}

#[test]
fn a_function_in_use_is_refused_at_version() {
    let fixture = Fixture::new();
    let (first, _session) = fixture.serve();
    let mut first = Raw::negotiated(first);
    let (second, session) = fixture.serve();
    let mut second = Raw::new(second);
    assert_eq!(second.call(1, &version("{}")).errno(), EBUSY);
    assert_eq!(session.report().end, SessionEnd::Refused(Errno::BUSY));
    first.assert_alive();
}

#[test]
fn a_command_before_version_is_refused_and_version_may_still_come() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::new(client);
    assert_eq!(raw.call(9, &access(CONFIG, 0, 4, &[])).errno(), EINVAL);
    assert!(!fixture.assignment.is_attached());
    Raw::negotiated(raw.stream).assert_alive();
}

#[test]
fn a_second_version_is_refused_and_the_session_goes_on() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    assert_eq!(raw.call(1, &version("{}")).errno(), EINVAL);
    raw.assert_alive();
}

#[test]
fn commands_not_offered_are_refused_in_step() {
    let fixture = Fixture::new();
    let (client, session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    for command in [0, 11, 12, 14, 17, 18, 19, 500, u16::MAX] {
        for size in [0, 8, 100, 5000] {
            assert_eq!(raw.call(command, &vec![0xa5; size]).errno(), EOPNOTSUPP, "{command}");
        }
        raw.assert_alive();
    }
    drop(raw);
    assert_eq!(session.report().refused, 36);
}

#[test]
fn device_info_counts_the_devices_own_regions_and_five_interrupt_indexes_vf_12() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    assert_eq!(raw.call(4, &words(&[16, 0, 0, 0])).payload, words(&[16, 3, 11, 5]));
    assert_eq!(raw.call(4, &words(&[15, 0, 0, 0])).errno(), EINVAL);
}

#[test]
fn region_info_asks_for_room_first_and_brings_one_descriptor_then() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    let ask = |raw: &mut Raw, argsz, index| raw.call(5, &words(&[argsz, 0, index, 0, 0, 0, 0, 0]));
    for argsz in [32, 63] {
        let bare = ask(&mut raw, argsz, 0);
        assert_eq!(bare.payload.len(), 32);
        assert_eq!(
            (dword(&bare.payload, 0), dword(&bare.payload, 1), dword(&bare.payload, 3)),
            (64, 0xf, 32)
        );
        assert!(bare.fds.is_empty());
    }
    for argsz in [64, 4064] {
        let full = ask(&mut raw, argsz, 0);
        assert_eq!(full.fds.len(), 1);
        assert_eq!(full.payload.len(), 64);
        assert_eq!((dword(&full.payload, 0), dword(&full.payload, 3)), (64, 32));
        assert_eq!((qword(&full.payload, 16), qword(&full.payload, 24)), (BAR0_SIZE, 0));
        assert_eq!(full.payload[32..40], [1, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(dword(&full.payload, 10), 1);
        assert_eq!((qword(&full.payload, 48), qword(&full.payload, 56)), (MAPPED, 4096));
    }
    for (index, size, flags) in [(1, 0, 0), (2, 4096, 3), (6, 0, 0), (7, 4096, 3), (8, 0, 0)] {
        let reply = ask(&mut raw, 4064, index);
        assert_eq!((reply.payload.len(), reply.fds.len()), (32, 0), "region {index}");
        assert_eq!((dword(&reply.payload, 1), qword(&reply.payload, 16)), (flags, size), "region {index}");
    }
    for (argsz, index) in [(31, 0), (0, 0), (31, OWN), (64, 11), (64, 1 << 24), (64, u32::MAX)] {
        assert_eq!(ask(&mut raw, argsz, index).errno(), EINVAL);
    }
}

#[test]
fn a_region_of_the_devices_own_has_its_type_and_then_its_areas_vf_14() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    let ask = |raw: &mut Raw, argsz, index| raw.call(5, &words(&[argsz, 0, index, 0, 0, 0, 0, 0]));
    for argsz in [32, 48, 95] {
        let bare = ask(&mut raw, argsz, OWN);
        assert_eq!((bare.payload.len(), bare.fds.len()), (32, 0));
        assert_eq!(bare.payload[..16], words(&[96, 0xf, OWN, 32]));
    }
    let full = ask(&mut raw, 96, OWN);
    assert_eq!((full.payload.len(), full.fds.len()), (96, 1));
    assert_eq!(full.payload[..16], words(&[96, 0xf, OWN, 32]));
    assert_eq!(qword(&full.payload, 16), OWN_SIZE);
    assert_eq!(full.payload[32..40], [2, 0, 1, 0, 48, 0, 0, 0]);
    assert_eq!(full.payload[40..48], words(&[KIND, 1]));
    assert_eq!(full.payload[48..56], [1, 0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(full.payload[56..64], words(&[2, 0]));
    let areas: Vec<u64> = (64..96).step_by(8).map(|at| qword(&full.payload, at)).collect();
    assert_eq!(areas, [OWN_DATA, 0x1000, OWN_DOORBELLS, 0x1000]);
    // What cannot be written is not mapped, but has a type.
    assert_eq!(ask(&mut raw, 47, FIXED).payload[..16], words(&[48, 9, FIXED, 32]));
    let fixed = ask(&mut raw, 48, FIXED);
    assert_eq!((fixed.payload.len(), fixed.fds.len()), (48, 0));
    assert_eq!(fixed.payload[32..48], words(&[0x0001_0002, 0, KIND, 2]));
}

#[test]
fn a_region_of_the_devices_own_is_read_and_written() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    assert_eq!(raw.call(10, &write_payload(OWN, OWN_SIZE - 8, &[3; 8])).errno(), 0);
    assert_eq!(raw.call(9, &access(OWN, OWN_SIZE - 8, 8, &[])).payload[16..], [3; 8]);
    assert_eq!(raw.call(9, &access(FIXED, 0, 16, &[])).payload[16..], [0x5a; 16]);
    assert_eq!(raw.call(10, &write_payload(FIXED, 0, &[0])).errno(), EINVAL);
    for (region, offset, count) in [
        (OWN, OWN_SIZE, 1),
        (OWN, u64::MAX, 1),
        (FIXED, 15, 2),
        (11, 0, 1),
        (1 << 24, 0, 1),
        (u32::MAX, 0, 1),
    ] {
        assert_eq!(raw.call(9, &access(region, offset, count, &[])).errno(), EINVAL, "region {region}");
        let data = vec![0; count as usize];
        assert_eq!(raw.call(10, &write_payload(region, offset, &data)).errno(), EINVAL, "region {region}");
    }
    raw.assert_alive();
}

#[test]
fn a_client_that_takes_no_descriptors_is_not_told_that_it_could_map() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::new(client);
    raw.call(1, &version("{\"capabilities\":{\"max_msg_fds\":0}}"));
    for (index, length, flags) in [(0, 32, 3), (OWN, 48, 0xb)] {
        let reply = raw.call(5, &words(&[4096, 0, index, 0, 0, 0, 0, 0]));
        assert_eq!((reply.payload.len(), dword(&reply.payload, 1), reply.fds.len()), (length, flags, 0));
    }
    assert!(fixture.assignment.function().mappings().report().is_empty());
}

#[test]
fn region_io_fds_are_refused() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    assert_eq!(raw.call(6, &words(&[16, 0, 0, 0])).errno(), EOPNOTSUPP);
    assert_eq!(raw.call(6, &words(&[16, 0, OWN, 0])).errno(), EOPNOTSUPP);
    for bad in [[16, 1, 0, 0], [16, 0, 11, 0], [16, 0, 0, 1], [15, 0, 0, 0]] {
        assert_eq!(raw.call(6, &words(&bad)).errno(), EINVAL, "{bad:?}");
    }
    raw.assert_alive();
}

#[test]
fn irq_info_follows_linux_and_has_no_error_interrupt_vf_30() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    for (index, flags, count) in [(0, 7, 1), (1, 9, MSI_VECTORS), (2, 1, MSIX_VECTORS), (3, 9, 0)] {
        let reply = raw.call(7, &words(&[16, 0, index, 0]));
        assert_eq!(reply.payload, words(&[16, flags, index, count]));
    }
    assert_eq!(raw.call(7, &words(&[16, 0, 5, 0])).errno(), EINVAL);
}

#[test]
fn set_irqs_wires_eventfds_and_refuses_nonsense_vf_31() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    let vectors = [new_eventfd(), new_eventfd()];
    let fds: Vec<_> = vectors.iter().map(AsFd::as_fd).collect();
    assert_eq!(raw.call_with(8, &words(&[20, 0x24, 1, 0, 2]), &fds).errno(), 0);
    // Bus mastering on, so that the device may send messages.
    assert_eq!(raw.call(10, &write_payload(CONFIG, 4, &[6, 0])).errno(), 0);
    assert_eq!(raw.call(10, &write_payload(0, SIGNAL, &[1, 0, 0, 0])).errno(), 0);
    assert_eq!((signals(&vectors[0]), signals(&vectors[1])), (0, 1));
    // Loopback by the client: BOOL for the second vector only.
    let payload = [words(&[20, 0x22, 1, 0, 2]), vec![0, 1]].concat();
    assert_eq!(raw.call(8, &payload).errno(), 0);
    assert_eq!((signals(&vectors[0]), signals(&vectors[1])), (0, 1));
    assert_eq!(raw.call(8, &words(&[20, 0x21, 1, 0, 0])).errno(), 0);
    for (bad, errno) in [
        ([20, 0x21, 5, 0, 0], EINVAL),
        ([20, 0x21, 1, MSI_VECTORS, 1], EINVAL),
        ([20, 0x21, 1, 1, u32::MAX], EINVAL),
        ([20, 0x22, 1, 0, 2], EINVAL),
        ([20, 0x23, 1, 0, 1], EINVAL),
        ([20, 0x61, 1, 0, 1], EINVAL),
        ([19, 0x21, 1, 0, 0], EINVAL),
        ([20, 0x31, 1, 0, 1], ENOTTY),
    ] {
        assert_eq!(raw.call(8, &words(&bad)).errno(), errno, "{bad:?}");
    }
    raw.assert_alive();
}

#[test]
fn a_region_is_read_and_written_at_any_width() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    for width in [1usize, 2, 4, 8, 64, 1000] {
        let data: Vec<u8> = (0..width).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let written = raw.call(10, &write_payload(0, 0x100, &data));
        assert_eq!(written.payload, access(0, 0x100, u32::try_from(width).unwrap(), &[]));
        let read = raw.call(9, &access(0, 0x100, u32::try_from(width).unwrap(), &[]));
        assert_eq!(read.payload, write_payload(0, 0x100, &data));
    }
}

#[test]
fn region_accesses_out_of_range_are_refused_in_step() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    for (region, offset, count) in [
        (0, BAR0_SIZE, 1),
        (0, BAR0_SIZE - 1, 2),
        (0, u64::MAX, 4),
        (0, 0, (1 << 20) + 1),
        (0, 0, u32::MAX),
        (1, 0, 4),
        (11, 0, 4),
        (u32::MAX, 0, 4),
        (CONFIG, 4094, 4),
    ] {
        assert_eq!(raw.call(9, &access(region, offset, count, &[])).errno(), EINVAL, "{region} {offset}");
        assert_eq!(raw.call(10, &access(region, offset, count, &[])).errno(), EINVAL, "{region} {offset}");
    }
    assert_eq!(raw.call(10, &write_payload(0, BAR0_SIZE - 2, &[0; 4])).errno(), EINVAL);
    raw.assert_alive();
}

#[test]
fn a_megabyte_that_is_refused_leaves_the_stream_in_step() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    for (size, errno) in [(1 << 20, EINVAL), ((1 << 20) + 4096, E2BIG), (3 << 20, E2BIG)] {
        let bytes = message(5, 10, &write_payload(0, 0, &vec![0; size]));
        let writer = raw.stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || std::io::Write::write_all(&mut &writer, &bytes).unwrap());
        assert_eq!(raw.receive().errno(), errno);
        sender.join().unwrap();
        raw.assert_alive();
    }
}

#[test]
fn a_posted_write_is_not_answered_and_is_done_before_the_next_reply() {
    let fixture = Fixture::new();
    let (client, session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    raw.send(&posted(1, 10, &write_payload(0, 0x40, &[7; 4])), &[]);
    let read = raw.call(9, &access(0, 0x40, 4, &[]));
    assert_eq!(read.payload[16..], [7; 4]);
    for bad in [posted(2, 10, &write_payload(0, BAR0_SIZE, &[7; 4])), posted(3, 999, &[])] {
        raw.send(&bad, &[]);
        raw.assert_alive();
    }
    drop(raw);
    let report = session.report();
    assert_eq!((report.posted_failures, report.refused), (2, 0));
}

#[test]
fn several_writes_in_one_message_are_done_in_order_up_to_the_first_that_fails() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    let entry = |offset: u64, region, count, byte| {
        [&offset.to_ne_bytes()[..], &words(&[region, count]), &[byte; 8]].concat()
    };
    let multi = |entries: &[Vec<u8>]| [&(entries.len() as u64).to_ne_bytes()[..], &entries.concat()].concat();
    let good = [entry(0x80, 0, 4, 1), entry(0x84, 0, 2, 2), entry(0x80, 0, 1, 3)];
    assert_eq!(raw.call(15, &multi(&good)).payload, 3u64.to_ne_bytes());
    assert_eq!(raw.call(9, &access(0, 0x80, 8, &[])).payload[16..], [3, 1, 1, 1, 2, 2, 0, 0]);
    let mixed = [entry(0x90, 0, 4, 1), entry(BAR0_SIZE, 0, 4, 1), entry(0x94, 0, 4, 1)];
    assert_eq!(raw.call(15, &multi(&mixed)).payload, 1u64.to_ne_bytes());
    assert_eq!(raw.call(9, &access(0, 0x90, 8, &[])).payload[16..], [1, 1, 1, 1, 0, 0, 0, 0]);
    assert_eq!(raw.call(15, &multi(&mixed[1..])).errno(), EINVAL);
    raw.assert_alive();
}

#[test]
fn mapped_memory_reaches_the_device_and_unmapped_memory_does_not() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    let memory = SharedMemory::new(8192).unwrap();
    memory.write(4096, &[9; 8]).unwrap();
    assert_eq!(raw.call_with(2, &map_payload(0x10_0000, 8192), &[memory.as_fd()]).errno(), 0);
    assert_eq!(raw.call(10, &write_payload(CONFIG, 4, &[6, 0])).errno(), 0);
    let fetch = |raw: &mut Raw| {
        raw.call(10, &write_payload(0, DMA_ADDRESS, &0x10_1000u64.to_le_bytes()));
        raw.call(10, &write_payload(0, DMA_READ, &[0; 4]));
        raw.call(9, &access(0, DMA_DATA, 8, &[])).payload[16..].to_vec()
    };
    assert_eq!(fetch(&mut raw), [9; 8]);
    let unmap = unmap_payload(0, 0x10_0000, 8192);
    assert_eq!(raw.call(3, &unmap).payload, unmap);
    assert_eq!(fetch(&mut raw), [0xee; 8]);
}

#[test]
fn maps_that_overlap_wrap_or_make_no_sense_are_refused() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    let memory = SharedMemory::new(8192).unwrap();
    let fd = memory.as_fd();
    assert_eq!(raw.call_with(2, &map_payload(0x10_0000, 8192), &[fd]).errno(), 0);
    for (iova, size, errno) in [
        (0x10_0000, 4096, EEXIST),
        (0x10_1000, 8192, EEXIST),
        (0xf_f000, 8192, EEXIST),
        (0x20_0000, 0, EINVAL),
        (u64::MAX - 4095, 8192, EINVAL),
        (0x20_0000, 1 << 40, EINVAL),
    ] {
        assert_eq!(raw.call_with(2, &map_payload(iova, size), &[fd]).errno(), errno, "{iova:#x} {size:#x}");
    }
    assert_eq!(raw.call_with(2, &map_payload(0x30_0000, 4096), &[fd, fd]).errno(), EINVAL);
    let mut mode = map_payload(0x40_0000, 4096);
    mode[4] |= 4;
    assert_eq!(raw.call(2, &mode).errno(), EINVAL, "an access mode needs a descriptor");
    mode[4] |= 16;
    assert_eq!(raw.call(2, &mode).errno(), EINVAL, "an unknown flag");
    for (flags, iova, size) in [(0, 0x50_0000, 4096), (2, 0, 4096), (4, 0, 0), (0, 0x10_0000, 4096)] {
        assert_ne!(raw.call(3, &unmap_payload(flags, iova, size)).errno(), 0);
    }
    assert_eq!(raw.call(3, &unmap_payload(1, 0x10_0000, 8192)).errno(), EOPNOTSUPP);
    let all = unmap_payload(2, 0, 0);
    assert_eq!(raw.call(3, &all).payload, all);
    assert_eq!(raw.call_with(2, &map_payload(0x10_0000, 8192), &[fd]).errno(), 0);
}

#[test]
fn device_reset_resets_and_features_are_not_there() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    raw.call(10, &write_payload(0, 0x40, &[7; 4]));
    assert_eq!(raw.call(13, &[]).errno(), 0);
    assert_eq!(fixture.device.resets.load(Ordering::Relaxed), 1);
    assert_eq!(raw.call(9, &access(0, 0x40, 4, &[])).payload[16..], [0; 4]);
    for feature in [0, 1, 2, 6, 8, 0xffff] {
        for flags in [1 << 16, 1 << 17, 1 << 18 | 1 << 16] {
            assert_eq!(raw.call(16, &words(&[8, flags | feature])).errno(), ENOTTY);
        }
    }
    assert_eq!(raw.call(16, &words(&[8, 3 << 16 | 1])).errno(), EINVAL);
    assert_eq!(raw.call(16, &words(&[7, 1 << 16 | 1])).errno(), EINVAL);
    raw.assert_alive();
}

#[test]
fn a_frozen_function_reads_all_ones_and_drops_writes_cfg_03() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    assert!(fixture.gate.freeze());
    for region in [0, CONFIG] {
        let reply = raw.call(9, &access(region, 0, 4, &[]));
        assert_eq!((reply.errno(), &reply.payload[16..]), (0, &[0xff; 4][..]));
        assert_eq!(raw.call(10, &write_payload(region, 0x40, &[1; 4])).errno(), 0);
    }
}

#[test]
fn an_access_to_a_blocked_function_is_answered_at_its_deadline() {
    let access_timeout = Duration::from_millis(50);
    let fixture = Fixture::with_limits(Limits { access_timeout, ..Limits::default() });
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    let mut token = ThreadToken::at_thread_entry();
    let deadline = Deadline::after(Duration::from_secs(60));
    let quiesced = fixture.gate.close(&mut token, Reason::Recovery, deadline).unwrap();
    let begin = Instant::now();
    for region in [0, CONFIG] {
        assert_eq!(raw.call(9, &access(region, 0, 4, &[])).errno(), ETIMEDOUT);
        assert_eq!(raw.call(10, &write_payload(region, 0x40, &[1; 4])).errno(), ETIMEDOUT);
    }
    assert!(begin.elapsed() >= 4 * access_timeout);
    drop(quiesced);
    raw.assert_alive();
}

#[test]
fn a_read_behind_posted_writes_to_a_blocked_function_is_answered_in_the_time_of_one_access() {
    const LIMIT: Duration = Duration::from_secs(1);
    let fixture = Fixture::with_limits(Limits { access_timeout: LIMIT, ..Limits::default() });
    let (client, session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    let mut token = ThreadToken::at_thread_entry();
    let deadline = Deadline::after(Duration::from_secs(60));
    let quiesced = fixture.gate.close(&mut token, Reason::Recovery, deadline).unwrap();
    let write = posted(1, 10, &write_payload(0, 0x40, &[1; 4]));
    let begin = Instant::now();
    // Two in one packet; the others when the first has begun to wait, so that they are received after it.
    raw.send(&[write.clone(), write.clone()].concat(), &[]);
    while fixture.gate.status().waiting_accesses == 0 {
        std::thread::yield_now();
    }
    for _ in 0..3 {
        raw.send(&write, &[]);
    }
    raw.send(&message(2, 3, &unmap_payload(0, 0x1000, 0x1000)), &[]);
    raw.send(&message(3, 9, &access(0, 0, 4, &[])), &[]);
    assert_eq!(raw.receive().errno(), Errno::NOENT.raw_os_error());
    assert_eq!(raw.receive().errno(), ETIMEDOUT);
    let waited = begin.elapsed();
    assert!(waited >= LIMIT && waited < LIMIT * 2, "{waited:?}");
    // All is answered, so what comes now has the whole time again.
    let begin = Instant::now();
    assert_eq!(raw.call(9, &access(0, 0, 4, &[])).errno(), ETIMEDOUT);
    assert!(begin.elapsed() >= LIMIT);
    drop(quiesced);
    raw.assert_alive();
    drop(raw);
    assert_eq!(session.report().posted_failures, 5);
}

#[test]
fn a_function_frozen_by_an_unmap_is_refused_at_version_until_its_dma_is_over() {
    let limits = Limits {
        unmap_timeout: Duration::from_millis(20),
        attach_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let fixture = Fixture::with_limits(limits);
    let token = ThreadToken::at_thread_entry();
    let command = {
        let handle = fixture.gate.handle();
        let pass = handle.try_enter(&token, AccessKind::Dma).unwrap();
        pass.long(AccessKind::Dma, "a slow command")
    };
    assert!(fixture.gate.freeze());
    let (client, session) = fixture.serve();
    assert_eq!(Raw::new(client).call(1, &version("{}")).errno(), EBUSY);
    assert_eq!(session.report().end, SessionEnd::Refused(Errno::BUSY));
    drop(command);
    let (client, _session) = fixture.serve();
    Raw::negotiated(client).assert_alive();
    assert_eq!(fixture.device.resets.load(Ordering::Relaxed), 1);
}

#[test]
fn replies_and_unknown_types_from_a_client_are_refused() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    for flags in [1, 2, 15] {
        raw.send(&with_flags(4, 9, flags, &access(CONFIG, 0, 4, &[])), &[]);
        assert_eq!(raw.receive().errno(), EINVAL);
        raw.assert_alive();
    }
}

#[test]
fn a_size_that_cannot_be_stepped_over_is_answered_and_ends_the_session() {
    for size in [0u32, 15, 1 << 30, u32::MAX] {
        let fixture = Fixture::new();
        let (client, session) = fixture.serve();
        let mut raw = Raw::negotiated(client);
        let mut bytes = message(4, 9, &access(CONFIG, 0, 4, &[]));
        bytes[4..8].copy_from_slice(&size.to_ne_bytes());
        raw.send(&bytes, &[]);
        assert_eq!(raw.receive().errno(), EINVAL);
        assert!(raw.rest().is_empty());
        assert_eq!(session.report().end, SessionEnd::OutOfStep);
        Raw::negotiated(fixture.serve().0).assert_alive();
    }
}

#[test]
fn a_client_that_stops_in_the_middle_or_says_nothing_is_given_up() {
    let options = SessionOptions { message_timeout: Duration::from_millis(50), ..SessionOptions::default() };
    let fixture = Fixture::new();
    let (silent, session) = fixture.serve_with(options);
    assert_eq!(session.report().end, SessionEnd::TimedOut);
    drop(silent);
    let (client, session) = fixture.serve_with(options);
    let mut raw = Raw::negotiated(client);
    raw.assert_alive();
    raw.send(&message(4, 9, &access(CONFIG, 0, 4, &[]))[..20], &[]);
    assert_eq!(session.report().end, SessionEnd::TimedOut);
    assert!(!fixture.assignment.is_attached());
}

#[test]
fn a_client_that_drips_one_message_is_given_up() {
    let options = SessionOptions { message_timeout: Duration::from_millis(50), ..SessionOptions::default() };
    let fixture = Fixture::new();
    let (client, session) = fixture.serve_with(options);
    let raw = Raw::negotiated(client);
    let bytes = message(4, 10, &write_payload(0, 0, &vec![0; 1 << 20]));
    let mut sender = &raw.stream;
    let sent =
        bytes.iter().take_while(|byte| std::io::Write::write_all(&mut sender, &[**byte]).is_ok()).count();
    assert!(sent < bytes.len(), "a megabyte, byte by byte, takes longer than the time-out");
    assert_eq!(session.report().end, SessionEnd::TimedOut);
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let options = SessionOptions { send_timeout: Duration::from_millis(50), ..SessionOptions::default() };
    let fixture = Fixture::new();
    let (client, session) = fixture.serve_with(options);
    let raw = Raw::negotiated(client);
    let sender = raw.stream.try_clone().unwrap();
    let read = message(4, 9, &access(0, 0, 4096, &[]));
    // Ends with an error when the server hangs up.
    while std::io::Write::write_all(&mut &sender, &read).is_ok() {}
    assert_eq!(session.report().end, SessionEnd::TimedOut);
}
