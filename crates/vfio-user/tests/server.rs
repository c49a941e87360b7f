//! The socket: one client at a time, refusals, stopping, and clients that come and go.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fake::*;
use gate::ThreadToken;
use rustix::io::Errno;
use vfio_user::client::{Client, ClientError, ClientOptions};
use vfio_user::codec::Command;
use vfio_user::server::{Server, ServerOptions, Stop};

struct Running {
    fixture: Fixture,
    path: PathBuf,
    stop: Stop,
    thread: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

fn serve(options: ServerOptions) -> Running {
    let fixture = Fixture::new();
    let directory = tempfile::tempdir().unwrap();
    let server = Server::bind(directory.path(), Arc::clone(&fixture.assignment), options).unwrap();
    let path = server.path().to_path_buf();
    let stop = Stop::new().unwrap();
    let switch = stop.clone();
    let thread = std::thread::spawn(move || {
        let mut token = ThreadToken::at_thread_entry();
        server.run(&mut token, &switch).unwrap();
    });
    Running { fixture, path, stop, thread, _directory: directory }
}

impl Running {
    fn connect(&self, token: &mut ThreadToken) -> Result<Client, ClientError> {
        Client::connect(token, &self.path, ClientOptions { timeout: Duration::from_secs(60) })
    }

    fn raw(&self) -> Raw {
        Raw::new(UnixStream::connect(&self.path).unwrap())
    }

