//! The state of a controller as it is saved: everything that a reset loses, and what makes it this controller's.
//!
//! Values only. A [`State`] that was decoded may say anything; after [`State::check`] it is one that a controller can be in.
//! What follows from other fields (which doorbells exist, how many queues are being deleted) is not in it, and what can be
//! told twice (how many answers a queue owes) must be told alike.
//!
//! Of commands that are executed elsewhere it says which they are: they stay there, and what comes back meanwhile waits in the
//! device, so that such a state is of use only to the device that it is of, right after the reset that it was saved for.
//!
//! Not in it: the blocks of the disk, guest memory, configuration space, and what is found out anew (how the file system
//! zeroes, for how long INTx is held low).

use nvme_spec::queue::ADMIN_QUEUE;
use nvme_spec::register::{Configuration, ControllerStatus, ShutdownStatus};
use pci_core::PreserveError;

use super::super::admin::Features;
use super::super::aer::AsyncEvents;
use super::super::config::InterruptStyle;
use super::super::elsewhere::away;
use super::super::health::{ErrorLog, Health};
use super::super::limits::{PAGE, QUEUES, SLOTS};
use super::super::queue::{CompletionQueue, SubmissionQueue, SubmissionState};
use super::super::registers::Values;
use super::super::shadow::Shadow;
use super::super::slots::{Stepping, Unposted};
use super::{Phase, Shutdown};
use crate::saved::{Field, Kind, Reader, Writer, fields};

/// The format below.
pub(super) const KIND: Kind = Kind { name: *b"PCLSnvme", version: 2 };

/// What a controller is made as, and another one may not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) style: InterruptStyle,
    pub(super) vectors: u16,
    pub(super) shadow_offered: bool,
    pub(super) serial: String,
    pub(super) model: String,
    /// Blocks of the namespace, and the logarithm of their size.
    pub(super) geometry: (u64, u32),
    pub(super) has_cache: bool,
    /// Commands are executed elsewhere.
    pub(super) elsewhere: bool,
}

fields!(Shape { style, vectors, shadow_offered, serial, model, geometry, has_cache, elsewhere });

/// A queue, with its identifier and where its doorbell stands.
#[derive(Debug)]
pub(super) struct Saved<Q> {
    pub(super) qid: u16,
    pub(super) doorbell: u32,
    pub(super) queue: Q,
}

fields!(Saved<SubmissionQueue> { qid, doorbell, queue });
fields!(Saved<CompletionQueue> { qid, doorbell, queue });

/// See the module's head.
#[derive(Debug)]
pub(super) struct State {
    pub(super) shape: Shape,
    pub(super) phase: Phase,
    pub(super) shutdown: Shutdown,
    pub(super) registers: Values,
    /// In the order of service.
    pub(super) submission: Vec<Saved<SubmissionQueue>>,
    pub(super) completion: Vec<Saved<CompletionQueue>>,
    pub(super) stepping: Vec<Stepping>,
    pub(super) unposted: Vec<Unposted>,
    pub(super) features: Features,
    pub(super) events: AsyncEvents,
    pub(super) errors: ErrorLog,
    pub(super) health: Health,
    /// Something may have been written since the last flush.
    pub(super) dirty: bool,
    /// Commands that are elsewhere.
    pub(super) elsewhere: Option<away::Saved>,
    pub(super) shadow: Option<Shadow>,
    pub(super) first: usize,
    pub(super) masked_vectors: u128,
}

