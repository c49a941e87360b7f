//! The initiator: attaches, enables, makes one pair of queues and runs commands on it, all by polling memory.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nvme_spec::register::{
    ACQ, AQA, ASQ, CAP, CC, CSTS, Capabilities, Configuration, ControllerStatus, DOORBELLS,
    ShutdownNotification, ShutdownStatus, VS,
};
use nvme_spec::{AdminOpcode, CompletionEntry, Doorbell, SubmissionEntry};
use vfio_user::client::{MappedArea, SharedMemory};
use vfio_user::codec::{Command, DeviceInfo, DmaMap, DmaUnmap, REGION_COUNT};
use zerocopy::{FromBytes, IntoBytes};

use crate::wire::{BAR0, CONFIG, Wire};

/// The initiator names its memory by its own addresses, which begin here.
const IOVA: u64 = 0x2000_0020_0000;
const MEMORY_BYTES: usize = 4 << 20;
/// CC with 64-byte submission and 16-byte completion entries.
const ENTRY_SIZES: u32 = 0x0046_0000;
/// Entries of each queue, and commands that may be in flight.
const ENTRIES: u16 = 16;
const PAGE: usize = 4096;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn command(opcode: u8, nsid: u32) -> SubmissionEntry {
    SubmissionEntry { opcode, nsid: nsid.into(), ..SubmissionEntry::default() }
}

/// One pair of queues; offsets are in the initiator's memory.
#[derive(Clone, Debug)]
struct Pair {
    qid: u16,
    submission: usize,
    completion: usize,
    tail: u16,
    head: u16,
    phase: bool,
}

impl Pair {
    fn new(qid: u16, submission: usize) -> Self {
        Self { qid, submission, completion: submission + PAGE, tail: 0, head: 0, phase: true }
    }
}

pub(crate) struct Initiator {
    pub(crate) wire: Wire,
    memory: SharedMemory,
    doorbells: Option<MappedArea>,
    admin: Pair,
    io: Pair,
    next_page: usize,
    next_cid: u16,
}

impl Initiator {
    /// Negotiates without capabilities, and looks at nothing else.
    pub(crate) fn connect(directory: &Path) -> Self {
        let mut wire = Wire::connect(directory);
        // Version 0.1, and not even the end of an empty text.
        wire.call(Command::Version, &[0, 0, 1, 0], &[]);
        let memory = SharedMemory::new(MEMORY_BYTES).unwrap();
        let (admin, io) = (Pair::new(0, 0), Pair::new(1, 2 * PAGE));
        Self { wire, memory, doorbells: None, admin, io, next_page: 4 * PAGE, next_cid: 0 }
    }

    /// Everything that comes before the first register is written.
    pub(crate) fn attach(directory: &Path) -> Self {
        let mut initiator = Self::connect(directory);
        let wire = &mut initiator.wire;
        let info = DeviceInfo { argsz: 16, ..DeviceInfo::default() };
        wire.call(Command::DeviceGetInfo, info.as_bytes(), &[]);
        let regions: Vec<_> = (0..REGION_COUNT).map(|index| wire.region(index)).collect();
        let bar = &regions[0];
        // Just this page, or the initiator does not attach.
        let area = bar.areas.iter().find(|area| area.offset <= DOORBELLS && area.size >= 4096).unwrap();
        initiator.doorbells = Some(bar.map(area).unwrap());
        let size = MEMORY_BYTES as u64;
        let map = DmaMap { argsz: 32, flags: 3, address: IOVA, size, ..DmaMap::default() };
        wire.call(Command::DmaMap, map.as_bytes(), &[initiator.memory.as_fd()]);
        let mut bits = u16::from_le_bytes(wire.read(CONFIG, 4, 2).try_into().unwrap());
        // Bus mastering on, INTx off; memory decoding is taken as it is found.
        bits |= 0x404;
        wire.write(CONFIG, 4, &bits.to_le_bytes());
        assert_eq!(wire.read_u32(VS), 0x0001_0400);
        let capabilities = Capabilities(wire.read_u64(CAP));
        assert_eq!((capabilities.dstrd(), capabilities.mpsmin()), (0, 0));
        initiator
    }

    pub(crate) fn enable(&mut self) {
        let entries = u32::from(ENTRIES - 1);
        self.wire.write(BAR0, ASQ, &self.iova(self.admin.submission).to_le_bytes());
        self.wire.write(BAR0, ACQ, &self.iova(self.admin.completion).to_le_bytes());
        self.wire.write(BAR0, AQA, &(entries << 16 | entries).to_le_bytes());
        self.wire.write(BAR0, CC, &(ENTRY_SIZES | 1).to_le_bytes());
        self.wait_for("ready", ControllerStatus::rdy);
    }

    /// Clears CC.EN and nothing else.
    pub(crate) fn disable(&mut self) {
        let now = self.wire.read_u32(CC);
        self.wire.write(BAR0, CC, &(now & !1).to_le_bytes());
        self.wait_for("not ready", |csts| !csts.rdy());
    }

    pub(crate) fn shut_down(&mut self) {
        let now = Configuration(self.wire.read_u32(CC)).with_shn(ShutdownNotification::Normal as u8);
        self.wire.write(BAR0, CC, &now.0.to_le_bytes());
        self.wait_for("shut down", |csts| csts.shst() == ShutdownStatus::Complete.bits());
    }

