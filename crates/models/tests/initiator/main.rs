//! A controller under an initiator with the habits of SPDK's: no capabilities, id 0 in every message, no interrupts,
//! no shadow doorbells, and doorbells rung through the mapping only. Nobody tells the controller that there is work.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod initiator;
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use gate::ThreadToken;
use models::nvme::{Backing, BlockSize, Config, DoorbellStyle};
use nvme_spec::identify::Cns;
use nvme_spec::register::{CSTS, ControllerStatus, ShutdownStatus};
use nvme_spec::{AdminOpcode, NvmOpcode, Status};
use vfio_user::server::{Server, ServerOptions, Stop};
use zerocopy::FromBytes;

use initiator::{Initiator, command};
use wire::CONFIG;

const DISK_BYTES: u64 = 16 << 20;

/// A controller with mapped doorbells on a socket `cntrl` in a directory of its own.
struct Target {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    directory: tempfile::TempDir,
}

impl Target {
    fn new(block_size: BlockSize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = Config { doorbells: DoorbellStyle::Mapped, block_size, ..Config::default() };
        let backing = Backing::memory(DISK_BYTES).unwrap();
        let assignment = models::nvme::build("nvme0", &config, backing, Arc::new(())).unwrap();
        let server = Server::bind(directory.path(), assignment, ServerOptions::default()).unwrap();
        let stop = Stop::new().unwrap();
        let switch = stop.clone();
        let thread = std::thread::spawn(move || {
            server.run(&mut ThreadToken::at_thread_entry(), &switch).unwrap();
        });
        Self { stop, thread: Some(thread), directory }
    }

    /// A path as the initiator is given it: the directory.
    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            // A second panic while a test fails would hide the first.
            let _ = thread.join();
        }
    }
}

/// Bytes that tell where they belong.
fn pattern(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at / 512 + at % 251 + seed) % 256).unwrap()).collect()
}

/// Identifies controller and namespace; returns the bytes of a block.
fn identify(initiator: &mut Initiator) -> usize {
    let buffer = initiator.pages(1);
    let mut ask = command(AdminOpcode::Identify.code(), 0);
    (ask.cdw10, ask.prp1) = ((Cns::Controller as u32).into(), initiator.iova(buffer).into());
    assert!(initiator.admin(ask).status().is_success());
    let page = initiator.load(buffer, 4096);
    let (controller, _) = nvme_spec::identify::Controller::read_from_prefix(&page).unwrap();
    assert_eq!((controller.sqes, controller.cqes, controller.nn.get()), (0x66, 0x44, 1));
    let mut ask = command(AdminOpcode::Identify.code(), 1);
    (ask.cdw10, ask.prp1) = ((Cns::Namespace as u32).into(), initiator.iova(buffer).into());
    assert!(initiator.admin(ask).status().is_success());
    let page = initiator.load(buffer, 4096);
    let (namespace, _) = nvme_spec::identify::Namespace::read_from_prefix(&page).unwrap();
    let block = 1 << namespace.lbaf[0].lbads;
    assert_eq!(namespace.nsze.get() * block, DISK_BYTES);
    usize::try_from(block).unwrap()
}

/// Writes `pages` pages from block `lba`, reads them into another place, and compares.
fn write_and_verify(initiator: &mut Initiator, block: usize, lba: u64, pages: usize, seed: usize) {
    let (out, back) = (initiator.pages(pages), initiator.pages(pages));
    let data = pattern(pages * 4096, seed);
    initiator.store(out, &data);
    for (opcode, buffer) in [(NvmOpcode::Write, out), (NvmOpcode::Read, back)] {
        let mut command = command(opcode.code(), 1);
        command.set_slba(lba);
        command.cdw12 = u32::try_from(pages * 4096 / block - 1).unwrap().into();
        initiator.describe(&mut command, buffer, pages);
        let answer = initiator.io(command);
        assert!(answer.status().is_success(), "{opcode:?}: {}", answer.status());
    }
    assert!(initiator.load(back, data.len()) == data, "block {lba}, {pages} pages");
}

#[test]
fn an_initiator_that_only_stores_to_mapped_doorbells_works_on_the_disk() {
    for block_size in [BlockSize::B512, BlockSize::B4096] {
        let target = Target::new(block_size);
        let mut initiator = Initiator::attach(target.path());
        initiator.enable();
        let block = identify(&mut initiator);
        assert_eq!(block, usize::try_from(block_size.bytes()).unwrap());
        initiator.make_io_queues();
        for (lba, pages) in [(0, 1), (8, 2), (64, 32)] {
            write_and_verify(&mut initiator, block, lba, pages, 5);
        }
        initiator.shut_down();
        let csts = ControllerStatus(initiator.wire.read_u32(CSTS));
        assert_eq!(csts.shst(), ShutdownStatus::Complete.bits());
        initiator.leave();
    }
}

