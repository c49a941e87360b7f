//! A back end: an NVMe controller in as few words as there are, which takes its time, and lies if it is told to.
//!
//! A block is one number, and so is the page that a command names. Commands are executed in any order.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use nvme_spec::command::{COMPLETION_ENTRY_SIZE, SUBMISSION_ENTRY_SIZE};
use nvme_spec::queue::{ADMIN_QUEUE, CreateCdw10, CreateSubmissionCdw11};
use nvme_spec::register::{
    ACQ, AQA, ASQ, AdminQueueAttributes, CAP, CC, CSTS, Capabilities, Configuration, ControllerStatus, VS,
};
use nvme_spec::{AdminOpcode, CompletionEntry, Doorbell, NvmOpcode, Status, SubmissionEntry};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::disk::{Begun, Disk, Process};
use crate::random::Random;

/// Blocks of its only namespace.
pub(super) const BLOCKS: u16 = 24;
/// Most entries of its queues.
const ENTRIES: u16 = 2048;

/// The guest's pages, each of which holds one number.
pub(super) type Pages = BTreeMap<u64, u64>;

struct Queue {
    base: u64,
    entries: u32,
    /// Head of a submission queue, tail of a completion queue.
    own: u32,
    /// The other end, as the doorbell says.
    rung: u32,
    phase: bool,
    /// Of a submission queue: where its completions go.
    completions: u16,
}

struct Command {
    queue: u16,
    entry: SubmissionEntry,
    number: u64,
    /// Its write has not landed yet.
    writing: bool,
}

/// See the module's head.
pub(super) struct Server {
    pub(super) process: Process,
    memory: Vec<(u64, u64, OwnedFd)>,
    cc: u32,
    ready: bool,
    aqa: u32,
    asq: u64,
    acq: u64,
    submissions: BTreeMap<u16, Queue>,
    completions: BTreeMap<u16, Queue>,
    commands: Vec<Command>,
    next: u64,
    pub(super) eventfd: Option<OwnedFd>,
}

impl Server {
    pub(super) fn new(process: Process) -> Server {
        Server {
            process,
            memory: Vec::new(),
            cc: 0,
            ready: false,
            aqa: 0,
            asq: 0,
            acq: 0,
            submissions: BTreeMap::new(),
            completions: BTreeMap::new(),
            commands: Vec::new(),
            next: 0,
            eventfd: None,
        }
    }

    pub(super) fn map(&mut self, iova: u64, length: u64, file: OwnedFd) {
        self.memory.push((iova, length, file));
    }

    pub(super) fn unmap(&mut self, iova: u64) {
        self.memory.retain(|(at, ..)| *at != iova);
    }

    /// The file behind an address, and where in it.
    fn at(&self, address: u64, length: usize) -> Option<(&OwnedFd, u64)> {
        let inside = |(iova, bytes, _): &&(u64, u64, OwnedFd)| {
            address.checked_sub(*iova).is_some_and(|at| at + length as u64 <= *bytes)
        };
        self.memory.iter().find(inside).map(|(iova, _, file)| (file, address - iova))
    }

    fn fetch(&self, address: u64, data: &mut [u8]) {
        if let Some((file, at)) = self.at(address, data.len()) {
            // A memory file has what it has been given.
            let _ = rustix::io::pread(file, data, at);
        }
    }

    fn store(&self, address: u64, data: &[u8]) -> bool {
        let Some((file, at)) = self.at(address, data.len()) else { return false };
        rustix::io::pwrite(file, data, at).is_ok()
    }

    /// A read of the register page.
    pub(super) fn read(&mut self, offset: u64, data: &mut [u8], disk: &Disk) {
        let capabilities = Capabilities::default()
            .with_mqes(ENTRIES - 1)
            .with_cqr(true)
            .with_to(20)
            .with_css(nvme_spec::register::CAP_CSS_NVM);
        self.settle(disk);
        let status = ControllerStatus::default().with_rdy(self.ready);
        let value: u64 = match offset {
            CAP => capabilities.0,
            0x04 => capabilities.0 >> 32,
            VS => nvme_spec::VERSION_1_4.into(),
            CC => self.cc.into(),
            CSTS => status.0.into(),
            AQA => self.aqa.into(),
            ASQ => self.asq,
            ACQ => self.acq,
            _ => 0,
        };
        let bytes = value.to_le_bytes();
        let length = data.len().min(bytes.len());
        data[..length].copy_from_slice(&bytes[..length]);
    }

    /// A reset waits until nothing of this life is under way any more.
    fn settle(&mut self, disk: &Disk) {
        let enabled = Configuration(self.cc).en();
        if enabled {
            self.ready = true;
        } else if disk.under_way(self.process) == 0 {
            self.ready = false;
        }
    }

