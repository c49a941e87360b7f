//! The state of one gate: the word that readers look at, and everything behind the lock.
//!
//! The word is a function of the [`Core`] ([`Core::word`]) and is stored only under the core's lock ([`Shared::publish`]).
//! Waiters wait on condition variables of their own gate, which every waiter pins, so a wake touches no memory of a waiter
//! (CFG-I2) and costs the waiters of other gates nothing (CFG-I8).

use crate::clock::Stamp;
use crate::lock::{Condition, Monitor, MonitorGuard, ranks};
use crate::long::LongTable;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};
use crate::trial::Trial;
use crate::word::{Status, Word};
use crate::{Epoch, Inside, InsideKind, Reason, Refusal, Refused, ThreadToken, Wake, barrier, thread};
use std::collections::VecDeque;
use std::sync::Arc as StdArc;

/// Numbers the gates. Not of `sync`: nothing is ordered by it, so a model need not look at it.
static SERIAL: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// Keeps the word that every reader loads off the lines that others write.
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

/// A gate's memory; pinned by every `Gate`, `Handle`, `LongPass`, `GateCell` and `Subscription`.
pub(crate) struct Shared {
    word: Padded<AtomicU64>,
    /// Short passes that found no free slot in their thread's record.
    counted: AtomicUsize,
    /// Rank: 50, gate. Never held while waiting or while calling anybody; never two gates' at once.
    pub(crate) core: Monitor<ranks::Gate, Core>,
    /// Accesses wait here until the gate opens or refuses them for good.
    pub(crate) entrants: Condition,
    /// Closers wait here for their turn.
    pub(crate) closers: Condition,
    /// The closer whose turn it is, or `retire`, waits here for accesses to leave.
    pub(crate) drained: Condition,
    refused: [AtomicU64; 4],
    /// Its place in the order in which closers of several gates take their turns: older gates first.
    pub(crate) serial: u64,
    pub(crate) name: String,
}

/// Holds the lock of a gate's core.
pub(crate) type CoreGuard<'a> = MonitorGuard<'a, ranks::Gate, Core>;

/// The closer that drains or holds a proof.
pub(crate) struct Owner {
    pub(crate) reason: Reason,
    pub(crate) since: Stamp,
    /// The gate was frozen when it closed; `Quiesced::thaw` ends that freeze and no later one.
    pub(crate) was_frozen: bool,
    /// The name of the thread that closed, or that resumed since.
    pub(crate) thread: StdArc<str>,
    /// Closed without a proof: see `Closed`.
    pub(crate) parked: bool,
    /// It waits for accesses to leave.
    pub(crate) draining: bool,
    /// It is only trying: an access that meets it ends the trial.
    pub(crate) trial: Option<StdArc<Trial>>,
}

impl Owner {
    pub(crate) fn new(core: &Core, token: &ThreadToken, reason: Reason) -> Owner {
        Owner {
            reason,
            since: Stamp::now(),
            was_frozen: core.frozen,
            thread: token.name().clone(),
            parked: false,
            draining: false,
            trial: None,
        }
    }
}

pub(crate) struct Core {
    pub(crate) epoch: Epoch,
    pub(crate) gone: bool,
    pub(crate) frozen: bool,
    /// Frozen (again) since the owner closed.
    pub(crate) frozen_under_owner: bool,
    /// Calls of `contain` that nobody has released. The gate is frozen while there are any.
    pub(crate) contained: u32,
    pub(crate) owner: Option<Owner>,
    /// Closers that wait for their turn, in order of arrival.
    pub(crate) queue: VecDeque<u64>,
    pub(crate) next_ticket: u64,
    /// The ticket of a closer of several gates whose turn it is here. The gate is open meanwhile.
    pub(crate) turn: Option<u64>,
    /// Calls of `retire` that have not returned: the gate cannot be renewed yet.
    pub(crate) retiring: usize,
    /// Accesses that wait.
    pub(crate) waiting: usize,
    /// Grows when a closer leaves: accesses that waited then are let in before the next closer closes.
    pub(crate) round: u64,
    /// How many of those have not gone in or given up yet.
    pub(crate) admitting: usize,
    pub(crate) since: Stamp,
    pub(crate) long: LongTable,
    subscribers: Vec<(u64, StdArc<dyn Wake>)>,
    next_subscriber: u64,
}

