//! The file backing's I/O: io_uring, owned by the worker.
//!
//! The ring owns every [`Transfer`] it works on, with the guest memory and the gate pass inside, until the kernel has
//! said that it is done; the data is then moved (for a bounced read), the memory is let go at once, and the transfer
//! returns with its result. It keeps the gate pass until the engine has that. None of this needs another pass, so a
//! closing gate is never held up by a worker that cannot enter. Concurrency: one thread.
#![allow(unsafe_code)] // the kernel is given raw pointers

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use io_uring::{IoUring, opcode, squeue, types};
use rustix::io::Errno;

use super::backing::FileBacking;
use super::bounce::{Bounce, BouncePool};
use super::limits::SLOTS;
use super::transfer::{Operation, Transfer, TransferError};

/// The longest [`Operation::WriteZeros`], in bytes.
pub(super) const ZERO_BYTES: u64 = ZERO_LEN as u64;
const ZERO_LEN: usize = 64 * 1024;

#[repr(align(4096))]
struct Zeros([u8; ZERO_LEN]);

/// What [`Operation::WriteZeros`] writes.
static ZEROS: Zeros = Zeros([0; ZERO_LEN]);

/// A transfer that is done.
pub(super) struct Finished {
    /// Whose it is.
    pub(super) slot: u16,
    /// The transfer, to be used again.
    pub(super) transfer: Box<Transfer>,
    /// How it went. A transfer is done as a whole or failed.
    pub(super) result: Result<(), TransferError>,
}

/// What is in flight for one slot.
struct Flight {
    transfer: Box<Transfer>,
    bounce: Option<Bounce>,
}

/// The ring.
pub(super) struct Ring {
    uring: IoUring,
    file: Arc<FileBacking>,
    /// By slot.
    flights: Vec<Option<Flight>>,
    /// By slot; what the kernel reads while a flight is up. Never resized then.
    vectors: Vec<Vec<libc::iovec>>,
    in_flight: usize,
    bounces: BouncePool,
    /// Transfers that wait for a bounce buffer.
    waiting: VecDeque<(u16, Box<Transfer>)>,
    /// Transfers that never reached the kernel.
    failed: Vec<Finished>,
    unsubmitted: bool,
}

// SAFETY: the raw pointers in `vectors` lead to memory that `flights` owns; nothing is tied to the thread.
unsafe impl Send for Ring {}

impl Ring {
    /// A ring for `file`.
    ///
    /// # Errors
    /// What the system says: io_uring is disabled, or a limit was reached.
    pub(super) fn new(file: Arc<FileBacking>) -> io::Result<Self> {
        let entries = u32::try_from(SLOTS).unwrap_or(256);
        Ok(Self {
            uring: IoUring::new(entries)?,
            file,
            flights: (0..SLOTS).map(|_| None).collect(),
            vectors: (0..SLOTS).map(|_| Vec::new()).collect(),
            in_flight: 0,
            bounces: BouncePool::default(),
            waiting: VecDeque::new(),
            failed: Vec::new(),
            unsubmitted: false,
        })
    }

