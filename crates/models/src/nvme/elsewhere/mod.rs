//! Commands that are executed elsewhere: the controller has the registers, queues, doorbells and interrupts, and somebody
//! else, the *back end*, does what the commands say.
//!
//! [`Elsewhere`] is that somebody, as the controller sees him: commands go there with a tag of the controller's, verbatim,
//! and come back with what they are answered. [`build_elsewhere`](super::build_elsewhere) makes the function. What it needs
//! to know of the back end is in [`Facts`], which never change: a back end that dies is replaced by one that is alike, and
//! the commands wait meanwhile, without anybody waiting in the controller.
//!
//! * `identity`: what the guest is told of the controller: the back end's words, where they are not the front's to say;
//! * `tags`: which command has which tag, and how it stands; values only;
//! * `away`: both together, as the engine uses them.
//!
//! What the front does **not** do: look into commands that are not its own, hold guest memory for the back end, or find out
//! whether the back end still works on something. That is for who implements [`Elsewhere`].
//!
//! Concurrency: see [`Elsewhere`], for each method.

pub(super) mod away;
#[cfg(test)]
pub(super) mod fake;
pub(super) mod identity;
pub(super) mod tags;

use std::os::fd::BorrowedFd;

use gate::ThreadToken;
use nvme_spec::{IDENTIFY_SIZE, Status, SubmissionEntry};

pub(super) use away::Away;
pub use identity::FactsError;
pub use tags::TAGS;

/// What is known of a back end once and for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Identify Controller, as it gave it.
    pub identify: [u8; IDENTIFY_SIZE],
    /// Its register CAP.
    pub capabilities: u64,
    /// Its register VS.
    pub version: u32,
    /// I/O queue pairs that the guest may have, 1 or more: submission queues 1 to this number are submitted to.
    pub max_queues: u16,
}

/// What comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// A command was executed, or never will be. The guest is told just this.
    Finished {
        /// The tag it was submitted with, which is free from now on.
        tag: u16,
        /// Dword 0 of the completion.
        dw0: u32,
        /// The status, with More, Do Not Retry and the retry delay as they are.
        status: Status,
    },
    /// An asynchronous event of the back end.
    Event {
        /// Dword 0 of its completion.
        dw0: u32,
    },
}

/// Who executes the commands of a controller.
///
/// A tag is below [`TAGS`] and belongs to one command at a time, from [`Elsewhere::submit`] to the one
/// [`Reaped::Finished`] that has it; also if the back end dies meanwhile. The controller never takes back a command:
/// it [abandons](Elsewhere::abandon) all or none.
///
/// [`submit`](Elsewhere::submit), [`abandon`](Elsewhere::abandon), [`is_settled`](Elsewhere::is_settled) and
/// [`is_up`](Elsewhere::is_up) are called under the lock of the controller's engine (rank 55), from its worker and from
/// threads that write registers or reset the function: they wait for nobody and take leaves only. The others are called by
/// the worker alone.
pub trait Elsewhere: Send + Sync {
    /// What is known of the back end; always the same.
    fn facts(&self) -> &Facts;

    /// Takes a command on: an admin command with queue 0, an I/O command with the number of the guest's submission queue, 1
    /// to [`Facts::max_queues`]. The entry is the guest's own, with its command identifier. False: there is no room now,
    /// and nothing has changed; the controller tries again after the next wake-up. While the back end is away a command may
    /// be taken on as well, and waits.
    ///
    /// At a shutdown the controller submits Flush commands of its own, with queue 1, which need not exist for the guest.
    ///
    /// Never submitted: the commands that make and delete queues, Abort, Asynchronous Event Request, Keep Alive, Doorbell
    /// Buffer Config, fused commands, directives, and the features Arbitration, Number of Queues, Interrupt Coalescing,
    /// Interrupt Vector Configuration, Host Memory Buffer and Keep Alive Timer. Asynchronous Event Configuration is: the
    /// back end sends the events that the guest wants, and no others.
    fn submit(&self, queue: u16, tag: u16, entry: &SubmissionEntry) -> bool;

    /// After each round of the worker, with nothing held: tells the back end of what was submitted, and does whatever else
    /// could not be done under a lock. Cheap if there is nothing. May wait shortly: the guest's commands wait with it.
    fn ring(&self, token: &mut ThreadToken);

    /// Adds what has come back, and does not wait. What is added in one call is bounded by what is in flight, and a few events.
    fn reap(&self, reaped: &mut Vec<Reaped>);

    /// Readable when the worker has reason to look: something has come back, there is room again, [`Elsewhere::is_settled`]
    /// or [`Elsewhere::is_up`] has become true. Always the same descriptor.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Makes the descriptor unreadable. Called before [`Elsewhere::reap`] whenever a wait has found it readable, so nothing
    /// that comes afterwards is missed.
    fn clear(&self);

    /// The guest's controller was reset, or it is gone: whatever is in flight is to end at the back end, and the back end's
    /// controller is to be as after a reset, with no feature that the guest has set. Says nothing and waits for nothing;
    /// what may wait is done in the next [`Elsewhere::ring`], or by somebody else. Commands in flight come back, whatever
    /// their status, or are forgotten when all is settled.
    fn abandon(&self);

    /// Whether nothing from before the last [`Elsewhere::abandon`] is at work any more: no command reads or writes guest
    /// memory, and none that was forgotten will ever come back. True if nothing was ever abandoned.
    fn is_settled(&self) -> bool;

    /// Whether the back end takes commands. A guest that enables its controller waits for it; one whose controller is
    /// enabled notices nothing but that its commands take long.
    fn is_up(&self) -> bool;
}