/// Subscribers to wake once the lock is released.
#[derive(Default)]
#[must_use = "subscribers must be woken after the lock is released"]
pub(crate) struct Wakeups(Vec<StdArc<dyn Wake>>);

impl Wakeups {
    pub(crate) fn call(self) {
        for subscriber in self.0 {
            subscriber.wake();
        }
    }
}

impl Core {
    fn new() -> Core {
        Core {
            epoch: Epoch(1),
            gone: false,
            frozen: false,
            frozen_under_owner: false,
            contained: 0,
            owner: None,
            queue: VecDeque::new(),
            next_ticket: 0,
            turn: None,
            retiring: 0,
            waiting: 0,
            round: 0,
            admitting: 0,
            since: Stamp::now(),
            long: LongTable::default(),
            subscribers: Vec::new(),
            next_subscriber: 0,
        }
    }

    pub(crate) fn status(&self) -> Status {
        if self.gone {
            Status::Gone
        } else if self.frozen {
            Status::Frozen
        } else if let Some(owner) = &self.owner {
            Status::Blocked(owner.reason)
        } else {
            Status::Open
        }
    }

    /// What readers must see now. An owner of a frozen gate shows as frozen: both keep everybody out.
    pub(crate) fn word(&self) -> Word {
        let word = Word::new(self.epoch, self.status(), self.is_draining()).marked();
        if self.owner.as_ref().is_some_and(|owner| owner.trial.is_some()) { word.trial() } else { word }
    }

    /// Somebody waits for accesses to leave.
    pub(crate) fn is_draining(&self) -> bool {
        self.retiring > 0 || self.owner.as_ref().is_some_and(|owner| owner.draining)
    }

    /// Whether an access of `handle`'s epoch, which has the lock, may enter; if not, the word that refuses it. A trial that
    /// would refuse it is lost by this, unless it has been won.
    pub(crate) fn admit(&self, handle: Epoch) -> Result<(), Word> {
        let word = self.word();
        let may_enter = match self.owner.as_ref().and_then(|owner| owner.trial.as_ref()) {
            Some(trial) => {
                let unowned = !self.gone && !self.frozen && self.epoch == handle;
                unowned && trial.lose()
            }
            None => word.admits(handle),
        };
        if may_enter { Ok(()) } else { Err(word) }
    }

    /// A closer may have the gate now, other than by its place in the queue.
    pub(crate) fn may_close(&self) -> bool {
        self.owner.is_none() && self.turn.is_none() && self.admitting == 0
    }

    /// Ends the turn of the closer with this ticket. False if it has been taken away.
    pub(crate) fn end_turn(&mut self, ticket: u64) -> bool {
        let ours = self.turn == Some(ticket);
        if ours {
            self.turn = None;
        }
        ours
    }

    pub(crate) fn subscribe(&mut self, wake: StdArc<dyn Wake>) -> u64 {
        let id = self.next_subscriber;
        self.next_subscriber += 1;
        self.subscribers.push((id, wake));
        id
    }

    pub(crate) fn unsubscribe(&mut self, id: u64) -> Option<StdArc<dyn Wake>> {
        let at = self.subscribers.iter().position(|(subscribed, _)| *subscribed == id)?;
        Some(self.subscribers.swap_remove(at).1)
    }

    pub(crate) fn wakeups(&self) -> Wakeups {
        Wakeups(self.subscribers.iter().map(|(_, wake)| wake.clone()).collect())
    }
}

impl Shared {
    pub(crate) fn new(name: String) -> Shared {
        Shared::with(name, Core::new())
    }

    /// A gate whose first epoch is this one.
    pub(crate) fn in_epoch(name: String, epoch: Epoch) -> Shared {
        Shared::with(name, Core { epoch, ..Core::new() })
    }

