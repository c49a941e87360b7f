//! The back end as the engine uses it: sending commands there, keeping those that it has no room for, letting go of all of them.
//!
//! Commands of the guest are lost by a reset, all but one kind: a device whose state is saved, which is reset, and whose state is
//! then restored, never told the back end of it. Its commands stay where they are, and what comes back meanwhile waits here.
//!
//! Concurrency: under the engine's lock, and so are the calls into [`Elsewhere`] that it makes.

use std::collections::VecDeque;
use std::sync::Arc;

use nvme_spec::event::Event;
use nvme_spec::{NSID_ALL, NvmOpcode, Status, SubmissionEntry};

use super::super::slots::Origin;
use super::Elsewhere;
use super::identity::Offered;
use super::tags::{Command, Returned, TAGS, Tags};
use crate::saved::{Field, Reader, Writer};

/// Commands without room at the back end: one of an I/O queue or the flush of a shutdown, and one of the admin queue.
const KEPT: usize = 2;
/// Events that are kept between a reset and the restoring of the state.
const HEARD: usize = 32;
/// Namespaces that are flushed one by one at a shutdown, if the back end does not flush all at once.
const FLUSHED_NAMESPACES: u32 = 128;
/// The submission queue that the flush of a shutdown goes by.
const FLUSH_QUEUE: u16 = 1;

/// A command that the back end had no room for.
#[derive(Debug)]
struct Kept {
    tag: u16,
    queue: u16,
    entry: SubmissionEntry,
}

/// Whether commands outlive the next reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeping {
    No,
    /// The state with this number was saved.
    Saved(u64),
    /// And the device has been reset since.
    Left(u64),
}

/// How a flush of everything went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Flush {
    /// There is more to do.
    GoesOn,
    /// It is over.
    Over {
        /// All of it succeeded.
        ok: bool,
    },
}

/// Which commands are elsewhere, as it is saved: the tags say the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Saved {
    /// Of the save.
    number: u64,
    /// Tags, and whose they are: a submission queue and a command identifier, or the flush of a shutdown.
    tags: Vec<(u16, Option<(u16, u16)>)>,
}

impl Saved {
    /// The submission queues of the commands that are elsewhere.
    pub(in super::super) fn queues(&self) -> impl Iterator<Item = u16> {
        self.tags.iter().filter_map(|(_, origin)| origin.map(|(sq, _)| sq))
    }

    /// Whether a flush of everything is elsewhere.
    pub(in super::super) fn flushes(&self) -> bool {
        self.tags.iter().any(|(_, origin)| origin.is_none())
    }
}

impl Field for Saved {
    fn put(&self, out: &mut Writer) {
        let Self { number, tags } = self;
        number.put(out);
        out.list(tags.iter());
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { number: Field::take(from)?, tags: from.list(TAGS)? })
    }
}

/// See the module's head.
pub(in super::super) struct Away {
    elsewhere: Arc<dyn Elsewhere>,
    offered: Offered,
    tags: Tags,
    kept: VecDeque<Kept>,
    /// Something was submitted since everything was last abandoned.
    used: bool,
    /// Something was abandoned, and may still be at work.
    unsettled: bool,
    keeping: Keeping,
    saves: u64,
    /// Events that came meanwhile.
    heard: Vec<Event>,
    /// The namespace being flushed for a shutdown.
    flushing: u32,
    /// Commands that went to the back end.
    sent: u64,
    /// Times that the back end had no room.
    refused: u64,
    /// Answers to what nobody asked for.
    strays: u64,
    /// Asynchronous events that mean nothing.
    odd_events: u64,
}

impl Away {
    pub(in super::super) fn new(elsewhere: Arc<dyn Elsewhere>, offered: Offered) -> Self {
        Self {
            elsewhere,
            offered,
            tags: Tags::new(),
            kept: VecDeque::with_capacity(KEPT),
            used: false,
            unsettled: false,
            keeping: Keeping::No,
            saves: 0,
            heard: Vec::new(),
            flushing: NSID_ALL,
            sent: 0,
            refused: 0,
            strays: 0,
            odd_events: 0,
        }
    }

    /// What the guest is told.
    pub(in super::super) fn offered(&self) -> &Offered {
        &self.offered
    }

    /// The tags, to take outcomes from.
    pub(in super::super) fn tags(&mut self) -> &mut Tags {
        &mut self.tags
    }

