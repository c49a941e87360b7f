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
        let old = self.ring.tail();
        self.ring.push(&self.memory, &entry)?;
        self.ring_bell(token, Doorbell::SubmissionTail(0), (old, self.ring.tail()))?;
        let completion = self.wait(token, what)?;
        if completion.cid.get() != cid {
            return Err(DriverError::StrayCompletion { qid: 0, cid: completion.cid.get() });
        }
        let status = completion.status();
        if status.is_success() { Ok(completion) } else { Err(DriverError::Command { what, status }) }
    }

    fn wait(&mut self, token: &mut ThreadToken, what: &'static str) -> Result<CompletionEntry, DriverError> {
        let mut wait = Wait::new(what, self.timeout);
        loop {
            let old = self.ring.head();
            if let Some(completion) = self.ring.pop(&self.memory) {
                self.ring_bell(token, Doorbell::CompletionHead(0), (old, self.ring.head()))?;
                return Ok(completion);
            }
            wait.once(token, &mut self.registers)?;
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

/// How often a poller that sees nothing asks whether the controller is still there.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Waiting for one completion. Memory says nothing when the controller or its server dies, so the status register is
/// read now and then, which fails when the connection is gone.
#[derive(Debug)]
pub(super) struct Wait {
    what: &'static str,
    timeout: Duration,
    start: Instant,
    looked: Instant,
    rounds: u32,
}

impl Wait {
    pub(super) fn new(what: &'static str, timeout: Duration) -> Self {
        let now = Instant::now();
        Self { what, timeout, start: now, looked: now, rounds: 0 }
    }

    /// One pause: a moment on the CPU first, then the CPU is offered to others, since the controller may need it.
    pub(super) fn once(
        &mut self,
        token: &mut ThreadToken,
        registers: &mut Registers,
    ) -> Result<(), DriverError> {
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds < 64 {
            std::hint::spin_loop();
            return Ok(());
        }
        let now = Instant::now();
        if now.duration_since(self.start) >= self.timeout {
            let limit_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
            return Err(DriverError::TimedOut { what: self.what, limit_ms });
        }
        if now.duration_since(self.looked) >= LOOK_EVERY {
            self.looked = now;
            registers.check_running(token)?;
        }
        std::thread::yield_now();
        Ok(())
    }
}
