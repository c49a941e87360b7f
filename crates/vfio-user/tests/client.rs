//! The client, against this crate's server and against servers that lie.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use fake::*;
use gate::{Deadline, ThreadToken};
use rustix::io::Errno;
use vfio_user::client::{Client, ClientError, ClientOptions, Connector, SharedMemory};
use vfio_user::codec::{
    Introduction, MultiWrite, RegionInfoFlags, RegionType, SetIrqsFlags, SparseArea, irq_index,
};
use vfio_user::server::SessionOptions;

fn connect(fixture: &Fixture, token: &mut ThreadToken) -> Client {
    let (stream, _session) = fixture.serve();
    Client::from_stream(token, stream, ClientOptions { timeout: Duration::from_secs(60) }).unwrap()
}

#[test]
fn a_client_learns_what_the_function_is() {
    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let mut client = connect(&fixture, &mut token);
    assert_eq!(client.version(), (0, 1));
    assert!(client.capabilities().write_multiple);
    let info = client.device_info(&mut token).unwrap();
    assert_eq!((info.flags, info.num_regions, info.num_irqs), (3, 11, 5));
    assert_eq!(client.irq_info(&mut token, irq_index::MSI).unwrap().count, MSI_VECTORS);
    let bar = client.region_info(&mut token, 0).unwrap();
    assert_eq!(bar.flags(), RegionInfoFlags::all());
    assert_eq!((bar.info.size, bar.areas.len(), bar.fd.is_some()), (BAR0_SIZE, 1, true));
    let config = client.region_info(&mut token, CONFIG).unwrap();
    assert_eq!((config.info.size, config.areas.len(), config.fd.is_some()), (4096, 0, false));
    let own = client.region_info(&mut token, OWN).unwrap();
    assert_eq!((own.flags(), own.info.size), (RegionInfoFlags::all(), OWN_SIZE));
    assert_eq!(own.kind, Some(RegionType { kind: KIND, subtype: 1 }));
    let area = |offset| SparseArea { offset, size: 0x1000 };
    assert_eq!(own.mappable(), [area(OWN_DATA), area(OWN_DOORBELLS)]);
    let fixed = client.region_info(&mut token, FIXED).unwrap();
    assert_eq!((fixed.flags(), fixed.info.size), (RegionInfoFlags::READ | RegionInfoFlags::CAPS, 16));
    assert_eq!((fixed.kind.unwrap().subtype, fixed.mappable(), fixed.fd.is_some()), (2, vec![], false));
    assert!(matches!(fixed.map(&area(OWN_DATA)), Err(ClientError::Request(_))));
    let refused = client.region_info(&mut token, 11);
    assert!(matches!(refused, Err(ClientError::Refused { errno: Errno::INVAL, .. })));
    assert!(matches!(client.feature(&mut token, 1 << 16 | 1), Err(ClientError::Refused { .. })));
    client.reset(&mut token).unwrap();
}

#[test]
fn reads_writes_posted_writes_and_pipelines_agree() {
    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let mut client = connect(&fixture, &mut token);
    for word in 0..200u32 {
        client.region_post(&mut token, 0, 0x100 + u64::from(word) * 4, &word.to_le_bytes()).unwrap();
    }
    let offsets: Vec<u64> = (0..200).map(|word| 0x100 + word * 4).collect();
    let mut data = vec![0; 800];
    client.region_read_many(&mut token, 0, &offsets, &mut data).unwrap();
    let expected: Vec<u8> = (0..200u32).flat_map(u32::to_le_bytes).collect();
    assert_eq!(data, expected);
    client.region_write(&mut token, 0, 0x100, &[0xaa; 8]).unwrap();
    let write = |offset, byte| MultiWrite { offset, region: 0, count: 2, data: [byte; 8] };
    assert_eq!(client.region_write_multi(&mut token, &[write(0x102, 1), write(0x106, 2)]).unwrap(), 2);
    let mut data = [0; 8];
    client.region_read(&mut token, 0, 0x100, &mut data).unwrap();
    assert_eq!(data, [0xaa, 0xaa, 1, 1, 0xaa, 0xaa, 2, 2]);
}

