//! What recoveries do, written down by function and checked as it happens.
//!
//! Foreign code is contained by the recoveries that call it, also where it panics; so what a check in there finds is written down,
//! and fails the schedule at its end. Every recovery is begun through [`Ledger`], with a platform and parties of its own, so that each call says whose it is.

use super::hardware::Hardware;
use crate::machine::tally::note;
use crate::slots::journal::Journal;
use contain::containment::{Containment, Recoveries, RecoveryId, Running, Start};
use contain::pe::{Holder, Pe, PeAddress, PeState};
use contain::plan::{Call, Channel, FunctionId};
use contain::recovery::Executor;
use contain::report::{Notice, Outcome};
use contain::tree::{PeFunction, PeTree};
use contain::watch::{Told, Watch};
use gate::ThreadToken;
use shuttle::thread;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// How often a recovery resets (EEH-19).
const RESETS: u32 = 3;

/// What is known of one function.
#[derive(Default)]
struct Account {
    /// Whose calls it gets, and whose it got before.
    current: Option<RecoveryId>,
    past: BTreeSet<RecoveryId>,
    /// Somebody is at it.
    busy: bool,
    /// Its driver was told of an error, and not what became of it.
    waits: bool,
}

#[derive(Default)]
struct Book {
    accounts: BTreeMap<FunctionId, Account>,
    begun: BTreeSet<RecoveryId>,
    ended: BTreeMap<RecoveryId, u32>,
    /// How many are making the tree like what is plugged.
    following: u32,
    /// How often each PE was frozen, or found to be frozen again.
    freezes: BTreeMap<PeAddress, u32>,
    /// Errors, each with the PEs of which one was to be frozen after it, and how often they were before.
    noticed: Vec<(Vec<PeAddress>, u32)>,
}

/// See the module's head. Its lock is never held over a scheduling point.
#[derive(Default)]
pub(crate) struct Ledger {
    book: Mutex<Book>,
    pub(crate) journal: Journal,
    containment: OnceLock<Weak<Containment>>,
    /// Something is wrong that no recovery brings back.
    pub(crate) may_fail: AtomicBool,
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn knows(&self, containment: &Arc<Containment>) {
        let _first = self.containment.set(Arc::downgrade(containment));
    }

    /// The tree is being made like what is plugged.
    pub(crate) fn follow<T>(&self, act: impl FnOnce() -> T) -> T {
        self.book().following += 1;
        let done = act();
        self.book().following -= 1;
        done
    }

    /// A recovery does something to functions, which takes a while.
    pub(crate) fn during<T>(
        &self,
        id: RecoveryId,
        token: &mut ThreadToken,
        functions: &[Arc<PeFunction>],
        act: impl FnOnce(&mut ThreadToken) -> T,
    ) -> T {
        self.assert_free(token);
        for function in functions {
            self.begins_call(id, function);
        }
        thread::yield_now();
        let done = act(token);
        let mut book = self.book();
        functions.iter().for_each(|function| book.accounts.entry(function.id).or_default().busy = false);
        done
    }

    /// EEH-I7: as soon as another recovery calls a function, the one before has had its last call.
    fn begins_call(&self, id: RecoveryId, function: &PeFunction) {
        let mut book = self.book();
        let account = book.accounts.entry(function.id).or_default();
        if account.current != Some(id) {
            account.past.extend(account.current.replace(id));
        }
        let first = !std::mem::replace(&mut account.busy, true) && !account.past.contains(&id);
        drop(book);
        self.demand(first, || format!("two recoveries of {} at a time (EEH-I7)", function.address));
    }

    pub(crate) fn demand(&self, is_so: bool, what: impl FnOnce() -> String) {
        self.journal.demand(is_so, what);
    }

    /// EEH-I4: whoever is called is called with nothing held.
    pub(crate) fn assert_free(&self, token: &mut ThreadToken) {
        let free = catch_unwind(AssertUnwindSafe(|| token.assert_holds_nothing())).is_ok();
        self.demand(free, || "called with something held (EEH-I4)".to_owned());
    }

    /// What a driver is told.
    pub(crate) fn told(&self, function: FunctionId, call: Call) {
        self.journal.write(format!("{function:?}: {call:?}"));
        let mut book = self.book();
        let account = book.accounts.entry(function).or_default();
        match call {
            Call::ErrorDetected(Channel::PermFailure) | Call::Resume | Call::Unbind => account.waits = false,
            Call::ErrorDetected(_) => account.waits = true,
            _ => {}
        }
    }

    /// Whether the driver of a function was left without a word of what became of its error.
    pub(crate) fn is_left_waiting(&self, function: FunctionId) -> bool {
        self.book().accounts.get(&function).is_some_and(|account| account.waits)
    }

