//! This side of a link: memory that the back end may reach, who is told of the end, and counts of what is left over.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use gate::ThreadToken;
use parking_lot::{Condvar, Mutex};
use remote::link::{Commands, LinkWatch, Loss};
use rustix::io::Errno;

use super::LONG;

/// Where [`Memory`] is.
pub const BASE: u64 = 0x10_0000;

/// Two mebibytes of a consumer's memory at [`BASE`].
pub struct Memory {
    bytes: Mutex<Vec<u8>>,
    reads: AtomicUsize,
    writes: AtomicUsize,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            bytes: Mutex::new(vec![0; 2 << 20]),
            reads: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
        }
    }
}

impl Memory {
    /// Accesses of the back end that were let in.
    pub fn accesses(&self) -> (usize, usize) {
        (self.reads.load(Ordering::SeqCst), self.writes.load(Ordering::SeqCst))
    }

    pub fn fill(&self, address: u64, data: &[u8]) {
        self.with(address, data.len(), |bytes| bytes.copy_from_slice(data)).unwrap();
    }

    pub fn bytes(&self, address: u64, count: usize) -> Vec<u8> {
        self.with(address, count, |bytes| bytes.to_vec()).unwrap()
    }

    fn with<T>(&self, address: u64, count: usize, act: impl FnOnce(&mut [u8]) -> T) -> Result<T, Errno> {
        let start = address.checked_sub(BASE).and_then(|start| usize::try_from(start).ok());
        let start = start.ok_or(Errno::FAULT)?;
        let end = start.checked_add(count).ok_or(Errno::FAULT)?;
        self.bytes.lock().get_mut(start..end).map(act).ok_or(Errno::FAULT)
    }
}

impl Commands for Memory {
    fn dma_read(&self, _: &mut ThreadToken, address: u64, data: &mut [u8]) -> Result<(), Errno> {
        let count = data.len();
        self.with(address, count, |bytes| data.copy_from_slice(bytes))?;
        self.reads.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn dma_write(&self, _: &mut ThreadToken, address: u64, data: &[u8]) -> Result<(), Errno> {
        self.with(address, data.len(), |bytes| bytes.copy_from_slice(data))?;
        self.writes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// What was told of a link.
#[derive(Default)]
pub struct Told {
    losses: Mutex<Vec<Loss>>,
    more: Condvar,
}

impl Told {
    /// Everything so far.
    pub fn losses(&self) -> Vec<Loss> {
        self.losses.lock().clone()
    }

    /// Waits until something has been told, and gives the first.
    #[track_caller]
    pub fn wait(&self) -> Loss {
        let mut losses = self.losses.lock();
        while losses.is_empty() {
            assert!(!self.more.wait_for(&mut losses, LONG).timed_out(), "nobody is told of a loss");
        }
        losses[0]
    }
}

impl LinkWatch for Told {
    fn lost(&self, loss: Loss) {
        self.losses.lock().push(loss);
        self.more.notify_all();
    }
}

/// Descriptors and threads of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    pub descriptors: usize,
    pub threads: usize,
}

impl Census {
    pub fn take() -> Census {
        let count = |of: &str| std::fs::read_dir(Path::new("/proc/self").join(of)).unwrap().count();
        Census { descriptors: count("fd"), threads: count("task") }
    }

    /// Waits until there are no more than these.
    #[track_caller]
    pub fn wait_until_back(&self, after: &str) {
        let begun = Instant::now();
        loop {
            let now = Census::take();
            if now.descriptors <= self.descriptors && now.threads <= self.threads {
                return;
            }
            assert!(begun.elapsed() < LONG, "left over after {after}: {now:?}, before {self:?}");
            std::thread::yield_now();
        }
    }
}