    fn end(self) {
        self.stop.stop();
        self.thread.join().unwrap();
        assert!(!self.path.exists());
        assert!(!self.fixture.assignment.is_attached());
    }
}

fn identity(client: &mut Client, token: &mut ThreadToken) -> [u8; 4] {
    let mut id = [0; 4];
    client.region_read(token, CONFIG, 0, &mut id).unwrap();
    id
}

#[test]
fn a_second_client_is_refused_with_busy_and_the_first_notices_nothing() {
    let mut token = ThreadToken::at_thread_entry();
    let server = serve(ServerOptions::default());
    let mut first = server.connect(&mut token).unwrap();
    for _ in 0..20 {
        let refused = server.connect(&mut token);
        assert!(matches!(
            refused,
            Err(ClientError::Refused { command: Command::Version, errno: Errno::BUSY })
        ));
        assert_eq!(identity(&mut first, &mut token), [0x34, 0x12, 0xe8, 0x11]);
    }
    drop(first);
    server.end();
}

#[test]
fn a_client_may_leave_and_come_back_at_once_and_finds_the_device_as_it_was() {
    let mut token = ThreadToken::at_thread_entry();
    let server = serve(ServerOptions::default());
    for round in 0u32..50 {
        let mut client = server.connect(&mut token).unwrap();
        let mut found = [0; 4];
        client.region_read(&mut token, 0, 0x40, &mut found).unwrap();
        assert_eq!(u32::from_le_bytes(found), round);
        client.region_write(&mut token, 0, 0x40, &(round + 1).to_le_bytes()).unwrap();
    }
    server.end();
}

#[test]
fn silent_connections_keep_nobody_out_and_are_dropped() {
    let mut token = ThreadToken::at_thread_entry();
    let server = serve(ServerOptions { refusal_timeout: Duration::from_secs(1), ..Default::default() });
    let silent: Vec<_> = (0..40).map(|_| server.raw()).collect();
    // Half a header does not make a client either, while somebody else has the function.
    let mut client = server.connect(&mut token).unwrap();
    let half = server.raw();
    half.send(&message(0, 1, &[])[..7], &[]);
    assert_eq!(identity(&mut client, &mut token), [0x34, 0x12, 0xe8, 0x11]);
    for raw in silent {
        assert!(raw.rest().is_empty());
    }
    assert!(half.rest().is_empty());
    assert_eq!(identity(&mut client, &mut token), [0x34, 0x12, 0xe8, 0x11]);
    server.end();
}

#[test]
fn a_refused_client_gets_its_own_message_id_back() {
    let mut token = ThreadToken::at_thread_entry();
    let server = serve(ServerOptions::default());
    let _first = server.connect(&mut token).unwrap();
    let mut second = server.raw();
    second.send(&message(0xbeef, 1, &version("{}")), &[]);
    let reply = second.receive();
    assert_eq!((reply.header.message_id, reply.header.size, reply.errno()), (0xbeef, 16, 16));
    assert!(second.rest().is_empty());
    server.end();
}

#[test]
fn stopping_ends_a_session_and_its_client_sees_the_end() {
    let mut token = ThreadToken::at_thread_entry();
    let server = serve(ServerOptions::default());
    let mut client = server.connect(&mut token).unwrap();
    assert_eq!(identity(&mut client, &mut token), [0x34, 0x12, 0xe8, 0x11]);
    let begin = Instant::now();
    server.end();
    assert!(begin.elapsed() < Duration::from_secs(30));
    let mut id = [0; 4];
    assert!(matches!(client.region_read(&mut token, CONFIG, 0, &mut id), Err(ClientError::Connection(_))));
    assert!(matches!(client.region_read(&mut token, CONFIG, 0, &mut id), Err(ClientError::Broken)));
}

#[test]
fn stopping_works_with_nobody_there() {
    serve(ServerOptions::default()).end();
}

#[test]
fn clients_that_break_the_protocol_do_not_keep_the_next_one_out() {
    let mut token = ThreadToken::at_thread_entry();
    let server = serve(ServerOptions::default());
    for garbage in
        [vec![0xff; 5], vec![0xff; 64], vec![0; 64], message(0, 1, &[0xff; 10]), message(3, 9, &[])]
    {
        let raw = server.raw();
        raw.send(&garbage, &[]);
        drop(raw);
        let mut client = server.connect(&mut token).unwrap();
        assert_eq!(identity(&mut client, &mut token), [0x34, 0x12, 0xe8, 0x11]);
    }
    server.end();
}

#[test]
fn one_thread_serves_many_functions_and_each_has_one_client() {
    let mut token = ThreadToken::at_thread_entry();
    let directory = tempfile::tempdir().unwrap();
    let options = ServerOptions { refusal_timeout: Duration::from_secs(30), ..Default::default() };
    let fixtures: Vec<_> = (0..5).map(|_| Fixture::new()).collect();
    let servers: Vec<_> = fixtures
        .iter()
        .enumerate()
        .map(|(nth, fixture)| {
            let path = directory.path().join(nth.to_string());
            Server::bind(path, Arc::clone(&fixture.assignment), options).unwrap()
        })
        .collect();
    let paths: Vec<_> = servers.iter().map(|server| server.path().to_owned()).collect();
    let stop = Stop::new().unwrap();
    let switch = stop.clone();
    let thread = std::thread::spawn(move || {
        let mut token = ThreadToken::at_thread_entry();
        Server::run_all(&servers, &mut token, &switch).unwrap();
    });
    let mut connect = |nth: usize| {
        Client::connect(&mut token, &paths[nth], ClientOptions { timeout: Duration::from_secs(60) })
    };
    // Connections that say nothing, at every door and more than one takes at a time.
    let silent: Vec<_> =
        paths.iter().flat_map(|path| (0..20).map(move |_| UnixStream::connect(path).unwrap())).collect();
    let mut clients: Vec<_> = (0..5).map(|nth| connect(nth).unwrap()).collect();
    for nth in 0..5 {
        let refused = connect(nth);
        assert!(matches!(refused, Err(ClientError::Refused { errno: Errno::BUSY, .. })), "{nth}");
    }
    // One leaves; its place, and no other, is free.
    drop(clients.remove(2));
    clients.push(connect(2).unwrap());
    assert!(connect(3).is_err());
    for client in &mut clients {
        assert_eq!(identity(client, &mut token), [0x34, 0x12, 0xe8, 0x11]);
    }
    // A write reaches the function it was meant for.
    clients[1].region_write(&mut token, 0, 0x40, &[7; 4]).unwrap();
    let mut found = [0; 4];
    clients[0].region_read(&mut token, 0, 0x40, &mut found).unwrap();
    assert_eq!(found, [0; 4]);
    stop.stop();
    thread.join().unwrap();
    assert!(paths.iter().all(|path| !path.exists()));
    assert!(fixtures.iter().all(|fixture| !fixture.assignment.is_attached()));
    drop(silent);
}
