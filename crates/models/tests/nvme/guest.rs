//! A guest in this process: memory in a memfd, queues built by hand, doorbells as a driver writes them.
//!
//! It waits on conditions only, each with a deadline.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assign::{Assignment, Attached, DmaMapFlags, DmaMapRequest, IrqAction, IrqData, SetIrqs};
use gate::ThreadToken;
use models::nvme::{Backing, Config, DoorbellStyle};
use nvme_spec::register::{ACQ, AQA, ASQ, CC, CSTS, ControllerStatus};
use nvme_spec::{AdminOpcode, CompletionEntry, Doorbell, NvmOpcode, Status, SubmissionEntry};
use zerocopy::{FromBytes, IntoBytes};

/// Where guest memory starts for the device.
pub(crate) const BASE: u64 = 0x1_0000_0000;
/// How much there is.
pub(crate) const BYTES: u64 = 64 << 20;
/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// CC with everything as a driver sets it, enabled.
pub(crate) const ENABLED: u32 = 0x0046_0001;

/// A queue pair as the guest sees it.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) qid: u16,
    pub(crate) submission: u64,
    pub(crate) completion: u64,
    pub(crate) entries: u32,
    pub(crate) tail: u32,
    pub(crate) head: u32,
    pub(crate) phase: bool,
    pub(crate) next_cid: u16,
}

pub(crate) struct Guest {
    pub(crate) assignment: Arc<Assignment>,
    attached: Option<Attached>,
    pub(crate) token: ThreadToken,
    pub(crate) memory: File,
    pub(crate) doorbells: Option<File>,
    /// Where shadow doorbells and event indexes are, once they are in use.
    pub(crate) shadow: Option<(u64, u64)>,
    /// Doorbell writes that went to the device.
    pub(crate) rung: u64,
    next_page: u64,
    pub(crate) admin: Pair,
}

