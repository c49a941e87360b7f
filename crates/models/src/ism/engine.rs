//! The command engine: one command at a time, and the answer to the last.
//!
//! Concurrency: whoever has the engine may write the answer and change what the function has registered and opened. It is taken
//! by one compare-exchange, never waited for, and given back on every way out (law 9).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::command::Outcome;

/// What the last command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) tag: u32,
    pub(super) code: u16,
    pub(super) outcome: Outcome,
    /// 0 if the command gives nothing back.
    pub(super) value: u64,
}

#[derive(Debug, Default)]
pub(super) struct Engine {
    taken: AtomicBool,
    head: AtomicU64,
    value: AtomicU64,
}

/// The engine, until it is dropped.
#[derive(Debug)]
pub(super) struct Running<'a>(&'a Engine);

impl Engine {
    /// `None`: another command is being carried out.
    pub(super) fn take(&self) -> Option<Running<'_>> {
        let taken = self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then_some(Running(self))
    }

    /// The registers of the answer: head and value.
    pub(super) fn answer(&self) -> (u64, u64) {
        let head = self.head.load(Ordering::Acquire);
        (head, self.value.load(Ordering::Relaxed))
    }

    /// Back to an answer. For who has the gate to himself: no command is being carried out.
    pub(super) fn put_back(&self, (answer, given): (u64, u64)) {
        let Engine { taken: _, head, value } = self;
        value.store(given, Ordering::Relaxed);
        head.store(answer, Ordering::Release);
    }

    /// As after power-on. For who has the gate to himself: no command is being carried out.
    pub(super) fn reset(&self) {
        let Engine { taken, head, value } = self;
        taken.store(false, Ordering::Release);
        head.store(0, Ordering::Release);
        value.store(0, Ordering::Release);
    }
}

impl Running<'_> {
    /// Writes the answer and gives the engine back.
    pub(super) fn answer(self, answer: Answer) {
        let Answer { tag, code, outcome, value } = answer;
        self.0.value.store(value, Ordering::Relaxed);
        let head = u64::from(tag) | (outcome as u64) << 32 | u64::from(code) << 48;
        self.0.head.store(head, Ordering::Release);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.taken.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_command_at_a_time_and_the_answer_stays() {
        let engine = Engine::default();
        let running = engine.take().unwrap();
        assert!(engine.take().is_none());
        running.answer(Answer { tag: 0x1122_3344, code: 3, outcome: Outcome::NoRoom, value: 5 });
        assert_eq!(engine.answer(), (0x0003_0004_1122_3344, 5));
        drop(engine.take().unwrap());
        assert!(engine.take().is_some(), "given back without an answer");
        assert_eq!(engine.answer(), (0x0003_0004_1122_3344, 5));
        engine.reset();
        assert_eq!(engine.answer(), (0, 0));
    }
}
