//! What the known clients do, in their order and with their habits.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fake::*;
use gate::ThreadToken;
use vfio_user::client::SharedMemory;
use vfio_user::server::{Server, ServerOptions, Stop};

/// QEMU 11.1.3 attaches in this order, and a wrong answer to some of these crashes it.
#[test]
fn the_attach_of_qemu_is_answered_as_it_needs() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::new(client);
    let capabilities = "{\"capabilities\":{\"migration\":{\"pgsize\":4096,\"max_bitmap_size\":268435456},\
                        \"max_msg_fds\":1,\"max_data_xfer_size\":1048576,\"max_dma_maps\":65535,\
                        \"pgsizes\":4096,\"write_multiple\":true}}";
    let request = version(capabilities);
    let reply = raw.call(1, &request);
    assert_eq!(reply.errno(), 0);
    assert!(reply.payload.len() <= request.len(), "QEMU has room for its own request only");
    assert!(reply.header.size <= 214);
    // RAM and the BIOS ROM, in one go; the ROM without a descriptor.
    let ram = SharedMemory::new(1 << 20).unwrap();
    raw.send(&message(1, 2, &map_payload(0, 1 << 20)), &[ram.as_fd()]);
    let mut rom = map_payload(0xfffc_0000, 0x4_0000);
    rom[4] = 1;
    raw.send(&message(2, 2, &rom), &[]);
    for id in [1, 2] {
        let reply = raw.receive();
        assert_eq!((reply.header.message_id, reply.header.size, reply.errno()), (id, 16, 0));
    }
    assert_eq!(raw.call(4, &words(&[16, 0, 0, 0])).payload, words(&[16, 3, 11, 5]));
    for index in [0, 1, 2, 3, 4, 5, 7] {
        let small = raw.call(5, &words(&[32, 0, index, 0, 0, 0, 0, 0]));
        let word = |at: usize| u32::from_ne_bytes(small.payload[4 * at..][..4].try_into().unwrap());
        let argsz = word(0);
        // Capabilities are where they would be, though there was no room for them.
        assert_eq!(word(3), if word(1) & 8 == 0 { 0 } else { 32 }, "region {index}");
        if argsz > 32 {
            let full = raw.call(5, &words(&[argsz, 0, index, 0, 0, 0, 0, 0]));
            assert_eq!((full.payload.len(), full.fds.len()), (argsz as usize, 1));
        }
    }
    assert_eq!(raw.call(7, &words(&[16, 0, 3, 0])).payload, words(&[16, 9, 3, 0]));
    for count in [256, 4096] {
        assert_eq!(raw.call(9, &access(CONFIG, 0, count, &[])).payload.len(), 16 + count as usize);
    }
    // ROM BAR: write ones, read back, no ROM.
    assert_eq!(raw.call(10, &write_payload(CONFIG, 0x30, &[0xff; 4])).errno(), 0);
    assert_eq!(raw.call(9, &access(CONFIG, 0x30, 4, &[])).payload[16..], [0; 4]);
    assert_eq!(raw.call(7, &words(&[16, 0, 2, 0])).payload, words(&[16, 1, 2, MSIX_VECTORS]));
    let intx = new_eventfd();
    assert_eq!(raw.call_with(8, &words(&[20, 0x24, 0, 0, 1]), &[intx.as_fd()]).errno(), 0);
    // The error interrupt has no vectors; QEMU takes the refusal with a warning.
    let error = new_eventfd();
    assert_ne!(raw.call_with(8, &words(&[20, 0x24, 3, 0, 1]), &[error.as_fd()]).errno(), 0);
    assert_eq!(raw.call(13, &[]).errno(), 0);
    assert_eq!(raw.call_with(8, &words(&[20, 0x24, 0, 0, 1]), &[intx.as_fd()]).errno(), 0);
    boot_like_qemu(&mut raw, &ram);
}

