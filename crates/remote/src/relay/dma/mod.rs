//! The consumer's memory at the back end.
//!
//! [`Dma`] remembers what the consumer has mapped, tells the connected back end of each change, and tells the next one
//! everything. While there is none, mappings are remembered and unmaps wait only for whoever may still use the memory: the
//! server that was lost, if its process is known to live.
//!
//! # What can meet
//! A consumer maps and unmaps at any moment, and a back end is lost, or another one attached, at any other. A mapping is a small
//! state machine (module `records`) and each step is one decision under the lock; messages are sent outside. What comes of it:
//! * Nothing is mapped twice: who marks a mapping as *on its way* to this connection sends it, the request or the replay.
//! * Nothing is missed: the replay takes whatever is not at, or on its way to, its own connection, also what somebody is just
//!   failing to send to the last one; and what comes behind it is sent by its own request.
//! * Nothing stays that was unmapped: a mapping that leaves is never sent again; if it is just being sent, its unmap waits for
//!   that answer. A back end that does not answer, or refuses to let memory go, is cut off, and then its fence decides.
//!
//! A back end that refuses a new mapping refuses it to the consumer. One that refuses in a replay what its predecessor had is not
//! what it was: it is cut off.
//!
//! Messages name mappings exactly as they were made. A back end is never asked to unmap *all*: it has memory of this process too,
//! which others see to ([`Dma::reserve`]), and some back ends in the wild misread the flag.
//!
//! # Concurrency
//! One leaf (rank 102, relayed mappings) is held for a decision, never while sending, waiting or asking a fence.

mod commands;
mod files;
mod records;
mod wire;

pub use wire::Wire;

use std::sync::{Arc, Weak};

use assign::{DmaRelay, Errno, Mapped, Port, RequestError};
use gate::lock::{Condvar, Leaf};
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};
use thiserror::Error;
use vfio_user::codec::{DmaMap, DmaMapFlags};

use crate::fence::{Fence, Known};
use crate::link::LinkError;
use crate::ranks;
use files::{FileId, Files};
use records::{Answer, Area, Backing, Generation, IfRefused, Noted, Records};

/// Follows the consumer's memory, over any number of back ends.
pub struct Dma {
    /// The port keeps this relay, so it is not kept by it.
    port: Weak<Port>,
    /// Rank: 102, relayed mappings; a leaf. Which mappings there are and where, and who is connected: one decision for each
    /// step of each mapping.
    state: Leaf<ranks::Relayed, State>,
    /// A mapping is not on its way any more, or a connection is over.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    records: Records,
    files: Files,
    present: Option<Present>,
    /// Servers that were lost, as far as they may live.
    lost: Vec<Arc<dyn Fence>>,
}

/// Who is connected.
#[derive(Clone)]
struct Present {
    generation: Generation,
    wire: Arc<dyn Wire>,
    fence: Arc<dyn Fence>,
}

/// What a relay has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Mappings of the consumer.
    pub mappings: usize,
    /// Files, one descriptor each.
    pub files: usize,
}

/// Why a back end did not get all of the memory.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// It refuses what the one before it had. The connection was cut.
    #[error("the back end does not take the memory at {iova:#x}, {size:#x} bytes: {error}")]
    Refused {
        /// The first I/O address.
        iova: u64,
        /// Bytes.
        size: u64,
        /// What it said.
        error: LinkError,
    },
    /// The connection was lost.
    #[error("the back end was lost while it was told of the memory: {0}")]
    Lost(LinkError),
    /// It was detached meanwhile.
    #[error("the back end was detached while it was told of the memory")]
    Detached,
}

impl Dma {
    /// A relay that follows the memory of the consumer of `port`; nothing if somebody does already.
    pub fn follow(port: &Arc<Port>) -> Option<Arc<Dma>> {
        let dma = Arc::new(Dma {
            port: Arc::downgrade(port),
            state: Leaf::new(State::default()),
            changed: Condvar::new(),
        });
        port.relay_dma(dma.clone()).then_some(dma)
    }

    /// Keeps a range of addresses free of the consumer's mappings, for good: for memory of this process that somebody else has
    /// the back end map.
    ///
    /// # Errors
    /// EINVAL: it is empty, or wraps. EEXIST: something is mapped there.
    pub fn reserve(&self, iova: u64, size: u64) -> Result<(), RequestError> {
        if size == 0 || iova.checked_add(size).is_none() {
            return Err(RequestError::new(Errno::EINVAL, "the range to reserve is none"));
        }
        if self.state.lock().records.reserve(iova, size) { Ok(()) } else { Err(OVERLAP) }
    }

