//! How replies go out.

use rustix::io::{ioctl_fionread, read, write};
use rustix::net::{SendFlags, send};
use rustix::pipe::{SpliceFlags, splice};

use super::{Candidate, End, Server};
use crate::journal::{SCRATCH, State};
use crate::ring::Operation;
use crate::sys::out_queue;

/// The reply is in the pipe, whole: what is no longer there is sent.
const STAGED: u32 = 1;

impl Server {
    /// Sends the reply, as far as it is not sent yet.
    pub(super) fn answer(&mut self) -> Result<(), End> {
        let mut state = self.journal.state();
        if self.candidate == Candidate::PeekSplice {
            return self.answer_through_the_pipe(state);
        }
        self.recover_send(&mut state)?;
        while state.sent < state.reply_length {
            let from = state.sent as usize;
            let most = (state.reply_length as usize - from).min(self.chunk);
            self.points.pass();
            if self.candidate == Candidate::Ring {
                self.memory_for_the_ring(&state, from, most);
                self.ring_begin(&mut state, most as u32);
                state.sent += self.ring_run(Operation::Send, &state)? as u32;
                state.intent = 0;
                self.journal.commit(&state, &mut self.points);
                continue;
            }
            if self.candidate == Candidate::Guess {
                state.before = u32::try_from(out_queue(self.inherited.socket)?)?;
                state.intent = most as u32;
                self.journal.commit(&state, &mut self.points);
            }
            let sent = send(self.inherited.socket, &state.reply[from..from + most], SendFlags::NOSIGNAL)?;
            state.sent += sent as u32;
            state.intent = 0;
            if self.candidate == Candidate::Plain {
                self.points.pass();
            } else {
                self.journal.commit(&state, &mut self.points);
            }
        }
        Ok(())
    }

    fn recover_send(&mut self, state: &mut State) -> Result<(), End> {
        if state.intent == 0 {
            return Ok(());
        }
        if self.candidate == Candidate::Ring {
            state.sent += self.ring_run(Operation::Send, state)? as u32;
        } else if out_queue(self.inherited.socket)? > state.before as usize {
            // Longer than before: it was sent. Not longer: it was not, or the client has taken it already.
            state.sent += state.intent;
        }
        state.intent = 0;
        self.journal.commit(state, &mut self.points);
        Ok(())
    }

    /// Bytes leave the pipe as they enter the socket, in one system call: so what is left in the pipe is what is not sent,
    /// whoever died in between.
    fn answer_through_the_pipe(&mut self, mut state: State) -> Result<(), End> {
        let (out, into) = self.inherited.pipe;
        let length = state.reply_length as usize;
        if length == 0 {
            return Ok(());
        }
        if state.intent != STAGED {
            // What a predecessor has begun to put there was not sent: it said nothing of being whole.
            while ioctl_fionread(out)? > 0 {
                read(out, &mut [0; 256][..])?;
            }
            let mut at = 0;
            while at < length {
                self.points.pass();
                at += write(into, &state.reply[at..length.min(at.saturating_add(self.chunk))])?;
            }
            state.intent = STAGED;
            self.journal.commit(&state, &mut self.points);
        }
        loop {
            self.points.pass();
            let left = usize::try_from(ioctl_fionread(out)?)?;
            if left == 0 {
                return Ok(());
            }
            splice(out, None, self.inherited.socket, None, left.min(self.chunk), SpliceFlags::empty())?;
        }
    }

    fn memory_for_the_ring(&self, state: &State, from: usize, count: usize) {
        let mut scratch = [0; 256];
        scratch[..count].copy_from_slice(&state.reply[from..from + count]);
        self.journal.memory().store(SCRATCH, scratch);
    }

    /// What a ring's receive has brought.
    pub(super) fn ring_scratch(&self) -> [u8; 256] {
        self.journal.memory().load(SCRATCH)
    }

    /// Notes which entry of the ring the next operation will be.
    pub(super) fn ring_begin(&mut self, state: &mut State, count: u32) {
        let Some(ring) = &self.inherited.ring else { return };
        ring.forget_completions();
        (state.intent, state.before) = (count, ring.submitted());
        self.journal.commit(state, &mut self.points);
    }

    /// Runs the operation that was noted, or finds out how a predecessor's went; bytes that were moved.
    pub(super) fn ring_run(&mut self, operation: Operation, state: &State) -> Result<usize, End> {
        let Some(ring) = &self.inherited.ring else { return Err(End::Failed("no ring".to_owned())) };
        let scratch = self.journal.memory().at::<u8>(SCRATCH).addr() as u64;
        let result = ring.run(
            operation,
            self.inherited.socket,
            (scratch, state.intent),
            state.before,
            &mut self.points,
        )?;
        // A negative result moved nothing: the kernel gave the operation up with the process that had begun it.
        Ok(usize::try_from(result).unwrap_or(0))
    }
}
