//! What always holds, checked after every step.
//!
//! The checks of one slot's operations and reports are here; what is looked up in the machine is in `reach`, and what holds when
//! everything is at rest in `rest`.

use crate::world::World;
use gate::Admission;
use slot::{
    CARD_AND_LINK_WAIT, Cause, Failure, Finished, Lamp, MAX_OPERATIONS, Notice, Operation, OperationId,
    POWER_OFF_WAIT, Request, Settings, Told,
};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Something that always holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// Every operation ends exactly once, with the result that is told.
    EndsOnce,
    /// Every operation ends by its deadline: the ladder's, and what the calls on the way may take (law 4).
    EndsInTime,
    /// A slot waits for time and for its own calls, and never for another slot (law 2).
    Independent,
    /// Nothing of a slot is in the topology but while it is being configured, is on, or leaves (law 8: visible last).
    VisibleLast,
    /// What was revoked admits nothing: no configuration, no BAR, no DMA, no new client (law 8: gone first).
    GoneFirst,
    /// Nobody has anything of a slot that is off, but who did not return from losing it.
    Revoked,
    /// The highest function leaves first, drivers before hardware, virtual functions with their physical one (HP-01).
    RemovalOrder,
    /// What was pulled is gone before anybody is told (HP-12).
    Disconnected,
    /// An orderly removal leaves bus mastering and system errors off, and INTx disabled (HP-13).
    Orderly,
    /// A handle of an older epoch is refused everywhere and reaches no device (law 5).
    StaleRefused,
    /// A function has at most one owner.
    OneOwner,
    /// A driver hears of its end, last and once.
    LastCall,
    /// The indicators show what the slot is at.
    Lamps,
    /// While a consumer is asked to let go, everything it has works (VF-04).
    WorksWhileAsked,
    /// Power is cut when nothing is in the topology any more.
    PowerLast,
    /// What waits at a slot is bounded, whatever is asked of it (law 10).
    Bounded,
    /// When nobody does anything any more every slot comes to rest.
    ComesToRest,
    /// At rest nothing is left over: no function, pass, waiter, descriptor or mapping (law 9).
    NothingLeft,
    /// A function handle is given out once, and names nothing any more when it is over, for ever (ZP-01, ZIO-I3).
    DeadHandle,
    /// A function handle names one device, and whoever reaches anything by it reaches that (law 5).
    OneDevice,
    /// Whoever listens was told every handle that a function has had.
    HandleTold,
    /// A function is configured while its slot is on, and reserved without a card.
    Configured,
    /// Who works on a function gives the claim back, whatever happened (law 9).
    ClaimReturned,
    /// What is done to one function ends in the time that the hardware needs (law 4).
    FunctionInTime,
    /// Commands, instructions and requests are answered as the function's state says.
    Answered,
}

/// One that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// At which slot, if at one.
    pub slot: Option<usize>,
    /// What was found.
    pub detail: String,
    /// In which step.
    pub step: u64,
    /// When.
    pub now: Duration,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in step {} at {} ms", self.invariant, self.step, self.now.as_millis())?;
        match self.slot {
            Some(slot) => write!(f, ", slot {slot}: {}", self.detail),
            None => write!(f, ": {}", self.detail),
        }
    }
}

/// An operation that has not ended.
struct Open {
    slot: usize,
    operation: Arc<Operation>,
    asked: Duration,
    /// What the slot had been busy until then, and buried.
    clocks: Clocks,
}

/// What a slot spent in its calls, and how much of that with others' calls on top of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clocks {
    pub(crate) busy: Duration,
    pub(crate) buried: Duration,
}

/// What was told of one slot.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// It was told to be on, and not to be off since.
    pub(crate) on: bool,
    /// It was told to be off, and not asked to come up since.
    pub(crate) off: bool,
    /// What is behind its port was lost: pulled, exchanged, or without a link.
    pub(crate) lost: bool,
    /// What is behind its port was told to be revoked.
    pub(crate) revoked: bool,
    /// Operations that were told to have ended.
    pub(crate) ended: BTreeSet<OperationId>,
    /// Functions whose drivers have ended, since the last card appeared.
    pub(crate) removed: Vec<u8>,
    /// Functions that were frozen, or being reset, when they were taken away: their registers cannot be reached.
    pub(crate) shut: Vec<u8>,
    /// A call did not return in time since then.
    pub(crate) hung: bool,
    /// Its client's revocation did not return in time, or panicked, since then.
    pub(crate) client_failed: bool,
}