    /// Another back end is connected: it is told of all memory, by address, and of every change from now on. `fence` is its
    /// own. The last one is detached, if it has not been. Takes a message for each mapping.
    ///
    /// # Errors
    /// [`ReplayError`]: the connection is lost, or has been cut. Call [`Dma::detach`] then.
    pub fn attach(
        &self,
        token: &mut ThreadToken,
        wire: Arc<dyn Wire>,
        fence: Arc<dyn Fence>,
    ) -> Result<(), ReplayError> {
        self.detach();
        let generation = {
            let mut state = self.state.lock();
            let generation = state.records.attach();
            state.present = Some(Present { generation, wire: Arc::clone(&wire), fence });
            generation
        };
        let mut from = 0;
        loop {
            let area = {
                let mut state = self.state.lock();
                if !state.records.is_present(generation) {
                    return Err(ReplayError::Detached);
                }
                match state.records.next(from, generation) {
                    Some(area) => area,
                    None => return Ok(()),
                }
            };
            from = area.iova;
            let sent = send(token, &*wire, &area);
            let answer = answer(&sent);
            let noted = self.note(area.iova, generation, answer, IfRefused::Keep);
            match sent {
                Err(error) if answer == Answer::Refused && noted => {
                    wire.cut("it does not take memory that its predecessor had");
                    return Err(ReplayError::Refused { iova: area.iova, size: area.size, error });
                }
                Err(error) if answer == Answer::Lost => return Err(ReplayError::Lost(error)),
                _ => {}
            }
        }
    }

    /// Nobody is connected any more. Unmaps wait for the server that was, from now on, for as long as its process is known to
    /// live. May come at any time, from any thread, and more than once.
    pub fn detach(&self) {
        let gone = self.state.lock().detach(None);
        self.changed.notify_all();
        drop(gone);
    }

    /// What is kept.
    pub fn usage(&self) -> Usage {
        let state = self.state.lock();
        Usage { mappings: state.records.count(), files: state.files.len() }
    }

    /// Notes an answer; whether it was the one that counts. Who was lost over it is detached in the same step: it may have the
    /// mapping, and whoever takes that away has to know whom to wait for.
    fn note(&self, iova: u64, generation: Generation, answer: Answer, refused: IfRefused) -> bool {
        let mut state = self.state.lock();
        let Noted { counts, forgotten } = state.records.answered(iova, generation, answer, refused);
        let gone = if answer == Answer::Lost { state.detach(Some(generation)) } else { None };
        drop(state);
        self.changed.notify_all();
        // Outside of the lock: they may be the last to have the consumer's file, and the connection.
        drop((forgotten, gone));
        counts
    }

    /// Marks mappings as leaving, once none of them is on its way. Who is connected, and what it has of them.
    fn begin_leaving(
        &self,
        token: &mut ThreadToken,
        ranges: &[(u64, u64)],
        deadline: Deadline,
    ) -> (Option<Present>, Vec<(u64, u64)>) {
        let mut late = false;
        loop {
            let mut state = self.state.lock();
            if late || !state.records.is_going(ranges) {
                let at_present = state.records.leave(ranges);
                return (state.present.clone(), at_present);
            }
            drop(state);
            late = self.wait_for_answers(token, ranges, deadline);
        }
    }

    /// Waits until none of the mappings is on its way to whoever is connected. True: one is, at the deadline.
    fn wait_for_answers(&self, token: &mut ThreadToken, ranges: &[(u64, u64)], deadline: Deadline) -> bool {
        let _shown = Waiting::new(token, "unmap", None, "a mapping to arrive at the back end");
        let mut late = false;
        let mut state = self.state.lock();
        while state.records.is_going(ranges) && !late {
            (state, late) = self.changed.wait(state, token, deadline);
        }
        late
    }

    /// Servers that were lost and are known to live. The others are forgotten.
    fn living(&self) -> Vec<Arc<dyn Fence>> {
        let lost = self.state.lock().lost.clone();
        let (living, over): (Vec<_>, Vec<_>) = lost.into_iter().partition(lives);
        if !over.is_empty() {
            let is_over = |fence: &Arc<dyn Fence>| over.iter().any(|over| Arc::ptr_eq(over, fence));
            self.state.lock().lost.retain(|fence| !is_over(fence));
        }
        living
    }
}