    /// Whether no more command can be taken from this queue.
    #[inline]
    pub(in super::super) fn is_full(&self, queue: u16) -> bool {
        let admin = queue == 0;
        !self.tags.has_room(admin) || self.kept.iter().any(|kept| (kept.queue == 0) == admin)
    }

    /// Whether nothing is elsewhere or on its way back, and nothing waits to be posted.
    pub(in super::super) fn is_idle(&self) -> bool {
        self.tags.busy() == 0
    }

    /// Commands that are elsewhere or on their way back.
    pub(in super::super) fn busy(&self) -> usize {
        self.tags.busy()
    }

    /// Whether an outcome waits to be posted.
    pub(in super::super) fn has_done(&self) -> bool {
        self.tags.has_done()
    }

    /// Sends a command, or keeps it until there is room. False: there is no tag, which [`Away::is_full`] has told.
    #[inline]
    pub(in super::super) fn send(&mut self, queue: u16, command: Command, entry: &SubmissionEntry) -> bool {
        let Some(tag) = self.tags.take(command) else { return false };
        self.used = true;
        if self.elsewhere.submit(queue, tag, entry) {
            self.tags.sent(tag);
            self.sent += 1;
        } else {
            self.refused += 1;
            self.kept.push_back(Kept { tag, queue, entry: *entry });
        }
        true
    }

    /// Tries again what there was no room for. Says whether any of it went.
    pub(in super::super) fn send_kept(&mut self) -> bool {
        let mut any = false;
        for _ in 0..self.kept.len() {
            let Some(kept) = self.kept.pop_front() else { break };
            if self.elsewhere.submit(kept.queue, kept.tag, &kept.entry) {
                self.tags.sent(kept.tag);
                self.sent += 1;
                any = true;
            } else {
                self.kept.push_back(kept);
            }
        }
        any
    }

    /// Whether there is something to try again.
    pub(in super::super) fn has_kept(&self) -> bool {
        !self.kept.is_empty()
    }

    /// The commands of this queue that the back end had no room for, all or the one with this identifier, are answered
    /// with `status`. Says whether there was any.
    pub(in super::super) fn cancel(&mut self, sq: u16, cid: Option<u16>, status: Status) -> bool {
        let before = self.kept.len();
        let tags = &mut self.tags;
        self.kept.retain(|kept| {
            let wanted = kept.queue == sq && cid.is_none_or(|cid| kept.entry.cid.get() == cid);
            // The flush of a shutdown is nobody's to cancel.
            !(wanted && tags.is_of_a_queue(kept.tag) && tags.cancel(kept.tag, status))
        });
        self.kept.len() < before
    }

    /// A tag has come back.
    #[inline]
    pub(in super::super) fn finish(&mut self, tag: u16, dw0: u32, status: Status) -> Returned {
        let returned = self.tags.finish(tag, dw0, status);
        if returned == Returned::Stray {
            self.strays = self.strays.saturating_add(1);
        }
        returned
    }

    /// An event came that means nothing.
    pub(in super::super) fn count_odd_event(&mut self) {
        self.odd_events = self.odd_events.saturating_add(1);
    }

    /// An event came while the controller is not enabled: it is for the guest only if its state is going to be restored.
    pub(in super::super) fn hear(&mut self, event: Event) {
        if matches!(self.keeping, Keeping::Left(_)) && self.heard.len() < HEARD {
            self.heard.push(event);
        }
    }

    /// Gives the events that came between a reset and the restoring of the state.
    pub(in super::super) fn heard_meanwhile(&mut self, mut raise: impl FnMut(Event)) {
        self.heard.drain(..).for_each(&mut raise);
    }

    /// Whether a flush of ours has not come back.
    pub(in super::super) fn is_flushing(&self) -> bool {
        self.tags.outstanding().any(|(_, origin)| origin == Origin::Shutdown)
    }

    /// Everything that is elsewhere is to end there, and is nobody's any more. Without effect if nothing was ever sent since
    /// the last time: a back end is not reset for nothing.
    pub(in super::super) fn abandon(&mut self) {
        self.keeping = Keeping::No;
        self.heard.clear();
        self.kept.clear();
        self.tags.abandon();
        if std::mem::take(&mut self.used) {
            self.unsettled = true;
            self.elsewhere.abandon();
        }
    }

    /// Whether nothing from before the last [`Away::abandon`] is at work any more.
    pub(in super::super) fn is_settled(&mut self) -> bool {
        if self.unsettled && self.elsewhere.is_settled() {
            self.unsettled = false;
            self.tags.forget_abandoned();
        }
        !self.unsettled
    }

