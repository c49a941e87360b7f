//! A small polled NVMe host driver over a vfio-user client: for tests, benchmarks and `portcullis exercise`.
//!
//! [`Driver::start`] takes a controller into use. Each I/O queue has slots with a data buffer each: fill the buffer
//! ([`Driver::fill`]), [`Driver::submit`], [`Driver::ring`], and [`Driver::poll`] for completions. [`Driver::read`],
//! [`Driver::write`] and [`Driver::flush`] do one thing at a time and wait for it. [`pattern`] is data that finds its
//! own corruption.
//!
//! The controller is not trusted: what it completes is checked against what is in flight, and every wait has an end.
//!
//! What it does **not** do: interrupts, more than one namespace, metadata, SGLs, recovery of a controller that
//! failed.
//!
//! # Concurrency
//! A driver belongs to one thread. The controller writes to the shared memory at any time; no Rust reference to it is
//! ever made.

mod admin;
mod bring_up;
pub mod commands;
mod doorbells;
mod error;
mod layout;
pub mod pattern;
mod queue;
#[cfg(test)]
mod recovery_tests;
mod registers;
mod ring;
#[cfg(test)]
mod tests;

use std::time::Duration;

use gate::ThreadToken;
use nvme_spec::register::{Configuration, ShutdownNotification, ShutdownStatus};
use nvme_spec::{CompletionEntry, Doorbell, Status, SubmissionEntry};
use vfio_user::client::{Client, ClientError};

use admin::{Admin, Wait};
pub use doorbells::DoorbellChoice;
pub use error::DriverError;
use layout::Layout;
pub use queue::Io;
use queue::Queue;
pub use ring::{Half, Ring};

/// What is wanted of a controller.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// I/O queue pairs, 1 to 64.
    pub queues: u16,
    /// Commands in flight on each, 1 to 1,023.
    pub depth: u16,
    /// Largest transfer, in bytes, up to 1 MiB. The memory is `queues * depth * max_transfer` and a little more.
    pub max_transfer: usize,
    /// How doorbells are rung.
    pub doorbells: DoorbellChoice,
    /// How long one command may take.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queues: 1,
            depth: 32,
            max_transfer: 128 << 10,
            doorbells: DoorbellChoice::Best,
            timeout: Duration::from_secs(10),
        }
    }
}

impl Options {
    fn check(&self) -> Result<(), DriverError> {
        if !(1..=64).contains(&self.queues) || !(1..=1023).contains(&self.depth) {
            return Err(DriverError::Request("a driver has 1 to 64 queues of depth 1 to 1023"));
        }
        if !(1..=layout::MAX_TRANSFER).contains(&self.max_transfer) {
            return Err(DriverError::Request("a transfer has 1 byte to 1 MiB"));
        }
        Ok(())
    }
}

/// What the controller and its first namespace say about themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Model number.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// Firmware revision.
    pub firmware: String,
    /// Namespace identifier.
    pub nsid: u32,
    /// Size of the namespace, in blocks.
    pub blocks: u64,
    /// Size of a block, in bytes.
    pub block_size: usize,
    /// Largest transfer, in bytes: what the controller takes and a slot's buffer holds.
    pub max_transfer: usize,
    /// Whether there is a volatile write cache, so that data is safe only after a flush.
    pub volatile_cache: bool,
    /// How doorbells are rung: `mapped`, `shadow` or `trapped`.
    pub doorbells: &'static str,
}

/// A command that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    /// The slot that it was submitted with.
    pub slot: u16,
    /// How it ended.
    pub status: Status,
}

/// A controller in use.
pub struct Driver {
    admin: Admin,
    queues: Vec<Queue>,
    layout: Layout,
    identity: Identity,
}

impl Driver {
    /// What the controller is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The client, for accesses that the driver has no call for.
    pub fn client(&mut self) -> &mut Client {
        &mut self.admin.registers.client
    }

    /// Executes an admin command and waits for it. `entry.cid` is chosen by the driver.
    ///
    /// # Errors
    /// The command's status, or see [`DriverError`].
    pub fn admin(
        &mut self,
        token: &mut ThreadToken,
        what: &'static str,
        entry: SubmissionEntry,
    ) -> Result<CompletionEntry, DriverError> {
        self.admin.execute(token, what, entry)
    }

    /// Copies `data` to the start of a slot's buffer.
    ///
    /// # Errors
    /// There is no such slot, or the data is longer than its buffer.
    pub fn fill(&mut self, queue: u16, slot: u16, data: &[u8]) -> Result<(), DriverError> {
        let at = self.buffer(queue, slot, data.len())?;
        Ok(self.admin.memory.write(at, data).map_err(ClientError::Memory)?)
    }