    /// EEH-I5: a PE that is being recovered is marked, and what is marked is not freed.
    pub(crate) fn assert_kept(&self, tree: &PeTree, pe: &Pe) {
        let marks = PeState::RECOVERING | PeState::KEEP;
        let state = pe.state();
        // What was removed before its recovery began is not marked.
        let marked = state.contains(marks) || state.contains(PeState::INVALID);
        self.demand(marked, || format!("{} has lost its marks: {state:?}", pe.address()));
        let freed = state.contains(marks) && tree.orphans(Duration::ZERO).iter().any(|it| it.id == pe.id());
        self.demand(!freed, || format!("{} is freed while it is marked (EEH-I5)", pe.address()));
    }

    /// EEH-06: what is told that it is frozen, or is reset, lets nobody in.
    pub(crate) fn assert_frozen(
        &self,
        tree: &PeTree,
        token: &ThreadToken,
        function: &PeFunction,
        what: &str,
    ) {
        if function.function.is_contained() || function.function.handle().is_gone() {
            return;
        }
        // Who leaves the tree is let go, and who comes is frozen when it is there.
        let found = tree.of_function(token, function.address, Holder::Lookup);
        let there = found.is_some_and(|(_, found)| found.id == function.id) && self.book().following == 0;
        self.demand(!there, || format!("{what} of {}, which is not frozen", function.address));
    }

    /// How often one of these PEs was frozen so far.
    pub(crate) fn freezes(&self, pes: &[PeAddress]) -> u32 {
        let book = self.book();
        pes.iter().filter_map(|pe| book.freezes.get(pe)).sum()
    }

    /// An error was noticed where nothing was frozen, and freezes one of these PEs, which was done `before` times before that.
    pub(crate) fn noticed(&self, pes: &[PeAddress], before: u32) {
        self.book().noticed.push((pes.to_vec(), before));
    }

    /// EEH-I8: every error that was noticed has frozen something.
    pub(crate) fn assert_none_lost(&self) {
        let noticed = std::mem::take(&mut self.book().noticed);
        for (pes, before) in noticed {
            assert!(self.freezes(&pes) > before, "an error of {pes:?} is lost (EEH-I8)");
        }
    }

    /// Every recovery that began has ended, once.
    pub(crate) fn assert_all_ended(&self) {
        let book = self.book();
        let ends = book.begun.iter().map(|id| (*id, book.ended.get(id).copied().unwrap_or(0)));
        let wrong: Vec<_> = ends.filter(|(_, ends)| *ends != 1).collect();
        drop(book);
        assert!(wrong.is_empty(), "recoveries that have not ended once: {wrong:?}");
    }
}

/// Begins recoveries, each with the platform and the parties as it sees them.
pub(crate) struct Begins {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) hardware: Arc<Hardware>,
}

impl Recoveries for Begins {
    fn begin(&self, token: &mut ThreadToken, mut start: Start) -> Arc<dyn Running> {
        let first = self.ledger.book().begun.insert(start.id);
        self.ledger.demand(first, || format!("{} began twice", start.id));
        let pe = start.claim.pe().address();
        // What is below is frozen with the PE. Who comes is frozen when it is in the tree, and who leaves is let go.
        if start.frozen.is_some() && self.ledger.book().following == 0 {
            for visit in start.snapshot.walk(pe) {
                for function in start.snapshot.functions(visit.pe().address()) {
                    let out = function.function.is_contained() || function.function.handle().is_gone();
                    let changed = self.ledger.book().following != 0;
                    let open = || format!("{} is open, and PE {pe} is frozen", function.address);
                    self.ledger.demand(out || changed, open);
                }
            }
        }
        let seen = Arc::new(self.hardware.seen_by(start.id, &start.tree));
        start.parts.platform = seen.clone();
        start.parts.parties = seen;
        Executor.begin(token, start)
    }
}

impl Watch for Ledger {
    fn tell(&self, told: &Told) {
        // A look at something behind a leaf: the net would find that one is held.
        if let Some(containment) = self.containment.get().and_then(Weak::upgrade) {
            let looks = catch_unwind(AssertUnwindSafe(|| drop(containment.history())));
            self.demand(looks.is_ok(), || "told with a lock held (EEH-I4)".to_owned());
        }
        self.journal.write(format!("{told:?}"));
        if let Told::Frozen { pe, .. } | Told::Notice { pe, notice: Notice::FrozenAgain, .. } = told {
            *self.book().freezes.entry(*pe).or_default() += 1;
        }
        if let Told::Ended { id, outcome, resets, .. } = told {
            // There was another error after each of its resets (EEH-19).
            let worn_out = *resets == RESETS;
            let may_fail = self.may_fail.load(Relaxed) || !matches!(outcome, Outcome::Failed(_)) || worn_out;
            self.demand(may_fail, || format!("{outcome:?}, and nothing was wrong"));
            *self.book().ended.entry(*id).or_default() += 1;
            let done = Ok::<_, ()>(());
            match outcome {
                Outcome::Recovered => note("recovered", &done),
                Outcome::FrozenAgain => note("frozen again", &done),
                Outcome::Contained => note("contained", &done),
                Outcome::Gone => note("gone", &done),
                Outcome::Failed(_) if worn_out => note("worn out", &done),
                Outcome::Failed(_) => note("failed", &done),
            }
        }
    }
}