/// Every queue turns over many times, so phase tags, heads and tails all wrap, with many commands in flight.
#[test]
fn queues_wrap_under_a_full_queue_of_commands() {
    let target = Target::new(BlockSize::B4096);
    let mut initiator = Initiator::attach(target.path());
    initiator.enable();
    initiator.make_io_queues();
    let depth = initiator.depth();
    let buffers = initiator.pages(depth);
    for round in 0..50 {
        for opcode in [NvmOpcode::Write, NvmOpcode::Read] {
            for nth in 0..depth {
                let at = buffers + nth * 4096;
                let writes = opcode == NvmOpcode::Write;
                initiator.store(at, &if writes { pattern(4096, round + nth) } else { vec![0; 4096] });
                let mut command = command(opcode.code(), 1);
                command.set_slba(u64::try_from(nth).unwrap());
                initiator.describe(&mut command, at, 1);
                initiator.put(command);
            }
            initiator.ring();
            for _ in 0..depth {
                assert!(initiator.completion().status().is_success());
            }
        }
        for nth in 0..depth {
            let found = initiator.load(buffers + nth * 4096, 4096);
            assert!(found == pattern(4096, round + nth), "round {round}, command {nth}");
        }
    }
    initiator.leave();
}

/// As after a kill: the controller is found enabled, with queues in memory that is gone.
#[test]
fn an_initiator_takes_over_from_one_that_died_with_commands_in_flight() {
    let target = Target::new(BlockSize::B512);
    for life in 0..5 {
        let mut initiator = Initiator::attach(target.path());
        let block = if life == 0 {
            initiator.enable();
            512
        } else {
            assert!(ControllerStatus(initiator.wire.read_u32(CSTS)).rdy(), "state outlives a client");
            initiator.disable();
            initiator.enable();
            identify(&mut initiator)
        };
        initiator.make_io_queues();
        write_and_verify(&mut initiator, block, 100, 4, life);
        let buffer = initiator.pages(32);
        for _ in 0..initiator.depth() {
            let mut command = command(NvmOpcode::Read.code(), 1);
            command.cdw12 = 255.into();
            initiator.describe(&mut command, buffer, 32);
            initiator.put(command);
        }
        initiator.ring();
        drop(initiator);
    }
}

/// The initiator asks for what only newer controllers have, and goes on when it hears that they are not there.
#[test]
fn what_is_not_offered_is_refused_for_good_and_logged_as_it_was_answered() {
    let target = Target::new(BlockSize::B512);
    let mut initiator = Initiator::attach(target.path());
    initiator.enable();
    let buffer = initiator.pages(1);
    // The I/O Command Set specific Identify Controller data structure of NVMe 2.0.
    let mut ask = command(AdminOpcode::Identify.code(), 0);
    (ask.cdw10, ask.prp1) = (6.into(), initiator.iova(buffer).into());
    let status = initiator.admin(ask).status();
    assert!(status.is(Status::INVALID_FIELD) && status.dnr(), "{status}");
    let mut ask = command(AdminOpcode::GetLogPage.code(), u32::MAX);
    (ask.cdw10, ask.prp1) = ((1 | 15 << 16).into(), initiator.iova(buffer).into());
    assert!(initiator.admin(ask).status().is_success());
    let page = initiator.load(buffer, 64);
    let (newest, _) = nvme_spec::log::ErrorEntry::read_from_prefix(&page).unwrap();
    assert_eq!(newest.status_and_phase.get() & !1, status.bits(), "the log says what the host was told");
    initiator.leave();
}

#[test]
fn every_initiator_finds_memory_decoding_on_and_bus_mastering_off() {
    let target = Target::new(BlockSize::B512);
    for dies in [true, false] {
        let mut initiator = Initiator::connect(target.path());
        let command = initiator.wire.read(CONFIG, 4, 2);
        assert_eq!(command[0] & 6, 2, "{command:?}");
        // On, as every initiator leaves it.
        initiator.wire.write(CONFIG, 4, &[6, 4]);
        if dies { drop(initiator) } else { initiator.leave() }
    }
    let mut initiator = Initiator::connect(target.path());
    assert_eq!(initiator.wire.read(CONFIG, 4, 1)[0] & 6, 2);
}