    /// A write to the register page or a doorbell.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        let mut bytes = [0; 8];
        let length = data.len().min(8);
        bytes[..length].copy_from_slice(&data[..length]);
        let value = u64::from_le_bytes(bytes);
        let [b0, b1, b2, b3, ..] = bytes;
        let low = u32::from_le_bytes([b0, b1, b2, b3]);
        match offset {
            CC => self.configure(low),
            AQA => self.aqa = low,
            ASQ if data.len() == 8 => self.asq = value,
            ACQ if data.len() == 8 => self.acq = value,
            ASQ => self.asq = self.asq & !0xffff_ffff | value,
            ACQ => self.acq = self.acq & !0xffff_ffff | value,
            0x2c => self.asq = self.asq & 0xffff_ffff | value << 32,
            0x34 => self.acq = self.acq & 0xffff_ffff | value << 32,
            _ => self.ring(offset, low),
        }
    }

    fn configure(&mut self, value: u32) {
        let (before, now) = (Configuration(self.cc).en(), Configuration(value).en());
        self.cc = value;
        if before == now {
            return;
        }
        self.submissions.clear();
        self.completions.clear();
        self.commands.clear();
        if now {
            let sizes = AdminQueueAttributes(self.aqa);
            let queue = |base, entries: u16| Queue {
                base,
                entries: entries.into(),
                own: 0,
                rung: 0,
                phase: true,
                completions: ADMIN_QUEUE,
            };
            self.submissions.insert(ADMIN_QUEUE, queue(self.asq, sizes.submission_entries()));
            self.completions.insert(ADMIN_QUEUE, queue(self.acq, sizes.completion_entries()));
        }
    }

    fn ring(&mut self, offset: u64, value: u32) {
        let queue = match Doorbell::decode(offset, 0) {
            Some(Doorbell::SubmissionTail(queue)) => self.submissions.get_mut(&queue),
            Some(Doorbell::CompletionHead(queue)) => self.completions.get_mut(&queue),
            None => None,
        };
        if let Some(queue) = queue {
            queue.rung = value % queue.entries;
        }
    }

    /// Takes one command that was rung for, if there is one.
    pub(super) fn take(&mut self, random: &mut Random, disk: &mut Disk, pages: &Pages) -> bool {
        if !self.ready {
            self.settle(disk);
        }
        let waiting: Vec<u16> =
            self.submissions.iter().filter(|(_, queue)| queue.own != queue.rung).map(|(id, _)| *id).collect();
        let Some(id) = waiting.get(random.below(waiting.len())).copied() else { return false };
        let Some(queue) = self.submissions.get(&id) else { return false };
        let (base, own, entries) = (queue.base, queue.own, queue.entries);
        let mut bytes = [0; SUBMISSION_ENTRY_SIZE];
        self.fetch(base + u64::from(own) * SUBMISSION_ENTRY_SIZE as u64, &mut bytes);
        if let Some(queue) = self.submissions.get_mut(&id) {
            queue.own = (own + 1) % entries;
        }
        let Ok(entry) = SubmissionEntry::read_from_bytes(&bytes) else { return false };
        self.next += 1;
        let number = self.next;
        let mut writing = false;
        if id != ADMIN_QUEUE {
            let block = u64::from(entry.cdw10.get());
            let value = match NvmOpcode::try_from(entry.opcode) {
                Ok(NvmOpcode::Write) => Some(pages.get(&entry.prp1.get()).copied().unwrap_or(0)),
                Ok(NvmOpcode::WriteZeroes) => Some(0),
                _ => None,
            };
            if let Some(value) = value {
                disk.begin(Begun { process: self.process, block, value, command: number });
                writing = true;
            }
        }
        self.commands.push(Command { queue: id, entry, number, writing });
        true
    }

    /// A write of this process has landed.
    pub(super) fn landed(&mut self, write: &Begun) {
        if write.process != self.process {
            return;
        }
        for command in self.commands.iter_mut().filter(|command| command.number == write.command) {
            command.writing = false;
        }
    }

    /// Completes one command that can be, in any order.
    pub(super) fn complete(&mut self, random: &mut Random, disk: &Disk, pages: &mut Pages) -> bool {
        let done: Vec<usize> = (0..self.commands.len()).filter(|at| self.can_complete(*at)).collect();
        let Some(at) = done.get(random.below(done.len())).copied() else { return false };
        let command = self.commands.remove(at);
        let answer = if command.queue == ADMIN_QUEUE {
            self.administer(&command.entry)
        } else {
            if NvmOpcode::try_from(command.entry.opcode) == Ok(NvmOpcode::Read) {
                let block = u64::from(command.entry.cdw10.get());
                pages.insert(command.entry.prp1.get(), disk.read(block));
            }
            (0, Status::SUCCESS)
        };
        self.post(command.queue, command.entry.cid.get(), answer)
    }

    fn can_complete(&self, at: usize) -> bool {
        let command = &self.commands[at];
        let parked = command.queue == ADMIN_QUEUE
            && AdminOpcode::try_from(command.entry.opcode) == Ok(AdminOpcode::AsyncEventRequest);
        !command.writing && !parked
    }

    /// Posts an answer, and signals it; false if there is no room.
    pub(super) fn post(&mut self, queue: u16, cid: u16, (dw0, status): (u32, Status)) -> bool {
        let Some(submission) = self.submissions.get(&queue) else { return false };
        let (head, to) = (u16::try_from(submission.own).unwrap_or(u16::MAX), submission.completions);
        let Some(completion) = self.completions.get_mut(&to) else { return false };
        let (at, phase) = (completion.own, completion.phase);
        let next = (at + 1) % completion.entries;
        if next == completion.rung {
            return false;
        }
        completion.own = next;
        completion.phase ^= next == 0;
        let address = completion.base + u64::from(at) * COMPLETION_ENTRY_SIZE as u64;
        let entry = CompletionEntry::new(dw0, head, queue, cid, status, phase);
        let stored = self.store(address, entry.as_bytes());
        self.signal();
        stored
    }

    fn signal(&self) {
        if let Some(eventfd) = &self.eventfd {
            // Full: its reader has yet to look.
            let _ = rustix::io::write(eventfd, &1u64.to_ne_bytes());
        }
    }

    /// Identifiers of the queues there are.
    pub(super) fn queues(&self) -> Vec<u16> {
        self.submissions.keys().copied().collect()
    }

    fn administer(&mut self, entry: &SubmissionEntry) -> (u32, Status) {
        let (dword10, dword11) = (entry.cdw10.get(), entry.cdw11.get());
        let create = CreateCdw10(dword10);
        let queue = |completions| Queue {
            base: entry.prp1.get(),
            entries: create.entries(),
            own: 0,
            rung: 0,
            phase: true,
            completions,
        };
        match AdminOpcode::try_from(entry.opcode) {
            Ok(AdminOpcode::Identify) => return (0, self.identify(entry)),
            Ok(AdminOpcode::CreateIoCompletionQueue) => {
                self.completions.insert(create.qid(), queue(0));
            }
            Ok(AdminOpcode::CreateIoSubmissionQueue) => {
                let completions = CreateSubmissionCdw11(dword11).cqid();
                self.submissions.insert(create.qid(), queue(completions));
            }
            Ok(AdminOpcode::DeleteIoSubmissionQueue) => drop(self.submissions.remove(&create.qid())),
            Ok(AdminOpcode::DeleteIoCompletionQueue) => drop(self.completions.remove(&create.qid())),
            // Number of Queues: as many as are asked for, at most 16.
            Ok(AdminOpcode::SetFeatures) if dword10 & 0xff == 0x07 => return (0x000f_000f, Status::SUCCESS),
            _ => {}
        }
        (0, Status::SUCCESS)
    }

    fn identify(&self, entry: &SubmissionEntry) -> Status {
        let mut page = [0_u8; 4096];
        match entry.cdw10.get() & 0xff {
            0x00 => {
                // Size, capacity and use, in blocks of 4 KiB, in one format.
                let blocks = u64::from(BLOCKS).to_le_bytes();
                page[..8].copy_from_slice(&blocks);
                page[8..16].copy_from_slice(&blocks);
                page[16..24].copy_from_slice(&blocks);
                page[130] = 12;
            }
            0x01 => {
                let mut controller = nvme_spec::identify::Controller::new_zeroed();
                controller.sn = nvme_spec::identify::ascii("SIM");
                controller.mn = nvme_spec::identify::ascii("simulated");
                controller.fr = nvme_spec::identify::ascii("1");
                controller.ver = nvme_spec::VERSION_1_4.into();
                controller.sqes = 0x66;
                controller.cqes = 0x44;
                controller.nn = 1.into();
                controller.vwc = 1;
                page.copy_from_slice(controller.as_bytes());
            }
            0x02 => page[..4].copy_from_slice(&1_u32.to_le_bytes()),
            _ => return Status::INVALID_FIELD,
        }
        if self.store(entry.prp1.get(), &page) { Status::SUCCESS } else { Status::DATA_TRANSFER_ERROR }
    }
}