    /// Copies the start of a slot's buffer to `data`.
    ///
    /// # Errors
    /// There is no such slot, or its buffer is shorter.
    pub fn take(&self, queue: u16, slot: u16, data: &mut [u8]) -> Result<(), DriverError> {
        let at = self.buffer(queue, slot, data.len())?;
        Ok(self.admin.memory.read(at, data).map_err(ClientError::Memory)?)
    }

    /// Puts a command into a queue. The controller learns of it with [`Driver::ring`].
    ///
    /// # Errors
    /// The slot is busy or does not exist, or the transfer does not fit; nothing is submitted then.
    #[inline]
    pub fn submit(&mut self, queue: u16, slot: u16, io: Io) -> Result<(), DriverError> {
        if let Io::Read { blocks, .. } | Io::Write { blocks, .. } = io {
            let most = self.layout.transfer.min(self.identity.max_transfer) / self.identity.block_size;
            if blocks == 0 || blocks as usize > most || blocks > 65_536 {
                return Err(DriverError::Request("the transfer is empty or larger than the slot's buffer"));
            }
        }
        let Some(pair) = self.queues.get(usize::from(queue)) else {
            return Err(DriverError::Request("there is no such queue"));
        };
        let (nsid, block_size) = (self.identity.nsid, self.identity.block_size);
        let entry = pair.command(&self.layout, nsid, block_size, slot, io);
        self.submit_raw(queue, slot, &entry)
    }

    /// As [`Driver::submit`] with a command made by the caller; its identifier must be the slot's number.
    ///
    /// # Errors
    /// The slot is busy or does not exist, or the identifier is another; nothing is submitted then.
    pub fn submit_raw(&mut self, queue: u16, slot: u16, entry: &SubmissionEntry) -> Result<(), DriverError> {
        let pair = self.queues.get_mut(usize::from(queue));
        let pair = pair.ok_or(DriverError::Request("there is no such queue"))?;
        let busy = pair.busy.get_mut(usize::from(slot));
        let busy = busy.ok_or(DriverError::Request("there is no such slot"))?;
        if *busy || entry.cid.get() != slot {
            return Err(DriverError::Request("the slot is busy, or the command has another's identifier"));
        }
        pair.ring.push(&self.admin.memory, entry)?;
        *busy = true;
        Ok(())
    }

    /// Tells the controller of everything submitted to a queue since the last time.
    ///
    /// # Errors
    /// See [`DriverError`].
    #[inline]
    pub fn ring(&mut self, token: &mut ThreadToken, queue: u16) -> Result<(), DriverError> {
        let pair = self.queues.get_mut(usize::from(queue));
        let pair = pair.ok_or(DriverError::Request("there is no such queue"))?;
        let (old, new) = (pair.rung_tail, pair.ring.tail());
        if old == new {
            return Ok(());
        }
        pair.rung_tail = new;
        let qid = pair.ring.qid();
        self.admin.ring_bell(token, Doorbell::SubmissionTail(qid), (old, new))
    }

    /// Takes all completions of a queue that are there, gives each to `each`, and returns their number. Never waits.
    ///
    /// # Errors
    /// The controller completed something that is not in flight, or see [`DriverError`].
    #[inline]
    pub fn poll(
        &mut self,
        token: &mut ThreadToken,
        queue: u16,
        mut each: impl FnMut(Completed),
    ) -> Result<usize, DriverError> {
        let pair = self.queues.get_mut(usize::from(queue));
        let pair = pair.ok_or(DriverError::Request("there is no such queue"))?;
        let old = pair.ring.head();
        let mut taken = 0;
        // At most as many as there are slots: a controller that never stops completing is found out.
        while taken < pair.busy.len() {
            let Some(completion) = pair.ring.pop(&self.admin.memory) else { break };
            let cid = completion.cid.get();
            match pair.busy.get_mut(usize::from(cid)) {
                Some(busy) if *busy => *busy = false,
                _ => return Err(DriverError::StrayCompletion { qid: pair.ring.qid(), cid }),
            }
            each(Completed { slot: cid, status: completion.status() });
            taken += 1;
        }
        if taken > 0 {
            let (qid, new) = (pair.ring.qid(), pair.ring.head());
            self.admin.ring_bell(token, Doorbell::CompletionHead(qid), (old, new))?;
        }
        Ok(taken)
    }