/// What was seen so far.
pub(crate) struct Ledger {
    pub(crate) violation: Option<Violation>,
    pub(crate) clocks: Vec<Clocks>,
    pub(crate) slots: Vec<Known>,
    /// Drivers' functions that have not had their last call.
    pub(crate) bound: usize,
    pub(crate) cards: u32,
    pub(crate) ended: u64,
    pub(crate) plugged: u64,
    open: Vec<Open>,
}

impl Ledger {
    pub(crate) fn new(slots: usize) -> Ledger {
        Ledger {
            violation: None,
            clocks: vec![Clocks::default(); slots],
            slots: (0..slots).map(|_| Known { off: true, ..Known::default() }).collect(),
            bound: 0,
            cards: 0,
            ended: 0,
            plugged: 0,
            open: Vec::new(),
        }
    }

    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }
}

/// How much time a request may take beside that of calls.
fn waits(request: Request) -> Duration {
    match request {
        Request::Enable => CARD_AND_LINK_WAIT,
        Request::Disable { timeout } => timeout.saturating_add(POWER_OFF_WAIT),
        Request::Cancel => Duration::ZERO,
    }
}

/// How much time the calls on the way of an operation may take: the order that is being carried out when it is asked for,
/// a request or reminder, revoke, remove and power, each with callbacks that begin when its time is over.
fn calls(settings: &Settings) -> Duration {
    const ORDERS: u32 = 6;
    const CALLBACKS: u32 = 16;
    (settings.effect_timeout + Settings::LEAST * 2 * CALLBACKS) * ORDERS
}

impl World {
    /// Somebody waits for an operation from now on.
    pub(crate) fn asked(&self, slot: usize, operation: Arc<Operation>) {
        if let Some(how) = operation.finished() {
            if !matches!(how, Finished::TooMany | Finished::ShutDown) {
                let detail = format!("operation {} has ended at once: {how:?}", operation.id().0);
                self.violated(Invariant::EndsOnce, Some(slot), detail);
            }
            return;
        }
        let clocks =
            Clocks { busy: self.busy(slot), buried: self.ledger.with(|ledger| ledger.clocks[slot].buried) };
        let open = Open { slot, operation, asked: self.now(), clocks };
        self.ledger.with(|ledger| ledger.open.push(open));
    }

    /// The slot tells something.
    pub(crate) fn told(&self, slot: usize, what: &Told) {
        self.trace(|| match what {
            // How long it has been there already is real time, which no seed decides.
            Told::Orphan(name) => {
                format!("slot {slot}: Orphan({})", name.split(" for ").next().unwrap_or(name))
            }
            _ => format!("slot {slot}: {what:?}"),
        });
        match what {
            Told::Operation(_, _, None) | Told::Orphan(_) => {}
            Told::Operation(id, _, Some(how)) => self.told_end(slot, *id, *how),
            Told::Notice(notice) => self.noticed(slot, *notice),
            Told::Callback { how, call, .. } => {
                let hung = *how == Failure::Hung;
                let failed = *call == "revoke" && (hung || *how == Failure::Panicked);
                self.ledger.with(|ledger| {
                    ledger.slots[slot].hung |= hung;
                    ledger.slots[slot].client_failed |= failed;
                });
            }
        }
    }

    fn told_end(&self, slot: usize, id: OperationId, how: Finished) {
        let (first, kept) = self.ledger.with(|ledger| {
            let known = &mut ledger.slots[slot].ended;
            let first = known.insert(id);
            if known.len() > 4 * MAX_OPERATIONS {
                known.pop_first();
            }
            let open = ledger.open.iter().find(|open| open.slot == slot && open.operation.id() == id);
            (first, open.and_then(|open| open.operation.finished()))
        });
        if !first {
            self.violated(Invariant::EndsOnce, Some(slot), format!("operation {} has ended twice", id.0));
        }
        if kept.is_some_and(|kept| kept != how) {
            let detail = format!("operation {} was told to have ended as {how:?}, and is {kept:?}", id.0);
            self.violated(Invariant::EndsOnce, Some(slot), detail);
        }
    }

    fn noticed(&self, slot: usize, notice: Notice) {
        self.ledger.with(|ledger| {
            let known = &mut ledger.slots[slot];
            match notice {
                Notice::On => {
                    known.on = true;
                    ledger.plugged += 1;
                }
                Notice::Off => (known.on, known.off) = (false, true),
                Notice::Revoked => known.revoked = true,
                _ => {}
            }
        });
        if matches!(notice, Notice::Revoking(_) | Notice::Released) {
            let functions = self.bays[slot].plugged();
            let shut = functions
                .iter()
                .filter(|function| function.assignment.function().handle().admission() != Admission::Open)
                .map(|function| function.at.function())
                .collect();
            self.ledger.with(|ledger| ledger.slots[slot].shut = shut);
        }
        self.tell_platform(slot, &notice);
        self.check_lamp(slot, notice);
        if notice == Notice::Off {
            self.check_let_go(slot);
        }
        let surprise = matches!(notice, Notice::Revoking(cause) if cause.is_surprise());
        if surprise || notice == Notice::Revoked {
            let invariant = if surprise { Invariant::Disconnected } else { Invariant::GoneFirst };
            for function in self.bays[slot].plugged() {
                if !function.assignment.function().handle().is_gone() {
                    let detail = format!("{} is not gone when {notice:?} is told", function.at);
                    self.violated(invariant, Some(slot), detail);
                }
            }
        }
    }