/// Memory comes and goes, INTx makes way for MSI-X, and the mapped page of the device comes back as a map.
fn boot_like_qemu(raw: &mut Raw, ram: &SharedMemory) {
    for _ in 0..20 {
        assert_eq!(raw.call(3, &unmap_payload(2, 0, 0)).payload, unmap_payload(2, 0, 0));
        assert_eq!(raw.call_with(2, &map_payload(0, 0xa0000), &[ram.as_fd()]).errno(), 0);
        assert_eq!(raw.call(2, &map_payload(0xfebf_1000, 4096)).errno(), 0);
    }
    assert_eq!(raw.call(10, &write_payload(CONFIG, 4, &[6, 0])).errno(), 0);
    // INTx off, then MSI-X on with no descriptor at all, then the first vector.
    assert_eq!(raw.call(8, &words(&[20, 0x21, 0, 0, 0])).errno(), 0);
    assert_eq!(raw.call(8, &words(&[20, 0x24, 2, 0, 1])).errno(), 0);
    let vectors = [new_eventfd(), new_eventfd()];
    for (vector, index) in vectors.iter().zip(0..) {
        assert_eq!(raw.call_with(8, &words(&[20, 0x24, 2, index, 1]), &[vector.as_fd()]).errno(), 0);
    }
    assert_eq!(raw.call(10, &write_payload(0, SIGNAL, &[1, 0, 0, 0])).errno(), 0);
    assert_eq!((signals(&vectors[0]), signals(&vectors[1])), (0, 1));
    // An FLR arrives as a write of configuration space: bit 15 of Device Control.
    let config = raw.call(9, &access(CONFIG, 0, 256, &[])).payload.split_off(16);
    let mut at = usize::from(config[0x34]);
    while config[at] != 0x10 {
        at = usize::from(config[at + 1]);
    }
    assert_eq!(raw.call(10, &write_payload(CONFIG, at as u64 + 8, &[0, 0x80])).errno(), 0);
    raw.assert_alive();
}

/// SPDK's initiator: no JSON, id 0 always, a region information request with all its room, a descriptor even on
/// an unmap, and high addresses.
#[test]
fn the_initiator_of_spdk_is_served() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let mut raw = Raw::new(client);
    let mut call = |command, payload: &[u8], memory: Option<&SharedMemory>| {
        let fds: Vec<_> = memory.iter().map(|memory| memory.as_fd()).collect();
        raw.send(&message(0, command, payload), &fds);
        let reply = raw.receive();
        assert_eq!((reply.header.message_id, reply.errno()), (0, 0), "command {command}");
        reply
    };
    call(1, &[0, 0, 1, 0], None);
    call(4, &words(&[16, 0, 0, 0]), None);
    let mut request = vec![0; 4064];
    request[..4].copy_from_slice(&4064u32.to_ne_bytes());
    let region = call(5, &request, None);
    assert_eq!(region.fds.len(), 1);
    assert_eq!(region.payload[48..56], MAPPED.to_ne_bytes());
    let memory = SharedMemory::new(2 << 20).unwrap();
    memory.write(0, &[8; 8]).unwrap();
    call(2, &map_payload(0x2000_0000_0000, 2 << 20), Some(&memory));
    call(10, &write_payload(CONFIG, 4, &[6, 0]), None);
    call(10, &write_payload(0, DMA_ADDRESS, &0x2000_0000_0000_u64.to_le_bytes()), None);
    call(10, &write_payload(0, DMA_READ, &[0; 4]), None);
    assert_eq!(call(9, &access(0, DMA_DATA, 8, &[]), None).payload[16..], [8; 8]);
    call(3, &unmap_payload(0, 0x2000_0000_0000, 2 << 20), Some(&memory));
}