    /// Asks whether the controller is still there. A poller that sees nothing for a while should: memory stays as it is
    /// when the controller or its server dies.
    ///
    /// # Errors
    /// [`DriverError::WasReset`], [`DriverError::NotDecoded`], [`DriverError::Fatal`], or the connection's failure.
    pub fn check(&mut self, token: &mut ThreadToken) -> Result<(), DriverError> {
        self.admin.registers.check_running(token)
    }

    /// Reads whole blocks from `lba` on into `data`, with slot 0 of queue 0, and waits.
    ///
    /// # Errors
    /// The first command that failed, or see [`DriverError`].
    pub fn read(&mut self, token: &mut ThreadToken, lba: u64, data: &mut [u8]) -> Result<(), DriverError> {
        let pieces = self.pieces(lba, data.len())?;
        for ((lba, blocks), part) in pieces.into_iter().zip(data.chunks_mut(self.identity.max_transfer)) {
            self.execute(token, "Read", Io::Read { lba, blocks })?;
            self.take(0, 0, part)?;
        }
        Ok(())
    }

    /// Writes whole blocks from `lba` on, with slot 0 of queue 0, and waits.
    ///
    /// # Errors
    /// The first command that failed, or see [`DriverError`].
    pub fn write(
        &mut self,
        token: &mut ThreadToken,
        lba: u64,
        data: &[u8],
        fua: bool,
    ) -> Result<(), DriverError> {
        let pieces = self.pieces(lba, data.len())?;
        for ((lba, blocks), part) in pieces.into_iter().zip(data.chunks(self.identity.max_transfer)) {
            self.fill(0, 0, part)?;
            self.execute(token, "Write", Io::Write { lba, blocks, fua })?;
        }
        Ok(())
    }

    /// Brings everything written so far to the medium, and waits.
    ///
    /// # Errors
    /// The command's status, or see [`DriverError`].
    pub fn flush(&mut self, token: &mut ThreadToken) -> Result<(), DriverError> {
        self.execute(token, "Flush", Io::Flush)
    }

    /// Ends the use of the controller: normal shutdown, disabled, memory taken back. Gives the client back.
    ///
    /// # Errors
    /// See [`DriverError`].
    pub fn stop(mut self, token: &mut ThreadToken) -> Result<Client, DriverError> {
        let registers = &mut self.admin.registers;
        let cc = Configuration(registers.read_u32(token, nvme_spec::register::CC)?);
        registers.configure(token, cc.with_shn(ShutdownNotification::Normal as u8))?;
        let complete = ShutdownStatus::Complete.bits();
        registers.wait_for(token, "shut down", |csts| csts.shst() == complete)?;
        registers.configure(token, Configuration::default())?;
        registers.wait_until_idle(token)?;
        registers.close(token)?;
        registers.client.dma_unmap(token, layout::IOVA, self.layout.length() as u64)?;
        Ok(self.admin.registers.client)
    }

    /// One command in slot 0 of queue 0, from start to end.
    fn execute(&mut self, token: &mut ThreadToken, what: &'static str, io: Io) -> Result<(), DriverError> {
        self.submit(0, 0, io)?;
        self.ring(token, 0)?;
        let mut wait = Wait::new(what, self.admin.timeout);
        let mut done = None;
        loop {
            self.poll(token, 0, |completed| {
                if completed.slot == 0 {
                    done = Some(completed.status);
                }
            })?;
            match done {
                Some(status) if status.is_success() => return Ok(()),
                Some(status) => return Err(DriverError::Command { what, status }),
                None => wait.once(token, &mut self.admin.registers)?,
            }
        }
    }

    /// Splits `length` bytes from `lba` on into transfers of at most the largest size.
    fn pieces(&self, lba: u64, length: usize) -> Result<Vec<(u64, u32)>, DriverError> {
        let block = self.identity.block_size;
        if !length.is_multiple_of(block) || self.identity.max_transfer < block {
            return Err(DriverError::Request("the data is not whole blocks"));
        }
        let per_transfer = self.identity.max_transfer / block;
        let total = length / block;
        let starts = (0..total).step_by(per_transfer);
        let piece = |at: usize| {
            let blocks = u32::try_from(per_transfer.min(total - at)).unwrap_or(u32::MAX);
            (lba + at as u64, blocks)
        };
        Ok(starts.map(piece).collect())
    }

    fn buffer(&self, queue: u16, slot: u16, length: usize) -> Result<usize, DriverError> {
        if queue >= self.layout.queues || slot >= self.layout.depth || length > self.layout.transfer {
            return Err(DriverError::Request("there is no such slot, or the data is longer than its buffer"));
        }
        Ok(self.layout.buffer(queue, slot))
    }
}
