//! The server that is killed: one loop, and a candidate's way to receive and to answer.

mod inlet;
mod outlet;

use std::os::fd::BorrowedFd;

use crate::journal::{ANSWERING, CONSUMING, Journal, RECEIVING, State};
use crate::message::execute;
use crate::point::Points;
use crate::ring::Ring;

/// A way to receive and to answer so that the next process can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Candidate {
    /// Nothing is written down but the device.
    Plain,
    /// A cursor is written down after each system call.
    After,
    /// A cursor before and after, and the queues' lengths to tell what happened between.
    Guess,
    /// Requests are peeked and consumed when they are answered; replies as `After`.
    Peek,
    /// Requests as `Peek`; replies go through a pipe into the socket.
    PeekSplice,
    /// Both through an `io_uring` that the keeper holds.
    Ring,
}

impl Candidate {
    pub(crate) const ALL: [Self; 6] =
        [Self::Plain, Self::After, Self::Guess, Self::Peek, Self::PeekSplice, Self::Ring];

    /// The name in tables, and on the server's command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::After => "after",
            Self::Guess => "guess",
            Self::Peek => "peek",
            Self::PeekSplice => "peek-splice",
            Self::Ring => "ring",
        }
    }

    /// Whether the document says that nothing is lost or duplicated.
    pub(crate) fn is_exact(self) -> bool {
        matches!(self, Self::PeekSplice | Self::Ring)
    }

    /// Whether requests are peeked with the socket's own offset.
    pub(crate) fn peeks(self) -> bool {
        matches!(self, Self::Peek | Self::PeekSplice)
    }
}

/// Exit code of a server that has read what is no message.
pub(crate) const CONFUSED: i32 = 3;

/// What a server has from its keeper.
pub(crate) struct Inherited {
    pub(crate) socket: BorrowedFd<'static>,
    pub(crate) pipe: (BorrowedFd<'static>, BorrowedFd<'static>),
    pub(crate) ring: Option<Ring>,
}

/// Why a server stops by itself.
#[derive(Debug)]
pub(crate) enum End {
    /// The client has left.
    Left,
    /// What was read is no message.
    Confused,
    /// A system call failed.
    Failed(String),
}

impl From<rustix::io::Errno> for End {
    fn from(errno: rustix::io::Errno) -> Self {
        use rustix::io::Errno;
        // A client that has seen enough closes its end with replies unread.
        if [Errno::PIPE, Errno::CONNRESET].contains(&errno) {
            Self::Left
        } else {
            Self::Failed(errno.to_string())
        }
    }
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<std::num::TryFromIntError> for End {
    fn from(error: std::num::TryFromIntError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A server at work.
pub(crate) struct Server {
    pub(crate) candidate: Candidate,
    /// Most bytes of one receive or send.
    pub(crate) chunk: usize,
    pub(crate) inherited: Inherited,
    pub(crate) journal: Journal,
    pub(crate) points: Points,
}

impl Server {
    /// Serves until the client leaves. A server that takes over begins here, too: what to do next is in the journal.
    pub(crate) fn serve(&mut self) -> End {
        if self.candidate == Candidate::Plain {
            // It knows nothing of a message that its predecessor was at.
            self.journal.change(&mut self.points, State::forget);
        }
        loop {
            if let Err(end) = self.step() {
                return end;
            }
        }
    }

    fn step(&mut self) -> Result<(), End> {
        match self.journal.state().phase {
            RECEIVING => {
                let mut state = self.fetch()?;
                execute(&mut state);
                // One commit: executed, and noted as executed with its reply.
                self.journal.commit(&state, &mut self.points);
            }
            ANSWERING => {
                self.answer()?;
                self.before_consuming()?;
                self.journal.change(&mut self.points, |state| state.phase = CONSUMING);
            }
            _ => {
                self.consume()?;
                self.journal.change(&mut self.points, State::forget);
            }
        }
        Ok(())
    }
}

impl State {
    /// Ready for the next request; the device stays.
    fn forget(&mut self) {
        self.phase = RECEIVING;
        (self.got, self.sent, self.reply_length, self.file, self.intent, self.before) = (0, 0, 0, 0, 0, 0);
    }
}
