//! A controller on a file whose turns, and whose file's answers, are given by the test: nothing happens unasked.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use assign::{Assignment, Attached, DmaMapFlags, DmaMapRequest, Limits};
use gate::{AccessKind, ThreadToken};
use nvme_spec::register::{ACQ, AQA, ASQ, CC, CSTS, ControllerStatus};
use nvme_spec::{AdminOpcode, CompletionEntry, Doorbell, NvmOpcode, Status, SubmissionEntry};
use pci_core::Function;
use rustix::fs::{MemfdFlags, memfd_create};
use zerocopy::{FromBytes, IntoBytes};

use super::super::backing::FileOptions;
use super::super::config::{DoorbellStyle, InterruptStyle};
use super::super::elsewhere::Elsewhere;
use super::super::outbox::Outbox;
use super::super::ring::Finished;
use super::super::shared::Shared;
use super::super::transfer::{Operation, Transfer, TransferError};
use super::super::{Backing, Config, Controller, Parts, assemble, assemble_elsewhere};

pub(super) const BASE: u64 = 0x10_0000;
pub(super) const BYTES: u64 = 0x7000;
pub(super) const DATA: u64 = 0x4000;
/// What the queues take, in bytes: all that is before the data.
pub(super) const QUEUE_BYTES: usize = 0x4000;
/// Submission and completion queue of each queue pair, in guest memory.
pub(super) const QUEUES: [(u64, u64); 2] = [(0, 0x1000), (0x2000, 0x3000)];
pub(super) const ENTRIES: u32 = 64;
pub(super) const ENABLED: u32 = 0x0046_0001;
pub(super) const FUA: u32 = 1 << 30;
pub(super) const FAILED: Result<(), TransferError> = Err(TransferError::Device(libc::EIO));

/// A disk whose worker is the test.
pub(super) struct Disk {
    pub(super) token: ThreadToken,
    pub(super) assignment: Arc<Assignment>,
    pub(super) shared: Arc<Shared>,
    pub(super) out: Outbox,
    pub(super) memory: File,
    pub(super) tails: [u32; 2],
    pub(super) heads: [u32; 2],
    _attached: Attached,
    _directory: Option<tempfile::TempDir>,
}

impl Disk {
    pub(super) fn new(doorbells: DoorbellStyle) -> Disk {
        let directory = tempfile::tempdir().unwrap();
        let options = FileOptions { size: Some(1 << 20), ..FileOptions::default() };
        let backing = Backing::file(&directory.path().join("disk"), &options).unwrap();
        let config = Config { doorbells, ..Config::default() };
        Disk::with(&config, backing, directory)
    }

    /// The same on a backing of the test's choice, which may lie in the directory.
    pub(super) fn with(config: &Config, backing: Backing, directory: tempfile::TempDir) -> Disk {
        let parts = assemble(gate::Gate::new("by-hand"), config, backing, Arc::new(())).unwrap();
        let mut disk = Disk::of(parts, config.interrupts, Some(directory));
        disk.enable();
        disk
    }

    /// One whose commands are executed elsewhere, not enabled yet.
    pub(super) fn elsewhere(config: &Config, elsewhere: Arc<dyn Elsewhere>) -> Disk {
        let parts = assemble_elsewhere(gate::Gate::new("by-hand"), config, elsewhere, Arc::new(())).unwrap();
        Disk::of(parts, config.interrupts, None)
    }

    fn of(parts: Parts, interrupts: InterruptStyle, directory: Option<tempfile::TempDir>) -> Disk {
        let mut token = ThreadToken::at_thread_entry();
        let Parts { shared, gate, space } = parts;
        let port = Arc::clone(&shared.port);
        let device = Arc::new(Controller::without_worker(Arc::clone(&shared), interrupts));
        let function = Arc::new(Function::new("by-hand", gate, space, device));
        let assignment = Assignment::new(function, port, Limits::default());
        let attached = assignment.attach(&mut token).unwrap();
        let memory = File::from(memfd_create("by-hand", MemfdFlags::CLOEXEC).unwrap());
        memory.set_len(BYTES).unwrap();
        let request = DmaMapRequest {
            flags: DmaMapFlags(DmaMapFlags::READ | DmaMapFlags::WRITE),
            offset: 0,
            iova: BASE,
            size: BYTES,
            fd: Some(OwnedFd::from(memory.try_clone().unwrap())),
        };
        assignment.dma_map(&mut token, request).unwrap();
        assignment.region_write(&mut token, 7, 4, &6u16.to_le_bytes()).unwrap();
        Disk {
            token,
            assignment,
            shared,
            out: Outbox::default(),
            memory,
            tails: [0; 2],
            heads: [0; 2],
            _attached: attached,
            _directory: directory,
        }
    }

    pub(super) fn enable(&mut self) {
        self.set_enabled();
        self.make_queues();
    }

    /// The admin queues, and CC.EN.
    pub(super) fn set_enabled(&mut self) {
        let last = ENTRIES - 1;
        self.write(AQA, last | last << 16);
        for (register, at) in [(ASQ, QUEUES[0].0), (ACQ, QUEUES[0].1)] {
            self.write(register, u32::try_from(BASE + at).unwrap());
            self.write(register + 4, 0);
        }
        self.write(CC, ENABLED);
    }