    /// A slot that is off has taken everything away from everybody.
    fn check_let_go(&self, slot: usize) {
        // What a configuration has shown that was left behind, it takes back itself.
        let left_behind = self.bays[slot].physical.with(|physical| physical.calls) > 0;
        let failed = self.ledger.with(|ledger| ledger.slots[slot].client_failed);
        let excused = left_behind || failed || self.revoke_is_out(slot);
        if !excused && slot::Consumer::holds(&*self.guests[slot]) {
            self.violated(Invariant::Revoked, Some(slot), "its client has a function when it is off".into());
        }
    }

    fn check_lamp(&self, slot: usize, notice: Notice) {
        let (power, attention, calls) = self.bays[slot]
            .physical
            .with(|physical| (physical.power_lamp, physical.attention_lamp, physical.calls));
        // A port that has not come back from something else shows what it shows.
        if calls > 0 {
            return;
        }
        let (shows, wanted) = match notice {
            Notice::On => (power, Lamp::On),
            Notice::Off | Notice::PowerFault => (power, Lamp::Off),
            Notice::Asked(1) | Notice::ButtonPressed { .. } => (power, Lamp::Blink),
            Notice::Revoking(Cause::Forced | Cause::CardLost | Cause::LinkLost) => (power, Lamp::Blink),
            Notice::NotOn(_) => (attention, Lamp::On),
            _ => return,
        };
        if shows != Some(wanted) {
            self.violated(Invariant::Lamps, Some(slot), format!("shows {shows:?} when {notice:?} is told"));
        }
    }

    /// Operations that are late, and those that have ended.
    pub(crate) fn check_operations(&self) {
        let now = self.now();
        let busy: Vec<Duration> = (0..self.bays.len()).map(|slot| self.busy(slot)).collect();
        let buried: Vec<Duration> =
            self.ledger.with(|ledger| ledger.clocks.iter().map(|clocks| clocks.buried).collect());
        let most = calls(&self.plan.settings);
        let late = self.ledger.with(|ledger| {
            let before = ledger.open.len();
            ledger.open.retain(|open| open.operation.finished().is_none());
            ledger.ended += u64::try_from(before - ledger.open.len()).unwrap_or(0);
            ledger.open.iter().find_map(|open| {
                let slot = open.slot;
                let took = now.saturating_sub(open.asked);
                let busy = busy[slot].saturating_sub(open.clocks.busy);
                let own = busy.saturating_sub(buried[slot].saturating_sub(open.clocks.buried));
                let request = open.operation.request();
                let invariant = match () {
                    () if took > waits(request).saturating_add(busy) => Invariant::Independent,
                    () if own > most => Invariant::EndsInTime,
                    () => return None,
                };
                let id = open.operation.id().0;
                let (took, busy, own) = (took.as_millis(), busy.as_millis(), own.as_millis());
                let detail = format!(
                    "operation {id}, {request:?}, has not ended after {took} ms, {busy} ms of them in calls, {own} ms in its own"
                );
                Some((invariant, slot, detail))
            })
        });
        if let Some((invariant, slot, detail)) = late {
            self.violated(invariant, Some(slot), detail);
        }
    }

    /// How much there is at the slots.
    pub(crate) fn check_bounds(&self) {
        for bay in &self.bays {
            let report = bay.controller().report();
            self.check_bound(bay.index, report.waiting.len(), report.left_behind.len());
        }
    }

    pub(crate) fn check_bound(&self, slot: usize, waiting: usize, left_behind: usize) {
        // As many again may be on their way there, and some to call them off.
        if waiting > 3 * MAX_OPERATIONS || left_behind > MAX_OPERATIONS {
            let detail = format!("{waiting} operations and {left_behind} calls that were left behind");
            self.violated(Invariant::Bounded, Some(slot), detail);
        }
    }

    /// A function was given to somebody, and so many others have it.
    pub(crate) fn check_sole(&self, slot: usize, function: &str, others: usize) {
        if others > 0 {
            let detail = format!("{function} was given to somebody while {others} others have it");
            self.violated(Invariant::OneOwner, Some(slot), detail);
        }
    }
}
