//! What the driver's threads share: the journal, the rings, and which connection is in use.
//!
//! Three kinds of thread meet here. The front's worker and whoever writes its registers submit, reap and abandon, under
//! the front's own lock; the back end's supervisor brings up and says what was lost; a link's thread may cut. All state is behind
//! one leaf, which is held for a few copies and the mapped doorbells. Whatever waits (messages, bring-up) holds nothing, and carries
//! the number of its *attempt*: when it comes back to an attempt that is over, what it brings is dropped.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use assign::{drain, kick};
use gate::lock::{Condvar, Leaf};
use models::nvme::elsewhere::Reaped;
use nvme_spec::{CompletionEntry, SubmissionEntry};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use super::Options;
use super::error::BringUpError;
use super::features::Features;
use super::identity::Identity;
use super::journal::{ADMIN, Journal, Replayed};
use super::policy::{changes_namespaces, is_own};
use super::rings::{Due, EVENTS, FIRST_EVENT, Rings};
use super::wire::Wire;
use crate::ranks;
use models::nvme::elsewhere::TAGS;
use nvme_spec::Status;

/// Everything that changes together.
pub(super) struct State {
    /// Who tries to bring a back end up, or has. A number that is not this one is void.
    attempt: u64,
    /// Commands are given to the rings.
    up: bool,
    /// The connection that is up.
    wire: Option<Arc<dyn Wire>>,
    pub(super) journal: Journal,
    /// Those of the generation that commands were last given to, also when its back end is gone: what it has completed counts.
    rings: Option<Rings>,
    /// Came back while nobody reaped.
    kept: Vec<Reaped>,
    pub(super) features: Features,
    /// What the guest was told of the back end, and what it became since.
    pub(super) identity: Option<Identity>,
    /// The guest has changed its namespaces: they are not compared with the old ones.
    pub(super) reshaped: bool,
    /// Bytes of shared memory that the connection in use was given.
    pub(super) mapped: u64,
    /// The guest has given up everything, and something of it may still be at work.
    abandoned: bool,
    /// The back end that was lost is known to be over.
    fenced: bool,
    /// What the back end did that cannot be.
    upset: Option<&'static str>,
}

/// The shared part of a driver.
pub(super) struct Core {
    pub(super) options: Options,
    /// Lock, rank 104 (commands elsewhere), a leaf: a command is noted and put into its ring in one step, and a back end is
    /// exchanged between two of those.
    state: Leaf<ranks::Journal, State>,
    /// An attempt is over.
    changed: Condvar,
    /// Signalled by the back end's interrupts and by this side. It outlives every connection.
    pub(super) event: OwnedFd,
    /// The interrupt is a pin, which masks itself when it fires.
    pub(super) pin: AtomicBool,
    /// It has fired since it was unmasked last.
    fired: AtomicBool,
}

/// What [`Core::due`] found.
#[expect(clippy::large_enum_variant, reason = "on the stack, once a round, and never kept")]
pub(super) enum Work {
    Nothing,
    /// Doorbells to be rung by messages.
    Ring(Arc<dyn Wire>, Due),
    /// The back end's controller is to be reset, which is this attempt.
    Reset(Arc<dyn Wire>, u64),
    /// The connection is to be given up.
    Cut(Arc<dyn Wire>, &'static str),
}

impl Core {
    pub(super) fn new(options: Options) -> Result<Self, Errno> {
        let tags = u16::try_from(TAGS).unwrap_or(FIRST_EVENT).min(FIRST_EVENT);
        let state = State {
            attempt: 0,
            up: false,
            wire: None,
            journal: Journal::new(tags),
            rings: None,
            kept: Vec::with_capacity(TAGS),
            features: Features::new(),
            identity: None,
            reshaped: false,
            mapped: 0,
            abandoned: false,
            fenced: true,
            upset: None,
        };
        Ok(Self {
            options,
            state: Leaf::new(state),
            changed: Condvar::new(),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            pin: AtomicBool::new(false),
            fired: AtomicBool::new(false),
        })
    }

    /// Shows the state to somebody who neither waits nor takes a lock.
    pub(super) fn with<X>(&self, look: impl FnOnce(&mut State) -> X) -> X {
        look(&mut self.state.lock())
    }

    /// Makes the descriptor readable. The back end shares the open file, and with it O_NONBLOCK: a plain write could block.
    pub(super) fn wake(&self) {
        kick(self.event.as_fd());
    }