    fn with(name: String, core: Core) -> Shared {
        Shared {
            word: Padded(AtomicU64::new(core.word().0)),
            counted: AtomicUsize::new(0),
            core: Monitor::new(core),
            entrants: Condition::new(),
            closers: Condition::new(),
            drained: Condition::new(),
            refused: std::array::from_fn(|_| AtomicU64::new(0)),
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            name,
        }
    }

    /// What a slot holds to name this gate.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The word, and with it everything done before the gate opened.
    #[inline]
    pub(crate) fn word(&self) -> Word {
        Word(self.word.0.load(Ordering::Acquire))
    }

    /// Makes a change of the core visible to readers; call before releasing the lock.
    pub(crate) fn publish(&self, core: &Core) {
        self.word.0.store(core.word().0, Ordering::Release);
    }

    pub(crate) fn add_counted(&self) {
        self.counted.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn remove_counted(&self) {
        self.counted.fetch_sub(1, Ordering::AcqRel);
    }

    /// A short pass is inside. Means something only between [`crate::barrier::heavy`] and the next opening.
    pub(crate) fn short_inside(&self) -> bool {
        self.counted.load(Ordering::Acquire) != 0 || thread::any_inside(self.address())
    }

    /// Wakes whoever drains, after an access has left while the word was not open.
    ///
    /// The lock is taken so that the wake cannot fall between the drainer's look at the slots and its wait.
    #[cold]
    #[inline(never)]
    pub(crate) fn left_while_closed(&self, word: Word) {
        let word = if word.needs_fences() {
            barrier::light();
            self.word()
        } else {
            word
        };
        if word.has_drain() {
            drop(self.core.lock());
            self.drained.notify_all();
        }
    }

    /// After the gate may have opened, or was frozen or retired: lets accesses and closers look again.
    pub(crate) fn notify_waiters(&self) {
        self.entrants.notify_all();
        self.closers.notify_all();
    }

    /// Lets everybody who waits here look again. The lock is taken so that this cannot fall between a look and the wait
    /// after it.
    pub(crate) fn rouse(&self) {
        drop(self.core.lock());
        self.notify_waiters();
        self.drained.notify_all();
    }

    pub(crate) fn count_refusal(&self, refusal: Refusal) -> Refusal {
        let at = match refusal {
            Refusal::Blocked(_) => 0,
            Refusal::Frozen => 1,
            Refusal::Gone => 2,
            Refusal::StaleEpoch { .. } => 3,
        };
        self.refused[at].fetch_add(1, Ordering::Relaxed);
        refusal
    }

    pub(crate) fn refused(&self) -> Refused {
        let read = |at: usize| self.refused[at].load(Ordering::Relaxed);
        Refused { blocked: read(0), frozen: read(1), gone: read(2), stale: read(3) }
    }

    /// Names what is inside: the owner if asked for, short passes, and long passes of `epoch` or of all.
    pub(crate) fn insiders(&self, core: &Core, owner: bool, long: LongScope) -> Vec<Inside> {
        let short = |what: String| Inside { kind: InsideKind::Short, what, age: None, epoch: None };
        let mut inside = Vec::new();
        if let (true, Some(owner)) = (owner, &core.owner) {
            inside.push(Inside {
                kind: InsideKind::Proof(owner.reason),
                what: owner.thread.to_string(),
                age: Some(owner.since.age()),
                epoch: None,
            });
        }
        inside.extend(thread::threads_inside(self.address()).into_iter().map(short));
        let counted = self.counted.load(Ordering::Acquire);
        inside.extend((0..counted).map(|_| short("with deeply nested passes".to_owned())));
        match long {
            LongScope::None => {}
            LongScope::Of(epoch) => inside.extend(core.long.describe(Some(epoch))),
            LongScope::All => inside.extend(core.long.describe(None)),
        }
        inside
    }
}

/// Which long passes a drain waits for or a list names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LongScope {
    None,
    Of(Epoch),
    All,
}
