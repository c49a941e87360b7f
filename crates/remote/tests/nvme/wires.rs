//! Connections that end when a test wants them to, and what a hostile back end can reach.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use gate::ThreadToken;
use gate::lock::Leaf;
use remote::link::{Commands, Link, LinkError, LinkOptions, LinkWatch, Loss};
use remote::nvme::Wire;
use rustix::io::Errno;
use vfio_user::client::{MappedArea, SharedMemory};

/// A consumer that has no memory of its own to offer by messages.
pub struct Nothing;

impl Commands for Nothing {
    fn dma_read(&self, _: &mut ThreadToken, _: u64, _: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::FAULT)
    }

    fn dma_write(&self, _: &mut ThreadToken, _: u64, _: &[u8]) -> Result<(), Errno> {
        Err(Errno::FAULT)
    }
}

pub fn connect(token: &mut ThreadToken, socket: &std::path::Path, watch: Arc<dyn LinkWatch>) -> Arc<Link> {
    Link::connect(token, socket, LinkOptions::default(), Arc::new(Nothing), watch).unwrap()
}

/// A connection that is cut at its n-th use, and remembers the memory that it was given.
pub struct Mortal {
    link: Arc<Link>,
    left: AtomicI64,
    used: AtomicU64,
    memory: Leaf<remote::ranks::Wired, Option<File>>,
}

impl Mortal {
    /// `uses` that still succeed; negative: for ever.
    pub fn new(link: Arc<Link>, uses: i64) -> Arc<Self> {
        let (left, used) = (AtomicI64::new(0), AtomicU64::new(0));
        let this = Arc::new(Self { link, left, used, memory: Leaf::new(None) });
        this.end_after(uses);
        this
    }

    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Counts from here, and so many uses succeed; negative: all.
    pub fn end_after(&self, uses: i64) {
        self.used.store(0, Ordering::SeqCst);
        self.left.store(if uses < 0 { i64::MAX } else { uses }, Ordering::SeqCst);
    }

    /// How often it was used.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::SeqCst)
    }

    /// As a back end writes to the queues: at an offset of the memory that it was given.
    pub fn scribble(&self, at: usize, bytes: &[u8]) {
        let file = self.memory.lock().as_ref().map(|file| file.try_clone().unwrap()).unwrap();
        file.write_all_at(bytes, at as u64).unwrap();
    }

    /// Waits until the dword at an offset of that memory is what the test waits for.
    pub fn wait_for(&self, at: usize, reached: impl Fn(u32) -> bool) {
        let file = self.memory.lock().as_ref().map(|file| file.try_clone().unwrap()).unwrap();
        let mut dword = [0; 4];
        while !reached(u32::from_le_bytes(dword)) {
            std::thread::yield_now();
            file.read_exact_at(&mut dword, at as u64).unwrap();
        }
    }

    fn live(&self) -> Result<&Link, LinkError> {
        self.used.fetch_add(1, Ordering::SeqCst);
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.link.cut(Loss::Cut("the test kills it"));
        }
        Ok(&self.link)
    }
}

impl Wire for Mortal {
    fn read(
        &self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), LinkError> {
        self.live()?.read(token, region, offset, data)
    }

    fn write(&self, token: &mut ThreadToken, region: u32, offset: u64, data: &[u8]) -> Result<(), LinkError> {
        self.live()?.write(token, region, offset, data)
    }

    fn post(&self, token: &mut ThreadToken, region: u32, offset: u64, data: &[u8]) -> Result<(), LinkError> {
        self.live()?.post(token, region, offset, data)
    }

    fn reset(&self, token: &mut ThreadToken) -> Result<(), LinkError> {
        self.live()?.reset(token)
    }

    fn map(&self, token: &mut ThreadToken, iova: u64, memory: &SharedMemory) -> Result<(), LinkError> {
        *self.memory.lock() = Some(File::from(memory.as_fd().try_clone_to_owned().unwrap()));
        Wire::map(self.live()?, token, iova, memory)
    }

    fn unmap(&self, token: &mut ThreadToken, iova: u64, length: u64) -> Result<(), LinkError> {
        self.live()?.unmap(token, iova, length)
    }

    fn vectors(&self, token: &mut ThreadToken, index: u32) -> Result<u32, LinkError> {
        self.live()?.vectors(token, index)
    }

    fn signal(&self, token: &mut ThreadToken, index: u32, eventfd: BorrowedFd<'_>) -> Result<(), LinkError> {
        self.live()?.signal(token, index, eventfd)
    }

    fn unmask(&self, token: &mut ThreadToken, index: u32) -> Result<(), LinkError> {
        self.live()?.unmask(token, index)
    }

    fn doorbells(
        &self,
        token: &mut ThreadToken,
        start: u64,
        end: u64,
    ) -> Result<Option<MappedArea>, LinkError> {
        self.live()?.doorbells(token, start, end)
    }

    fn cut(&self, loss: Loss) {
        self.link.cut(loss);
    }
}
