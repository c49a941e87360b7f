//! Saving the controller's state, and taking it up again after a reset.
//!
//! Saving needs the gate drained, of long passes too: a transfer lets its pass go only when its result is in the engine, so
//! nothing is with the disk then. What was decided and not told (an interrupt, a level of INTx, a doorbell to look at) is not
//! saved: after a restore the first turn looks at everything anew, see [`halt`](super::halt).

use nvme_spec::Doorbell;
use nvme_spec::register::ControllerStatus;
use pci_core::PreserveError;

use super::super::elsewhere::Away;
use super::super::outbox::Outbox;
use super::state::{KIND, Saved, Shape, State};
use super::{Engine, Phase, Shutdown};
use crate::saved::Field;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;

impl Engine {
    /// The state as bytes. The engine stays as it is, but for what doorbells are rung from now on: they are kept over a reset
    /// that may follow.
    ///
    /// # Errors
    /// [`PreserveError::NotNow`]: a panic has left the state half-changed, or something is with the disk.
    pub(in super::super) fn save(&mut self) -> Result<Vec<u8>, PreserveError> {
        if self.is_torn() {
            return Err(PreserveError::NotNow("a panic has left the state half-changed"));
        }
        let mut state = self.state().ok_or(PreserveError::NotNow("a command is with the disk"))?;
        // Nobody is to be told that he can have back what would be refused.
        state
            .check(&self.shape())
            .map_err(|_| PreserveError::NotNow("the state does not agree with itself"))?;
        if let (Phase::Enabled, Some(away)) = (self.phase, self.io.away_mut()) {
            state.elsewhere = Some(away.save());
        }
        let sealed = KIND.seal(|out| state.put(out));
        if let (Err(_), Some(away)) = (&sealed, self.io.away_mut()) {
            away.end_keeping();
        }
        let bytes = sealed?;
        self.board.doorbells.keep();
        self.attention = true;
        Ok(bytes)
    }

    /// Takes up a state. The engine is as after a reset.
    ///
    /// # Errors
    /// [`PreserveError`]: nothing has changed.
    pub(in super::super) fn restore(&mut self, bytes: &[u8], out: &mut Outbox) -> Result<(), PreserveError> {
        if self.phase != Phase::Disabled || self.shutdown != Shutdown::None || self.io.slots.busy() > 0 {
            return Err(PreserveError::NotNow("the controller was not reset"));
        }
        let state = KIND.open(bytes, State::take)?;
        state.check(&self.shape())?;
        if self.io.away().is_some_and(|away| !away.has_all_of(state.elsewhere.as_ref())) {
            return Err(PreserveError::NotNow("the commands that are elsewhere are not those of this state"));
        }
        if state.phase == Phase::Enabled && self.board.doorbells.set_up_again().is_err() {
            return Err(PreserveError::NotNow("the system has no memory for the doorbells"));
        }
        out.start_worker = state.phase == Phase::Enabled;
        out.wake = true;
        self.take_up(state);
        Ok(())
    }

    fn shape(&self) -> Shape {
        let (serial, model) = self.admin.identity.names();
        Shape {
            style: self.style,
            vectors: self.admin.vectors,
            shadow_offered: self.admin.shadow_offered,
            serial: serial.to_owned(),
            model: model.to_owned(),
            geometry: self.io.geometry(),
            has_cache: self.io.has_cache(),
            elsewhere: self.io.is_elsewhere(),
        }
    }

    /// `None`: something is with the disk.
    fn state(&self) -> Option<State> {
        let enabled = self.phase == Phase::Enabled;
        // A controller that is not enabled answers nothing any more: its queues are kept for nobody.
        let submission = if enabled { self.queues.every_submission() } else { Vec::new() };
        let completion = if enabled { self.queues.every_completion() } else { Vec::new() };
        let (stepping, unposted) = self.io.slots.outstanding()?;
        // A shutdown of a controller that failed waits for its commands, which nobody goes on with, until the reset.
        let waits =
            !enabled && self.shutdown == Shutdown::Draining && !(stepping.is_empty() && unposted.is_empty());
        let (stepping, unposted) = if enabled { (stepping, unposted) } else { Default::default() };
        let doorbells = &self.board.doorbells;
        let tail =
            |(qid, queue)| Saved { qid, doorbell: doorbells.load(Doorbell::SubmissionTail(qid)), queue };
        let head =
            |(qid, queue)| Saved { qid, doorbell: doorbells.load(Doorbell::CompletionHead(qid)), queue };
        let mut registers = self.board.registers.values();
        // A fault from outside says that it is fatal, and is over with the reset that follows.
        registers.csts = ControllerStatus(registers.csts).with_cfs(self.phase == Phase::Failed).0;
        Some(State {
            shape: self.shape(),
            phase: self.phase,
            shutdown: if waits { Shutdown::Flushing } else { self.shutdown },
            registers,
            submission: submission.into_iter().map(tail).collect(),
            completion: completion.into_iter().map(head).collect(),
            stepping,
            unposted,
            features: self.admin.features.clone(),
            events: self.admin.events.clone(),
            errors: self.admin.errors.clone(),
            health: self.io.health.clone(),
            dirty: self.io.dirty,
            elsewhere: self.io.away().filter(|_| enabled).map(Away::saved),
            shadow: self.shadow.filter(|_| enabled),
            first: self.first,
            masked_vectors: self.masked_vectors,
        })
    }

    /// Every piece of state to what was saved, or to what it is at the start. Each field of both is named, so that a new one
    /// does not compile before it is decided about.
    fn take_up(&mut self, state: State) {
        let Self {
            board,
            style: _,
            phase,
            shutdown,
            queues,
            admin,
            io,
            shadow,
            first,
            deleting,
            masked_vectors,
            hold,
            attention,
            halt,
        } = self;
        let State {
            shape: _,
            phase: saved_phase,
            shutdown: saved_shutdown,
            registers,
            submission,
            completion,
            stepping,
            unposted,
            features,
            events,
            errors,
            health,
            dirty,
            elsewhere: saved_commands,
            shadow: saved_shadow,
            first: saved_first,
            masked_vectors: saved_vectors,
        } = state;
        *phase = saved_phase;
        *shutdown = saved_shutdown;
        *shadow = saved_shadow;
        *first = saved_first;
        *masked_vectors = saved_vectors;
        *deleting = submission.iter().filter(|saved| saved.queue.is_being_deleted()).count();
        hold.clear();
        *halt = None;
        *attention = true;
        for Saved { qid, doorbell, queue: _ } in &submission {
            board.doorbells.put_back(Doorbell::SubmissionTail(*qid), *doorbell);
        }
        for Saved { qid, doorbell, queue: _ } in &completion {
            board.doorbells.put_back(Doorbell::CompletionHead(*qid), *doorbell);
        }
        board.doorbells.end_keeping();
        if *phase == Phase::Enabled {
            let submission = submission.into_iter().map(|saved| (saved.qid, saved.queue)).collect();
            let completion = completion.into_iter().map(|saved| (saved.qid, saved.queue)).collect();
            queues.put_back(submission, completion);
        }
        io.take_up(features.cache_is_on(), dirty, health, stepping, unposted);
        admin.take_up(features, events, errors);
        if let (Some(_), Some(away)) = (saved_commands, io.away_mut()) {
            away.end_keeping();
            away.heard_meanwhile(|event| admin.events.raise(event));
            if *shutdown == Shutdown::Flushing && !away.is_flushing() {
                // It has come back when nobody waited for it.
                *shutdown = Shutdown::Draining;
            }
        }
        // Last: whoever sees RDY sees everything above done.
        board.registers.put_back(&registers);
    }
}
