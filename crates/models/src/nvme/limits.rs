//! Every limit of the controller, in one place. None is decided by the guest.

use std::time::Duration;

/// I/O queue pairs, beside the admin queue pair.
pub(super) const IO_QUEUES: u16 = 64;
/// Queue pairs in all: the doorbells of all of them fit the one doorbell page.
pub(super) const QUEUES: usize = IO_QUEUES as usize + 1;
/// Entries of an I/O queue at most (CAP.MQES is one less).
pub(super) const QUEUE_ENTRIES: u32 = 4096;

/// Memory page size: CAP.MPSMIN and CAP.MPSMAX are both 4 KiB.
pub(super) const PAGE: u64 = PAGE_LEN as u64;
/// The same, as a length in memory.
pub(super) const PAGE_LEN: usize = 4096;
/// Identify.MDTS: the largest transfer is 4 KiB << 8 = 1 MiB.
pub(super) const MDTS: u8 = 8;
/// The largest transfer in bytes.
pub(super) const MAX_TRANSFER: u64 = MAX_TRANSFER_LEN as u64;
/// The same, as a length in memory.
pub(super) const MAX_TRANSFER_LEN: usize = PAGE_LEN << MDTS;
/// Segments of a transfer at most: each page of the largest one, and one more if it starts inside a page.
pub(super) const MAX_SEGMENTS: usize = (1 << MDTS) + 1;

/// Commands taken from one submission queue before the next queue has its turn.
pub(super) const BURST: u32 = 32;
/// Bytes copied for one submission queue before the next has its turn: bounds the time that one pass of the
/// gate and one hold of the engine lock can last (about 100 us for the memory backing).
pub(super) const BURST_BYTES: u64 = 1 << 20;

/// Commands that the file backing works on at once. More stay in their submission queues.
pub(super) const SLOTS: usize = 256;
/// Bounce buffers of [`MAX_TRANSFER`] bytes, for transfers that direct I/O cannot take as they are.
pub(super) const BOUNCE_BUFFERS: usize = 16;
/// Bytes that one step of a deallocation takes from the memory backing under the engine lock.
pub(super) const RANGE_STEP_BYTES: u64 = 16 << 20;
/// Ranges of one Dataset Management command.
pub(super) const DSM_RANGES: usize = 256;

/// Asynchronous Event Requests outstanding at most (Identify.AERL is one less).
pub(super) const ASYNC_EVENT_REQUESTS: usize = 4;
/// Aborts noted for commands that are still in a submission queue, for each queue.
pub(super) const PENDING_ABORTS: usize = 4;
/// Error log entries kept (Identify.ELPE is one less).
pub(super) const ERROR_LOG_ENTRIES: usize = 64;

/// Bytes of the serial number field.
pub(super) const SERIAL_BYTES: usize = 20;
/// Bytes of the model number field.
pub(super) const MODEL_BYTES: usize = 40;

/// Vectors with MSI (the most that the capability can state).
pub(super) const MSI_VECTORS: u16 = 32;
/// How long INTx is held low for a guest that submits while its interrupt is outstanding. Longer than a guest takes
/// from the doorbell to the end of its handler (7 ms at most in 17,000 times, two virtual processors in software on two
/// busy cores); short, because a guest whose interrupt was lost waits for it (1 in 100 of those times).
pub(super) const INTX_GRACE: Duration = Duration::from_millis(10);

/// Vectors with MSI-X: one for each queue pair.
pub(super) const MSIX_VECTORS: u16 = IO_QUEUES + 1;

/// How long a controller that is dropped waits for its worker to finish what is in flight.
pub(super) const WORKER_END_MS: u64 = 5_000;