    /// The I/O queues.
    pub(super) fn make_queues(&mut self) {
        let make = |opcode: AdminOpcode, at: u64, cdw11: u32| SubmissionEntry {
            prp1: (BASE + at).into(),
            cdw10: (1 | (ENTRIES - 1) << 16).into(),
            cdw11: cdw11.into(),
            ..entry(opcode.code(), 0)
        };
        for command in [
            make(AdminOpcode::CreateIoCompletionQueue, QUEUES[1].1, 1),
            make(AdminOpcode::CreateIoSubmissionQueue, QUEUES[1].0, 1 | 1 << 16),
        ] {
            self.submit(0, command);
            assert!(self.answer(0).unwrap().is_success());
        }
    }

    pub(super) fn write(&mut self, offset: u64, value: u32) {
        self.assignment.region_write(&mut self.token, 0, offset, &value.to_le_bytes()).unwrap();
    }

    pub(super) fn status(&mut self) -> ControllerStatus {
        let mut data = [0; 4];
        self.assignment.region_read(&mut self.token, 0, CSTS, &mut data).unwrap();
        ControllerStatus(u32::from_le_bytes(data))
    }

    /// Submits a command and gives turns until nothing is left to do without the disk.
    pub(super) fn submit(&mut self, queue: usize, command: SubmissionEntry) {
        let at = QUEUES[queue].0 + u64::from(self.tails[queue]) * 64;
        self.memory.write_all_at(command.as_bytes(), at).unwrap();
        self.tails[queue] = (self.tails[queue] + 1) % ENTRIES;
        // As a store to the mapped page, or a message that was taken before: both are seen by the next turn.
        let qid = u16::try_from(queue).unwrap();
        self.shared.board.doorbells.store(Doorbell::SubmissionTail(qid), self.tails[queue]);
        self.turn();
    }

    /// Submits a command as a client does whose doorbell stores are messages, whatever becomes of the message; no turn is given.
    pub(super) fn submit_by_message(&mut self, queue: usize, command: SubmissionEntry) {
        let at = QUEUES[queue].0 + u64::from(self.tails[queue]) * 64;
        self.memory.write_all_at(command.as_bytes(), at).unwrap();
        self.tails[queue] = (self.tails[queue] + 1) % ENTRIES;
        let doorbell = 0x1000 + u64::try_from(queue).unwrap() * 8;
        let _whatever =
            self.assignment.region_write(&mut self.token, 0, doorbell, &self.tails[queue].to_le_bytes());
    }

    /// Queues in fresh memory, and the controller enabled, after whatever disabled it.
    pub(super) fn bring_up(&mut self) {
        self.forget_queues();
        self.enable();
    }

    /// Queues in fresh memory, and bus mastering.
    pub(super) fn forget_queues(&mut self) {
        (self.tails, self.heads) = ([0; 2], [0; 2]);
        self.memory.write_all_at(&[0; QUEUE_BYTES], 0).unwrap();
        self.assignment.region_write(&mut self.token, 7, 4, &6u16.to_le_bytes()).unwrap();
    }

    pub(super) fn turn(&mut self) {
        loop {
            if let Some(elsewhere) = &self.shared.elsewhere {
                elsewhere.reap(&mut self.out.reaped);
            }
            let handle = self.shared.port.handle();
            let pass = handle.try_enter(&self.token, AccessKind::Dma).unwrap();
            let worked = self.shared.turn(&pass, &mut self.out);
            drop(pass);
            if let Some(elsewhere) = &self.shared.elsewhere {
                elsewhere.ring(&mut self.token);
            }
            if !worked {
                return;
            }
        }
    }

    /// The status of the next answer, if there is one.
    pub(super) fn answer(&mut self, queue: usize) -> Option<Status> {
        self.completion(queue).map(|entry| entry.status())
    }

    /// The next answer, if there is one.
    pub(super) fn completion(&mut self, queue: usize) -> Option<CompletionEntry> {
        let mut bytes = [0; 16];
        let at = QUEUES[queue].1 + u64::from(self.heads[queue]) * 16;
        self.memory.read_exact_at(&mut bytes, at).unwrap();
        let entry = CompletionEntry::read_from_bytes(&bytes).unwrap();
        entry.phase().then(|| {
            self.heads[queue] += 1;
            entry
        })
    }

    /// What the disk is asked to do, in order.
    pub(super) fn asked(&self) -> Vec<Operation> {
        self.out.starts.iter().map(|(_, transfer)| transfer.operation).collect()
    }

    /// The disk does the one thing that it was asked for.
    pub(super) fn finish(&mut self, result: Result<(), TransferError>) {
        self.deliver(result);
        self.turn();
    }

    /// The same, and nobody has taken the result in yet.
    pub(super) fn deliver(&mut self, result: Result<(), TransferError>) {
        let starts: Vec<(u16, Box<Transfer>)> = self.out.starts.drain(..).collect();
        assert_eq!(starts.len(), 1);
        for (slot, mut transfer) in starts {
            transfer.release();
            self.out.finished.push(Finished { slot, transfer, result });
        }
    }

    /// A write that has been answered.
    pub(super) fn dirty(&mut self) {
        self.submit(1, io(NvmOpcode::Write, 0));
        self.finish(Ok(()));
        assert!(self.answer(1).unwrap().is_success());
    }

    pub(super) fn shutdown_status(&mut self) -> u8 {
        self.status().shst()
    }
}

pub(super) fn entry(opcode: u8, nsid: u32) -> SubmissionEntry {
    SubmissionEntry { opcode, nsid: nsid.into(), ..SubmissionEntry::default() }
}

/// A command on the first 8 blocks, with flags in dword 12.
pub(super) fn io(opcode: NvmOpcode, flags: u32) -> SubmissionEntry {
    SubmissionEntry { prp1: (BASE + DATA).into(), cdw12: (7 | flags).into(), ..entry(opcode.code(), 1) }
}
