//! The keeper: the one thread of a process that has other processes' mappings follow the gates of their functions, and that
//! zaps later what could not be zapped in time.
//!
//! What it does may have to wait, for accesses in flight and for other closers, which the callback of a gate must not. It
//! exists while anything is lent ([`Duty`]), or left to do. Whoever changes something tells it ([`tell`]) and may wait until that is done
//! ([`settle`]).
//!
//! What this module does **not** do: it decides nothing. What is to be done is worked out from the state of the gate at the
//! time (`lent`), so that being told twice, late or for nothing does no harm.
//!
//! # Concurrency
//! The queue has each function once, so it is bounded by their number. A function is taken out before its state is looked
//! at: a change that comes later puts it in again, and the last look sees the last state. A function that cannot be closed
//! in time, or for which the system has no memory, is put back, to be tried again at growing intervals; the others are not
//! held up for longer than [`PATIENCE`] each time.

use super::lent::{self, Charge};
use crate::ranks;
use gate::lock::{Condvar, Leaf};
use gate::waits::Waiting;
use gate::{CloseError, Deadline, Reason, ThreadToken};
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// How long a gate may take to close before it is left for later. Short passes are brief; a reset that waits for its
/// hardware is not.
const PATIENCE: Duration = Duration::from_millis(250);
/// When to try again at first, and at most; the time doubles in between.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// The longest sleep without work (law 4). Whoever makes work wakes the keeper.
const LONGEST: Duration = Duration::from_secs(3600);

static KEEPER: LazyLock<Keeper> = LazyLock::new(Keeper::default);

#[derive(Default)]
struct Keeper {
    /// Rank: 79, mapping keeper; a leaf. Told by callbacks of gates and by destructors, which hold nothing of their own. Held
    /// for a look at the queue, and for starting the thread once.
    state: Leaf<ranks::Keeper, State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: Vec<Entry>,
    /// Identity of what is seen to at this moment.
    attending: Option<usize>,
    duties: usize,
    runs: bool,
}

struct Entry {
    charge: Arc<dyn Charge>,
    due: Instant,
    failures: u32,
}

impl Entry {
    fn is_of(&self, identity: usize) -> bool {
        identify(&self.charge) == identity
    }
}

fn identify(charge: &Arc<dyn Charge>) -> usize {
    Arc::as_ptr(charge).addr()
}

/// Keeps the keeper. Dropping the last ends it, when it has done what it was told.
#[derive(Debug)]
pub(super) struct Duty(());

/// Starts the keeper if it is not there.
///
/// # Errors
/// The system has no thread left.
pub(super) fn begin_duty() -> io::Result<Duty> {
    let mut state = KEEPER.state.lock();
    if !state.runs {
        std::thread::Builder::new().name(String::from("mapping-keeper")).spawn(|| run(&KEEPER))?;
        state.runs = true;
    }
    state.duties += 1;
    Ok(Duty(()))
}

impl Drop for Duty {
    fn drop(&mut self) {
        KEEPER.state.lock().duties -= 1;
        KEEPER.changed.notify_all();
    }
}

/// Has the keeper look at `charge` soon. Waits for nobody; may be called from a gate's callback.
pub(crate) fn tell(charge: &Arc<dyn Charge>) {
    KEEPER.tell(charge);
}

/// As [`tell`], for a function that may have lent nothing: starts the keeper if it is not there. It stays until that is done.
///
/// # Errors
/// The system has no thread left.
pub(crate) fn start_and_tell(charge: &Arc<dyn Charge>) -> io::Result<()> {
    let _duty = begin_duty()?;
    KEEPER.tell(charge);
    Ok(())
}

/// Waits until nothing is left to do that the keeper was told for `charge`. False at the deadline.
pub(crate) fn settle(charge: &Arc<dyn Charge>, token: &mut ThreadToken, deadline: Deadline) -> bool {
    KEEPER.settle(charge, token, deadline)
}

fn run(keeper: &Keeper) {
    let mut token = ThreadToken::at_thread_entry();
    while let Some(entry) = keeper.next(&mut token) {
        let outcome = attend(&*entry.charge, &mut token);
        keeper.finish(entry, outcome);
    }
}

