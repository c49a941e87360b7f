//! A back end of three namespaces in memory, which works when it is rung and is silent on request.
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use assign::{Assignment, Port};
use gate::{AccessKind, Gate, Pass, ThreadToken};
use models::nvme::elsewhere::{Elsewhere, Facts, Reaped};
use models::nvme::{Config, build_elsewhere};
use nvme_spec::identify::{Controller, LbaFormat, Namespace, NamespaceList, VWC_FLUSH_ALL, VWC_PRESENT};
use nvme_spec::io::Cdw12;
use nvme_spec::register::{CAP_CSS_NVM, Capabilities};
use nvme_spec::{AdminOpcode, NSID_ALL, NvmOpcode, Status, SubmissionEntry, VERSION_1_4};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use zerocopy::{FromZeros, IntoBytes};

/// Namespaces, and blocks of each.
pub(crate) const NAMESPACES: u32 = 3;
pub(crate) const BLOCKS: u64 = 4096;
const BLOCK: usize = 512;
const PAGE: u64 = 4096;

pub(crate) struct Inner {
    disks: Vec<Vec<u8>>,
    /// What was submitted and not answered.
    pub(crate) there: Vec<(u16, u16, SubmissionEntry)>,
    back: Vec<Reaped>,
    /// Nothing is done: it has died, and nobody knows.
    pub(crate) silent: bool,
    pub(crate) up: bool,
    settled: bool,
    pub(crate) abandoned: u32,
    pub(crate) flushes: u32,
}

pub(crate) struct BackEnd {
    facts: Facts,
    event: OwnedFd,
    inner: Mutex<Inner>,
    port: Mutex<Weak<Port>>,
}

