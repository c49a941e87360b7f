//! A window for tests, that does with faults what it is told, on the kernel's real pages.
#![allow(unsafe_code)] // Touches the range that it has mapped.
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]

use super::{Pool, Serve};
use crate::uffd::{Backing, KernelPages};
use crate::{Pages, access, sigbus};
use gate::{Deadline, ThreadToken};
use rustix::fs::MemfdFlags;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(crate) const PAGE: usize = 4096;

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A file in memory, that can be exchanged for another one.
pub(crate) struct FakeFile(Mutex<Arc<OwnedFd>>);

impl FakeFile {
    pub(crate) fn new(size: u64) -> Arc<FakeFile> {
        Arc::new(FakeFile(Mutex::new(Arc::new(memory_file(size)))))
    }

    pub(crate) fn of(file: OwnedFd) -> Arc<FakeFile> {
        Arc::new(FakeFile(Mutex::new(Arc::new(file))))
    }

    pub(crate) fn exchange(&self, size: u64) {
        *self.0.lock().unwrap() = Arc::new(memory_file(size));
    }

    pub(crate) fn write(&self, offset: usize, data: &[u8]) {
        assert_eq!(rustix::io::pwrite(self.fd(), data, offset as u64).unwrap(), data.len());
    }

    pub(crate) fn read(&self, offset: usize) -> u8 {
        let mut byte = [0];
        assert_eq!(rustix::io::pread(self.fd(), &mut byte, offset as u64).unwrap(), 1);
        byte[0]
    }

    /// Bytes that it takes.
    pub(crate) fn allocated(&self) -> usize {
        usize::try_from(rustix::fs::fstat(self.fd()).unwrap().st_blocks).unwrap() * 512
    }

    fn fd(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.0.lock().unwrap())
    }
}

impl Backing for FakeFile {
    fn file(&self, _: u64) -> io::Result<Arc<OwnedFd>> {
        Ok(self.fd())
    }
}

fn memory_file(size: u64) -> OwnedFd {
    let file = rustix::fs::memfd_create("fake", MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&file, size).unwrap();
    file
}

/// What a window does with a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Makes the page present.
    Answer,
    /// Has the access fail.
    Poison,
    /// Leaves it waiting, and answers all when this time has passed.
    Park(Duration),
    /// Keeps the handler until the plan is another one, and answers then.
    Hold,
    /// Panics.
    Panic,
}

/// A window that follows a plan.
pub(crate) struct Fake {
    pub(crate) pages: KernelPages,
    plan: Mutex<Plan>,
    pub(crate) faults: AtomicUsize,
    pub(crate) abandoned: AtomicUsize,
    parked: Mutex<Option<Instant>>,
}

impl Fake {
    pub(crate) fn new(pool: &Arc<Pool>, file: &Arc<FakeFile>, offset: u64, size: usize) -> Arc<Fake> {
        sigbus::install();
        let backing: Arc<dyn Backing> = Arc::<FakeFile>::clone(file);
        let pages = KernelPages::map_with(Arc::clone(pool), backing, offset, size as u64).unwrap();
        let fake = Arc::new(Fake {
            pages,
            plan: Mutex::new(Plan::Answer),
            faults: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
            parked: Mutex::new(None),
        });
        fake.pages.attach_to(&fake);
        fake
    }

    pub(crate) fn plan(&self, plan: Plan) {
        *self.plan.lock().unwrap() = plan;
    }

    /// Reads a byte as a consumer does; `None` if that fails.
    pub(crate) fn read(&self, offset: usize) -> Option<u8> {
        // SAFETY: the offset is inside the range (a test's own promise), which lives as long as `self`.
        unsafe { access::load(self.at(offset)) }
    }

    /// Writes a byte as a consumer does.
    pub(crate) fn write(&self, offset: usize, value: u8) {
        // SAFETY: as for `read`.
        assert!(unsafe { access::store(self.at(offset), value) });
    }

    fn at(&self, offset: usize) -> *mut u8 {
        self.pages.base().unwrap().as_ptr().wrapping_add(offset)
    }

    pub(crate) fn faults(&self) -> usize {
        self.faults.load(Ordering::SeqCst)
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::SeqCst) > 0
    }

    /// Has whoever waits fault again.
    pub(crate) fn wake(&self) {
        self.pages.wake();
    }

    /// Waits until somebody is left waiting.
    pub(crate) fn until_parked(&self) {
        until(|| self.parked.lock().unwrap().is_some());
    }
}

impl Serve for Fake {
    fn fault(&self, _: &mut ThreadToken, offset: u64) -> Option<Deadline> {
        self.faults.fetch_add(1, Ordering::SeqCst);
        let plan = *self.plan.lock().unwrap();
        match plan {
            Plan::Answer => self.pages.populate(offset).map(|()| None).unwrap_or(None),
            Plan::Poison => {
                self.pages.poison(offset);
                None
            }
            Plan::Park(wait) => {
                let until = Instant::now() + wait;
                *self.parked.lock().unwrap() = Some(until);
                Some(Deadline::at(until))
            }
            Plan::Hold => {
                until(|| *self.plan.lock().unwrap() != Plan::Hold);
                self.pages.populate(offset).map(|()| None).unwrap_or(None)
            }
            Plan::Panic => panic!("killed by a test"),
        }
    }

    fn expire(&self, now: Instant) -> Option<Deadline> {
        let mut parked = self.parked.lock().unwrap();
        if let Some(until) = parked.filter(|until| *until > now) {
            return Some(Deadline::at(until));
        }
        if parked.take().is_some() {
            self.plan(Plan::Answer);
            self.pages.wake();
        }
        None
    }

    fn abandon(&self) {
        self.abandoned.fetch_add(1, Ordering::SeqCst);
        self.pages.cover();
    }
}

/// Waits until the condition holds.
pub(crate) fn until(condition: impl Fn() -> bool) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "it never happens");
        std::thread::yield_now();
    }
}