impl DmaRelay for Dma {
    fn mapped(&self, token: &mut ThreadToken, mapped: Mapped, _: Deadline) -> Result<(), RequestError> {
        let Mapped { iova, size, offset, permissions, mut file } = mapped;
        let id = file.as_ref().map(FileId::of).transpose()?;
        let (area, present) = {
            let mut state = self.state.lock();
            let kept = match id {
                Some(id) => state.files.keep(id, &mut file)?,
                None => None,
            };
            let backing = kept.map_or(Backing::Nothing, Backing::File);
            let area = Area { iova, size, offset, permissions, backing };
            let Some(records::Entered) = state.records.enter(area.clone()) else { return Err(OVERLAP) };
            (area, state.present.clone())
        };
        // A descriptor of a file that is kept already.
        drop(file);
        let Some(Present { generation, wire, .. }) = present else { return Ok(()) };
        let sent = send(token, &*wire, &area);
        let noted = self.note(iova, generation, answer(&sent), IfRefused::Forget);
        match sent {
            Err(LinkError::Refused { errno, .. }) if noted => {
                let errno = Errno::from_raw(errno.raw_os_error());
                Err(RequestError::new(errno, "the back end refused the memory"))
            }
            Err(LinkError::Request(_)) if noted => {
                Err(RequestError::new(Errno::EINVAL, "the back end cannot be told of the memory"))
            }
            // Lost: the next back end is told.
            _ => Ok(()),
        }
    }

    fn unmapped(
        &self,
        token: &mut ThreadToken,
        ranges: &[(u64, u64)],
        deadline: Deadline,
    ) -> Result<(), RequestError> {
        let (present, at_present) = self.begin_leaving(token, ranges, deadline);
        if let Some(present) = &present
            && !let_go(token, present, &at_present, deadline)
        {
            let gone = self.state.lock().detach(Some(present.generation));
            self.changed.notify_all();
            drop(gone);
        }
        let over = self.settled(token, deadline);
        let gone = self.state.lock().records.gone(ranges);
        drop(gone);
        if over { Ok(()) } else { Err(LIVES) }
    }

    fn reserved(&self, iova: u64, size: u64) -> bool {
        self.state.lock().records.is_reserved(iova, size)
    }

    fn settled(&self, token: &mut ThreadToken, deadline: Deadline) -> bool {
        let living = self.living();
        wait_for(token, &living, deadline)
    }
}

impl State {
    /// Nobody is connected any more, if it was that connection, or any. The server is waited for from now on; its connection is to
    /// be dropped outside of the lock.
    fn detach(&mut self, only: Option<Generation>) -> Option<Present> {
        if only.is_some_and(|generation| !self.records.is_present(generation)) {
            return None;
        }
        self.records.detach();
        let gone = self.present.take()?;
        self.lost.push(Arc::clone(&gone.fence));
        Some(gone)
    }
}

const OVERLAP: RequestError = RequestError::new(Errno::EEXIST, "the range overlaps what the back end has");

const LIVES: RequestError =
    RequestError::new(Errno::ETIMEDOUT, "the back end was lost, lives, and may use memory that was unmapped");

fn send(token: &mut ThreadToken, wire: &dyn Wire, area: &Area) -> Result<(), LinkError> {
    let mut flags = DmaMapFlags::empty();
    flags.set(DmaMapFlags::READ, area.permissions.read);
    flags.set(DmaMapFlags::WRITE, area.permissions.write);
    let Area { iova: address, size, offset, backing, .. } = area;
    let map = DmaMap { argsz: 32, flags: flags.bits(), offset: *offset, address: *address, size: *size };
    wire.map(token, map, backing.file())
}

fn answer(sent: &Result<(), LinkError>) -> Answer {
    match sent {
        Ok(()) => Answer::Accepted,
        Err(LinkError::Refused { .. } | LinkError::Request(_)) => Answer::Refused,
        Err(_) => Answer::Lost,
    }
}

/// Has the back end let mappings go. False: the connection is lost, or has been cut because it does not.
fn let_go(token: &mut ThreadToken, present: &Present, ranges: &[(u64, u64)], deadline: Deadline) -> bool {
    for (iova, size) in ranges {
        if deadline.remaining().is_none() {
            present.wire.cut("it did not let memory go in time");
            return false;
        }
        match present.wire.unmap(token, *iova, *size) {
            Ok(()) => {}
            Err(LinkError::Refused { .. } | LinkError::Request(_)) => {
                present.wire.cut("it refused to let memory go");
                return false;
            }
            Err(_) => return false,
        }
    }
    true
}

/// Whether a server's process is known to live. Of one that nobody knows about, nothing will ever be known: waiting for it would
/// only make every unmap of a guest that reboots take its whole time.
fn lives(fence: &Arc<dyn Fence>) -> bool {
    fence.known() == Known::Alive
}

/// Waits until none of the servers is known to live. False: one does at the deadline.
fn wait_for(token: &mut ThreadToken, fences: &[Arc<dyn Fence>], deadline: Deadline) -> bool {
    fences.iter().all(|fence| !lives(fence) || fence.wait(token, deadline) || !lives(fence))
}