impl Keeper {
    fn tell(&self, charge: &Arc<dyn Charge>) {
        let mut state = self.state.lock();
        let identity = identify(charge);
        // Who is in the queue is due, or failed and has to wait: closing a gate tells the keeper as well, by that gate's
        // callback, and is not to make it try again at once.
        if !state.queue.iter().any(|entry| entry.is_of(identity)) {
            state.queue.push(Entry { charge: Arc::clone(charge), due: Instant::now(), failures: 0 });
        }
        drop(state);
        self.changed.notify_all();
    }

    fn settle(&self, charge: &Arc<dyn Charge>, token: &mut ThreadToken, deadline: Deadline) -> bool {
        let identity = identify(charge);
        let _shown =
            Waiting::new(token, "settle", Some(charge.gate()), "mappings in another process to follow");
        let mut state = self.state.lock();
        loop {
            let queued = state.queue.iter().any(|entry| entry.is_of(identity));
            if !queued && state.attending != Some(identity) {
                return true;
            }
            let (again, expired) = self.changed.wait(state, token, deadline);
            if expired {
                return false;
            }
            state = again;
        }
    }

    /// The next function to see to; `None` if the thread is to end.
    fn next(&self, token: &mut ThreadToken) -> Option<Entry> {
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
            if let Some(at) = state.queue.iter().position(|entry| entry.due <= now) {
                let entry = state.queue.remove(at);
                state.attending = Some(identify(&entry.charge));
                return Some(entry);
            }
            if state.duties == 0 && state.queue.is_empty() {
                state.runs = false;
                return None;
            }
            let due = state.queue.iter().map(|entry| entry.due).min();
            let deadline = due.map_or_else(|| Deadline::after(LONGEST), Deadline::at);
            (state, _) = self.changed.wait(state, token, deadline);
        }
    }

    fn finish(&self, entry: Entry, outcome: Result<(), Failure>) {
        let Entry { charge, failures, .. } = entry;
        if let Err(failure) = &outcome
            && failures == 0
        {
            let function = charge.gate().name();
            tracing::warn!(function, %failure, "what is mapped does not follow its function yet");
        }
        let mut state = self.state.lock();
        state.attending = None;
        if outcome.is_err() {
            let due = Instant::now() + RETRY.1.min(RETRY.0 * (1 << failures.min(16)));
            let identity = identify(&charge);
            match state.queue.iter_mut().find(|entry| entry.is_of(identity)) {
                Some(entry) => (entry.due, entry.failures) = (due, failures + 1),
                None => {
                    state.queue.push(Entry { charge: Arc::clone(&charge), due, failures: failures + 1 });
                }
            }
        }
        drop(state);
        self.changed.notify_all();
        // Outside the lock: it may be the last reference, and its destructor may tell or end a duty.
        drop(charge);
    }
}

/// Why a function is to be seen to again.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Closed(CloseError),
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
}

fn attend(charge: &dyn Charge, token: &mut ThreadToken) -> Result<(), Failure> {
    let Some(frozen) = lent::is_frozen(charge) else { return Ok(lent::end(charge)?) };
    if (charge.owes_zap() || lent::is_behind(charge, frozen))
        && let ControlFlow::Break(()) = close_and_follow(charge, token, frozen)?
    {
        return Ok(lent::end(charge)?);
    }
    Ok(lent::sweep(charge)?)
}

/// Break: the function is gone.
fn close_and_follow(
    charge: &dyn Charge,
    token: &mut ThreadToken,
    frozen: bool,
) -> Result<ControlFlow<()>, Failure> {
    let reason = if frozen { Reason::Freeze } else { Reason::Remap };
    let held = match charge.gate().close_short(token, reason, Deadline::after(PATIENCE)) {
        Ok(held) => held,
        Err(CloseError::Gone) => return Ok(ControlFlow::Break(())),
        Err(error) => return Err(Failure::Closed(error)),
    };
    // The state at this moment: it may have changed while others had the gate, and the gate may be the next device's.
    match lent::is_frozen(charge) {
        Some(frozen) => {
            charge.pay_zap();
            lent::follow(charge, &held, frozen)?;
        }
        None => return Ok(ControlFlow::Break(())),
    }
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