    /// Gives its memory back, with a descriptor that nobody needs, and goes.
    pub(crate) fn leave(mut self) {
        if self.doorbells.is_some() {
            let unmap = DmaUnmap { argsz: 24, flags: 0, address: IOVA, size: MEMORY_BYTES as u64 };
            self.wire.call(Command::DmaUnmap, unmap.as_bytes(), &[self.memory.as_fd()]);
        }
    }

    #[track_caller]
    fn wait_for(&mut self, what: &str, condition: impl Fn(ControllerStatus) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(ControllerStatus(self.wire.read_u32(CSTS))) {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            std::thread::yield_now();
        }
    }

    /// Queue 1 of each kind, without interrupts.
    pub(crate) fn make_io_queues(&mut self) {
        let size = u32::from(self.io.qid) | u32::from(ENTRIES - 1) << 16;
        let mut create = command(AdminOpcode::CreateIoCompletionQueue.code(), 0);
        (create.prp1, create.cdw10) = (self.iova(self.io.completion).into(), size.into());
        create.cdw11 = 1.into();
        assert!(self.admin(create).status().is_success());
        let mut create = command(AdminOpcode::CreateIoSubmissionQueue.code(), 0);
        (create.prp1, create.cdw10) = (self.iova(self.io.submission).into(), size.into());
        create.cdw11 = (1 | u32::from(self.io.qid) << 16).into();
        assert!(self.admin(create).status().is_success());
    }

    /// Commands that fit into the submission queue at once.
    pub(crate) fn depth(&self) -> usize {
        usize::from(ENTRIES - 1)
    }

    /// Room for `count` pages of data and a list of them; where it begins in memory.
    pub(crate) fn pages(&mut self, count: usize) -> usize {
        if self.next_page + (count + 1) * PAGE > MEMORY_BYTES {
            self.next_page = 4 * PAGE;
        }
        let at = self.next_page;
        self.next_page += (count + 1) * PAGE;
        at
    }

    pub(crate) fn iova(&self, offset: usize) -> u64 {
        IOVA + offset as u64
    }

    pub(crate) fn store(&self, offset: usize, data: &[u8]) {
        self.memory.write(offset, data).unwrap();
    }

    pub(crate) fn load(&self, offset: usize, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.memory.read(offset, &mut data).unwrap();
        data
    }

    /// Points a command at `pages` pages of data at `buffer`; the list lies behind them.
    pub(crate) fn describe(&self, command: &mut SubmissionEntry, buffer: usize, pages: usize) {
        command.prp1 = self.iova(buffer).into();
        let rest: Vec<u8> =
            (1..pages).flat_map(|page| self.iova(buffer + page * PAGE).to_le_bytes()).collect();
        command.prp2 = match pages {
            1 => 0,
            2 => self.iova(buffer + PAGE),
            _ => {
                self.store(buffer + pages * PAGE, &rest);
                self.iova(buffer + pages * PAGE)
            }
        }
        .into();
    }

    /// Runs one admin command to its end.
    #[track_caller]
    pub(crate) fn admin(&mut self, command: SubmissionEntry) -> CompletionEntry {
        let mut pair = self.admin.clone();
        self.put_on(&mut pair, command);
        self.store_doorbell(Doorbell::SubmissionTail(pair.qid), pair.tail);
        let answer = self.completion_of(&mut pair);
        self.admin = pair;
        answer
    }

    /// Runs one I/O command to its end.
    #[track_caller]
    pub(crate) fn io(&mut self, command: SubmissionEntry) -> CompletionEntry {
        self.put(command);
        self.ring();
        self.completion()
    }

    /// Puts an I/O command into its queue, unannounced.
    pub(crate) fn put(&mut self, command: SubmissionEntry) {
        let mut pair = self.io.clone();
        self.put_on(&mut pair, command);
        self.io = pair;
    }

    /// Announces what was put.
    pub(crate) fn ring(&self) {
        self.store_doorbell(Doorbell::SubmissionTail(self.io.qid), self.io.tail);
    }

    /// The next completion of an I/O command.
    #[track_caller]
    pub(crate) fn completion(&mut self) -> CompletionEntry {
        let mut pair = self.io.clone();
        let answer = self.completion_of(&mut pair);
        self.io = pair;
        answer
    }

    fn put_on(&mut self, pair: &mut Pair, mut command: SubmissionEntry) {
        self.next_cid = self.next_cid.wrapping_add(1);
        command.cid = self.next_cid.into();
        self.store(pair.submission + usize::from(pair.tail) * 64, command.as_bytes());
        pair.tail = (pair.tail + 1) % ENTRIES;
    }

    #[track_caller]
    fn completion_of(&self, pair: &mut Pair) -> CompletionEntry {
        let at = pair.completion + usize::from(pair.head) * 16;
        let status = self.memory.atomic_u16(at + 14).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while (status.load(Ordering::Acquire) & 1 == 1) != pair.phase {
            assert!(Instant::now() < deadline, "waited in vain for a completion on queue {}", pair.qid);
            std::thread::yield_now();
        }
        let answer = CompletionEntry::read_from_bytes(&self.load(at, 16)).unwrap();
        pair.head = (pair.head + 1) % ENTRIES;
        pair.phase ^= pair.head == 0;
        self.store_doorbell(Doorbell::CompletionHead(pair.qid), pair.head);
        answer
    }

    fn store_doorbell(&self, doorbell: Doorbell, value: u16) {
        let offset = usize::try_from(doorbell.offset(0) - DOORBELLS).unwrap();
        let area = self.doorbells.as_ref().unwrap();
        area.atomic_u32(offset).unwrap().store(value.into(), Ordering::Release);
    }
}
