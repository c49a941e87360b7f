//! The admin queue: one command at a time, waited for.

use std::time::{Duration, Instant};

use gate::ThreadToken;
use nvme_spec::{CompletionEntry, Doorbell, SubmissionEntry};
use vfio_user::client::SharedMemory;

use super::DriverError;
use super::doorbells::Doorbells;
use super::registers::Registers;
use super::ring::Ring;

/// What every queue shares, and the admin queue itself.
pub(super) struct Admin {
    pub(super) ring: Ring,
    pub(super) registers: Registers,
    pub(super) memory: SharedMemory,
    pub(super) doorbells: Doorbells,
    pub(super) timeout: Duration,
    pub(super) next_cid: u16,
}

impl Admin {
    /// Executes `entry`, whose command identifier is chosen here, and waits for its completion.
    pub(super) fn execute(
        &mut self,
        token: &mut ThreadToken,
        what: &'static str,
        mut entry: SubmissionEntry,
    ) -> Result<CompletionEntry, DriverError> {
        let cid = self.next_cid;
        self.next_cid = cid.wrapping_add(1);
        entry.cid = cid.into();
        let old = self.ring.tail;
        self.ring.push(&self.memory, &entry)?;
        self.ring_bell(token, Doorbell::SubmissionTail(0), (old, self.ring.tail))?;
        let completion = self.wait(token, what)?;
        if completion.cid.get() != cid {
            return Err(DriverError::StrayCompletion { qid: 0, cid: completion.cid.get() });
        }
        let status = completion.status();
        if status.is_success() { Ok(completion) } else { Err(DriverError::Command { what, status }) }
    }

    fn wait(&mut self, token: &mut ThreadToken, what: &'static str) -> Result<CompletionEntry, DriverError> {
        let end = Instant::now() + self.timeout;
        let mut pause = Pause::default();
        loop {
            let old = self.ring.head;
            if let Some(completion) = self.ring.pop(&self.memory) {
                self.ring_bell(token, Doorbell::CompletionHead(0), (old, self.ring.head))?;
                return Ok(completion);
            }
            if Instant::now() >= end {
                let limit_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
                return Err(DriverError::TimedOut { what, limit_ms });
            }
            pause.once();
        }
    }

    #[inline]
    pub(super) fn ring_bell(
        &mut self,
        token: &mut ThreadToken,
        bell: Doorbell,
        values: (u16, u16),
    ) -> Result<(), DriverError> {
        let stride = self.registers.capabilities.dstrd();
        let client = &mut self.registers.client;
        Ok(self.doorbells.ring(token, client, &self.memory, stride, bell, values)?)
    }
}

/// A poller's pause: a moment on the CPU first, then the CPU is offered to others, since the controller may need it.
#[derive(Debug, Default)]
pub(super) struct Pause(u32);

impl Pause {
    pub(super) fn once(&mut self) {
        self.0 = self.0.saturating_add(1);
        if self.0 < 64 {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}