/// SPDK receives a reply's header and payload in one go, so they must leave in one send.
#[test]
fn header_and_payload_of_a_reply_are_received_together() {
    let fixture = Fixture::new();
    let (client, _session) = fixture.serve();
    let raw = Raw::negotiated(client);
    for (command, payload, size) in [
        (9, access(CONFIG, 0, 64, &[]), 16 + 16 + 64),
        (10, write_payload(0, 0x40, &[0; 8]), 16 + 16),
        (4, words(&[16, 0, 0, 0]), 16 + 16),
        (5, words(&[4064, 0, 0, 0, 0, 0, 0, 0]), 16 + 64),
    ] {
        raw.send(&message(0, command, &payload), &[]);
        let mut buffer = [0; 4096];
        assert_eq!(std::io::Read::read(&mut &raw.stream, &mut buffer).unwrap(), size, "command {command}");
    }
}

/// An independent implementation of the client.
#[test]
fn the_client_of_rust_vmm_works() {
    let fixture = Fixture::new();
    let directory = tempfile::tempdir().unwrap();
    let server = Server::bind(
        directory.path().join("socket"),
        Arc::clone(&fixture.assignment),
        ServerOptions::default(),
    );
    let server = server.unwrap();
    let path = server.path().to_path_buf();
    let stop = Stop::new().unwrap();
    let switch = stop.clone();
    let thread = std::thread::spawn(move || {
        let mut token = ThreadToken::at_thread_entry();
        server.run(&mut token, &switch).unwrap();
    });

    let mut client = rust_vmm_vfio_user::Client::new(&path).unwrap();
    let bar0 = client.region(0).unwrap();
    assert_eq!((bar0.size, bar0.flags, bar0.sparse_areas.len()), (BAR0_SIZE, 0xf, 1));
    assert!(bar0.file_offset.is_some());
    assert_eq!(client.region(8).unwrap().size, 0);
    let own = client.region(OWN).unwrap();
    assert_eq!((own.size, own.flags, own.sparse_areas.len()), (OWN_SIZE, 0xf, 2));
    assert!(own.file_offset.is_some());
    assert_eq!((client.region(FIXED).unwrap().size, client.region(FIXED).unwrap().flags), (16, 9));
    client.region_write(OWN, 0x40, &[7; 4]).unwrap();
    let mut data = [0; 4];
    client.region_read(OWN, 0x40, &mut data).unwrap();
    assert_eq!(data, [7; 4]);
    client.region_write(0, 0x40, &[1, 2, 3, 4]).unwrap();
    let mut data = [0; 4];
    client.region_read(0, 0x40, &mut data).unwrap();
    assert_eq!(data, [1, 2, 3, 4]);
    client.region_read(CONFIG, 0, &mut data).unwrap();
    assert_eq!(data, [0x34, 0x12, 0xe8, 0x11]);

    let memory = SharedMemory::new(8192).unwrap();
    memory.write(0, &[6; 8]).unwrap();
    client.dma_map(0, 0x1000, 8192, memory.as_fd().as_raw_fd()).unwrap();
    client.region_write(CONFIG, 4, &[6, 0]).unwrap();
    client.region_write(0, DMA_ADDRESS, &0x1000u64.to_le_bytes()).unwrap();
    client.region_write(0, DMA_READ, &[0; 4]).unwrap();
    let mut fetched = [0; 8];
    client.region_read(0, DMA_DATA, &mut fetched).unwrap();
    assert_eq!(fetched, [6; 8]);
    client.dma_unmap(0x1000, 8192).unwrap();

    let msi = client.get_irq_info(1).unwrap();
    assert_eq!((msi.flags, msi.count), (9, MSI_VECTORS));
    let eventfd = new_eventfd();
    client.set_irqs(1, 0x24, 0, 1, &[eventfd.as_raw_fd()]).unwrap();
    client.region_write(0, SIGNAL, &[0; 4]).unwrap();
    assert_eq!(signals(&eventfd), 1);
    client.reset().unwrap();
    assert_eq!(fixture.device.resets.load(Ordering::Relaxed), 1);
    client.shutdown().unwrap();
    stop.stop();
    thread.join().unwrap();
}
