//! Whose turn it is to use the connection.
//!
//! The connection is a thing that is handed on: whoever has it talks to the back end, reads the replies itself, and gives it
//! back. Who finds it taken stands in line, to its deadline or until the link is lost. So a call costs no change of threads,
//! and nobody holds a lock while it waits for the back end.
//!
//! What is handed on is a type parameter: the order has nothing to do with it.

use std::collections::VecDeque;
use std::sync::Arc;

use gate::lock::{Condvar, Leaf};
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};

use super::LinkWatch;
use crate::ranks;

/// The connection, or the line before it.
pub(super) struct Turn<T> {
    /// Rank: 101, back end's turn; a leaf. A look or a move; the connection is used outside.
    state: Leaf<ranks::Turn, State<T>>,
    changed: Condvar,
}

struct State<T> {
    standing: Standing<T>,
    /// Who waits, in the order of their coming.
    line: VecDeque<u64>,
    /// The number of the next who comes.
    next: u64,
    /// Who is told of the end, until it is.
    watch: Option<Arc<dyn LinkWatch>>,
}

enum Standing<T> {
    /// Nobody uses it.
    Free(Box<T>),
    /// Somebody does.
    Taken,
    /// There is no connection any more.
    Over,
}

/// Why there is no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// The link is lost.
    Over,
    /// The deadline has passed.
    Late,
}

impl<T> Turn<T> {
    pub(super) fn new(connection: T, watch: Arc<dyn LinkWatch>) -> Turn<T> {
        let standing = Standing::Free(Box::new(connection));
        let state = State { standing, line: VecDeque::new(), next: 0, watch: Some(watch) };
        Turn { state: Leaf::new(state), changed: Condvar::new() }
    }