    pub(super) fn clear(&self) {
        drain(self.event.as_fd());
        self.fired.store(true, Ordering::Release);
    }

    /// Whether the interrupt's pin is to be unmasked.
    pub(super) fn take_fired(&self) -> bool {
        self.pin.load(Ordering::Relaxed) && self.fired.swap(false, Ordering::AcqRel)
    }

    /// Puts a command into its ring. False: not now.
    #[inline]
    pub(super) fn submit(&self, queue: u16, tag: u16, entry: &SubmissionEntry) -> bool {
        let mut state = self.state.lock();
        let state = &mut *state;
        if queue == ADMIN && is_own(entry) {
            let refused = state.journal.refuse(tag, Status::INVALID_OPCODE.with_dnr(true));
            self.wake();
            return refused;
        }
        let Some(rings) = state.rings.as_mut().filter(|_| state.up && !state.abandoned) else { return false };
        let queue = if queue == ADMIN { ADMIN } else { 1 + (queue - 1) % (rings.pairs() - 1).max(1) };
        if !rings.has_room(queue) {
            return false;
        }
        let entry = SubmissionEntry { cid: tag.into(), ..*entry };
        state.journal.submit(queue, tag, &entry) && rings.push(queue, &entry)
    }

    /// Adds what has come back.
    #[inline]
    pub(super) fn reap(&self, reaped: &mut Vec<Reaped>) {
        let mut state = self.state.lock();
        let state = &mut *state;
        reaped.append(&mut state.kept);
        while let Some(answer) = state.journal.take() {
            reaped.push(Reaped::Finished { tag: answer.tag, dw0: answer.dw0, status: answer.status });
        }
        state.collect(reaped);
    }

    /// What is to be done with nothing held.
    #[inline]
    pub(super) fn due(&self) -> Work {
        let mut state = self.state.lock();
        let state = &mut *state;
        let (Some(wire), true) = (&state.wire, state.up) else { return Work::Nothing };
        if let Some(why) = state.upset.take() {
            return Work::Cut(Arc::clone(wire), why);
        }
        if state.abandoned {
            // Begun in this step: a connection that comes up later is not taken down again.
            (state.attempt, state.up) = (state.attempt + 1, false);
            return Work::Reset(Arc::clone(wire), state.attempt);
        }
        match &mut state.rings {
            Some(rings) if rings.is_due() => {
                let due = rings.ring();
                if due.is_empty() { Work::Nothing } else { Work::Ring(Arc::clone(wire), due) }
            }
            _ => Work::Nothing,
        }
    }

    /// The connection that is up.
    pub(super) fn wire(&self) -> Option<Arc<dyn Wire>> {
        self.state.lock().wire.clone()
    }

    /// The guest has given everything up.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.abandoned = true;
        if !state.up && state.fenced {
            state.settle();
        }
        drop(state);
        self.wake();
    }

    pub(super) fn is_settled(&self) -> bool {
        !self.state.lock().abandoned
    }

    pub(super) fn is_up(&self) -> bool {
        self.state.lock().up
    }

    /// The connection is lost: whoever brings it up gives up, and nobody submits.
    pub(super) fn lose(&self) {
        let mut state = self.state.lock();
        state.attempt += 1;
        state.up = false;
        state.fenced = false;
        // Dropped without the lock: it may be the last reference to a connection.
        let wire = state.wire.take();
        drop(state);
        drop(wire);
        self.changed.notify_all();
    }

    /// The back end that was lost is over.
    pub(super) fn fence(&self) {
        let mut state = self.state.lock();
        if state.up {
            return;
        }
        state.fenced = true;
        if state.abandoned {
            state.settle();
        }
        drop(state);
        self.wake();
    }

    /// A new attempt to bring a back end up begins; an older one is void.
    pub(super) fn begin(&self) -> u64 {
        let mut state = self.state.lock();
        state.attempt += 1;
        state.up = false;
        let attempt = state.attempt;
        drop(state);
        self.changed.notify_all();
        attempt
    }

    /// Waits for `deadline`, or until the attempt is over.
    pub(super) fn pause(
        &self,
        token: &mut gate::ThreadToken,
        attempt: u64,
        deadline: gate::Deadline,
    ) -> Result<(), BringUpError> {
        let mut state = self.state.lock();
        loop {
            state.check(attempt)?;
            if deadline.remaining().is_none() {
                return Ok(());
            }
            let expired;
            (state, expired) = self.changed.wait(state, token, deadline);
            if expired {
                return state.check(attempt);
            }
        }
    }

