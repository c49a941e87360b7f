//! What happened in a schedule, and what must not have.
//!
//! Foreign code is contained by the slots that call it, also where it panics; so what a check in there finds is written down
//! here, and fails the schedule at its end.

use crate::machine::tally::note;
use slot::{Failure, Finished, OperationId, Request, Told, Watch};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Pages {
    violations: Vec<String>,
    /// Everything that was told, for whoever looks into a schedule that fails.
    told: Vec<String>,
    /// How often each operation of each slot began, and how often it ended.
    operations: BTreeMap<(String, OperationId), (usize, usize)>,
    /// How often each call that somebody asked for was answered.
    answers: Vec<usize>,
}

/// See the module's head. Its lock is never held over a scheduling point.
#[derive(Default)]
pub(crate) struct Journal(Mutex<Pages>);

impl Journal {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the schedule fail unless `is_so`.
    pub(crate) fn demand(&self, is_so: bool, what: impl FnOnce() -> String) {
        if !is_so {
            self.pages().violations.push(what());
        }
    }

    /// For whoever looks into a schedule that fails.
    pub(crate) fn write(&self, what: String) {
        self.pages().told.push(what);
    }

    /// Somebody asks for a call, and is to be answered once.
    pub(crate) fn asks(&self) -> usize {
        let mut pages = self.pages();
        pages.answers.push(0);
        pages.answers.len() - 1
    }

    /// The answer to that.
    pub(crate) fn answered(&self, call: usize) {
        self.pages().answers[call] += 1;
    }

    /// Every operation has begun once and ended once, every call was answered once, and nothing was violated.
    pub(crate) fn assert_sound(&self) {
        let pages = self.pages();
        assert!(pages.violations.is_empty(), "{:#?}\n{:#?}", pages.violations, pages.told);
        for (operation, counts) in &pages.operations {
            assert_eq!(*counts, (1, 1), "begun and ended: {operation:?}");
        }
        for (call, answers) in pages.answers.iter().enumerate() {
            assert_eq!(*answers, 1, "answers to call {call}");
        }
    }

    fn operation(&self, slot: &str, id: OperationId, request: Request, ended: Option<Finished>) {
        let mut pages = self.pages();
        let (begun, finished) = pages.operations.entry((slot.to_owned(), id)).or_default();
        match ended {
            None => *begun += 1,
            // It may not have begun.
            Some(Finished::ShutDown) => (*begun, *finished) = (1, *finished + 1),
            Some(_) => *finished += 1,
        }
        drop(pages);
        let what = match request {
            Request::Enable => "plug",
            Request::Disable { .. } => "unplug",
            Request::Cancel => "cancel",
        };
        if let Some(how) = ended {
            note(what, &if how == Finished::Done { Ok(()) } else { Err(()) });
        }
    }
}

impl Watch for Journal {
    fn notice(&self, slot: &str, what: &Told) {
        self.pages().told.push(format!("{slot}: {what:?}"));
        match what {
            Told::Operation(id, request, ended) => self.operation(slot, *id, *request, *ended),
            Told::Callback { how: Failure::Hung, .. } => note("hung", &Ok::<_, ()>(())),
            Told::Callback { how: Failure::Panicked, call: "request", .. } => note("panic", &Ok::<_, ()>(())),
            Told::Callback { who, call, how } => {
                self.demand(false, || format!("{slot}: {call} of {who}: {how:?}"));
            }
            Told::Orphan(what) => self.demand(false, || format!("{slot}: orphan {what}")),
            Told::Notice(_) => {}
        }
    }
}
