//! What happened, and who does what when he is called.

use contain::plan::Answer;
use parking_lot::{Condvar, Mutex};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(30);

/// What somebody does when he is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Answers at once.
    Say(Answer),
    /// Keeps the reply; the test answers, or nobody does.
    Later,
    /// Drops the reply.
    Drop,
    Panic,
    /// Until it is mended.
    Hang,
    /// Answers, and does not return until it is mended.
    SayAndHang(Answer),
}

/// Calls are named "who.method".
#[derive(Default)]
pub(crate) struct Script {
    log: Mutex<Vec<String>>,
    changed: Condvar,
    acts: Mutex<HashMap<String, VecDeque<Act>>>,
    /// What the platform answers with yes or no: yes, unless it is in here.
    refusals: Mutex<HashMap<String, u32>>,
    mended: Mutex<Vec<String>>,
    /// How many hang at present.
    pub(crate) hanging: Mutex<usize>,
}

impl Script {
    /// The next call of this kind; the last one said stays.
    pub(crate) fn set(&self, call: &str, act: Act) {
        self.acts.lock().entry(call.to_owned()).or_default().push_back(act);
    }

    pub(crate) fn act(&self, call: &str) -> Option<Act> {
        let mut acts = self.acts.lock();
        let queue = acts.get_mut(call)?;
        if queue.len() > 1 { queue.pop_front() } else { queue.front().copied() }
    }

    pub(crate) fn refuse(&self, call: &str, times: u32) {
        self.refusals.lock().insert(call.to_owned(), times);
    }

    /// Notes the call; false if it is to fail this time.
    pub(crate) fn call(&self, call: &str) -> bool {
        self.note(call);
        match self.act(call) {
            Some(Act::Panic) => panic!("{call} panics, as it was told"),
            Some(Act::Hang) => self.hang(call),
            _ => {}
        }
        let mut refusals = self.refusals.lock();
        match refusals.get_mut(call) {
            Some(0) | None => true,
            Some(times) => {
                *times -= 1;
                false
            }
        }
    }

    pub(crate) fn hang(&self, call: &str) {
        *self.hanging.lock() += 1;
        self.note(&format!("{call} hangs"));
        let mut log = self.log.lock();
        while !self.mended.lock().iter().any(|mended| mended == call) {
            assert!(!self.changed.wait_for(&mut log, LONG).timed_out(), "{call} was never mended");
        }
        drop(log);
        *self.hanging.lock() -= 1;
        self.note(&format!("{call} returns"));
    }

    /// What hangs goes on.
    pub(crate) fn mend(&self, call: &str) {
        self.mended.lock().push(call.to_owned());
        let _log = self.log.lock();
        self.changed.notify_all();
    }

    pub(crate) fn note(&self, what: &str) {
        self.log.lock().push(what.to_owned());
        self.changed.notify_all();
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().clone()
    }

    pub(crate) fn has(&self, what: &str) -> bool {
        self.count(what) > 0
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.log.lock().iter().filter(|line| *line == what).count()
    }

    pub(crate) fn wait_for(&self, what: &str) {
        let mut log = self.log.lock();
        while !log.iter().any(|line| line == what) {
            assert!(!self.changed.wait_for(&mut log, LONG).timed_out(), "no {what}: {log:?}");
        }
    }

    /// Where it is in the log.
    pub(crate) fn at(&self, what: &str) -> usize {
        let log = self.log.lock();
        log.iter().position(|line| line == what).unwrap_or_else(|| panic!("no {what}: {log:?}"))
    }

    /// Only the lines of somebody.
    pub(crate) fn of(&self, who: &str) -> Vec<String> {
        self.log().into_iter().filter(|line| line.starts_with(who)).collect()
    }
}