    /// The descriptor that becomes readable when something is done.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to `uring`, which the borrow keeps.
        unsafe { BorrowedFd::borrow_raw(self.uring.as_raw_fd()) }
    }

    /// Whether anything has not come back.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight > 0 || !self.waiting.is_empty() || !self.failed.is_empty()
    }

    /// Whether something could not be submitted and waits for another [`Ring::submit`].
    pub(super) fn has_unsubmitted(&self) -> bool {
        self.unsubmitted || !self.failed.is_empty()
    }

    /// Takes a transfer on. It is with the kernel after [`Ring::submit`].
    pub(super) fn start(&mut self, slot: u16, transfer: Box<Transfer>) {
        let bounce = if self.must_bounce(&transfer) {
            let Some(bounce) = self.bounces.take() else {
                self.waiting.push_back((slot, transfer));
                return;
            };
            Some(bounce)
        } else {
            None
        };
        self.launch(slot, Flight { transfer, bounce });
    }

    /// Gives the kernel what was started.
    pub(super) fn submit(&mut self) {
        if !self.unsubmitted {
            return;
        }
        // EAGAIN, EBUSY, EINTR: the entries stay in the ring, and the worker comes back.
        self.unsubmitted = self.uring.submit().is_err();
    }

    /// Collects what is done.
    pub(super) fn reap(&mut self, finished: &mut Vec<Finished>) {
        finished.append(&mut self.failed);
        loop {
            let Some(entry) = self.uring.completion().next() else { break };
            let index = usize::try_from(entry.user_data()).unwrap_or(usize::MAX);
            let Some(flight) = self.flights.get_mut(index).and_then(Option::take) else { continue };
            self.in_flight -= 1;
            let Flight { mut transfer, bounce } = flight;
            let mut result = judge(&transfer, entry.result());
            if let Some(mut bounce) = bounce {
                if result.is_ok() && transfer.operation == Operation::Read {
                    result = bounce.scatter(&transfer).map_err(|_| TransferError::Memory);
                }
                self.bounces.put(bounce);
            }
            if result.is_ok() && transfer.memory().iter().any(|slice| slice.check().is_err()) {
                result = Err(TransferError::Memory);
            }
            transfer.release_memory();
            finished.push(Finished { slot: u16::try_from(index).unwrap_or(u16::MAX), transfer, result });
        }
        while !self.waiting.is_empty() {
            let Some(bounce) = self.bounces.take() else { break };
            let Some((slot, transfer)) = self.waiting.pop_front() else { break };
            self.launch(slot, Flight { transfer, bounce: Some(bounce) });
        }
    }

    fn must_bounce(&self, transfer: &Transfer) -> bool {
        let Some(direct) = self.file.direct() else { return false };
        let mask = direct.memory as usize - 1;
        transfer.memory().iter().any(|slice| (slice.as_ptr().addr() | slice.len()) & mask != 0)
    }

    fn launch(&mut self, slot: u16, mut flight: Flight) {
        if let (Some(bounce), Operation::Write { .. }) = (&mut flight.bounce, flight.transfer.operation)
            && bounce.gather(&flight.transfer).is_err()
        {
            return self.refuse(slot, flight, TransferError::Memory);
        }
        let index = usize::from(slot);
        let (Some(place), Some(vector)) = (self.flights.get_mut(index), self.vectors.get_mut(index)) else {
            return self.refuse(slot, flight, TransferError::Device(libc::EINVAL));
        };
        if place.is_some() {
            // The engine gives out a slot once at a time; its memory must not be touched here.
            return self.refuse(slot, flight, TransferError::Device(libc::EBUSY));
        }
        describe(&flight, vector);
        let entry =
            entry_of(&flight.transfer, vector, self.file.as_fd().as_raw_fd()).user_data(u64::from(slot));
        // SAFETY: everything the entry points to (the vector of this slot, and the guest memory, bounce buffer or
        // static zeros which that lists) is kept unchanged until the completion: by `flights`, in which the flight is
        // put right here, and by `Drop`, which leaks both if completions are still to come.
        if unsafe { self.uring.submission().push(&entry) }.is_err() {
            // There are as many entries as slots, so the queue is full only until the next submission.
            self.unsubmitted = true;
            return self.refuse(slot, flight, TransferError::Device(libc::EAGAIN));
        }
        *place = Some(flight);
        self.in_flight += 1;
        self.unsubmitted = true;
    }

    fn refuse(&mut self, slot: u16, flight: Flight, error: TransferError) {
        let Flight { mut transfer, bounce } = flight;
        transfer.release_memory();
        if let Some(bounce) = bounce {
            self.bounces.put(bounce);
        }
        self.failed.push(Finished { slot, transfer, result: Err(error) });
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.in_flight > 0 {
            // The kernel may still write: better to leak the memory than to hand it to somebody else.
            tracing::error!(in_flight = self.in_flight, "file I/O did not end in time; its memory is leaked");
            std::mem::forget(std::mem::take(&mut self.flights));
            std::mem::forget(std::mem::take(&mut self.vectors));
        }
    }
}

/// Lists the memory of a flight.
fn describe(flight: &Flight, vector: &mut Vec<libc::iovec>) {
    vector.clear();
    #[expect(clippy::cast_possible_truncation, reason = "at most the largest transfer")]
    let len = flight.transfer.len as usize;
    if let Some(bounce) = &flight.bounce {
        vector.push(libc::iovec { iov_base: bounce.as_ptr().cast(), iov_len: len });
    } else if flight.transfer.operation == Operation::WriteZeros {
        let zeros = ZEROS.0.as_ptr().cast_mut();
        vector.push(libc::iovec { iov_base: zeros.cast(), iov_len: len.min(ZERO_LEN) });
    } else {
        let slices = flight.transfer.memory().iter();
        vector.extend(
            slices.map(|slice| libc::iovec { iov_base: slice.as_ptr().cast(), iov_len: slice.len() }),
        );
    }
}

fn entry_of(transfer: &Transfer, vector: &[libc::iovec], file: RawFd) -> squeue::Entry {
    let file = types::Fd(file);
    let count = u32::try_from(vector.len()).unwrap_or(0);
    let (offset, len) = (transfer.offset, transfer.len);
    let fallocate = |mode| opcode::Fallocate::new(file, len).offset(offset).mode(mode).build();
    match transfer.operation {
        Operation::Read => opcode::Readv::new(file, vector.as_ptr(), count).offset(offset).build(),
        Operation::Write { durable } => {
            let flags = if durable { libc::RWF_DSYNC } else { 0 };
            opcode::Writev::new(file, vector.as_ptr(), count).offset(offset).rw_flags(flags).build()
        }
        Operation::WriteZeros => opcode::Writev::new(file, vector.as_ptr(), count).offset(offset).build(),
        Operation::Sync => opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build(),
        Operation::PunchHole => fallocate(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE),
        Operation::ZeroRange => fallocate(libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE),
    }
}