#[test]
fn a_refusal_in_the_middle_of_a_pipeline_keeps_the_stream_in_step() {
    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let mut client = connect(&fixture, &mut token);
    let mut data = [0; 12];
    let outcome = client.region_read_many(&mut token, 0, &[0, BAR0_SIZE, 4], &mut data);
    assert!(matches!(outcome, Err(ClientError::Refused { errno: Errno::INVAL, .. })));
    client.region_read(&mut token, CONFIG, 0, &mut data[..4]).unwrap();
    assert_eq!(data[..4], [0x34, 0x12, 0xe8, 0x11]);
}

#[test]
fn a_mapped_page_is_shared_with_the_device() {
    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let mut client = connect(&fixture, &mut token);
    let bar = client.region_info(&mut token, 0).unwrap();
    let area = bar.map(&bar.areas[0]).unwrap();
    area.atomic_u32(0x10).unwrap().store(0x1234_5678, Ordering::Release);
    assert_eq!(fixture.device.page_dword(0x10), 0x1234_5678);
    let mut word = [0; 4];
    client.region_read(&mut token, 0, MAPPED + 0x10, &mut word).unwrap();
    assert_eq!(u32::from_le_bytes(word), 0x1234_5678);
    let own = client.region_info(&mut token, OWN).unwrap();
    assert_eq!(own.map(&own.areas[1]).unwrap().offset(), OWN_DOORBELLS);
    for (offset, size) in [(0, 0x1000), (OWN_DATA, 0x1001), (OWN_DOORBELLS, u64::MAX), (OWN_SIZE, 0x1000)] {
        let refused = own.map(&SparseArea { offset, size });
        assert!(matches!(refused, Err(ClientError::Request(_))), "{offset:#x} {size:#x}");
    }
}

#[test]
fn memory_and_interrupts_go_both_ways() {
    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let mut client = connect(&fixture, &mut token);
    let memory = SharedMemory::new(4096).unwrap();
    memory.write(8, &[5; 8]).unwrap();
    client.dma_map(&mut token, 0x9000, &memory).unwrap();
    client.region_write(&mut token, CONFIG, 4, &[6, 0]).unwrap();
    client.region_write(&mut token, 0, DMA_ADDRESS, &0x9008u64.to_le_bytes()).unwrap();
    client.region_write(&mut token, 0, DMA_READ, &[0; 4]).unwrap();
    let mut data = [0; 8];
    client.region_read(&mut token, 0, DMA_DATA, &mut data).unwrap();
    assert_eq!(data, [5; 8]);
    client.dma_unmap(&mut token, 0x9000, 4096).unwrap();
    client.dma_unmap_all(&mut token).unwrap();

    let eventfds = [new_eventfd(), new_eventfd()];
    let fds: Vec<_> = eventfds.iter().map(AsFd::as_fd).collect();
    client.set_irq_eventfds(&mut token, irq_index::MSIX, 0, &fds).unwrap();
    client.region_write(&mut token, 0, SIGNAL, &[1, 0, 0, 0]).unwrap();
    assert_eq!(signals(&eventfds[1]), 1);
    client.irq_action(&mut token, irq_index::MSIX, 0, 1, SetIrqsFlags::ACTION_TRIGGER).unwrap();
    assert_eq!(signals(&eventfds[0]), 1);
    client.disable_irqs(&mut token, irq_index::MSIX).unwrap();
    client.region_write(&mut token, 0, SIGNAL, &[1, 0, 0, 0]).unwrap();
    assert_eq!(signals(&eventfds[1]), 0);
}

#[test]
fn a_server_says_more_of_itself_only_to_a_client_that_introduces_itself() {
    let mut token = ThreadToken::at_thread_entry();
    for tells_of_io in [false, true] {
        for introduce in [false, true] {
            let fixture = Fixture::new();
            let (stream, _session) = fixture.serve_with(SessionOptions { tells_of_io, ..Default::default() });
            let options = ClientOptions { timeout: Duration::from_secs(60) };
            let connector = Connector { options, introduce, commands: None };
            let deadline = Deadline::after(options.timeout);
            let client = connector.negotiate(&mut token, stream, deadline).unwrap();
            let said = introduce.then_some(Introduction { io_over: tells_of_io });
            assert_eq!(client.capabilities().portcullis, said);
        }
    }
    // On the wire of others there is no trace of it.
    let fixture = Fixture::new();
    let (stream, _session) = fixture.serve_with(SessionOptions::default());
    let mut raw = Raw::new(stream);
    raw.send(&message(0, 1, &version("{\"capabilities\":{\"max_msg_fds\":16}}")), &[]);
    let reply = raw.receive();
    assert!(!String::from_utf8_lossy(&reply.payload).contains("portcullis"));
    assert!(reply.payload.len() + 16 <= 214, "longer than QEMU takes");
}

