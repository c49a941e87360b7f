//! Memory in the hands of another process, and what is to be done about it.
//!
//! A function's [`Charge`] lists what it has [`Lent`]. [`follow`] makes that what the gate's state asks for, under a proof;
//! [`end`] does so for a function that is gone, of which there is no proof. Both do what is left to do and nothing else, so
//! they may be called as often as one likes.

use super::keeper::{self, Duty};
use super::{Memory, hiding};
use crate::Area;
use gate::{Admission, Exclusive, Gate, Handle};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Areas of a memory that another process may have mapped.
pub(crate) struct Lent {
    memory: Arc<Memory>,
    areas: Vec<Area>,
    /// The other process's. Its flags are not ours to rely on.
    file: Arc<OwnedFd>,
    /// The same file, opened for this process.
    own: OwnedFd,
    /// The other process is done with it, or is to be.
    left: AtomicBool,
    /// The device has moved to another file.
    left_behind: AtomicBool,
    /// All-ones for ever.
    blank: AtomicBool,
    _duty: Duty,
}

/// A function that the keeper may have to see to.
pub(crate) trait Charge: Send + Sync {
    /// The function's gate.
    fn gate(&self) -> &Gate;

    /// A handle of the function's epoch.
    fn handle(&self) -> &Handle;

    /// All that was lent and not forgotten, in any order.
    fn lent(&self) -> Vec<Arc<Lent>>;

    /// Whether what consumers in this process have mapped is to be taken away, by whoever gets to it first.
    fn owes_zap(&self) -> bool {
        false
    }

    /// Takes that away, if it is still to be; under a proof.
    fn pay_zap(&self) {}

    /// Nothing is left to do for `lent`, which another process has left.
    fn forget(&self, lent: &Arc<Lent>);

    /// The file of a memory is about to be exchanged, under a proof: nothing is to be present in a window.
    fn before_exchange(&self);

    /// The file of a memory may have been exchanged, under a proof: windows are to map [`Memory::file`] anew.
    fn after_exchange(&self);
}

impl Lent {
    /// Of `areas` of `memory`, which are set up; the keeper is there from now on.
    ///
    /// # Errors
    /// An area is not inside, or the system has no descriptor, memory or thread left.
    pub(crate) fn new(memory: &Arc<Memory>, areas: &[Area]) -> io::Result<Lent> {
        if areas.is_empty() || !areas.iter().all(|area| memory.has(area)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        memory.expect_hidden(areas)?;
        let (own, given) = memory.lend()?;
        Ok(Lent {
            memory: Arc::clone(memory),
            areas: areas.to_vec(),
            file: Arc::new(given),
            own,
            left: AtomicBool::new(false),
            left_behind: AtomicBool::new(false),
            blank: AtomicBool::new(false),
            _duty: keeper::begin_duty()?,
        })
    }

    /// The file to hand over. It stays what it is when the device moves on.
    pub(crate) fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }

    /// Of which memory.
    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// The other process is done with it. The keeper is to be told.
    pub(crate) fn leave(&self) {
        self.left.store(true, Ordering::Release);
    }

    /// Whether the other process is done with it. Until it is forgotten the memory is not to be lent again: whoever gets it
    /// would have the file of the one that has left.
    pub(crate) fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// What another process sees is its own for good: the device has moved on, or is gone.
    fn is_over(&self) -> bool {
        self.left_behind.load(Ordering::Acquire)
    }

    /// Fills it for good.
    fn blank(&self) -> io::Result<()> {
        // What is in a file that is not ours is its owner's.
        if !self.memory.is_foreign() && !self.blank.load(Ordering::Acquire) {
            hiding::blank(&self.own, &self.areas)?;
            self.blank.store(true, Ordering::Release);
        }
        Ok(())
    }
}

/// What is to be done for one memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Nothing,
    Hide,
    Reveal,
    Renew,
}