impl BackEnd {
    /// One, and a controller in front of it.
    pub(crate) fn with_front(config: &Config) -> (Arc<BackEnd>, Arc<Assignment>) {
        let page = Controller {
            sn: nvme_spec::identify::ascii("BACK-1"),
            mn: nvme_spec::identify::ascii("Back end"),
            mdts: 1,
            nn: NAMESPACES.into(),
            vwc: VWC_PRESENT | VWC_FLUSH_ALL,
            ..Controller::default()
        };
        let mut identify = [0; 4096];
        identify.copy_from_slice(page.as_bytes());
        let capabilities = Capabilities::default().with_css(CAP_CSS_NVM).0;
        let facts = Facts { identify, capabilities, version: VERSION_1_4, max_queues: 4 };
        let inner = Inner {
            disks: vec![vec![0; BLOCKS as usize * BLOCK]; NAMESPACES as usize],
            there: Vec::new(),
            back: Vec::new(),
            silent: false,
            up: true,
            settled: true,
            abandoned: 0,
            flushes: 0,
        };
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let port = Mutex::new(Weak::new());
        let back = Arc::new(BackEnd { facts, event, inner: Mutex::new(inner), port });
        let elsewhere = Arc::clone(&back) as Arc<dyn Elsewhere>;
        let assignment =
            build_elsewhere(Gate::new("front"), config, elsewhere, Arc::new(()), |function| function)
                .unwrap();
        *back.port.lock().unwrap() = Arc::downgrade(assignment.port());
        (back, assignment)
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn wake(&self) {
        rustix::io::write(&self.event, &1_u64.to_ne_bytes()).unwrap();
    }

    /// Whether the worker has reason to look.
    pub(crate) fn is_readable(&self) -> bool {
        let mut fds = [PollFd::new(&self.event, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
    }

    /// It dies, and what it has stays undone.
    pub(crate) fn die(&self) {
        let mut inner = self.inner();
        (inner.silent, inner.up) = (true, false);
    }

    /// Another one is in its place.
    pub(crate) fn come_back(&self) {
        let mut inner = self.inner();
        (inner.silent, inner.up) = (false, true);
        drop(inner);
        self.wake();
    }

    /// What it has at present.
    pub(crate) fn holds(&self) -> usize {
        self.inner().there.len()
    }

    fn work(&self, pass: &Pass<'_>, port: &Port) {
        let mut inner = self.inner();
        if !inner.settled {
            // What was abandoned comes back, undone.
            let old: Vec<_> = inner.there.drain(..).collect();
            let aborted = |(_, tag, _)| Reaped::Finished { tag, dw0: 0, status: Status::ABORT_REQUESTED };
            inner.back.extend(old.into_iter().map(aborted));
            inner.settled = true;
        }
        for (queue, tag, entry) in std::mem::take(&mut inner.there) {
            let result = inner.execute(pass, port, queue, &entry);
            let status = result.err().unwrap_or(Status::SUCCESS);
            inner.back.push(Reaped::Finished { tag, dw0: 0, status });
        }
    }
}

impl Inner {
    fn execute(
        &mut self,
        pass: &Pass<'_>,
        port: &Port,
        queue: u16,
        entry: &SubmissionEntry,
    ) -> Result<(), Status> {
        if queue == 0 {
            return self.administer(pass, port, entry);
        }
        let nsid = entry.nsid.get();
        if entry.opcode == NvmOpcode::Flush.code() {
            self.flushes += 1;
            return if nsid == NSID_ALL || nsid <= NAMESPACES {
                Ok(())
            } else {
                Err(Status::INVALID_NAMESPACE_OR_FORMAT)
            };
        }
        let index = nsid.checked_sub(1).ok_or(Status::INVALID_NAMESPACE_OR_FORMAT)?;
        let disk = self.disks.get_mut(index as usize).ok_or(Status::INVALID_NAMESPACE_OR_FORMAT)?;
        let (start, len) =
            (entry.slba() as usize * BLOCK, Cdw12(entry.cdw12.get()).block_count() as usize * BLOCK);
        let blocks = disk.get_mut(start..start + len).ok_or(Status::LBA_OUT_OF_RANGE)?;
        // Two pages at most: the second pointer is no list.
        let (first, second) = (entry.prp1.get(), entry.prp2.get());
        let (one, two) = blocks.split_at_mut(len.min((PAGE - first % PAGE) as usize));
        for (at, piece) in [(first, one), (second, two)].into_iter().filter(|(_, piece)| !piece.is_empty()) {
            let moved = match NvmOpcode::try_from(entry.opcode) {
                Ok(NvmOpcode::Read) => port.dma().write(pass, at, piece),
                Ok(NvmOpcode::Write) => port.dma().read(pass, at, piece),
                _ => return Err(Status::INVALID_OPCODE),
            };
            moved.map_err(|_| Status::DATA_TRANSFER_ERROR)?;
        }
        Ok(())
    }

    fn administer(&mut self, pass: &Pass<'_>, port: &Port, entry: &SubmissionEntry) -> Result<(), Status> {
        if entry.opcode != AdminOpcode::Identify.code() {
            return if entry.opcode == AdminOpcode::SetFeatures.code() {
                Ok(())
            } else {
                Err(Status::INVALID_OPCODE)
            };
        }
        let mut page = [0; 4096];
        match entry.cdw10.get() & 0xff {
            0 if (1..=NAMESPACES).contains(&entry.nsid.get()) => {
                let mut namespace =
                    Namespace { nsze: BLOCKS.into(), ncap: BLOCKS.into(), ..Namespace::default() };
                namespace.lbaf[0] = LbaFormat::plain(9);
                page.copy_from_slice(namespace.as_bytes());
            }
            2 => {
                let mut list = NamespaceList::new_zeroed();
                for (to, nsid) in list.nsid.iter_mut().zip(entry.nsid.get() + 1..=NAMESPACES) {
                    *to = nsid.into();
                }
                page.copy_from_slice(list.as_bytes());
            }
            _ => return Err(Status::INVALID_FIELD),
        }
        port.dma().write(pass, entry.prp1.get(), &page).map_err(|_| Status::DATA_TRANSFER_ERROR)
    }
}

impl Elsewhere for BackEnd {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn submit(&self, queue: u16, tag: u16, entry: &SubmissionEntry) -> bool {
        self.inner().there.push((queue, tag, *entry));
        true
    }

    fn ring(&self, token: &mut ThreadToken) {
        let pending = {
            let inner = self.inner();
            !inner.silent && (!inner.there.is_empty() || !inner.settled)
        };
        let Some(port) = self.port.lock().unwrap().upgrade().filter(|_| pending) else { return };
        // A real one works while the gate is closed, too.
        if let Ok(pass) = port.handle().try_enter(token, AccessKind::Dma) {
            self.work(&pass, &port);
            drop(pass);
            self.wake();
        }
    }

    fn reap(&self, reaped: &mut Vec<Reaped>) {
        reaped.append(&mut self.inner().back);
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    fn clear(&self) {
        let _count = rustix::io::read(&self.event, &mut [0; 8]);
    }

    fn abandon(&self) {
        let mut inner = self.inner();
        inner.abandoned += 1;
        inner.settled = false;
    }

    fn is_settled(&self) -> bool {
        self.inner().settled
    }

    fn is_up(&self) -> bool {
        self.inner().up
    }
}
