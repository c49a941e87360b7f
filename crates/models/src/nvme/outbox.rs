//! What the engine decides under its lock and its caller carries out after it: I/O to start, interrupts to raise,
//! lines to log. Nothing here waits, calls out or allocates in the steady state.

use super::elsewhere::Reaped;
use super::ring::Finished;
use super::transfer::Transfer;
use gate::LongPass;

/// A thing worth a log line. Each kind is logged at most once a second, however often a guest causes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Note {
    /// A doorbell was written with a value or at a place that cannot be.
    InvalidDoorbell,
    /// The controller stopped: guest memory that it needs for its queues cannot be reached.
    QueueMemory,
    /// The controller was enabled with a configuration it does not offer.
    Configuration,
    /// The controller stopped: the system has no memory for its doorbells.
    DoorbellMemory,
    /// The backing failed a command.
    Backing,
    /// A register was accessed with an unsupported size or alignment.
    Access,
}

impl Note {
    /// All kinds.
    pub(super) const ALL: [Self; 6] = [
        Self::InvalidDoorbell,
        Self::QueueMemory,
        Self::Configuration,
        Self::DoorbellMemory,
        Self::Backing,
        Self::Access,
    ];
}

/// Decisions to carry out.
#[derive(Default)]
pub(super) struct Outbox {
    /// Operations of the file backing, by slot. Each is to be given a long pass first.
    pub(super) starts: Vec<(u16, Box<Transfer>)>,
    /// What the ring has done, on its way into the engine.
    pub(super) finished: Vec<Finished>,
    /// What has come back from elsewhere, on its way into the engine.
    pub(super) reaped: Vec<Reaped>,
    /// Passes of transfers whose results the engine has taken in: to be dropped without its lock.
    pub(super) passes: Vec<LongPass>,
    /// Interrupt vectors to signal, a bit each.
    pub(super) vectors: u128,
    /// The INTx line has to be looked at.
    pub(super) line_changed: bool,
    /// The worker has something to do.
    pub(super) wake: bool,
    /// The controller was enabled and needs its worker.
    pub(super) start_worker: bool,
    notes: [u32; Note::ALL.len()],
}

impl Outbox {
    /// Counts a thing worth a log line.
    pub(super) fn note(&mut self, note: Note) {
        if let Some(count) = self.notes.get_mut(note as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// What was noted since the last call, and how often.
    pub(super) fn take_notes(&mut self) -> Option<[u32; Note::ALL.len()]> {
        if self.notes.iter().all(|count| *count == 0) {
            return None;
        }
        Some(std::mem::take(&mut self.notes))
    }
}