/// One memory and all that was lent of it and is not left behind.
struct Group {
    memory: Arc<Memory>,
    lent: Vec<Arc<Lent>>,
}

impl Group {
    fn all(charge: &dyn Charge) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for lent in charge.lent().into_iter().filter(|lent| !lent.is_over()) {
            match groups.iter_mut().find(|group| Arc::ptr_eq(&group.memory, &lent.memory)) {
                Some(group) => group.lent.push(lent),
                None => groups.push(Group { memory: Arc::clone(&lent.memory), lent: vec![lent] }),
            }
        }
        groups
    }

    /// A file is left behind when the last who was given it is done: the others would be cut off with it.
    fn step(&self, frozen: bool) -> Step {
        if self.lent.iter().all(|lent| lent.has_left()) {
            Step::Renew
        } else if !frozen {
            if self.memory.is_revealed() { Step::Nothing } else { Step::Reveal }
        } else if self.lent.iter().all(|lent| self.memory.is_hidden(&lent.areas)) {
            Step::Nothing
        } else {
            Step::Hide
        }
    }

    fn take(&self, step: Step, held: &impl Exclusive) -> io::Result<()> {
        match step {
            Step::Nothing => Ok(()),
            Step::Hide => self.lent.iter().try_for_each(|lent| self.memory.hide(held, &lent.areas)),
            Step::Reveal => self.memory.reveal(held),
            Step::Renew => {
                self.memory.renew(held)?;
                self.lent.iter().for_each(|lent| lent.left_behind.store(true, Ordering::Release));
                Ok(())
            }
        }
    }
}

/// Whether [`follow`] would do anything.
pub(crate) fn is_behind(charge: &dyn Charge, frozen: bool) -> bool {
    Group::all(charge).iter().any(|group| group.step(frozen) != Step::Nothing)
}

/// Hides, if the function is `frozen`, or reveals what is lent, and leaves behind what others are done with. `held` is of the
/// function's gate.
///
/// # Errors
/// What the system says of the first that failed; the others are done. To be called again.
pub(crate) fn follow(charge: &dyn Charge, held: &impl Exclusive, frozen: bool) -> io::Result<()> {
    debug_assert!(charge.gate().is_held_by(held), "the proof of another function");
    let groups = Group::all(charge);
    if groups.iter().all(|group| group.step(frozen) == Step::Nothing) {
        return Ok(());
    }
    charge.before_exchange();
    let mut result = Ok(());
    for group in &groups {
        result = result.and(group.take(group.step(frozen), held));
    }
    charge.after_exchange();
    result
}

/// Fills what was left behind, and forgets it. Needs no proof: no device reaches it.
///
/// # Errors
/// As [`follow`].
pub(crate) fn sweep(charge: &dyn Charge) -> io::Result<()> {
    let mut result = Ok(());
    for lent in charge.lent().iter().filter(|lent| lent.is_over() && lent.has_left()) {
        match lent.blank() {
            Ok(()) => charge.forget(lent),
            Err(error) => result = result.and(Err(error)),
        }
    }
    result
}

/// The function is gone: fills everything, after the device was cut off from it.
///
/// # Errors
/// As [`follow`].
pub(crate) fn end(charge: &dyn Charge) -> io::Result<()> {
    let mut result = Ok(());
    for lent in charge.lent().iter().filter(|lent| !lent.is_over()) {
        let ended = lent.memory.sever().and_then(|()| lent.blank());
        if ended.is_ok() {
            lent.left_behind.store(true, Ordering::Release);
        }
        result = result.and(ended);
    }
    result.and(sweep(charge))
}

/// Whether the function is frozen, or gone (`None`), at this moment.
pub(crate) fn is_frozen(charge: &dyn Charge) -> Option<bool> {
    match charge.handle().admission() {
        Admission::Gone => None,
        Admission::Frozen => Some(true),
        Admission::Open | Admission::Blocked => Some(false),
    }
}