/// The bytes that answer a message with this id and command.
type Answer = Box<dyn Fn(u16, u16) -> Vec<u8> + Send>;

/// A server that negotiates and then answers each message with these bytes, made from its id and command.
fn liar(answer: impl Fn(u16, u16) -> Vec<u8> + Send + 'static) -> (UnixStream, JoinHandle<()>) {
    let (client, server) = UnixStream::pair().unwrap();
    let thread = std::thread::spawn(move || {
        let mut raw = Raw::new(server);
        let request = raw.receive();
        let id = request.header.message_id;
        raw.send(&with_flags(id, 1, 1, &version("{}")), &[]);
        let request = raw.receive();
        raw.send(&answer(request.header.message_id, request.header.command), &[]);
        // Until the client leaves.
        raw.rest();
    });
    (client, thread)
}

#[test]
fn servers_that_lie_are_found_out_without_harm() {
    let mut token = ThreadToken::at_thread_entry();
    let reply = |payload: Vec<u8>| move |id, command| with_flags(id, command, 1, &payload);
    let answers: Vec<(&str, Answer)> = vec![
        ("short", Box::new(reply(vec![0; 3]))),
        ("long", Box::new(reply(access(0, 0, 4, &[0; 5])))),
        ("count", Box::new(reply(access(0, 0, u32::MAX, &[0; 4])))),
        ("id", Box::new(|id, command| with_flags(id + 1, command, 1, &access(0, 0, 4, &[0; 4])))),
        ("command", Box::new(|id, command| with_flags(id, command + 1, 1, &access(0, 0, 4, &[0; 4])))),
        ("type", Box::new(|id, command| with_flags(id, command, 7, &access(0, 0, 4, &[0; 4])))),
        ("commands", Box::new(|id, _| message(id, 11, &[0; 16]).repeat(100))),
        ("size", Box::new(|_, _| vec![0xff; 64])),
        ("tiny size", Box::new(|_, _| vec![0; 64])),
    ];
    for (name, answer) in answers {
        let (stream, server) = liar(answer);
        let options = ClientOptions { timeout: Duration::from_secs(60) };
        let mut client = Client::from_stream(&mut token, stream, options).unwrap();
        let mut data = [0; 4];
        let outcome = client.region_read(&mut token, 0, 0, &mut data);
        assert!(matches!(outcome, Err(ClientError::Malformed { .. })), "{name}: {outcome:?}");
        assert!(matches!(client.reset(&mut token), Err(ClientError::Broken)), "{name}");
        drop(client);
        server.join().unwrap();
    }
}

#[test]
fn a_command_of_the_server_is_declined_and_the_reply_behind_it_is_taken() {
    let mut token = ThreadToken::at_thread_entry();
    let (stream, server) = liar(|id, command| {
        [message(99, 11, &[0; 16]), with_flags(id, command, 1, &access(0, 0, 4, &[7; 4]))].concat()
    });
    let mut client = Client::from_stream(&mut token, stream, ClientOptions::default()).unwrap();
    let mut data = [0; 4];
    client.region_read(&mut token, 0, 0, &mut data).unwrap();
    assert_eq!(data, [7; 4]);
    drop(client);
    server.join().unwrap();
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let mut token = ThreadToken::at_thread_entry();
    for answer in [vec![], vec![0; 3], message(0, 9, &[0; 16])[..20].to_vec()] {
        let (stream, server) = liar(move |_, _| answer.clone());
        let options = ClientOptions { timeout: Duration::from_millis(200) };
        let mut client = Client::from_stream(&mut token, stream, options).unwrap();
        assert!(matches!(client.reset(&mut token), Err(ClientError::Connection(_))));
        drop(client);
        server.join().unwrap();
    }
}

#[test]
fn nobody_at_the_path_is_an_error_that_names_it() {
    let mut token = ThreadToken::at_thread_entry();
    let directory = tempfile::tempdir().unwrap();
    let outcome = Client::connect(&mut token, directory.path(), ClientOptions::default());
    let Err(error @ ClientError::Connect { .. }) = outcome else { panic!("it should not connect") };
    assert!(error.to_string().contains("/cntrl"));
}
