//! How requests come in.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::fstat;
use rustix::io::ioctl_fionread;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recv, recvmsg};

use super::{Candidate, End, Server};
use crate::journal::State;
use crate::message::length;
use crate::ring::Operation;
use crate::sys::{peek_offset, set_peek_offset};

/// What one receive brought.
struct Piece {
    count: usize,
    file: Option<OwnedFd>,
}

fn receive(socket: BorrowedFd<'_>, into: &mut [u8], flags: RecvFlags) -> Result<Piece, End> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(socket, &mut [IoSliceMut::new(into)], &mut control, flags | RecvFlags::CMSG_CLOEXEC)?;
    let file = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut files) => files.next(),
            _ => None,
        })
        .next();
    if got.bytes == 0 { Err(End::Left) } else { Ok(Piece { count: got.bytes, file }) }
}

impl State {
    /// Bytes that are still to come of what is known of the request; 0: it is whole.
    fn wanted(&self) -> Result<usize, End> {
        length(self).map(|all| all - self.got as usize).ok_or(End::Confused)
    }

    /// Where they go.
    fn room(&mut self, count: usize) -> &mut [u8] {
        let got = self.got as usize;
        &mut self.request[got..got + count]
    }

    fn take(&mut self, piece: &Piece) -> Result<(), End> {
        self.got += piece.count as u32;
        self.note(piece)
    }

    fn note(&mut self, piece: &Piece) -> Result<(), End> {
        if let Some(file) = &piece.file {
            self.file = fstat(file)?.st_ino;
        }
        Ok(())
    }
}

impl Server {
    /// Brings a whole request, as far as it is not there yet.
    pub(super) fn fetch(&mut self) -> Result<State, End> {
        let mut state = self.journal.state();
        self.recover_receive(&mut state)?;
        loop {
            let want = state.wanted()?.min(self.chunk);
            if want == 0 {
                return Ok(state);
            }
            self.journal.set_idle(true);
            self.points.pass();
            match self.candidate {
                Candidate::Plain | Candidate::After => {
                    let piece = receive(self.inherited.socket, state.room(want), RecvFlags::empty())?;
                    state.take(&piece)?;
                }
                Candidate::Peek | Candidate::PeekSplice => {
                    let piece = receive(self.inherited.socket, state.room(want), RecvFlags::PEEK)?;
                    state.take(&piece)?;
                }
                Candidate::Guess => self.guess_receive(&mut state, want)?,
                Candidate::Ring => self.ring_receive(&mut state, want)?,
            }
            self.journal.set_idle(false);
            if self.candidate == Candidate::Plain {
                self.points.pass();
            } else {
                self.journal.commit(&state, &mut self.points);
            }
        }
    }

    fn recover_receive(&mut self, state: &mut State) -> Result<(), End> {
        match self.candidate {
            Candidate::Peek | Candidate::PeekSplice => {
                // What was peeked and not written down is peeked again.
                set_peek_offset(self.inherited.socket, state.got as usize)?;
            }
            Candidate::Guess if state.intent != 0 => {
                // Shorter by what was to be received: then it was, unless the client has sent more meanwhile.
                let queued = ioctl_fionread(self.inherited.socket)?;
                if queued + u64::from(state.intent) <= u64::from(state.before) {
                    state.got += state.intent;
                }
                state.intent = 0;
                self.journal.commit(state, &mut self.points);
            }
            Candidate::Ring if state.intent != 0 => {
                self.ring_finish_receive(state)?;
                self.journal.commit(state, &mut self.points);
            }
            _ => {}
        }
        Ok(())
    }

    fn guess_receive(&mut self, state: &mut State, want: usize) -> Result<(), End> {
        let piece = receive(self.inherited.socket, state.room(want), RecvFlags::PEEK)?;
        state.note(&piece)?;
        state.before = u32::try_from(ioctl_fionread(self.inherited.socket)?)?;
        state.intent = piece.count as u32;
        self.journal.commit(state, &mut self.points);
        let piece = receive(self.inherited.socket, state.room(piece.count), RecvFlags::empty())?;
        self.points.pass();
        state.got += piece.count as u32;
        state.intent = 0;
        Ok(())
    }

    /// A ring's receive puts files into the table of whoever submitted it, where they die with him: so a peek fetches
    /// the file, and the ring only consumes.
    fn ring_receive(&mut self, state: &mut State, want: usize) -> Result<(), End> {
        let piece = receive(self.inherited.socket, state.room(want), RecvFlags::PEEK)?;
        state.note(&piece)?;
        self.points.pass();
        self.ring_begin(state, piece.count as u32);
        self.ring_finish_receive(state)
    }

    fn ring_finish_receive(&mut self, state: &mut State) -> Result<(), End> {
        let done = self.ring_run(Operation::Receive, state)?;
        let scratch: [u8; 256] = self.ring_scratch();
        state.room(done).copy_from_slice(&scratch[..done]);
        state.got += done as u32;
        state.intent = 0;
        Ok(())
    }

    /// Leaves the socket's own cursor at the request's length, as long as doing so again does no harm.
    pub(super) fn before_consuming(&mut self) -> Result<(), End> {
        if self.candidate.peeks() {
            set_peek_offset(self.inherited.socket, self.journal.state().got as usize)?;
        }
        Ok(())
    }

    /// Takes the answered request off the socket. The kernel moves the peek offset back by what is consumed, in the same
    /// step: so it says how much is left to consume, whoever died in between.
    pub(super) fn consume(&mut self) -> Result<(), End> {
        if !self.candidate.peeks() {
            return Ok(());
        }
        loop {
            self.points.pass();
            let left = peek_offset(self.inherited.socket)?;
            if left == 0 {
                return Ok(());
            }
            let mut bytes = [0; 256];
            let most = left.min(self.chunk).min(bytes.len());
            recv(self.inherited.socket, &mut bytes[..most], RecvFlags::empty())?;
        }
    }
}
