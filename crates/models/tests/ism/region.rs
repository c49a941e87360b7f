//! Two virtual machines, each of which drives its function through the I/O region over vfio-user.
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use assign::Assignment;
use gate::{Deadline, ThreadToken};
use models::ism::{self, Command, Outcome, Refused, Register, Statistic};
use rustix::io::Errno;
use vfio_user::client::{Client, ClientError, ClientOptions, SharedMemory};
use vfio_user::server::{Server, ServerOptions, Stop};
use zpci::region::{IoRegion, IoRequest, layout};
use zpci::{Description, Fid, Handle, Uid, View, Zpci};

use crate::party::config;

/// Of the I/O region: the function has none of its own.
const REGION: u32 = 9;
const CONFIG_REGION: u32 = 7;
const BASE: u64 = 0x10_0000;
/// Where data of requests is, in the machine's memory.
const DATA: usize = 0x8000;
const AREA: u64 = 0x9000;

struct Machine {
    assignment: Arc<Assignment>,
    client: Client,
    memory: SharedMemory,
    event: OwnedFd,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Machine {
    fn new(token: &mut ThreadToken, zpci: &Zpci, network: &str, gid: u16) -> Machine {
        let zdev = zpci.add(Fid(gid.into()), Uid(gid), Description::default()).unwrap();
        zdev.card(true);
        let assignment = ism::build("ism", &config(network, gid.into()), Arc::new(())).unwrap();
        let view = View::new(&zdev, &assignment, 128);
        assignment.add_region(IoRegion::new(view.clone())).unwrap();
        assert_ne!(zdev.bring_in(token, view), Handle::NONE);
        let directory = tempfile::tempdir().unwrap();
        let server = Server::bind(directory.path(), assignment.clone(), ServerOptions::default()).unwrap();
        let stop = Stop::new().unwrap();
        let switch = stop.clone();
        let thread = std::thread::spawn(move || {
            server.run(&mut ThreadToken::at_thread_entry(), &switch).unwrap();
        });
        let mut client = Client::connect(token, directory.path(), ClientOptions::default()).unwrap();
        let memory = SharedMemory::new(0x1_0000).unwrap();
        client.dma_map(token, BASE, &memory).unwrap();
        let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).unwrap();
        client.set_irq_eventfds(token, 1, 0, &[event.as_fd()]).unwrap();
        client.region_write(token, CONFIG_REGION, 4, &6_u16.to_le_bytes()).unwrap();
        let thread = Some(thread);
        Machine { assignment, client, memory, event, stop, thread, _directory: directory }
    }

    fn request(
        &mut self,
        token: &mut ThreadToken,
        flags: u64,
        space: u8,
        offset: u64,
        length: usize,
    ) -> Result<(), ClientError> {
        let address = BASE + DATA as u64;
        let request = IoRequest { flags, address, offset, length: length as u16, space };
        self.client.region_write(token, REGION, layout::REQUEST_START, &request.encode())
    }

    fn store(
        &mut self,
        token: &mut ThreadToken,
        space: u8,
        offset: u64,
        data: &[u8],
    ) -> Result<(), ClientError> {
        self.memory.write(DATA, data).unwrap();
        self.request(token, IoRequest::BLOCKW, space, offset, data.len())
    }

    fn load(&mut self, token: &mut ThreadToken, offset: u64) -> u64 {
        self.request(token, IoRequest::READ, 0, offset, 8).unwrap();
        let mut data = [0; 8];
        self.memory.read(DATA, &mut data).unwrap();
        u64::from_le_bytes(data)
    }

    fn ask(&mut self, token: &mut ThreadToken, command: Command) -> Result<u64, Outcome> {
        self.store(token, 0, ism::COMMAND, &command.encode(0x77)).unwrap();
        let answer = self.load(token, Register::Answer as u64);
        assert_eq!(answer & 0xffff_ffff, 0x77);
        match Outcome::from_code((answer >> 32) as u16).unwrap() {
            Outcome::Done => Ok(self.load(token, Register::AnswerValue as u64)),
            outcome => Err(outcome),
        }
    }

    fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.memory.read(offset, &mut data).unwrap();
        data
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            // A second panic while a test fails would hide the first.
            let _ = thread.join();
        }
    }
}

fn errno(result: Result<(), ClientError>) -> Errno {
    match result {
        Err(ClientError::Refused { errno, .. }) => errno,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_machine_writes_into_the_memory_of_another_through_the_io_region() {
    let mut token = ThreadToken::at_thread_entry();
    let zpci = Zpci::new(zpci::Settings::default());
    let [mut one, mut two] = [1, 2].map(|gid| Machine::new(&mut token, &zpci, "machines", gid));
    two.ask(&mut token, Command::SetSignalArea { address: BASE + AREA }).unwrap();
    let register = Command::RegisterDmb { address: BASE + 0x1000, length: 0x1000, sender: 1 };
    let buffer = two.ask(&mut token, register).unwrap();
    let opened = one.ask(&mut token, Command::OpenChannel { token: buffer }).unwrap();
    assert_eq!(opened, 0x1000 << 32);
    let block: Vec<u8> = (0..128).collect();
    one.store(&mut token, 2, ism::window_offset(0, 0x80, true), &block).unwrap();
    assert_eq!(two.read(0x1080, 128), block);
    assert_eq!(two.read(AREA as usize, 8), [1, 0, 0, 0, 0, 0, 0, 0]);
    assert!(rustix::io::read(&two.event, &mut [0; 8]).is_ok());
    for (machine, statistic) in [(&mut one, Statistic::BytesSent), (&mut two, Statistic::BytesReceived)] {
        assert_eq!(machine.load(&mut token, ism::STATISTICS + 8 * statistic as u64), 128);
    }
}

/// What the region is for: no access to a BAR is the same as a block.
#[test]
fn the_bars_themselves_take_nothing() {
    let mut token = ThreadToken::at_thread_entry();
    let zpci = Zpci::new(zpci::Settings::default());
    let mut one = Machine::new(&mut token, &zpci, "bars", 1);
    let command = Command::SetSignalArea { address: BASE }.encode(1);
    assert_eq!(errno(one.client.region_write(&mut token, 0, ism::COMMAND, &command)), Errno::IO);
    assert_eq!(errno(one.client.region_read(&mut token, 0, 0, &mut [0; 8])), Errno::IO);
    assert_eq!(one.load(&mut token, Register::Answer as u64), 0);
    assert_eq!(errno(one.store(&mut token, 0, ism::COMMAND, &command[..24])), Errno::IO);
    assert_eq!(one.load(&mut token, ism::STATISTICS + 8 * Statistic::RefusedMalformed as u64), 1);
}

#[test]
fn a_machine_that_is_taken_away_costs_the_other_an_error_zio_i4() {
    let mut token = ThreadToken::at_thread_entry();
    let zpci = Zpci::new(zpci::Settings::default());
    let [mut one, mut two] = [1, 2].map(|gid| Machine::new(&mut token, &zpci, "taken", gid));
    let register = Command::RegisterDmb { address: BASE, length: 0x1000, sender: 1 };
    let buffer = two.ask(&mut token, register).unwrap();
    one.ask(&mut token, Command::OpenChannel { token: buffer }).unwrap();
    let deadline = Deadline::after(Duration::from_secs(30));
    let _retired = two.assignment.function().gate().retire(&mut token, deadline);
    let quiesce = Command::UnregisterDmb { token: buffer }.encode(1);
    assert_eq!(errno(two.store(&mut token, 0, ism::COMMAND, &quiesce)), Errno::NODEV);
    assert_eq!(errno(one.store(&mut token, 2, 0, &[1; 8])), Errno::IO);
    assert_eq!(one.load(&mut token, Register::LastRefused as u64), Refused::NoPeer as u64);
    assert_eq!(two.read(0, 8), [0; 8]);
}
