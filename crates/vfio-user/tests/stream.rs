//! Pieces and batches: however the bytes of a session are cut, it goes the same way, and descriptors stay with
//! the message they came with.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use fake::*;
use vfio_user::client::SharedMemory;
use vfio_user::server::SessionOptions;

/// Commands of a session without descriptors, and how many are answered.
fn recorded() -> (Vec<u8>, usize) {
    let commands = [
        message(0, 1, &version("{\"capabilities\":{\"max_msg_fds\":8}}")),
        message(1, 4, &words(&[16, 0, 0, 0])),
        message(2, 7, &words(&[16, 0, 1, 0])),
        message(3, 999, &[1, 2, 3]),
        message(4, 10, &write_payload(0, 0x40, &[5; 700])),
        posted(5, 10, &write_payload(0, 0x40, &[6; 4])),
        message(6, 9, &access(0, 0x40, 8, &[])),
        message(7, 2, &map_payload(0x1000, 4096)),
        message(8, 3, &unmap_payload(2, 0, 0)),
        message(9, 13, &[]),
    ];
    (commands.concat(), commands.len() - 1)
}

/// All that the server answers to these bytes, sent in pieces of this size.
fn replies(piece: usize) -> Vec<u8> {
    let fixture = Fixture::new();
    let (client, session) = fixture.serve();
    let mut raw = Raw::new(client);
    for bytes in recorded().0.chunks(piece) {
        raw.send(bytes, &[]);
    }
    raw.stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut replies = Vec::new();
    raw.stream.read_to_end(&mut replies).unwrap();
    session.report();
    replies
}

#[test]
fn a_session_goes_the_same_way_byte_by_byte_in_pieces_and_all_at_once() {
    let whole = replies(usize::MAX);
    assert!(whole.len() > recorded().1 * 16);
    for piece in [1, 2, 7, 15, 16, 17, 100] {
        assert_eq!(replies(piece), whole, "pieces of {piece}");
    }
}

#[test]
fn replies_come_in_order_when_hundreds_of_requests_are_sent_at_once() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    let reads = (0..500).flat_map(|id| message(id, 9, &access(CONFIG, 0, 4, &[]))).collect::<Vec<_>>();
    raw.send(&reads, &[]);
    for id in 0..500 {
        let reply = raw.receive();
        assert_eq!((reply.header.message_id, reply.errno()), (id, 0));
    }
}

/// The device reads 8 bytes from this address.
fn fetch(raw: &mut Raw, iova: u64) -> Vec<u8> {
    raw.call(10, &write_payload(CONFIG, 4, &[6, 0]));
    raw.call(10, &write_payload(0, DMA_ADDRESS, &iova.to_le_bytes()));
    raw.call(10, &write_payload(0, DMA_READ, &[0; 4]));
    raw.call(9, &access(0, DMA_DATA, 8, &[])).payload[16..].to_vec()
}

fn memory(byte: u8) -> SharedMemory {
    let memory = SharedMemory::new(4096).unwrap();
    memory.write(0, &[byte; 8]).unwrap();
    memory
}

/// A stream in whose buffer all this waits before the session begins, so that how it is received does not depend on
/// the threads' speed. `VERSION` goes first and is answered first.
fn preloaded(packets: &[(&[u8], &[&SharedMemory])]) -> (Fixture, Raw, Running) {
    let (client, server) = UnixStream::pair().unwrap();
    let mut raw = Raw::new(client);
    raw.send(&message(0, 1, &version("{}")), &[]);
    for (bytes, memories) in packets {
        let fds: Vec<_> = memories.iter().map(|memory| memory.as_fd()).collect();
        raw.send(bytes, &fds);
    }
    let fixture = Fixture::new();
    let session = fixture.start(server, SessionOptions::default());
    assert_eq!(raw.receive().errno(), 0);
    (fixture, raw, session)
}

fn expect_success(raw: &mut Raw, ids: std::ops::RangeInclusive<u16>) {
    for id in ids {
        let reply = raw.receive();
        assert_eq!((reply.header.message_id, reply.errno()), (id, 0));
    }
}

#[test]
fn descriptors_of_messages_received_together_stay_with_their_messages() {
    let (first, second) = (memory(1), memory(2));
    let info = |id| message(id, 4, &words(&[16, 0, 0, 0]));
    // The third message maps a range without memory: a descriptor that slipped would be taken for its own.
    let (_fixture, mut raw, _session) = preloaded(&[
        (&info(1), &[]),
        (&message(2, 2, &map_payload(0x1000, 4096)), &[&first]),
        (&message(3, 2, &map_payload(0x2000, 4096)), &[]),
        (&message(4, 2, &map_payload(0x3000, 4096)), &[&second]),
        (&info(5), &[]),
    ]);
    expect_success(&mut raw, 1..=5);
    assert_eq!(fetch(&mut raw, 0x1000), [1; 8]);
    assert_eq!(fetch(&mut raw, 0x2000), [0xee; 8]);
    assert_eq!(fetch(&mut raw, 0x3000), [2; 8]);
}

#[test]
fn descriptors_of_a_message_sent_in_pieces_stay_with_it() {
    for cut in [1, 8, 15, 16, 17, 40, 47] {
        let memory = memory(3);
        let map = message(2, 2, &map_payload(0x1000, 4096));
        let after = message(3, 2, &map_payload(0x2000, 4096));
        let (_fixture, mut raw, _session) = preloaded(&[
            (&message(1, 4, &words(&[16, 0, 0, 0])), &[]),
            (&map[..cut], &[&memory]),
            (&[&map[cut..], &after[..]].concat(), &[]),
        ]);
        expect_success(&mut raw, 1..=3);
        assert_eq!(fetch(&mut raw, 0x1000), [3; 8], "cut at {cut}");
        assert_eq!(fetch(&mut raw, 0x2000), [0xee; 8], "cut at {cut}");
    }
}

#[test]
fn descriptors_nobody_asked_for_do_not_go_to_a_later_message() {
    let unwanted = memory(4);
    let (_fixture, mut raw, _session) = preloaded(&[
        (&message(1, 3, &unmap_payload(2, 0, 0)), &[&unwanted]),
        (&message(2, 9, &access(CONFIG, 0, 4, &[])), &[&unwanted, &unwanted]),
        (&message(3, 2, &map_payload(0x1000, 4096)), &[]),
    ]);
    expect_success(&mut raw, 1..=3);
    assert_eq!(fetch(&mut raw, 0x1000), [0xee; 8]);
}