/// What the kernel's answer means.
fn judge(transfer: &Transfer, answer: i32) -> Result<(), TransferError> {
    let moved = u64::try_from(answer).map_err(|_| match Errno::from_raw_os_error(-answer) {
        Errno::FAULT => TransferError::Memory,
        Errno::OPNOTSUPP | Errno::NOSYS => TransferError::Unsupported,
        errno => TransferError::Device(errno.raw_os_error()),
    })?;
    match transfer.operation {
        Operation::Read | Operation::Write { .. } | Operation::WriteZeros if moved != transfer.len => {
            Err(TransferError::Short)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvme::backing::{Backing, FileOptions};

    fn ring(size: u64) -> (tempfile::TempDir, Ring) {
        let dir = tempfile::tempdir().unwrap();
        let options = FileOptions { size: Some(size), ..FileOptions::default() };
        let Backing::File(file) = Backing::file(&dir.path().join("disk"), &options).unwrap() else {
            unreachable!("a file was asked for")
        };
        (dir, Ring::new(Arc::new(file)).unwrap())
    }

    fn run(ring: &mut Ring, operation: Operation, offset: u64, len: u64) -> Result<(), TransferError> {
        let mut transfer = Box::new(Transfer::new());
        transfer.set(operation, offset, len);
        ring.start(3, transfer);
        ring.submit();
        ring.uring.submit_and_wait(1).unwrap();
        let mut finished = Vec::new();
        ring.reap(&mut finished);
        assert!(!ring.is_busy());
        let done = finished.pop().unwrap();
        assert_eq!(done.slot, 3);
        done.result
    }

    #[test]
    fn a_sync_comes_back_and_the_slot_is_free_again() {
        let (_dir, mut ring) = ring(1 << 20);
        assert_eq!(run(&mut ring, Operation::Sync, 0, 0), Ok(()));
        assert_eq!(run(&mut ring, Operation::Sync, 0, 0), Ok(()));
    }

    #[test]
    fn zeros_are_written_and_holes_punched() {
        use std::os::unix::fs::FileExt;
        let (dir, mut ring) = ring(1 << 20);
        let file = std::fs::OpenOptions::new().read(true).write(true).open(dir.path().join("disk")).unwrap();
        for operation in [Operation::WriteZeros, Operation::PunchHole] {
            file.write_all_at(&[7; 8192], 0).unwrap();
            file.sync_all().unwrap();
            assert_eq!(run(&mut ring, operation, 4096, 4096), Ok(()));
            let mut data = [1; 8192];
            file.read_exact_at(&mut data, 0).unwrap();
            assert_eq!((data[4095], data[4096], data[8191]), (7, 0, 0), "{operation:?}");
        }
    }

    /// Opcode and flags of an operation as the kernel reads them: `struct io_uring_sqe`, bytes 0 and 28 to 31.
    fn asked(operation: Operation) -> (u8, u32) {
        let mut transfer = Transfer::new();
        transfer.set(operation, 0, 4096);
        let entry = entry_of(&transfer, &[], 0);
        // SAFETY: an entry is the kernel's structure of 64 bytes, all of them initialised.
        let bytes: [u8; 64] = unsafe { std::mem::transmute_copy(&entry) };
        (bytes[0], u32::from_ne_bytes([bytes[28], bytes[29], bytes[30], bytes[31]]))
    }

    #[test]
    fn a_durable_write_and_a_sync_are_asked_of_the_kernel_as_such() {
        let dsync = u32::try_from(libc::RWF_DSYNC).unwrap();
        assert_eq!(asked(Operation::Write { durable: true }), (opcode::Writev::CODE, dsync));
        assert_eq!(asked(Operation::Write { durable: false }), (opcode::Writev::CODE, 0));
        let (code, flags) = asked(Operation::Sync);
        assert_eq!((code, flags), (opcode::Fsync::CODE, types::FsyncFlags::DATASYNC.bits()));
    }

    #[test]
    fn answers_are_judged() {
        let mut transfer = Transfer::new();
        transfer.set(Operation::Write { durable: false }, 0, 8192);
        assert_eq!(judge(&transfer, 8192), Ok(()));
        assert_eq!(judge(&transfer, 4096), Err(TransferError::Short));
        assert_eq!(judge(&transfer, -libc::EIO), Err(TransferError::Device(libc::EIO)));
        assert_eq!(judge(&transfer, -libc::EFAULT), Err(TransferError::Memory));
        transfer.set(Operation::PunchHole, 0, 8192);
        assert_eq!(judge(&transfer, 0), Ok(()));
        assert_eq!(judge(&transfer, -libc::EOPNOTSUPP), Err(TransferError::Unsupported));
    }
}
