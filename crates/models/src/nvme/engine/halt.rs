//! What a controller does out of the ordinary: it has come to a halt, or the first turn after its state was saved or
//! restored looks at everything anew.
//!
//! A halt comes from outside of NVMe: a fault that somebody asked for, or a panic. The controller takes no command, answers
//! none and goes on with none, but it takes in what the disk has finished, so that its gate can be closed. The rest of its state
//! stays as it was, and can be saved, unless a panic came in the middle of a change. Every reset ends a halt.
//!
//! All of this hides behind one flag that a turn looks at, [`Engine::attention`].

use nvme_spec::queue::ADMIN_QUEUE;

use super::super::outbox::Outbox;
use super::{Cx, Engine, Phase};

/// Why a controller came to a halt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Halt {
    /// It says that it is in a fatal state.
    Fatal,
    /// It says nothing at all.
    Hung,
    /// Its registers cannot be reached, nor can it reach anything.
    Unreachable,
    /// A DMA of its own was refused.
    Dma,
    /// The worker has panicked, between two changes.
    Panicked,
    /// A panic has left the state half-changed: only a reset helps.
    Torn,
}

impl Engine {
    /// Comes to a halt; the first one stays, but for a worse one.
    pub(in super::super) fn halt(&mut self, halt: Halt) {
        if self.halt.is_none() || halt == Halt::Torn {
            self.halt = Some(halt);
        }
        self.attention = true;
        if matches!(halt, Halt::Fatal | Halt::Panicked | Halt::Torn) {
            let registers = &self.board.registers;
            registers.set_csts(registers.csts().with_cfs(true));
        }
    }

    /// Whether it has come to a halt.
    pub(in super::super) fn is_halted(&self) -> bool {
        self.halt.is_some()
    }

    /// Whether the state is half-changed.
    pub(super) fn is_torn(&self) -> bool {
        self.halt == Some(Halt::Torn)
    }

    /// What an operator is told of a halt.
    pub(super) fn halt_in_words(&self) -> Option<&'static str> {
        Some(match self.halt? {
            Halt::Fatal => "halted: fatal state, waits for a reset",
            Halt::Hung => "halted: hung, waits for a reset",
            Halt::Unreachable => "halted: unreachable, waits for a reset",
            Halt::Dma => "halted: DMA was refused, waits for a reset",
            Halt::Panicked => "halted: the worker panicked, waits for a reset",
            Halt::Torn => "halted: a panic, waits for a reset",
        })
    }

    /// Something is out of the ordinary. Says whether the turn may go on.
    #[cold]
    pub(super) fn attend(&mut self, cx: &mut Cx<'_>) -> bool {
        // A reset ends every halt.
        self.follow_back_end(cx.out);
        if self.halt.is_some() {
            return false;
        }
        // Interrupts go nowhere before that.
        if self.phase == Phase::Enabled && cx.bus_master {
            self.attention = false;
            self.board.doorbells.end_keeping();
            if let Some(away) = self.io.away_mut() {
                away.end_keeping();
            }
            self.tell_again(cx.out);
        }
        true
    }

    /// Raises the interrupts of everything that was posted and not acknowledged: what was signalled while nobody could hear
    /// is signalled to nobody again. One too many costs the host a look.
    fn tell_again(&mut self, out: &mut Outbox) {
        let mut nth = 0;
        while let Some(qid) = self.queues.nth_completion(nth) {
            nth += 1;
            let vector =
                self.queues.completion(qid).filter(|queue| queue.unread() > 0).and_then(|queue| queue.vector);
            if let Some(vector) = vector {
                self.interrupt(out, vector);
            }
        }
    }

    /// The address that the controller would read next: of the entry at the head of its last submission queue.
    pub(in super::super) fn next_fetch(&mut self) -> u64 {
        let last = self.queues.live_count().checked_sub(1).and_then(|nth| self.queues.nth_live(nth));
        let queue = self.queues.submission(last.unwrap_or(ADMIN_QUEUE));
        queue.map_or(self.board.registers.asq(), |queue| queue.base + u64::from(queue.head()) * 64)
    }
}
