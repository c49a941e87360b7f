//! What a recovery does to gates and behind them: close, quiesce, save, restore, let in.
//!
//! A gate that is parked is waited with for time only (`docs/locks.md`, *Rules of waiting*, 8). So all gates of a recovery are
//! closed together, before the first model is saved or the hardware is reset, and what is missing later is only tried.

use super::work::{Done, Parked};
use crate::containment::Frozen;
use crate::party::Party;
use crate::plan::{Answer, Traffic};
use crate::platform::ClosedFunctions;
use crate::tree::PeFunction;
use gate::{Deadline, Reason, ThreadToken};
use pci_core::PreserveError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Closes all of them or none; waits only if no other gate is parked.
pub(super) fn close(
    token: &mut ThreadToken,
    missing: &[Arc<PeFunction>],
    waits: bool,
    deadline: Deadline,
) -> Done {
    let mut closed = ClosedFunctions::default();
    let done = if waits { closed.close(token, missing, deadline) } else { closed.try_close(token, missing) };
    Done::Closed(done.map(|()| unpack(closed, missing)))
}

fn unpack(mut closed: ClosedFunctions, functions: &[Arc<PeFunction>]) -> Vec<Parked> {
    let parked = |function: &Arc<PeFunction>| {
        let closed = closed.remove(function.id)?;
        Some(Parked { function: Arc::clone(function), closed })
    };
    functions.iter().filter_map(parked).collect()
}

/// Has the hardware do something to closed functions, which stay closed, also if it panics. It is not done if a device panicked over
/// it: that one is in no state that anybody knows, and nobody hears of an error of what is frozen.
pub(super) fn through(parked: Vec<Parked>, act: impl FnOnce(&mut ClosedFunctions) -> bool) -> Done {
    let functions: Vec<Arc<PeFunction>> = parked.iter().map(|parked| Arc::clone(&parked.function)).collect();
    let mut closed = ClosedFunctions::default();
    for Parked { function, closed: gate } in parked {
        closed.insert(function, gate);
    }
    let panics = || -> Vec<u64> { functions.iter().map(|it| it.function.device_panics()).collect() };
    let before = panics();
    let done = catch_unwind(AssertUnwindSafe(|| act(&mut closed))).unwrap_or(false);
    let done = done && panics() == before;
    Done::Hardware(done, unpack(closed, &functions))
}

/// Waits until nothing of a model is in flight. It is frozen, so nothing follows.
pub(super) fn quiesce(token: &mut ThreadToken, function: &PeFunction, deadline: Deadline) -> Done {
    let closed = function.function.gate().close(token, Reason::Recovery, deadline);
    // A gate outlives its function: another device in the same place is none of ours (law 5).
    let quiet = closed.is_ok() && !function.function.handle().is_gone();
    drop(closed);
    let answer = if quiet { Answer::Done } else { Answer::Failed };
    Done::Model { answer: Some(answer), saved: None, parked: None }
}

/// Saves a model's state.
pub(super) fn save(token: &mut ThreadToken, parked: Parked) -> Done {
    let Parked { function, closed } = parked;
    let Ok(quiesced) = closed.resume(token) else { return gone() };
    let saved = function.function.save_device(&quiesced);
    let closed = quiesced.park();
    let (answer, saved) = match saved {
        Ok(state) => (Some(Answer::Done), Some(Arc::from(state))),
        Err(error) => (failed(error), None),
    };
    Done::Model { answer, saved, parked: Some(Parked { function, closed }) }
}

/// Gives a model its state back.
pub(super) fn restore(token: &mut ThreadToken, parked: Parked, state: &[u8]) -> Done {
    let Parked { function, closed } = parked;
    let Ok(quiesced) = closed.resume(token) else { return gone() };
    let restored = function.function.restore_device(&quiesced, state);
    let closed = quiesced.park();
    let answer = restored.map_or_else(failed, |()| Some(Answer::Done));
    Done::Model { answer, saved: None, parked: Some(Parked { function, closed }) }
}

/// It was removed meanwhile, which is told by itself.
fn gone() -> Done {
    Done::Model { answer: Some(Answer::Failed), saved: None, parked: None }
}

/// A model that panics is lost, as whoever panics; any other refusal is an answer.
fn failed(error: PreserveError) -> Option<Answer> {
    (error != PreserveError::DevicePanicked).then_some(Answer::Failed)
}

/// Reopens a gate, unless it was frozen meanwhile. What the freeze has hidden from consumers is brought back before: nobody
/// gets in and finds all-ones where there are none.
fn reopen(token: &mut ThreadToken, parked: Parked) {
    let Parked { function, closed } = parked;
    if let Ok(quiesced) = closed.resume(token) {
        let _reopened_or_frozen = function.function.thaw_quiesced(quiesced);
    }
}

/// Reopens a model's gate. An INTx that was asserted while it was closed is signalled then.
pub(super) fn resume(
    token: &mut ThreadToken,
    party: Option<&dyn Party>,
    parked: Option<Parked>,
    deadline: Deadline,
) -> Done {
    if let Some(parked) = parked {
        reopen(token, parked);
    }
    if let Some(party) = party {
        party.hold_interrupts(token, false, deadline);
    }
    Done::Model { answer: Some(Answer::Done), saved: None, parked: None }
}

/// Freezes a function that goes no further while the others do.
pub(super) fn take_out(function: &Arc<PeFunction>, frozen: Option<&Frozen>) {
    match frozen {
        Some(frozen) => frozen.take_out(function),
        None => {
            let _frozen_or_gone = function.function.handle().freeze();
        }
    }
}

/// Lets accesses in, with DMA held; or lets DMA through as well, where interrupts are: what signals without them is not heard.
pub(super) fn let_in(
    token: &ThreadToken,
    functions: &[Arc<PeFunction>],
    traffic: Traffic,
    frozen: Option<&Frozen>,
) {
    match traffic {
        Traffic::Mmio => {
            functions.iter().for_each(|function| function.function.config().hold_dma(true));
            if let Some(frozen) = frozen {
                frozen.thaw();
            }
        }
        Traffic::Dma => functions.iter().for_each(|function| function.function.release_dma(token)),
    }
}

/// Lets everything in after a reset: nothing of what was before signals any more.
pub(super) fn open(
    token: &mut ThreadToken,
    functions: &[Arc<PeFunction>],
    frozen: Option<&Frozen>,
    others: Vec<Parked>,
) {
    for function in functions {
        function.function.config().hold_dma(false);
    }
    if let Some(frozen) = frozen {
        frozen.thaw();
    }
    others.into_iter().for_each(|parked| reopen(token, parked));
}

/// Drops what may be foreign, each by itself: a second panic while one unwinds ends the process.
pub(super) fn discard<T>(rubbish: impl IntoIterator<Item = T>) {
    for one in rubbish {
        let _its_own_affair = catch_unwind(AssertUnwindSafe(move || drop(one)));
    }
}
