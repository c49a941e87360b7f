//! What functions cost that nobody uses. Memory and threads of the whole process are counted, so this is the only test
//! of its binary.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use assign::{Assignment, Limits, Port};
use gate::{Gate, Pass, Quiesced, ThreadToken};
use pci_core::{BarIndex, BarKind, ConfigSpace, Device, Express, Function, Identity, Msi, Pm, ResetKind};
use vfio_user::client::{Client, ClientOptions};
use vfio_user::server::{Server, ServerOptions, Stop};

const FUNCTIONS: usize = 256;

/// Bytes of memory that a function may cost with its listener, before its model's own.
const MOST: usize = 16 << 10;

/// A device without any memory of its own.
struct Nothing;

impl Device for Nothing {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

fn server(directory: &Path, nth: usize) -> Server {
    let name = format!("idle{nth}");
    let config = ConfigSpace::builder(Identity::new(0x1234, 1, pci_spec::ClassCode::new(0xff, 0, 0)))
        .bar(BarIndex::new(0).unwrap(), BarKind::Memory64, 16384)
        .capability(Pm::default())
        .capability(Msi::new(32))
        .capability(Express::default())
        .build()
        .unwrap();
    let (gate, config) = (Gate::new(name.as_str()), Arc::new(config));
    let port = Port::new(&gate, Arc::clone(&config), Arc::new(()));
    let function = Arc::new(Function::new(name.as_str(), gate, config, Arc::new(Nothing)));
    let assignment = Assignment::new(function, port, Limits::default());
    Server::bind(directory.join(name), assignment, ServerOptions::default()).unwrap()
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * rustix::param::page_size()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn wait_for(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}

#[test]
fn an_idle_function_costs_no_thread_and_little_memory() {
    let mut token = ThreadToken::at_thread_entry();
    let directory = tempfile::tempdir().unwrap();
    // What the process makes once is there before the count begins.
    let first = server(directory.path(), FUNCTIONS);
    let before = (resident(), threads());
    let mut servers: Vec<_> = (0..FUNCTIONS).map(|nth| server(directory.path(), nth)).collect();
    servers.push(first);
    let paths: Vec<_> = servers.iter().map(|server| server.path().to_owned()).collect();
    let stop = Stop::new().unwrap();
    let switch = stop.clone();
    let running = std::thread::spawn(move || {
        let mut token = ThreadToken::at_thread_entry();
        Server::run_all(&servers, &mut token, &switch).unwrap();
    });
    let mut connect = |nth: usize| {
        let options = ClientOptions { timeout: Duration::from_secs(60) };
        Client::connect(&mut token, &paths[nth], options).unwrap()
    };
    // A client more is a thread more; when it has left the thread has too.
    let client = connect(FUNCTIONS / 2);
    assert_eq!(threads(), before.1 + 2);
    drop(client);
    wait_for(|| threads() == before.1 + 1);
    let clients: Vec<_> = (0..3).map(&mut connect).collect();
    assert_eq!(threads(), before.1 + 4);
    drop(clients);
    wait_for(|| threads() == before.1 + 1);
    let each = resident().saturating_sub(before.0) / FUNCTIONS;
    println!("{each} bytes for an idle function and its listener");
    assert!(each <= MOST, "{each} bytes");
    stop.stop();
    running.join().unwrap();
    assert!(!paths[0].exists());
}