    /// The guest enables its controller: whether the back end is ready for it.
    pub(in super::super) fn is_ready(&mut self) -> bool {
        if matches!(self.keeping, Keeping::Left(_)) {
            // The state was not restored: this is another life.
            self.abandon();
        }
        self.is_settled() && self.elsewhere.is_up()
    }

    /// The function was reset. Says whether the back end has to hear of it.
    pub(in super::super) fn reset(&mut self) -> bool {
        if let Keeping::Saved(number) = self.keeping {
            self.keeping = Keeping::Left(number);
            return false;
        }
        self.abandon();
        self.unsettled
    }

    /// The state is being saved: the next reset leaves commands where they are.
    pub(in super::super) fn save(&mut self) -> Saved {
        self.saves += 1;
        self.keeping = Keeping::Saved(self.saves);
        self.saved()
    }

    /// Which commands are elsewhere.
    pub(in super::super) fn saved(&self) -> Saved {
        let origin = |origin| match origin {
            Origin::Command { sq, cid } => Some((sq, cid)),
            Origin::Shutdown => None,
        };
        let tags = self.tags.outstanding().map(|(tag, whose)| (tag, origin(whose))).collect();
        Saved { number: self.saves, tags }
    }

    /// The controller goes on without a reset, or its state was restored: the next reset is one for the back end too.
    pub(in super::super) fn end_keeping(&mut self) {
        self.keeping = Keeping::No;
    }

    /// Whether what was saved can be restored: its commands are here, and no others, and none is about to end.
    pub(in super::super) fn has_all_of(&self, saved: Option<&Saved>) -> bool {
        // What has come back since waits to be posted, and is outstanding. Only a flush of ours is not.
        let of_queues = |saved: &Saved| {
            saved.tags.iter().filter(|(_, origin)| origin.is_some()).copied().collect::<Vec<_>>()
        };
        let (now, then) = (of_queues(&self.saved()), saved.map(of_queues).unwrap_or_default());
        let left = |saved: &Saved| saved.tags.is_empty() || self.keeping == Keeping::Left(saved.number);
        // A controller that is not enabled waits for the end of what was abandoned by itself.
        now == then && saved.is_none_or(|saved| !self.unsettled && left(saved))
    }

    /// Flushes everything; [`Away::flushed`] goes on with it. False: there is no tag.
    pub(in super::super) fn flush(&mut self) -> bool {
        self.flushing = if self.offered.flushes_all() { NSID_ALL } else { 1 };
        self.send_flush()
    }

    /// A flush of ours has come back.
    pub(in super::super) fn flushed(&mut self, status: Status) -> Flush {
        let absent = status.is(Status::INVALID_NAMESPACE_OR_FORMAT) || status.is(Status::INVALID_FIELD);
        match self.flushing {
            NSID_ALL if absent => self.flushing = 1,
            NSID_ALL => return Flush::Over { ok: status.is_success() },
            _ if !absent && !status.is_success() => return Flush::Over { ok: false },
            last if last >= self.offered.page.nn.get().min(FLUSHED_NAMESPACES) => {
                return Flush::Over { ok: true };
            }
            _ => self.flushing += 1,
        }
        if self.send_flush() { Flush::GoesOn } else { Flush::Over { ok: false } }
    }

    fn send_flush(&mut self) -> bool {
        let entry = SubmissionEntry {
            opcode: NvmOpcode::Flush.code(),
            nsid: self.flushing.into(),
            ..SubmissionEntry::default()
        };
        self.send(FLUSH_QUEUE, Command { origin: Origin::Shutdown, log: None }, &entry)
    }

    /// Facts for an operator.
    pub(in super::super) fn describe(&self) -> Vec<(String, String)> {
        let (_, model) = self.offered.names();
        [
            ("back end's model", model),
            ("abandoned commands", if self.unsettled { "end" } else { "none" }.to_owned()),
            ("commands sent on", self.sent.to_string()),
            ("commands without room", self.refused.to_string()),
            ("stray answers", self.strays.to_string()),
            ("odd events", self.odd_events.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

impl std::fmt::Debug for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Away")
            .field("busy", &self.tags.busy())
            .field("kept", &self.kept)
            .field("unsettled", &self.unsettled)
            .field("keeping", &self.keeping)
            .finish_non_exhaustive()
    }
}