pub(crate) fn memfd(bytes: u64) -> File {
    let fd = rustix::fs::memfd_create("guest", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let file = File::from(fd);
    file.set_len(bytes).unwrap();
    file
}

pub(crate) fn entry(opcode: u8, nsid: u32) -> SubmissionEntry {
    SubmissionEntry { opcode, nsid: nsid.into(), ..SubmissionEntry::default() }
}

pub(crate) fn admin(opcode: AdminOpcode) -> SubmissionEntry {
    entry(opcode.code(), 0)
}

/// An I/O command on namespace 1 with `blocks` blocks from `lba`, and data at `prp1`.
pub(crate) fn io(opcode: NvmOpcode, lba: u64, blocks: u32, prp1: u64) -> SubmissionEntry {
    let mut command = entry(opcode.code(), 1);
    command.set_slba(lba);
    command.cdw12 = (blocks - 1).into();
    command.prp1 = prp1.into();
    command
}

/// The memory of the doorbells, as a client is given it to map.
fn doorbell_file(attached: &mut Attached, token: &mut ThreadToken) -> Option<File> {
    let shared = attached.share(token, 0, || String::from("guest"))?;
    assert_eq!((shared.areas().len(), shared.areas()[0].offset), (1, 0x1000));
    Some(File::from(shared.file().try_clone().unwrap()))
}

impl Guest {
    /// Builds a controller, attaches, maps memory and turns bus mastering on. The controller is not enabled yet.
    pub(crate) fn new(config: &Config, backing: Backing) -> Self {
        Self::of(models::nvme::build("nvme0", config, backing, Arc::new(())).unwrap(), config)
    }

    /// The same with a controller that is there already.
    pub(crate) fn of(assignment: Arc<Assignment>, config: &Config) -> Self {
        let mut token = ThreadToken::at_thread_entry();
        let mut attached = assignment.attach(&mut token).unwrap();
        let memory = memfd(BYTES);
        let doorbells = doorbell_file(&mut attached, &mut token);
        assert_eq!(doorbells.is_some(), config.doorbells == DoorbellStyle::Mapped);
        let pair = |qid, submission, completion| Pair {
            qid,
            submission,
            completion,
            entries: 32,
            tail: 0,
            head: 0,
            phase: true,
            next_cid: 0,
        };
        let mut guest = Self {
            assignment,
            attached: Some(attached),
            token,
            memory,
            doorbells,
            shadow: None,
            rung: 0,
            next_page: BASE + 0x10_0000,
            admin: pair(0, BASE, BASE + 0x1000),
        };
        guest.map();
        guest.set_command(0x6);
        guest
    }

    pub(crate) fn ready(config: &Config, backing: Backing) -> Self {
        let mut guest = Self::new(config, backing);
        guest.enable();
        guest
    }

    pub(crate) fn memory_disk() -> Self {
        Self::ready(&Config::default(), Backing::memory(16 << 20).unwrap())
    }

    pub(crate) fn map(&mut self) {
        let request = DmaMapRequest {
            flags: DmaMapFlags(DmaMapFlags::READ | DmaMapFlags::WRITE),
            offset: 0,
            iova: BASE,
            size: BYTES,
            fd: Some(OwnedFd::from(self.memory.try_clone().unwrap())),
        };
        self.assignment.dma_map(&mut self.token, request).unwrap();
    }

    /// Leaves, as a client that disconnects.
    pub(crate) fn detach(&mut self) {
        if let Some(attached) = self.attached.take() {
            attached.detach(&mut self.token);
        }
    }

    pub(crate) fn attach(&mut self) {
        let mut attached = self.assignment.attach(&mut self.token).unwrap();
        self.doorbells = doorbell_file(&mut attached, &mut self.token);
        self.attached = Some(attached);
    }

    pub(crate) fn set_command(&mut self, value: u16) {
        self.assignment.region_write(&mut self.token, 7, 4, &value.to_le_bytes()).unwrap();
    }

    pub(crate) fn read32(&mut self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.assignment.region_read(&mut self.token, 0, offset, &mut data).unwrap();
        u32::from_le_bytes(data)
    }

    pub(crate) fn write32(&mut self, offset: u64, value: u32) {
        self.assignment.region_write(&mut self.token, 0, offset, &value.to_le_bytes()).unwrap();
    }

    pub(crate) fn write64(&mut self, offset: u64, value: u64) {
        self.assignment.region_write(&mut self.token, 0, offset, &value.to_le_bytes()).unwrap();
    }

    pub(crate) fn status(&mut self) -> ControllerStatus {
        ControllerStatus(self.read32(CSTS))
    }

    /// Waits until `condition` holds.
    #[track_caller]
    pub(crate) fn wait(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(Instant::now() < deadline, "waited in vain for: {what}");
            std::thread::yield_now();
        }
    }

    pub(crate) fn enable(&mut self) {
        let zeros = [0; 0x2000];
        self.memory.write_all_at(&zeros, 0).unwrap();
        (self.admin.tail, self.admin.head, self.admin.phase) = (0, 0, true);
        self.write32(AQA, 31 << 16 | 31);
        self.write64(ASQ, self.admin.submission);
        self.write64(ACQ, self.admin.completion);
        self.write32(CC, ENABLED);
        self.wait("ready", |guest| guest.status().rdy());
    }

    pub(crate) fn disable(&mut self) {
        self.write32(CC, ENABLED & !1);
        self.wait("not ready", |guest| !guest.status().rdy());
    }

    /// `count` pages of guest memory, zeroed, with consecutive addresses.
    pub(crate) fn pages(&mut self, count: u64) -> u64 {
        let at = self.next_page;
        self.next_page += count * 4096;
        assert!(self.next_page <= BASE + BYTES);
        self.store(at, &vec![0; usize::try_from(count * 4096).unwrap()]);
        at
    }

    pub(crate) fn store(&self, iova: u64, data: &[u8]) {
        self.memory.write_all_at(data, iova - BASE).unwrap();
    }

    pub(crate) fn load(&self, iova: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.memory.read_exact_at(&mut data, iova - BASE).unwrap();
        data
    }

    pub(crate) fn load32(&self, iova: u64) -> u32 {
        u32::from_le_bytes(self.load(iova, 4).try_into().unwrap())
    }

    /// Rings a doorbell as a driver would: the shadow if there is one, then the real one if it is asked for.
    pub(crate) fn ring(&mut self, doorbell: Doorbell, value: u32) {
        if let (Some((shadow, events)), true) = (self.shadow, doorbell.index() > 1) {
            let at = doorbell.shadow_offset(0);
            let old = self.load32(shadow + at);
            self.store(shadow + at, &value.to_le_bytes());
            let event = self.load32(events + at);
            let narrow = |value: u32| u16::try_from(value & 0xffff).unwrap();
            let needed = narrow(value).wrapping_sub(narrow(event)).wrapping_sub(1)
                < narrow(value).wrapping_sub(narrow(old));
            if !needed {
                return;
            }
        }
        self.rung += 1;
        match &self.doorbells {
            Some(page) => page.write_all_at(&value.to_le_bytes(), doorbell.offset(0)).unwrap(),
            None => self.write32(doorbell.offset(0), value),
        }
    }

    /// Puts a command into a queue without telling the device; returns its identifier.
    pub(crate) fn put(&mut self, pair: &mut Pair, mut command: SubmissionEntry) -> u16 {
        pair.next_cid = pair.next_cid.wrapping_add(1);
        command.cid = pair.next_cid.into();
        self.store(pair.submission + u64::from(pair.tail) * 64, command.as_bytes());
        pair.tail = (pair.tail + 1) % pair.entries;
        pair.next_cid
    }

    pub(crate) fn submit(&mut self, pair: &mut Pair, command: SubmissionEntry) -> u16 {
        let cid = self.put(pair, command);
        self.ring(Doorbell::SubmissionTail(pair.qid), pair.tail);
        cid
    }

    /// The completion at the head of a queue, if it is there. The head is not acknowledged.
    pub(crate) fn peek(&self, pair: &Pair) -> Option<CompletionEntry> {
        let bytes = self.load(pair.completion + u64::from(pair.head) * 16, 16);
        let found = CompletionEntry::read_from_bytes(&bytes).unwrap();
        (found.phase() == pair.phase).then_some(found)
    }

    /// The next completion, acknowledged.
    #[track_caller]
    pub(crate) fn complete(&mut self, pair: &mut Pair) -> CompletionEntry {
        self.wait("a completion", |guest| guest.peek(pair).is_some());
        let found = self.peek(pair).unwrap();
        pair.head = (pair.head + 1) % pair.entries;
        if pair.head == 0 {
            pair.phase = !pair.phase;
        }
        self.ring(Doorbell::CompletionHead(pair.qid), pair.head);
        found
    }

    /// Runs one command to its end.
    #[track_caller]
    pub(crate) fn run(&mut self, pair: &mut Pair, command: SubmissionEntry) -> CompletionEntry {
        let cid = self.submit(pair, command);
        let answer = self.complete(pair);
        assert_eq!((answer.cid.get(), answer.sqid.get()), (cid, pair.qid));
        answer
    }

    #[track_caller]
    pub(crate) fn run_admin(&mut self, command: SubmissionEntry) -> CompletionEntry {
        let mut pair = self.admin.clone();
        let answer = self.run(&mut pair, command);
        self.admin = pair;
        answer
    }

    #[track_caller]
    pub(crate) fn submit_admin(&mut self, command: SubmissionEntry) -> u16 {
        let mut pair = self.admin.clone();
        let cid = self.submit(&mut pair, command);
        self.admin = pair;
        cid
    }

    #[track_caller]
    pub(crate) fn complete_admin(&mut self) -> CompletionEntry {
        let mut pair = self.admin.clone();
        let answer = self.complete(&mut pair);
        self.admin = pair;
        answer
    }

    /// Makes an I/O queue pair.
    #[track_caller]
    pub(crate) fn make_pair(&mut self, qid: u16, entries: u32, vector: u16) -> Pair {
        let completion = self.pages(u64::from(entries).div_ceil(256));
        let submission = self.pages(u64::from(entries).div_ceil(64));
        let mut create = admin(AdminOpcode::CreateIoCompletionQueue);
        create.prp1 = completion.into();
        create.cdw10 = (u32::from(qid) | (entries - 1) << 16).into();
        create.cdw11 = (3 | u32::from(vector) << 16).into();
        let answer = self.run_admin(create);
        assert_eq!(answer.status(), Status::SUCCESS);
        let mut create = admin(AdminOpcode::CreateIoSubmissionQueue);
        create.prp1 = submission.into();
        create.cdw10 = (u32::from(qid) | (entries - 1) << 16).into();
        create.cdw11 = (1 | u32::from(qid) << 16).into();
        let answer = self.run_admin(create);
        assert_eq!(answer.status(), Status::SUCCESS);
        Pair { qid, submission, completion, entries, tail: 0, head: 0, phase: true, next_cid: 0 }
    }

    /// Wires vector 0 of an interrupt index to an eventfd.
    pub(crate) fn listen(&mut self, index: u32) -> OwnedFd {
        let flags = rustix::event::EventfdFlags::NONBLOCK;
        let event = rustix::event::eventfd(0, flags).unwrap();
        let theirs = event.try_clone().unwrap();
        let request = SetIrqs {
            index,
            start: 0,
            count: 1,
            action: IrqAction::Trigger,
            data: IrqData::Eventfd(vec![theirs]),
        };
        self.assignment.set_irqs(&mut self.token, request).unwrap();
        event
    }
}

impl Guest {
    /// Ends the automatic mask of INTx, as a client does when it takes an interrupt as served.
    pub(crate) fn unmask_intx(&mut self) {
        let (action, data) = (IrqAction::Unmask, IrqData::None);
        let request = SetIrqs { index: 0, start: 0, count: 1, action, data };
        self.assignment.set_irqs(&mut self.token, request).unwrap();
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.detach();
    }
}

/// The count of an eventfd, taken; 0 if it was not signalled.
pub(crate) fn signalled(event: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    match rustix::io::read(event, &mut count) {
        Ok(_) => u64::from_ne_bytes(count),
        Err(_) => 0,
    }
}

#[track_caller]
pub(crate) fn assert_failed(answer: &CompletionEntry, status: Status) {
    assert!(answer.status().is(status), "{:?} instead of {status:?}", answer.status());
}

#[track_caller]
pub(crate) fn assert_ok(answer: &CompletionEntry) {
    assert!(answer.status().is_success(), "{:?}", answer.status());
}

/// Bytes that tell where they belong.
pub(crate) fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at / 512) as u8 ^ (at % 251) as u8 ^ seed).collect()
}