impl State {
    /// Whether this is a state of a controller of this shape.
    ///
    /// # Errors
    /// [`PreserveError::OtherDevice`], [`PreserveError::Malformed`].
    pub(super) fn check(&self, shape: &Shape) -> Result<(), PreserveError> {
        if self.shape.geometry != shape.geometry {
            return Err(PreserveError::OtherDevice("its disk has another size, or blocks of another size"));
        }
        if self.shape != *shape {
            return Err(PreserveError::OtherDevice("the controller is made otherwise"));
        }
        let sound: [(bool, &'static str); 6] = [
            (self.registers_agree(), "its registers and its phase do not agree"),
            (self.phase == Phase::Enabled || self.is_idle(), "a controller that is not enabled has queues"),
            (self.phase != Phase::Enabled || self.has_admin_queues(), "there are no admin queues"),
            (self.queues_are_possible(), "a queue that cannot be"),
            (self.commands_are_possible(), "a command that cannot be"),
            (self.answers_agree(), "the answers that are owed do not agree"),
        ];
        sound
            .into_iter()
            .find(|(sound, _)| !sound)
            .map_or(Ok(()), |(_, what)| Err(PreserveError::Malformed(what)))
    }

    fn registers_agree(&self) -> bool {
        let (cc, csts) = (Configuration(self.registers.cc), ControllerStatus(self.registers.csts));
        let status = match self.shutdown {
            Shutdown::None => ShutdownStatus::Normal,
            Shutdown::Draining => ShutdownStatus::Occurring,
            // The flush is elsewhere, and is not waited for.
            Shutdown::Flushing if self.flushes_elsewhere() => ShutdownStatus::Occurring,
            // The flush has failed, or will never be.
            Shutdown::Flushing if self.phase == Phase::Failed => ShutdownStatus::Occurring,
            Shutdown::Flushing => return false,
            Shutdown::Complete => ShutdownStatus::Complete,
        };
        let phase = match self.phase {
            Phase::Disabled => !cc.en() && !csts.rdy() && !csts.cfs(),
            Phase::Enabled => cc.en() && csts.rdy() && !csts.cfs(),
            Phase::Failed => cc.en() && csts.cfs(),
            Phase::Starting => cc.en() && !csts.rdy() && !csts.cfs() && self.shape.elsewhere,
            Phase::Resetting => false,
        };
        self.registers.are_possible() && csts.shst() == status.bits() && phase
    }

    fn flushes_elsewhere(&self) -> bool {
        self.phase == Phase::Enabled && self.elsewhere.as_ref().is_some_and(away::Saved::flushes)
    }

    fn is_idle(&self) -> bool {
        self.submission.is_empty()
            && self.completion.is_empty()
            && self.stepping.is_empty()
            && self.unposted.is_empty()
            && self.shadow.is_none()
            && self.elsewhere.is_none()
    }

    fn has_admin_queues(&self) -> bool {
        let live = |saved: &Saved<SubmissionQueue>| {
            saved.qid == ADMIN_QUEUE
                && saved.queue.cq == ADMIN_QUEUE
                && saved.queue.state == SubmissionState::Live
        };
        self.submission.iter().any(live) && self.completion.iter().any(|saved| saved.qid == ADMIN_QUEUE)
    }

    fn queues_are_possible(&self) -> bool {
        let submission = self.submission.iter().all(|Saved { qid, queue, .. }| {
            let to_admin = queue.cq == ADMIN_QUEUE;
            let answered = self.completion.iter().any(|completion| completion.qid == queue.cq);
            queue.is_possible()
                && can_be_at(queue.base, queue.entries())
                && to_admin == (*qid == ADMIN_QUEUE)
                && answered
        });
        let completion = self.completion.iter().all(|Saved { queue, .. }| {
            let vector = queue.vector.is_none_or(|vector| vector < self.shape.vectors);
            queue.is_possible() && can_be_at(queue.base, queue.entries()) && vector
        });
        let shadow = self.shadow.is_none_or(|Shadow { doorbells, events }| {
            self.shape.shadow_offered && doorbells.is_multiple_of(PAGE) && events.is_multiple_of(PAGE)
        });
        submission
            && completion
            && shadow
            && are_distinct(self.submission.iter().map(|saved| saved.qid))
            && are_distinct(self.completion.iter().map(|saved| saved.qid))
            && self.first <= QUEUES
    }

    fn commands_are_possible(&self) -> bool {
        if self.elsewhere.is_some() && !self.shape.elsewhere {
            return false;
        }
        let (blocks, shift) = self.shape.geometry;
        // The geometry is our own by now: the product is the size of a disk that exists.
        let size = blocks << shift;
        let inside = |command: &Stepping| {
            command
                .ranges
                .iter()
                .all(|range| range.offset.checked_add(range.len).is_some_and(|end| end <= size))
        };
        self.stepping.len() < SLOTS
            && self
                .stepping
                .iter()
                .all(|command| inside(command) && command.work.is_possible(&command.ranges))
    }

    /// Every command that was taken is known, and has room for its answer.
    fn answers_agree(&self) -> bool {
        let origins =
            || self.stepping.iter().map(|command| command.sq).chain(self.unposted.iter().map(|done| done.sq));
        let deleting =
            self.submission.iter().filter(|saved| saved.queue.state != SubmissionState::Live).count();
        let away = || self.elsewhere.iter().flat_map(away::Saved::queues);
        let elsewhere = |qid: u16| away().filter(|origin| *origin == qid).count();
        let owed = |qid: u16| match qid {
            ADMIN_QUEUE => deleting + elsewhere(qid),
            _ => origins().filter(|origin| *origin == qid).count() + elsewhere(qid),
        };
        let known = |count: u32, owed: usize| usize::try_from(count) == Ok(owed);
        let answers_to = |cq: u16| self.submission.iter().filter(move |saved| saved.queue.cq == cq);
        let submission = self.submission.iter().all(|saved| known(saved.queue.in_flight, owed(saved.qid)));
        let completion = self.completion.iter().all(|Saved { qid, queue, .. }| {
            let owed = answers_to(*qid).map(|saved| owed(saved.qid)).sum();
            known(queue.reserved(), owed) && usize::from(queue.users) == answers_to(*qid).count()
        });
        let exists = |qid| self.submission.iter().any(|saved| saved.qid == qid);
        let of_a_queue = |qid| qid != ADMIN_QUEUE && exists(qid);
        submission && completion && origins().all(of_a_queue) && away().all(exists)
    }
}

/// Whether a ring can start there: sums of its base and an offset in it never overflow.
fn can_be_at(base: u64, entries: u32) -> bool {
    base.is_multiple_of(PAGE) && base.checked_add(u64::from(entries) * 64).is_some()
}

/// Whether the identifiers are in range, and each is there once.
fn are_distinct(qids: impl Iterator<Item = u16>) -> bool {
    let mut seen = 0_u128;
    for qid in qids {
        let bit = 1_u128.checked_shl(u32::from(qid)).filter(|_| usize::from(qid) < QUEUES);
        match bit {
            Some(bit) if seen & bit == 0 => seen |= bit,
            _ => return false,
        }
    }
    true
}

impl Field for State {
    fn put(&self, out: &mut Writer) {
        let Self {
            shape,
            phase,
            shutdown,
            registers,
            submission,
            completion,
            stepping,
            unposted,
            features,
            events,
            errors,
            health,
            dirty,
            elsewhere,
            shadow,
            first,
            masked_vectors,
        } = self;
        shape.put(out);
        (*phase, *shutdown).put(out);
        registers.put(out);
        out.list(submission.iter());
        out.list(completion.iter());
        out.list(stepping.iter());
        out.list(unposted.iter());
        features.put(out);
        events.put(out);
        errors.put(out);
        health.put(out);
        dirty.put(out);
        elsewhere.put(out);
        shadow.put(out);
        first.put(out);
        masked_vectors.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            shape: Field::take(from)?,
            phase: Field::take(from)?,
            shutdown: Field::take(from)?,
            registers: Field::take(from)?,
            submission: from.list(QUEUES)?,
            completion: from.list(QUEUES)?,
            stepping: from.list(SLOTS)?,
            // As many as there is room for answers; each is counted by its queue.
            unposted: from.list(usize::MAX)?,
            features: Field::take(from)?,
            events: Field::take(from)?,
            errors: Field::take(from)?,
            health: Field::take(from)?,
            dirty: Field::take(from)?,
            elsewhere: Field::take(from)?,
            shadow: Field::take(from)?,
            first: Field::take(from)?,
            masked_vectors: Field::take(from)?,
        })
    }
}

/// A field that is one of a few values, by its place among them.
macro_rules! one_of {
    ($type:ty { $($value:ident),+ }) => {
        impl Field for $type {
            fn put(&self, out: &mut Writer) {
                (*self as u8).put(out);
            }

            fn take(from: &mut Reader<'_>) -> Option<Self> {
                let place = u8::take(from)?;
                [$(Self::$value),+].into_iter().find(|value| *value as u8 == place)
            }
        }
    };
}
one_of!(Phase { Disabled, Enabled, Failed, Resetting, Starting });
one_of!(Shutdown { None, Draining, Flushing, Complete });
one_of!(InterruptStyle { Intx, Msi, Msix });