    /// The connection, when everybody who came before has had it. It must go back with [`Turn::give_back`].
    pub(super) fn take(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<Box<T>, NoTurn> {
        let mut state = self.state.lock();
        if state.line.is_empty()
            && let Some(taken) = state.take()
        {
            return taken;
        }
        drop(state);
        self.stand_in_line(token, deadline)
    }

    #[cold]
    fn stand_in_line(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<Box<T>, NoTurn> {
        let _shown = Waiting::new(token, "a call to a back end", None, "the calls before it");
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.line.push_back(number);
        let mut late = false;
        loop {
            let first = state.line.front() == Some(&number);
            let over = matches!(state.standing, Standing::Over);
            let taken = if first || over { state.take() } else { None };
            let outcome = taken.or(late.then_some(Err(NoTurn::Late)));
            if let Some(outcome) = outcome {
                state.line.retain(|waiting| *waiting != number);
                // Who is first now may have been asleep while it was not.
                if !state.line.is_empty() {
                    self.changed.notify_all();
                }
                return outcome;
            }
            (state, late) = self.changed.wait(state, token, deadline);
        }
    }

    /// The connection, if nobody has it and nobody waits for it.
    pub(super) fn try_take(&self) -> Option<Box<T>> {
        let mut state = self.state.lock();
        if state.line.is_empty() { state.take()?.ok() } else { None }
    }

    /// Waits until there is no connection any more, or the deadline has passed.
    pub(super) fn wait_for_end(&self, token: &mut ThreadToken, deadline: Deadline) {
        let _shown = Waiting::new(token, "a call to a back end", None, "a reply");
        let mut state = self.state.lock();
        let mut late = false;
        while !late && !matches!(state.standing, Standing::Over) {
            (state, late) = self.changed.wait(state, token, deadline);
        }
    }

    /// Ends a turn.
    pub(super) fn give_back(&self, connection: Box<T>) {
        let mut state = self.state.lock();
        if matches!(state.standing, Standing::Over) {
            drop(state);
            // It closes descriptors, and lets go of the consumer's memory.
            drop(connection);
            return;
        }
        state.standing = Standing::Free(connection);
        if !state.line.is_empty() {
            self.changed.notify_all();
        }
    }

    /// There is no connection any more, and no turn. Gives who is to be told, once.
    pub(super) fn end(&self) -> Option<Arc<dyn LinkWatch>> {
        let mut state = self.state.lock();
        let standing = std::mem::replace(&mut state.standing, Standing::Over);
        let watch = state.watch.take();
        self.changed.notify_all();
        drop(state);
        drop(standing);
        watch
    }
}

impl<T> State<T> {
    fn take(&mut self) -> Option<Result<Box<T>, NoTurn>> {
        match std::mem::replace(&mut self.standing, Standing::Taken) {
            Standing::Free(connection) => Some(Ok(connection)),
            Standing::Taken => None,
            Standing::Over => {
                self.standing = Standing::Over;
                Some(Err(NoTurn::Over))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Loss;
    use std::time::Duration;

    struct Nobody;

    impl LinkWatch for Nobody {
        fn lost(&self, _loss: Loss) {}
    }

    fn turn() -> Turn<Vec<u32>> {
        Turn::new(Vec::new(), Arc::new(Nobody))
    }

    fn later() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    /// Until so many stand in line.
    fn wait_for_line(turn: &Turn<Vec<u32>>, length: usize) {
        while turn.state.lock().line.len() != length {
            std::thread::yield_now();
        }
    }

    #[test]
    fn who_comes_first_is_served_first_and_nobody_overtakes() {
        let turn = turn();
        let mut token = ThreadToken::at_thread_entry();
        let held = turn.take(&mut token, later()).unwrap();
        std::thread::scope(|scope| {
            for nth in 0..8 {
                let turn = &turn;
                scope.spawn(move || {
                    let mut held = turn.take(&mut ThreadToken::at_thread_entry(), later()).unwrap();
                    held.push(nth);
                    turn.give_back(held);
                });
                wait_for_line(turn, nth as usize + 1);
            }
            // It is free, and the line has not been woken yet: still it is theirs.
            turn.state.lock().standing = Standing::Free(held);
            assert!(turn.try_take().is_none());
            assert_eq!(turn.take(&mut token, Deadline::after(Duration::ZERO)), Err(NoTurn::Late));
            let held = turn.take(&mut token, later()).unwrap();
            assert_eq!(*held, [0, 1, 2, 3, 4, 5, 6, 7]);
        });
    }

    #[test]
    fn who_gives_up_leaves_the_line_and_the_next_gets_its_turn() {
        let turn = turn();
        let mut token = ThreadToken::at_thread_entry();
        let held = turn.take(&mut token, later()).unwrap();
        std::thread::scope(|scope| {
            let turn = &turn;
            let late = scope.spawn(move || {
                let soon = Deadline::after(Duration::from_millis(20));
                turn.take(&mut ThreadToken::at_thread_entry(), soon)
            });
            wait_for_line(turn, 1);
            let next = scope.spawn(move || turn.take(&mut ThreadToken::at_thread_entry(), later()).is_ok());
            wait_for_line(turn, 2);
            assert_eq!(late.join().unwrap(), Err(NoTurn::Late));
            wait_for_line(turn, 1);
            turn.give_back(held);
            assert!(next.join().unwrap());
        });
    }

    #[test]
    fn the_end_wakes_the_whole_line_and_is_told_once() {
        let turn = turn();
        let mut token = ThreadToken::at_thread_entry();
        let held = turn.take(&mut token, later()).unwrap();
        std::thread::scope(|scope| {
            let turn = &turn;
            let take = move || turn.take(&mut ThreadToken::at_thread_entry(), later());
            let waiting: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            wait_for_line(turn, 4);
            assert!(turn.end().is_some());
            assert!(turn.end().is_none());
            for thread in waiting {
                assert_eq!(thread.join().unwrap(), Err(NoTurn::Over));
            }
        });
        turn.give_back(held);
        assert_eq!(turn.take(&mut token, later()), Err(NoTurn::Over));
        turn.wait_for_end(&mut token, later());
    }
}