    /// Nothing of an earlier generation is at work any more: what it has completed is kept, and if the guest has given everything
    /// up, that is settled.
    pub(super) fn quiet(&self, attempt: u64) -> Result<(), BringUpError> {
        let mut state = self.state.lock();
        state.check(attempt)?;
        let mut kept = std::mem::take(&mut state.kept);
        state.collect(&mut kept);
        state.kept = kept;
        state.upset = None;
        state.fenced = true;
        let rings = state.rings.take();
        if state.abandoned {
            state.settle();
        }
        drop(state);
        drop(rings);
        self.wake();
        Ok(())
    }

    /// The rings of a controller that is ready: what was left is put into them. The doorbells are due.
    pub(super) fn install(
        &self,
        attempt: u64,
        mut rings: Rings,
        identity: Identity,
        writes: bool,
    ) -> Result<(Replayed, Due), BringUpError> {
        let mut state = self.state.lock();
        state.check(attempt)?;
        if state.abandoned {
            // The new controller has features of the life that ended meanwhile: then it is reset once more.
            let told = !state.features.commands().is_empty();
            state.settle();
            state.abandoned = told;
        }
        let generation = state.journal.begin_generation();
        rings.belong_to(generation);
        let give = |queue, entry: &SubmissionEntry| rings.has_room(queue) && rings.push(queue, entry);
        let replayed = state.journal.replay(writes, give);
        let due = rings.ring();
        state.rings = Some(rings);
        state.identity = Some(identity);
        state.reshaped = false;
        Ok((replayed, due))
    }

    /// From now on commands are taken.
    pub(super) fn rise(&self, attempt: u64, wire: &Arc<dyn Wire>) -> Result<(), BringUpError> {
        let mut state = self.state.lock();
        state.check(attempt)?;
        state.up = true;
        state.fenced = false;
        let old = state.wire.replace(Arc::clone(wire));
        drop(state);
        drop(old);
        self.wake();
        Ok(())
    }
}

impl State {
    fn check(&self, attempt: u64) -> Result<(), BringUpError> {
        if self.attempt == attempt { Ok(()) } else { Err(BringUpError::Superseded) }
    }

    /// What the guest gave up is over: nothing of it will ever come back, and no feature of it is left.
    fn settle(&mut self) {
        self.journal.forget();
        self.kept.clear();
        self.features.clear();
        if let Some(rings) = &mut self.rings {
            rings.make_void();
        }
        self.abandoned = false;
    }

    /// Takes completions out of the rings, as many as are in flight at most. The first that cannot be ends that, for good.
    #[inline]
    fn collect(&mut self, reaped: &mut Vec<Reaped>) {
        let Some(rings) = &mut self.rings else { return };
        for queue in 0..rings.pairs() {
            for _ in 0..rings.in_flight(queue) {
                let completion = match rings.pop(queue) {
                    Ok(Some(completion)) => completion,
                    Ok(None) => break,
                    Err(why) => {
                        self.upset = Some(why);
                        return;
                    }
                };
                let cid = completion.cid.get();
                if queue == ADMIN && cid >= FIRST_EVENT {
                    if !event(rings, &completion, reaped) {
                        self.upset = Some("it completed an event request that it was not given");
                        return;
                    }
                    continue;
                }
                let Ok(entry) = self.journal.complete(rings.generation(), queue, cid) else {
                    rings.make_void();
                    self.upset = Some("it completed a command that it was not given");
                    return;
                };
                let status = completion.status();
                if queue == ADMIN && status.is_success() {
                    self.features.note(entry);
                    self.reshaped |= changes_namespaces(entry);
                }
                reaped.push(Reaped::Finished { tag: cid, dw0: completion.dw0.get(), status });
            }
        }
    }
}

/// An event request has come back: it is given out again. False: there was no such request.
#[cold]
fn event(rings: &mut Rings, completion: &CompletionEntry, reaped: &mut Vec<Reaped>) -> bool {
    let cid = completion.cid.get();
    if !rings.take_event(cid) {
        rings.make_void();
        return false;
    }
    // One that failed is not asked for again: it would fail for ever.
    if completion.status().is_success() && cid < FIRST_EVENT + EVENTS {
        reaped.push(Reaped::Event { dw0: completion.dw0.get() });
        rings.ask_for_event(cid);
    }
    true
}
